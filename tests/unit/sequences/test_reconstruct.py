"""Fusion of exact and of wrong depth: the surface is where the room is, and scales of frames are found."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from m3d_cli.camera import Camera
from m3d_cli.depthmap import DepthMap
from m3d_cli.errors import DatasetError, M3dError, UsageError
from m3d_cli.formats.surface import Surface, encode_surface
from m3d_cli.pointcloud import PointCloud
from m3d_cli.sequences import fusion as fuse
from m3d_cli.sequences.frames import SequenceFrame, View
from m3d_cli.sequences.fusion import Fusion, FusionOptions
from m3d_cli.sequences.poses import PosedFrames
from m3d_cli.sequences.reconstruct import reconstruct

CAMERA = Camera.centred(80, 60, 60)
OPTIONS = FusionOptions(voxel=0.06, max_depth=6.0)


def posed(room, factors: np.ndarray) -> PosedFrames:
    walk = room.walk(len(factors), 3.0)

    def read(index: int) -> View:
        image, depth = room.look(CAMERA, walk.poses[index])
        return View(DepthMap((depth * factors[index]).astype(np.float32), CAMERA), image)

    frames = tuple(SequenceFrame(f"{i}", None, partial(read, i)) for i in range(len(factors)))
    return PosedFrames(frames, walk, "by order", 0)


def off_the_room(points: np.ndarray, room) -> np.ndarray:
    """Metres from each point to the nearest wall, floor, ceiling or box."""
    low, high = room.walls
    distance = np.minimum(np.abs(points - low), np.abs(points - high)).min(axis=1)
    for low, high in room.boxes:
        outside = np.maximum(np.maximum(low - points, points - high), 0)
        inside = np.minimum(points - low, high - points).min(axis=1)
        to_box = np.where(inside > 0, inside, np.linalg.norm(outside, axis=1))
        distance = np.minimum(distance, to_box)
    return distance


def test_exact_depth_gives_the_room_with_its_colours(room) -> None:
    seen = posed(room, np.ones(10))
    scene = reconstruct(seen, OPTIONS, 640, refine=False)
    corners = scene.surface.corners
    distance = off_the_room(corners.points.astype(np.float64), room)
    assert np.median(distance) < 0.01
    assert np.percentile(distance, 95) < 0.05
    assert scene.frames == 10
    assert corners.colours is not None
    painted = room._paint(corners.points.astype(np.float64)).astype(float)
    assert np.median(np.abs(corners.colours - painted)) < 25
    # The room is seen from inside: normals point at the middle.
    assert corners.normals is not None
    walls = corners.points[:, 2] > 2.4
    assert (corners.normals[walls, 2] < 0).mean() > 0.9


def test_refinement_finds_the_scale_of_each_frame(room) -> None:
    rng = np.random.default_rng(1)
    factors = np.exp(rng.normal(scale=0.06, size=10))
    seen = posed(room, factors)
    scene = reconstruct(seen, OPTIONS, 640, refine=True)
    before, after = factors.std(), (factors * scene.scales).std()
    assert after < before / 3


def test_doubted_pixels_and_far_ones_do_not_count(room) -> None:
    image, depth = room.look(CAMERA, np.eye(4))
    fusion = Fusion(FusionOptions(voxel=0.05, max_depth=6.0, min_confidence=0.5, edges=False))
    confidence = np.zeros_like(depth)
    assert fusion.add(View(DepthMap(depth, CAMERA, confidence), image), np.eye(4)) == 0
    confidence[:30] = 1
    assert fusion.add(View(DepthMap(depth, CAMERA, confidence), image), np.eye(4)) == 30 * 80
    near = Fusion(FusionOptions(voxel=0.05, max_depth=0.5))
    assert near.add(View(DepthMap(depth, CAMERA), image), np.eye(4)) == 0


def test_near_depth_outweighs_far_depth() -> None:
    fusion = Fusion(FusionOptions(voxel=0.05, fewest_views=1, edges=False))
    pose_back = np.eye(4)
    pose_back[2, 3] = -2
    plane = np.full((60, 80), 1.0, np.float32)
    fusion.add(View(DepthMap(plane, CAMERA)), np.eye(4))
    fusion.add(View(DepthMap(plane * 3.1, CAMERA)), pose_back)
    points = fusion.surface().corners.points
    z = float(np.median(points[(np.abs(points[:, :2]) < 0.3).all(axis=1), 2]))
    # Weights 1 and 1 / 3.1^2.
    assert z == pytest.approx((1 + 1.1 / 3.1**2) / (1 + 1 / 3.1**2), abs=0.01)


def test_nothing_in_common_is_told(room) -> None:
    with pytest.raises(DatasetError, match="seen by 5 of 2 frames"):
        reconstruct(posed(room, np.ones(2)), FusionOptions(voxel=0.05, fewest_views=5), 640, refine=False)


def test_too_fine_a_grid_is_refused_before_memory_is_full(room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuse, "MOST_BLOCKS", 100)
    with pytest.raises(M3dError, match="more than 100 blocks"):
        reconstruct(posed(room, np.ones(4)), OPTIONS, 640, refine=False)


def test_impossible_options_are_refused() -> None:
    with pytest.raises(UsageError, match="--max-depth"):
        FusionOptions(max_depth=-1)


def test_a_surface_does_not_depend_on_the_order_in_which_threads_made_it(room) -> None:
    surface = reconstruct(posed(room, np.ones(3)), OPTIONS, 640, refine=False).surface
    rng = np.random.default_rng(0)
    corners, place = surface.corners, rng.permutation(len(surface.corners))
    mixed = np.argsort(place)[surface.triangles].astype(np.int32)
    mixed = np.roll(mixed[rng.permutation(len(mixed))], 1, axis=1)
    assert corners.colours is not None
    assert corners.normals is not None
    cloud = PointCloud(corners.points[place], corners.colours[place], corners.normals[place])
    again = fuse.in_order(Surface(cloud, mixed))
    assert encode_surface(again) == encode_surface(surface)


def test_equal_corners_become_one_and_triangles_of_no_area_go() -> None:
    points = np.array([[1, 0, 0], [0, 0, 0], [0, 1, 0], [1, 0, 0]], np.float32)
    normals = np.full((4, 3), np.nan, np.float32)
    found = fuse.in_order(Surface(PointCloud(points, None, normals), np.array([[3, 2, 1], [0, 3, 2]], np.int32)))
    assert found.corners.points.tolist() == [[0, 0, 0], [0, 1, 0], [1, 0, 0]]
    assert found.triangles.tolist() == [[0, 2, 1]]


def test_reconstructing_twice_gives_the_same_bytes(room) -> None:
    seen = posed(room, np.linspace(0.97, 1.03, 5))
    first, second = (reconstruct(seen, OPTIONS, 640, refine=True).surface for _ in range(2))
    assert encode_surface(first) == encode_surface(second)
