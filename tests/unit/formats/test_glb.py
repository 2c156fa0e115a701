"""The mesh: metres in glTF's axes, cut at edges, its texture in place, opened by two other readers."""

from __future__ import annotations

import io

import numpy as np
import trimesh

from m3d_cli.camera import Camera
from m3d_cli.depthmap import DepthMap
from m3d_cli.formats.glb import Mesh, encode_glb
from m3d_cli.open3d_import import load_open3d
from m3d_cli.pointcloud import CloudFilter

ALL = CloudFilter(edges=False)


def wall(width=40, height=30, z=2.0):
    camera = Camera(width, height, 35.0, 35.0, 18.0, 16.0)
    return DepthMap(np.full((height, width), z, dtype=np.float32), camera)


def picture(width=40, height=30):
    image = np.zeros((height, width, 3), dtype=np.uint8)
    image[: height // 2, : width // 2] = (250, 0, 0)
    image[height // 2 :, width // 2 :] = (0, 0, 250)
    return image


def test_a_wall_has_its_true_area_and_faces_the_camera(tmp_path):
    mesh = Mesh.from_depth(wall(), ALL)
    path = tmp_path / "wall.glb"
    path.write_bytes(encode_glb(mesh, picture(), {"camera": "fx 35"}))
    found = trimesh.load(path, force="mesh")
    np.testing.assert_allclose(found.area, 39 * 29 * (2 / 35) ** 2, rtol=1e-4)
    np.testing.assert_allclose(found.face_normals.mean(axis=0), [0, 0, 1], atol=1e-6)  # z points back to the camera
    np.testing.assert_allclose(found.vertices[:, 2], -2)
    top = found.vertices[:, 1].argmax()
    assert found.visual.uv[top, 1] > 0.9  # trimesh turns v upside up


def test_open3d_opens_it_too(tmp_path):
    path = tmp_path / "wall.glb"
    path.write_bytes(encode_glb(Mesh.from_depth(wall(), ALL), picture()))
    found = load_open3d().io.read_triangle_mesh(str(path))
    assert len(found.triangles) == 2 * 39 * 29


def test_the_texture_is_the_photo_with_its_corners_in_place():
    scene = trimesh.load(io.BytesIO(encode_glb(Mesh.from_depth(wall(), ALL), picture())), file_type="glb")
    (geometry,) = scene.geometry.values()
    texture = np.asarray(geometry.visual.material.baseColorTexture)
    assert texture.shape[:2] == (30, 40)
    left_top = np.abs(geometry.vertices - [-18 / 35 * 2, 16 / 35 * 2, -2]).sum(axis=1).argmin()
    u, v = geometry.visual.uv[left_top]
    pixel = texture[int((1 - v) * 30), int(u * 40)]
    assert pixel[0] > 200
    assert pixel[2] < 60


def test_nothing_joins_what_is_far_apart_or_unknown():
    depth = wall()
    values = depth.depth.copy()
    values[:, 20:] = 6.0
    values[10, 5] = np.nan
    mesh = Mesh.from_depth(DepthMap(values, depth.camera), ALL)
    assert len(mesh.vertices) == 40 * 30 - 1
    z = mesh.vertices[mesh.triangles][..., 2]
    assert (np.ptp(z, axis=1) < 0.1).all()
    assert len(mesh.triangles) == 2 * 38 * 29 - 6


def test_large_maps_are_thinned_and_empty_ones_are_still_files():
    big = wall(1600, 1200)
    mesh = Mesh.from_depth(big, ALL)
    assert 200_000 < len(mesh.vertices) <= 1_000_000
    nothing = DepthMap(np.full((4, 5), np.nan, dtype=np.float32), Camera.centred(5, 4, 5.0))
    data = encode_glb(Mesh.from_depth(nothing, ALL), None)
    assert trimesh.load(io.BytesIO(data), file_type="glb").is_empty
