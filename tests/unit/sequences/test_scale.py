"""The scale of trajectories without one: noise, outliers on one side, drift and jumps."""

from __future__ import annotations

import numpy as np
import pytest

from m3d_cli.camera import Camera
from m3d_cli.depthmap import DepthMap
from m3d_cli.errors import PoseError
from m3d_cli.formats.colmap import ColmapCamera, ColmapImage, ColmapModel, ColmapPoints
from m3d_cli.sequences.colmap_scale import metric_model
from m3d_cli.sequences.frames import SequenceFrame, View
from m3d_cli.sequences.scale import (
    constant_scale,
    drifting_scale,
    find_jumps,
    frame_scales,
    rescaled,
    robust_mean,
)
from m3d_cli.sequences.scale_observations import log_ratios, ratios_of_corners, triangulated
from m3d_cli.trajectory import Trajectory, inverse

CAMERA = Camera.centred(80, 60, 65)


def spoilt(depth: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Depth with 8 % noise of every pixel, and one in five far too deep."""
    noisy = depth * np.exp(rng.normal(scale=0.08, size=depth.shape))
    return np.where(rng.random(depth.shape) < 0.2, noisy * rng.uniform(1.3, 3, depth.shape), noisy).astype(np.float32)


def shrunk(walk: Trajectory, scale: np.ndarray) -> Trajectory:
    """The walk as a tracker without scale would give it: metres of a step divided by the scale there."""
    local = np.sqrt(scale[:-1] * scale[1:])
    steps = np.diff(walk.positions, axis=0) / local[:, None]
    return walk.with_positions(np.concatenate([walk.positions[:1] / scale[0], steps]).cumsum(axis=0))


def test_a_drifting_scale_is_found_within_one_per_cent(room) -> None:
    rng = np.random.default_rng(0)
    walk = room.walk(300)
    scale = np.geomspace(0.37, 0.52, 300)
    track = shrunk(walk, scale)
    ratios = []
    for pose, mine, unit in zip(walk.poses, track.poses, scale, strict=True):
        depth = room.depth(CAMERA, pose)
        pixels = rng.uniform((0, 0), (80, 60), (150, 2))
        truth = depth[pixels[:, 1].astype(int), pixels[:, 0].astype(int)].astype(np.float64)
        centres = np.floor(pixels) + 0.5
        # What the tracker thinks of the points: in its own unit, seen from its own pose.
        points = CAMERA.unproject(centres, truth / unit) @ mine[:3, :3].T + mine[:3, 3]
        view = View(DepthMap(spoilt(depth, rng), CAMERA), cell=60)  # so coarse a cell that no pixel is an edge
        ratios.append(log_ratios(points, inverse(mine), view))
    found = drifting_scale(frame_scales(ratios), 30)
    np.testing.assert_allclose(found.scale, scale, rtol=0.01)
    assert found.jumps == ()
    metric = rescaled(track, found)
    assert metric.length == pytest.approx(walk.length, rel=0.01)
    np.testing.assert_allclose(metric.positions - metric.positions[0], walk.positions - walk.positions[0], atol=0.03)


def test_outliers_on_one_side_do_not_move_the_mean() -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(scale=0.08, size=4000)
    values[:800] += rng.uniform(0.3, 2, 800)
    assert robust_mean(values).value == pytest.approx(0, abs=0.008)
    assert abs(float(np.median(values))) > 0.02


def test_a_constant_scale_comes_with_its_spread() -> None:
    rng = np.random.default_rng(2)
    ratios = [np.log(0.37) + rng.normal(scale=0.1) + rng.normal(scale=0.05, size=50) for _ in range(200)]
    found = constant_scale(frame_scales(ratios))
    assert found.middle == pytest.approx(0.37, rel=0.02)
    assert found.spread == pytest.approx(0.1, rel=0.2)
    assert found.error == pytest.approx(0.1 / 200**0.5, rel=0.2)


def test_a_jump_is_found_where_it_is_and_not_smoothed_away() -> None:
    rng = np.random.default_rng(3)
    truth = np.where(np.arange(200) < 120, 0.0, 0.3) + np.linspace(0, 0.1, 200)
    ratios = [value + rng.normal(scale=0.03) + rng.normal(scale=0.05, size=40) for value in truth]
    frames = frame_scales(ratios)
    (jump,) = find_jumps(frames, 30)
    assert abs(jump - 120) <= 2
    found = drifting_scale(frames, 30)
    assert np.abs(found.log_scale - truth)[[*range(110), *range(130, 200)]].max() < 0.04


def test_frames_without_points_are_bridged() -> None:
    rng = np.random.default_rng(4)
    ratios = [np.full(0, np.nan) if 20 <= i < 80 else 0.2 + rng.normal(scale=0.01, size=30) for i in range(100)]
    found = drifting_scale(frame_scales(ratios), 10)
    np.testing.assert_allclose(found.log_scale, 0.2, atol=0.02)
    assert found.frames == 40


def test_too_few_points_are_refused() -> None:
    with pytest.raises(PoseError, match="only 1 of 3 frames"):
        frame_scales([np.zeros(10), np.zeros(3), np.full(50, np.nan)])


def test_triangulation_gives_the_depth() -> None:
    rng = np.random.default_rng(5)
    depth = rng.uniform(1, 4, 50)
    points = CAMERA.unproject(rng.uniform((0, 0), (80, 60), (50, 2)), depth)
    pose = np.eye(4)
    pose[:3, 3] = (-0.3, 0.02, 0.05)
    found = triangulated(CAMERA.project(points), CAMERA.project(points + pose[:3, 3]), pose, CAMERA, CAMERA)
    np.testing.assert_allclose(found, depth, rtol=1e-9)
    still = triangulated(CAMERA.project(points), CAMERA.project(points), np.eye(4), CAMERA, CAMERA)
    assert np.isnan(still).all()


def test_poses_and_photos_alone_give_the_scale(room) -> None:
    camera = Camera.centred(200, 150, 160)
    walk = room.walk(24, 0.9)
    track = walk.with_positions(walk.positions / 0.37)

    def frame(pose: np.ndarray) -> SequenceFrame:
        image, depth = room.look(camera, pose)
        return SequenceFrame("", None, lambda: View(DepthMap(depth, camera), image))

    ratios = list(ratios_of_corners([frame(pose) for pose in walk.poses], track, 640))
    found = constant_scale(frame_scales(ratios))
    assert found.middle == pytest.approx(0.37, rel=0.01)


def test_a_colmap_model_moves_with_its_cameras() -> None:
    rng = np.random.default_rng(6)
    points = rng.uniform((-1, -1, 3), (1, 1, 5), (30, 3))
    poses = np.tile(np.eye(4), (4, 1, 1))
    poses[:, 0, 3] = np.arange(4)
    track = Trajectory.counted(poses, [f"{i}.jpg" for i in range(4)])
    seen = np.arange(30)
    images = tuple(
        ColmapImage(i + 1, f"{i}.jpg", 1, inverse(pose), np.zeros((30, 2)), seen) for i, pose in enumerate(poses)
    )
    model = ColmapModel(
        (ColmapCamera(1, "SIMPLE_PINHOLE", 80, 60, (65.0, 40.0, 30.0)),),
        images,
        ColmapPoints(seen, points, np.zeros((30, 3), np.uint8), np.zeros(30)),
    )
    scale = constant_scale(frame_scales([np.full(20, np.log(2.0))] * 4))
    metric = rescaled(track, scale)
    moved = metric_model(model, ["0.jpg", "1.jpg", "2.jpg"], metric.chosen(np.arange(3)), scale_of(scale, 3))
    np.testing.assert_allclose(moved.points.positions, 2 * points)
    np.testing.assert_allclose(inverse(moved.images[2].camera_from_world)[:3, 3], [4, 0, 0])


def scale_of(scale, count: int):
    import dataclasses

    return dataclasses.replace(scale, log_scale=scale.log_scale[:count])
