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
from m3d_cli.formats.ply import encode_pcd, encode_ply, encode_xyz, read_ply
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


def by_another_tool(path, text, order, faces=(), columns=("f8", "f4"), faces_first=False):
    """Ten points with an unknown property, and triangles, as plyfile writes them; returns their places."""
    places = np.random.default_rng(7).normal(size=(10, 3))
    position, extra = columns
    table = np.zeros(10, dtype=[(axis, position) for axis in "xyz"] + [("intensity", extra)] + COLOURS)
    for axis, values in zip("xyz", places.T, strict=True):
        table[axis] = values
    table["red"], table["blue"] = 255, np.arange(10)
    elements = [plyfile.PlyElement.describe(table, "vertex")]
    if faces:
        rows = np.array([(list(face),) for face in faces], dtype=[("vertex_indices", "O")])
        types = {"len_types": {"vertex_indices": "u1"}, "val_types": {"vertex_indices": "i4"}}
        elements.append(plyfile.PlyElement.describe(rows, "face", **types))
    plyfile.PlyData(
        elements[::-1] if faces_first else elements, text=text, byte_order=order, comments=["by a scanner"]
    ).write(path)
    return places


COLOURS = [("red", "u1"), ("green", "u1"), ("blue", "u1")]
KINDS = {"ascii": (True, "="), "little-endian": (False, "<"), "big-endian": (False, ">")}


@pytest.mark.parametrize("faces", [(), ((0, 1, 2), (2, 3, 4, 5))], ids=["points", "mesh"])
@pytest.mark.parametrize("kind", KINDS)
def test_files_of_other_tools_are_read(tmp_path, kind, faces):
    places = by_another_tool(tmp_path / "scan.ply", *KINDS[kind], faces)
    found = read_ply(tmp_path / "scan.ply")
    np.testing.assert_allclose(found.points, places, rtol=1e-6)
    assert found.points.dtype == np.float32
    np.testing.assert_array_equal(found.colours[:, 0], 255)
    np.testing.assert_array_equal(found.colours[:, 2], np.arange(10))
    assert found.axes is Axes.OPENCV
    assert found.normals is None
    assert found.confidence is None


@pytest.mark.parametrize("encoding", ["ascii", "binary_little_endian"])
def test_a_mesh_of_trimesh_is_read(tmp_path, encoding):
    mesh = trimesh.creation.icosphere(2)
    mesh.export(tmp_path / "ball.ply", encoding="ascii" if encoding == "ascii" else "binary")
    np.testing.assert_allclose(read_ply(tmp_path / "ball.ply").points, mesh.vertices, atol=1e-6)


@pytest.mark.parametrize("write_ascii", [True, False])
def test_a_cloud_of_open3d_is_read(tmp_path, write_ascii):
    o3d = load_open3d()
    points = cloud()
    made = o3d.geometry.PointCloud(o3d.utility.Vector3dVector(points.points.astype(float)))
    made.colors = o3d.utility.Vector3dVector(points.colours / 255)
    made.normals = o3d.utility.Vector3dVector(points.normals.astype(float))
    assert o3d.io.write_point_cloud(str(tmp_path / "o.ply"), made, write_ascii=write_ascii)
    found = read_ply(tmp_path / "o.ply")
    np.testing.assert_allclose(found.points, points.points, rtol=1e-5)
    np.testing.assert_allclose(found.normals, points.normals, atol=1e-5)
    np.testing.assert_array_equal(found.colours, points.colours)


def test_lines_may_end_as_on_windows(tmp_path):
    path = tmp_path / "w.ply"
    header = "ply\r\nformat ascii 1.0\r\ncomment made\r\nelement vertex 2\r\n"
    header += "property float x\r\nproperty float y\r\nproperty float z\r\nend_header\r\n"
    path.write_bytes((header + "1 2 3\r\n4 5 6").encode())
    np.testing.assert_array_equal(read_ply(path).points, [[1, 2, 3], [4, 5, 6]])


