"""Point clouds: exact geometry, edges that go and planes that stay, axes that turn."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from m3d_cli.camera import Camera
from m3d_cli.depthmap import DepthMap
from m3d_cli.errors import UsageError
from m3d_cli.pointcloud import Axes, CloudFilter, PointCloud, edges

ALL = CloudFilter(edges=False)


def plane_depth(camera, normal, offset):
    """Exact z of the plane normal . X = offset, NaN where the ray misses it."""
    z = offset / (camera.rays() @ np.asarray(normal, dtype=np.float32))
    return np.where(z > 0, z, np.nan).astype(np.float32)


def test_points_lie_on_the_plane_the_depth_was_made_from():
    camera = Camera(64, 48, 50.0, 52.0, 30.0, 25.0)
    normal = np.array([0.2, -0.3, 0.9])
    cloud = PointCloud.from_depth(DepthMap(plane_depth(camera, normal, 2.0), camera), choice=ALL)
    assert len(cloud) == 64 * 48
    np.testing.assert_allclose(cloud.points @ normal, 2.0, atol=1e-5)


def test_a_point_projects_back_onto_its_pixel_and_keeps_its_colour():
    camera = Camera(8, 6, 9.0, 9.5, 3.7, 3.1)
    rng = np.random.default_rng(0)
    depth = rng.uniform(1, 3, (6, 8)).astype(np.float32)
    depth[2, 5] = np.nan
    image = rng.integers(0, 255, (6, 8, 3), dtype=np.uint8)
    cloud = PointCloud.from_depth(DepthMap(depth, camera), image, ALL)
    pixels = camera.project(cloud.points.astype(np.float64)) - 0.5
    columns, rows = np.rint(pixels).astype(int).T
    np.testing.assert_allclose(pixels, np.stack([columns, rows], axis=1), atol=1e-4)
    np.testing.assert_array_equal(cloud.colours, image[rows, columns])
    assert (5, 2) not in set(zip(columns.tolist(), rows.tolist(), strict=True))


def test_stride_depth_and_confidence_choose_pixels():
    camera = Camera.centred(9, 9, 9.0)
    depth = np.full((9, 9), 2.0, dtype=np.float32)
    depth[:, 5:] = 7.0
    confidence = np.linspace(0, 1, 81, dtype=np.float32).reshape(9, 9)
    whole = DepthMap(depth, camera, confidence)
    assert len(PointCloud.from_depth(whole, choice=CloudFilter(edges=False, stride=3))) == 9
    assert len(PointCloud.from_depth(whole, choice=CloudFilter(edges=False, max_depth=5))) == 45
    sure = PointCloud.from_depth(whole, choice=CloudFilter(edges=False, min_confidence=0.5))
    assert sure.confidence.min() >= 0.5
    with pytest.raises(UsageError, match="needs depth with a confidence"):
        PointCloud.from_depth(DepthMap(depth, camera), choice=CloudFilter(min_confidence=0.5))
    with pytest.raises(UsageError, match="--stride 0"):
        CloudFilter(stride=0)


@pytest.mark.parametrize("cell", [1, 4])
def test_a_road_seen_at_a_grazing_angle_has_no_edges(cell):
    camera = Camera.centred(200, 150, 180.0)
    road = plane_depth(camera, [0.02, 1.0, 0.0], 1.6)
    road[road > 80] = np.nan
    assert not edges(road, cell)[2:].any()


@pytest.mark.parametrize("cell", [1, 4, 7])
def test_the_smear_between_near_and_far_is_an_edge_and_the_rest_is_not(cell):
    size = (40 * cell, 30 * cell)
    small = np.full((30, 40), 5.0, dtype=np.float32)
    small[8:20, 10:25] = 2.0
    depth = cv2.resize(small, size, interpolation=cv2.INTER_LINEAR)
    found = edges(depth, cell)
    outline = cv2.morphologyEx((small < 3).astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((3, 3)))
    smeared = (depth > 2.15) & (depth < 4.7) if cell > 1 else outline > 0
    assert found[smeared].mean() > 0.97
    clear = cv2.dilate(smeared.astype(np.uint8), np.ones((4 * cell + 1,) * 2)) == 0
    assert clear.mean() > 0.4
    assert not found[clear].any()


def test_two_walls_that_meet_in_a_corner_have_no_edge():
    camera = Camera.centred(160, 120, 150.0)
    corner = np.fmin(plane_depth(camera, [1, 0, 1], 4.0), plane_depth(camera, [-1, 0, 1], 4.0))
    assert not edges(corner).any()


def test_unknown_pixels_are_no_edges_and_tiny_maps_work():
    depth = np.full((40, 40), 3.0, dtype=np.float32)
    depth[10:20] = np.nan
    assert not edges(depth).any()
    for shape in ((1, 1), (2, 9), (5, 1)):
        assert not edges(np.ones(shape, dtype=np.float32), 3).any()


@pytest.mark.parametrize("axes", list(Axes))
def test_axes_turn_up_and_forward_where_they_say_and_back_again(axes):
    up, forward = np.array([[0, -1, 0], [0, 0, 1]], dtype=np.float32)
    cloud = PointCloud(np.stack([up, forward]), normals=np.stack([up, forward]))
    turned = cloud.turned(axes)
    wanted = {
        Axes.OPENCV: [[0, -1, 0], [0, 0, 1]],
        Axes.OPENGL: [[0, 1, 0], [0, 0, -1]],
        Axes.Z_UP: [[0, 0, 1], [0, 1, 0]],
    }[axes]
    np.testing.assert_array_equal(turned.points, wanted)
    np.testing.assert_array_equal(turned.normals, wanted)
    np.testing.assert_array_equal(turned.turned(Axes.OPENCV).points, cloud.points)


def test_thinning_leaves_one_average_point_a_cube():
    rng = np.random.default_rng(1)
    cubes = rng.integers(0, 5, (4000, 3))
    points = (cubes + rng.uniform(0.05, 0.95, (4000, 3))).astype(np.float32) * 0.5
    grey = np.full((4000, 3), 77, dtype=np.uint8)
    normals = np.tile(np.array([0, 0, -1], dtype=np.float32), (4000, 1))
    sure = np.full(4000, 0.25, dtype=np.float32)
    thin = PointCloud(points, grey, normals, sure, Axes.Z_UP).thinned(0.5)
    assert len(thin) == 125
    assert thin.axes is Axes.Z_UP
    np.testing.assert_array_equal(thin.colours, 77)
    np.testing.assert_allclose(thin.normals, [[0, 0, -1]] * 125, atol=1e-6)
    np.testing.assert_allclose(thin.confidence, 0.25)
    first = np.lexsort((points // 0.5).T)
    assert np.isclose(thin.points, points[first[: np.sum((cubes == cubes[first[0]]).all(axis=1))]].mean(axis=0)).any()
    with pytest.raises(UsageError, match="--voxel -1"):
        PointCloud(points).thinned(-1)


def test_a_lone_point_far_from_all_others_is_an_outlier():
    rng = np.random.default_rng(2)
    points = rng.normal(0, 0.1, (500, 3)).astype(np.float32)
    points[137] = 9
    clean = PointCloud(points, np.arange(1500).reshape(500, 3).astype(np.uint8)).without_outliers()
    assert 400 < len(clean) < 500
    assert np.abs(clean.points).max() < 1
    assert len(clean.colours) == len(clean)
