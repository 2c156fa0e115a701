"""Files of points: what is written is what three readers read, and damaged files are refused by name."""

from __future__ import annotations

import itertools

import numpy as np
import plyfile
import pytest
import trimesh
from hypothesis import given
from hypothesis import strategies as st

from m3d_cli.errors import OutputError
from m3d_cli.formats.ply import decode_ply, encode_pcd, encode_ply, encode_xyz, read_ply
from m3d_cli.open3d_import import load_open3d
from m3d_cli.pointcloud import Axes, PointCloud


def cloud(count=50, axes=Axes.OPENCV, colours=True, normals=True, confidence=True):
    rng = np.random.default_rng(count)
    n = rng.normal(size=(count, 3)).astype(np.float32)
    return PointCloud(
        rng.normal(size=(count, 3)).astype(np.float32),
        rng.integers(0, 256, (count, 3), dtype=np.uint8) if colours else None,
        n / np.linalg.norm(n, axis=1, keepdims=True) if normals else None,
        rng.uniform(size=count).astype(np.float32) if confidence else None,
        axes,
    )


def written(tmp_path, name, pieces):
    path = tmp_path / name
    path.write_bytes(b"".join(pieces))
    return path


@pytest.mark.parametrize("extras", list(itertools.product([True, False], repeat=3)))
@pytest.mark.parametrize("axes", list(Axes))
def test_ply_comes_back_bit_for_bit(tmp_path, axes, extras):
    wanted = cloud(50, axes, *extras)
    found = read_ply(written(tmp_path, "c.ply", encode_ply(wanted)))
    assert found.axes is axes
    for name in ("points", "colours", "normals", "confidence"):
        np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name))


def test_other_readers_see_the_same_points_and_colours(tmp_path):
    wanted = cloud()
    path = written(tmp_path, "c.ply", encode_ply(wanted, ["camera fx 1 fy 2\nend_header", "ünïcode"]))
    by_plyfile = plyfile.PlyData.read(path)
    table = by_plyfile["vertex"]
    np.testing.assert_array_equal(np.stack([table[axis] for axis in "xyz"], axis=1), wanted.points)
    np.testing.assert_array_equal(table["confidence"], wanted.confidence)
    assert "unit metre" in by_plyfile.comments
    assert "camera fx 1 fy 2 end header" in by_plyfile.comments
    by_open3d = load_open3d().io.read_point_cloud(str(path))
    np.testing.assert_allclose(np.asarray(by_open3d.points), wanted.points)
    np.testing.assert_allclose(np.asarray(by_open3d.colors), wanted.colours / 255)
    np.testing.assert_allclose(np.asarray(by_open3d.normals), wanted.normals)
    by_trimesh = trimesh.load(path)
    np.testing.assert_allclose(by_trimesh.vertices, wanted.points)
    np.testing.assert_array_equal(by_trimesh.colors[:, :3], wanted.colours)


def test_pcd_is_read_by_open3d(tmp_path):
    wanted = cloud()
    found = load_open3d().io.read_point_cloud(str(written(tmp_path, "c.pcd", encode_pcd(wanted))))
    np.testing.assert_allclose(np.asarray(found.points), wanted.points)
    np.testing.assert_allclose(np.asarray(found.colors), wanted.colours / 255)
    np.testing.assert_allclose(np.asarray(found.normals), wanted.normals)


@pytest.mark.parametrize("colours", [True, False])
def test_xyz_holds_tenths_of_a_millimetre(tmp_path, colours):
    wanted = cloud(250_001 if colours else 20, colours=colours)
    path = tmp_path / "c.xyz"
    path.write_bytes(encode_xyz(wanted))
    table = np.loadtxt(path, ndmin=2)
    np.testing.assert_allclose(table[:, :3], wanted.points, atol=5.1e-5)
    if colours:
        np.testing.assert_array_equal(table[:, 3:], wanted.colours)


def test_a_cloud_of_nothing_is_a_valid_file(tmp_path):
    empty = cloud(3).chosen(np.zeros(3, dtype=bool))
    found = read_ply(written(tmp_path, "e.ply", encode_ply(empty)))
    assert len(found) == 0
    assert encode_xyz(empty) == b""
    assert len(plyfile.PlyData.read(tmp_path / "e.ply")["vertex"].data) == 0
    assert b"POINTS 0" in b"".join(encode_pcd(empty))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"ply\n", b"plx\n", "not a PLY"),
        (b"element vertex 50", b"element vertex 51", "cut short"),
        (b"element vertex 50", b"element vertex -5", "does not describe"),
        (b"element vertex 50", b"element face 50", "cut short or damaged"),
        (b"property float x", b"property list x", "cannot be read"),
        (b"property float x", b"property float q", "no x, y and z"),
        (b"property float x", b"property float y", "does not describe"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_with_its_name(tmp_path, old, new, message):
    data = b"".join(encode_ply(cloud()))
    assert old in data
    path = written(tmp_path, "bad.ply", [data.replace(old, new, 1)])
    with pytest.raises(OutputError, match=rf"bad\.ply: .*{message}"):
        read_ply(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(OutputError, match=r"none\.ply: cannot be read"):
        read_ply(tmp_path / "none.ply")


@given(st.data())
def test_mutated_files_give_points_or_an_error(data):
    content = bytearray(b"".join(encode_ply(cloud(5))))
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(content)))
    for mutated in (bytes(content), bytes(content[:cut])):
        try:
            found = decode_ply(mutated, "m")
        except OutputError:
            continue
        assert found.points.shape == (len(found), 3)


@pytest.mark.parametrize(("text", "order"), [(True, "="), (False, ">"), (False, "<")])
@pytest.mark.parametrize("kind", ["f4", "f8"])
def test_points_of_other_tools_are_read(tmp_path, text, order, kind):
    wanted = cloud()
    fields = [(name, kind) for name in ("x", "y", "z")] + [("scalar_quality", "f4")]
    fields += [(name, "u1") for name in ("red", "green", "blue")]
    table = np.zeros(len(wanted), dtype=fields)
    for column, name in enumerate("xyz"):
        table[name] = wanted.points[:, column]
    for column, name in enumerate(("red", "green", "blue")):
        table[name] = wanted.colours[:, column]
    path = tmp_path / "scan.ply"
    plyfile.PlyData([plyfile.PlyElement.describe(table, "vertex")], text=text, byte_order=order).write(path)
    found = read_ply(path)
    np.testing.assert_allclose(found.points, wanted.points, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(found.colours, wanted.colours)


@pytest.mark.parametrize("encoding", ["ascii", "binary"])
def test_the_vertices_of_another_tools_mesh_are_read(tmp_path, encoding):
    box = trimesh.creation.box()
    path = tmp_path / "box.ply"
    path.write_bytes(trimesh.exchange.ply.export_ply(box, encoding=encoding))
    assert sorted(map(tuple, read_ply(path).points)) == sorted(map(tuple, box.vertices.astype(np.float32)))


@pytest.mark.parametrize("count", [10**11, 3, 1])
def test_a_text_file_that_announces_other_than_it_holds_is_refused(tmp_path, count, capfd):
    head = f"ply\nformat ascii 1.0\nelement vertex {count}\nproperty float x\nproperty float y\nproperty float z\n"
    path = tmp_path / "short.ply"
    path.write_text(f"{head}end_header\n0 0 0\n{'x y z' if count == 1 else '1 1 1'}\n"[: -12 if count == 1 else None])
    with pytest.raises(OutputError, match=r"short\.ply"):
        read_ply(path)
    assert capfd.readouterr().out == ""