@pytest.mark.parametrize(("kind", "values"), [("f4", (1.0, 0.5, 0.0)), ("u2", (65535, 32768, 0))])
def test_colours_of_other_types_become_bytes(tmp_path, kind, values):
    table = np.array([(1, 2, 3, *values)], dtype=[(n, "f4") for n in "xyz"] + [(n, kind) for n, _ in COLOURS])
    plyfile.PlyData([plyfile.PlyElement.describe(table, "vertex")]).write(tmp_path / "c.ply")
    np.testing.assert_array_equal(read_ply(tmp_path / "c.ply").colours, [[255, 128, 0]])


def test_elements_of_fixed_size_may_stand_before_the_points(tmp_path):
    for text in (True, False):
        table = np.array([(1, 2, 3)], dtype=[(axis, "f4") for axis in "xyz"])
        view = np.array([(7, 8), (9, 10)], dtype=[("width", "i4"), ("height", "f8")])
        elements = [plyfile.PlyElement.describe(view, "camera"), plyfile.PlyElement.describe(table, "vertex")]
        plyfile.PlyData(elements, text=text, byte_order="<").write(tmp_path / "v.ply")
        np.testing.assert_array_equal(read_ply(tmp_path / "v.ply").points, [[1, 2, 3]])


def test_coordinates_that_single_precision_cannot_hold_are_refused(tmp_path):
    table = np.array([(456789.123, 5678901.234, 3)], dtype=[(axis, "f8") for axis in "xyz"])
    plyfile.PlyData([plyfile.PlyElement.describe(table, "vertex")]).write(tmp_path / "utm.ply")
    with pytest.raises(OutputError, match=r"utm\.ply: coordinates as large as 5\.68e\+06 m") as caught:
        read_ply(tmp_path / "utm.ply")
    assert "origin" in caught.value.hint


def test_faces_before_points_are_refused_with_the_way_out(tmp_path):
    by_another_tool(tmp_path / "f.ply", False, "<", ((0, 1, 2),), faces_first=True)
    with pytest.raises(OutputError, match=r"f\.ply: its points stand behind lists") as caught:
        read_ply(tmp_path / "f.ply")
    assert "vertices first" in caught.value.hint


@pytest.mark.parametrize("kind", KINDS)
def test_truncated_files_of_other_tools_are_refused(tmp_path, kind):
    path = tmp_path / "t.ply"
    by_another_tool(path, *KINDS[kind])
    data = path.read_bytes()
    for cut in (1, 40, 200) if kind != "ascii" else (40, 200):
        path.write_bytes(data[:-cut])
        with pytest.raises(OutputError, match=r"t\.ply: .*(truncated|damaged)"):
            read_ply(path)


def test_text_that_is_no_number_is_refused(tmp_path):
    path = tmp_path / "n.ply"
    by_another_tool(path, True, "=")
    path.write_bytes(path.read_bytes().replace(b"255", b"red", 1))
    with pytest.raises(OutputError, match=r"n\.ply: its points are damaged"):
        read_ply(path)


@pytest.mark.parametrize("format_", ["ascii", "binary_little_endian", "binary_big_endian"])
@pytest.mark.parametrize("element", ["vertex 1000000000000", "vertex 1\nelement face 1000000000000"])
def test_counts_that_no_file_holds_allocate_nothing(tmp_path, format_, element):
    header = f"ply\nformat {format_} 1.0\nelement {element}\nproperty float x\nend_header\n"
    (tmp_path / "h.ply").write_bytes(header.encode() + b"0 0 0 0 0")
    with pytest.raises(OutputError, match=r"h\.ply: "):
        read_ply(tmp_path / "h.ply")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"ply\n", b"plx\n", "not a PLY"),
        (b"binary_little_endian", b"ascii", "damaged"),
        (b"binary_little_endian", b"binary", "unknown format"),
        (b"element vertex 50", b"element vertex 51", "truncated"),
        (b"element vertex 50", b"element vertex -5", "not understood"),
        (b"element vertex 50", b"element face 50", "does not describe"),
        (b"property float x", b"property list x", "is not understood"),
        (b"property float x", b"property list uchar float x", "behind lists"),
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
def test_mutated_files_give_points_or_an_error(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "mutated.ply"
    content = bytearray(b"".join(encode_ply(cloud(5))))
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(content)))
    for mutated in (bytes(content), bytes(content[:cut])):
        path.write_bytes(mutated)
        try:
            found = read_ply(path)
        except OutputError:
            continue
        assert found.points.shape == (len(found), 3)
