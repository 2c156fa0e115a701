"""Odometry on exact depth of a ray-cast room: the way is right, its length follows the depth, losses are reported."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from m3d_cli.camera import Camera
from m3d_cli.depthmap import DepthMap
from m3d_cli.errors import UsageError
from m3d_cli.evaluation.trajectory_scores import Alignment, align, position_errors
from m3d_cli.sequences import odometry
from m3d_cli.sequences.frames import SequenceFrame, View
from m3d_cli.sequences.odometry import OdometryOptions, track
from m3d_cli.sequences.pose_graph import Edge, optimised
from m3d_cli.sequences.rgbd_match import judged, prepared
from m3d_cli.trajectory import Trajectory, inverse, matrices

CAMERA = Camera.centred(160, 120, 130)
WIDE = Camera.centred(240, 180, 195)
OPTIONS = OdometryOptions(max_depth=8.0)


def filmed(room, walk: Trajectory, factor: float | np.ndarray = 1.0, camera: Camera = CAMERA) -> list[SequenceFrame]:
    """Frames of a walk; their depth is multiplied by ``factor``, one for all or one each."""

    def read(pose: np.ndarray, scale: float) -> View:
        image, depth = room.look(camera, pose)
        return View(DepthMap(np.float32(scale) * depth, camera), image)

    factors = np.broadcast_to(factor, len(walk))
    return [
        SequenceFrame(str(index), None, partial(read, pose, float(scale)), float(time))
        for index, (time, pose, scale) in enumerate(zip(walk.times, walk.poses, factors, strict=True))
    ]


def test_true_depth_gives_the_way_within_a_centimetre(room) -> None:
    walk = room.walk(60, 5.0)
    found = track(filmed(room, walk), OPTIONS)
    assert found.untracked == ()
    (segment,) = found.segments
    assert walk.length == pytest.approx(5, rel=0.05)
    errors = position_errors(align(segment.trajectory, walk, Alignment.RIGID), walk)
    assert float(np.sqrt(np.mean(errors**2))) < 0.01
    np.testing.assert_allclose(segment.trajectory.times, walk.times)


def test_depth_a_tenth_too_deep_gives_a_way_a_tenth_too_long(room) -> None:
    walk = room.walk(16, 1.2)
    (segment,) = track(filmed(room, walk, 1.1), OPTIONS).segments
    assert segment.trajectory.length == pytest.approx(1.1 * walk.length, rel=0.01)


def test_lost_tracking_begins_a_new_segment(room) -> None:
    """The film is cut: its second half looks the other way, and one black frame lies between."""
    walk = room.walk(14, 0.8)
    half_turn = np.diag([-1.0, 1.0, -1.0, 1.0])
    poses = walk.poses.copy()
    poses[7:] = poses[7:] @ half_turn
    frames = filmed(room, Trajectory(walk.times, poses))
    black = View(DepthMap(np.full((120, 160), np.nan, np.float32), CAMERA), np.zeros((120, 160, 3), np.uint8))
    frames[7] = SequenceFrame("7", None, lambda: black, frames[7].time)
    found = track(frames, OPTIONS)
    assert [(segment.first, segment.last) for segment in found.segments] == [(0, 6), (8, 13)]
    assert found.untracked == (7,)
    for segment in found.segments:
        np.testing.assert_allclose(segment.trajectory.poses[0], np.eye(4), atol=1e-12)


def test_a_motion_between_different_places_is_not_believed(room) -> None:
    ahead = prepared(View(DepthMap(room.look(CAMERA, np.eye(4))[1], CAMERA), room.look(CAMERA, np.eye(4))[0]), 8.0)
    back_pose = np.diag([-1.0, 1.0, -1.0, 1.0])
    image, depth = room.look(CAMERA, back_pose)
    behind = prepared(View(DepthMap(depth, CAMERA), image), 8.0)
    assert judged(ahead, ahead, np.eye(4)).is_believed
    assert not judged(ahead, behind, np.eye(4)).is_believed


def test_a_loop_takes_drift_away() -> None:
    """Ten key frames on a circle whose odometry turns too little; a loop says that the last is the first again."""
    turn = 2 * np.pi / 10
    true_step, wrong_step = np.eye(4), np.eye(4)
    for matrix, angle in ((true_step, turn), (wrong_step, 0.994 * turn)):
        matrix[:3, :3] = [[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]]
        matrix[:3, 3] = (0, 0, 0.3)
    poses, truth = [np.eye(4)], [np.eye(4)]
    for _ in range(10):
        poses.append(poses[-1] @ wrong_step)
        truth.append(truth[-1] @ true_step)
    edges = [Edge(i + 1, i, wrong_step, 1000 * np.eye(6), False) for i in range(10)]
    edges.append(Edge(10, 0, np.eye(4), 1000 * np.eye(6), True))
    found = optimised(np.array(poses), edges, 5.0)
    before, after = (np.linalg.norm(chain[-1][:3, 3]) for chain in (poses, found))
    assert after < 0.3 * before
    np.testing.assert_allclose(found[0], np.eye(4), atol=1e-9)
    assert np.linalg.norm(inverse(truth[5]) @ found[5] - np.eye(4)) < np.linalg.norm(
        inverse(truth[5]) @ poses[5] - np.eye(4)
    )


def test_depth_without_photos_is_refused(room) -> None:
    with pytest.raises(UsageError, match="needs photos"):
        prepared(View(DepthMap(room.depth(CAMERA, np.eye(4)), CAMERA)), 5.0)


def test_a_camera_that_moves_far_between_frames_is_followed(papered) -> None:
    """Steps of 14 cm and up to 10 degrees, as key frames of a headset are apart: too far for dense odometry alone."""
    walk = papered.walk(18, 2.5)
    yaw = np.radians(10) * np.sin(np.arange(18) * 1.1)
    turns = matrices(np.zeros((18, 3)), np.stack([0 * yaw, np.sin(yaw / 2), 0 * yaw, np.cos(yaw / 2)], axis=1))
    walk = Trajectory(walk.times, walk.poses @ turns)
    (segment,) = track(filmed(papered, walk, camera=WIDE), OPTIONS).segments
    errors = position_errors(align(segment.trajectory, walk, Alignment.RIGID), walk)
    assert float(np.sqrt(np.mean(errors**2))) < 0.03


def test_depth_whose_scale_jitters_does_not_lengthen_the_way(papered) -> None:
    """Each frame of a network is a few per cent too near or too far: at two metres that is more than a step."""
    walk = papered.walk(24, 1.0)
    jitter = np.exp(np.random.default_rng(8).normal(0, 0.04, 24))
    (segment,) = track(filmed(papered, walk, jitter, camera=WIDE), OPTIONS).segments
    assert segment.trajectory.length == pytest.approx(walk.length, rel=0.1)


def test_a_key_frame_is_set_before_its_corners_are_lost(papered) -> None:
    """Nothing but the corners asks for key frames here, and half the room goes by."""
    walk = papered.walk(24, 2.5)
    frames = filmed(papered, walk, camera=WIDE)
    asked = replace(OPTIONS, key_metres=9.0, key_radians=9.0, key_overlap=0.0)
    (by_corners,) = track(frames, asked).segments
    assert by_corners.key_frames >= 2
    errors = position_errors(align(by_corners.trajectory, walk, Alignment.RIGID), walk)
    assert float(np.sqrt(np.mean(errors**2))) < 0.03


def test_a_loop_is_only_closed_from_near_its_old_key_frame(papered, monkeypatch: pytest.MonkeyPatch) -> None:
    """A camera that goes and comes back meets its old key frames; one that goes on sees them from afar alone."""
    monkeypatch.setattr(odometry, "LOOP_GAP", 2)
    there = papered.walk(12, 1.4)
    back = Trajectory(np.arange(23) / 30, np.concatenate([there.poses, there.poses[-2::-1]]))
    for walk, loops in ((there, False), (back, True)):
        (segment,) = track(filmed(papered, walk, camera=WIDE), OPTIONS).segments
        assert (segment.loops > 0) == loops
