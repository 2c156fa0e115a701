"""Distances of clouds with known answers, alignment, and points of meshes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from m3d_cli.atomic import write_bytes
from m3d_cli.errors import OutputError, UsageError
from m3d_cli.formats.ply import encode_ply, read_ply
from m3d_cli.formats.surface import Surface, encode_surface
from m3d_cli.pointcloud import PointCloud
from m3d_cli.sequences.surface_compare import CloudAlignment, compare, error_colours, read_points


def corner(count: int = 3000, seed: int = 0) -> np.ndarray:
    """Points on three walls that meet."""
    rng = np.random.default_rng(seed)
    points = rng.uniform(0, 1, (count, 3)).astype(np.float32)
    points[np.arange(count), np.arange(count) % 3] = 0
    return points


def test_a_shifted_plane_is_as_far_as_it_was_shifted() -> None:
    grid = np.stack(np.meshgrid(np.arange(40), np.arange(40), [0.0]), axis=-1).reshape(-1, 3).astype(np.float32) / 20
    above = grid + np.array([0, 0, 0.03], np.float32)
    found, errors = compare(PointCloud(above), PointCloud(grid), (0.02, 0.05), CloudAlignment.NONE)
    assert found.accuracy == pytest.approx(0.03, abs=1e-6)
    assert found.chamfer_l1 == pytest.approx(0.03, abs=1e-6)
    assert [at.f_score for at in found.thresholds] == [0.0, 1.0]
    assert errors.colours is not None
    assert len(np.unique(errors.colours, axis=0)) == 1


def test_half_a_surface_is_accurate_and_not_complete() -> None:
    points = corner()
    half = points[points[:, 0] < 0.3]
    found, _ = compare(PointCloud(half), PointCloud(points), (0.02,), CloudAlignment.NONE)
    assert found.accuracy == 0
    assert found.completeness > 0.05
    assert found.thresholds[0].precision == 1
    assert found.thresholds[0].recall < 0.8


@pytest.mark.parametrize(("alignment", "scale"), [(CloudAlignment.RIGID, 1.0), (CloudAlignment.SCALED, 1.08)])
def test_alignment_takes_off_what_it_names(alignment: CloudAlignment, scale: float) -> None:
    points = corner()
    c, s = np.cos(0.06), np.sin(0.06)
    turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    moved = ((points @ turn.T + (0.03, -0.02, 0.04)) / scale).astype(np.float32)
    apart, _ = compare(PointCloud(moved), PointCloud(points), (0.02,), CloudAlignment.NONE)
    found, _ = compare(PointCloud(moved), PointCloud(points), (0.02,), alignment)
    assert found.chamfer_l1 < 0.3 * apart.chamfer_l1
    assert found.scale == pytest.approx(scale, rel=0.01)


def test_errors_go_from_blue_to_red() -> None:
    colours = error_colours(np.array([0.0, 1.0]), 1.0).astype(int)
    assert colours[0, 2] > colours[0, 0]
    assert colours[1, 0] > colours[1, 2]


def test_points_of_a_mesh_cover_its_faces(tmp_path: Path) -> None:
    square = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], dtype=np.float32)
    surface = Surface(PointCloud(square), np.array([[0, 1, 2], [0, 2, 3]], dtype=np.int32))
    write_bytes(tmp_path / "mesh.ply", *encode_surface(surface, ("made by a test",)))
    points = read_points(tmp_path / "mesh.ply").points
    assert len(points) > 10_000
    assert np.abs(points.mean(axis=0) - (0.5, 0.5, 0)).max() < 0.01
    np.testing.assert_array_equal(read_ply(tmp_path / "mesh.ply").points, square)


def test_a_mesh_of_ours_is_read_by_trimesh(tmp_path: Path) -> None:
    trimesh = pytest.importorskip("trimesh")
    corners = PointCloud(corner(9), np.full((9, 3), 200, np.uint8), corner(9))
    write_bytes(tmp_path / "mesh.ply", *encode_surface(Surface(corners, np.arange(9, dtype=np.int32).reshape(3, 3))))
    mesh = trimesh.load(tmp_path / "mesh.ply", process=False)
    np.testing.assert_array_equal(mesh.faces, np.arange(9).reshape(3, 3))
    np.testing.assert_allclose(mesh.vertices, corners.points)


def test_an_empty_cloud_and_impossible_thresholds_are_refused(tmp_path: Path) -> None:
    write_bytes(tmp_path / "empty.ply", *encode_ply(PointCloud(np.zeros((0, 3), np.float32))))
    with pytest.raises(OutputError, match="no points"):
        read_points(tmp_path / "empty.ply")
    with pytest.raises(UsageError, match="thresholds"):
        compare(PointCloud(corner()), PointCloud(corner()), (0.0,), CloudAlignment.NONE)
