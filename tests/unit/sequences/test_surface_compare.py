"""Distances of clouds with known answers, alignment, and points of meshes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import plyfile
import pytest
import trimesh

from m3d_cli.atomic import write_bytes
from m3d_cli.cli.app import main
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
    corners = PointCloud(corner(9), np.full((9, 3), 200, np.uint8), corner(9))
    write_bytes(tmp_path / "mesh.ply", *encode_surface(Surface(corners, np.arange(9, dtype=np.int32).reshape(3, 3))))
    mesh = trimesh.load(tmp_path / "mesh.ply", process=False)
    np.testing.assert_array_equal(mesh.faces, np.arange(9).reshape(3, 3))
    np.testing.assert_allclose(mesh.vertices, corners.points)


KINDS = {"ascii": (True, "="), "little-endian": (False, "<"), "big-endian": (False, ">")}
SQUARE = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], dtype=np.float64)


def write_square(path: Path, kind: str, faces: list[list[int]], corners: np.ndarray = SQUARE) -> None:
    """A unit square as another tool writes it, in float64 and with a property of its own."""
    text, order = KINDS[kind]
    vertices = np.array([(*row, 0.5) for row in corners], dtype=[(name, "f8") for name in ("x", "y", "z", "intensity")])
    elements = [plyfile.PlyElement.describe(vertices, "vertex")]
    if faces:
        rows = np.empty(len(faces), dtype=[("vertex_indices", "O")])
        rows["vertex_indices"] = [np.array(face, dtype=np.int32) for face in faces]
        types = {"len_types": {"vertex_indices": "u1"}, "val_types": {"vertex_indices": "i4"}}
        elements.append(plyfile.PlyElement.describe(rows, "face", **types))
    plyfile.PlyData(elements, text=text, byte_order=order).write(path)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("faces", [[], [[0, 1, 2], [0, 2, 3]], [[0, 1, 2, 3]]], ids=["points", "triangles", "quad"])
def test_files_of_other_tools_are_compared(
    tmp_path: Path, kind: str, faces: list[list[int]], capfd: pytest.CaptureFixture[str]
) -> None:
    above = np.stack(np.meshgrid(np.linspace(0, 1, 21), np.linspace(0, 1, 21), [0.03]), axis=-1).reshape(-1, 3)
    write_bytes(tmp_path / "a.ply", *encode_ply(PointCloud(above.astype(np.float32))))
    write_square(tmp_path / "scan.ply", kind, faces, SQUARE if faces else above - (0, 0, 0.03))
    assert main(["compare", str(tmp_path / "a.ply"), str(tmp_path / "scan.ply"), "--json"]) == 0
    output = capfd.readouterr()
    assert json.loads(output.out)["accuracy"] == pytest.approx(0.03, abs=1e-3)
    assert output.err == ""


@pytest.mark.parametrize("encoding", ["ascii", "binary"])
def test_a_mesh_of_trimesh_is_sampled(tmp_path: Path, encoding: str) -> None:
    trimesh.creation.icosphere(4).export(tmp_path / "ball.ply", encoding=encoding)
    assert np.abs(np.linalg.norm(read_points(tmp_path / "ball.ply").points, axis=1) - 1).max() < 0.01


@pytest.mark.parametrize("kind", KINDS)
def test_a_mesh_with_a_corner_that_does_not_exist_is_refused(tmp_path: Path, kind: str) -> None:
    write_square(tmp_path / "bad.ply", kind, [[0, 1, 2], [0, 2, 4]])
    with pytest.raises(OutputError, match=r"bad\.ply: .*faces") as caught:
        read_points(tmp_path / "bad.ply")
    assert "save it again" in caught.value.hint


@pytest.mark.parametrize("kind", KINDS)
def test_a_mesh_whose_faces_are_truncated_is_refused(tmp_path: Path, kind: str) -> None:
    write_square(tmp_path / "cut.ply", kind, [[0, 1, 2], [0, 2, 3]])
    content = (tmp_path / "cut.ply").read_bytes()
    (tmp_path / "cut.ply").write_bytes(content[:-5])
    with pytest.raises(OutputError, match=r"cut\.ply: .*(faces|truncated)"):
        read_points(tmp_path / "cut.ply")


def test_unknown_points_of_an_organised_scan_are_left_out(tmp_path: Path) -> None:
    write_square(tmp_path / "nan.ply", "ascii", [], np.vstack([SQUARE, [[np.nan] * 3]]))
    assert len(read_points(tmp_path / "nan.ply")) == 4


def test_an_empty_cloud_and_impossible_thresholds_are_refused(tmp_path: Path) -> None:
    write_bytes(tmp_path / "empty.ply", *encode_ply(PointCloud(np.zeros((0, 3), np.float32))))
    with pytest.raises(OutputError, match="no points"):
        read_points(tmp_path / "empty.ply")
    with pytest.raises(UsageError, match="thresholds"):
        compare(PointCloud(corner()), PointCloud(corner()), (0.0,), CloudAlignment.NONE)
