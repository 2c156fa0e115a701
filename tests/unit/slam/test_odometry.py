"""Odometry on exact depth of a ray-cast room: the way is right, its length follows the depth, losses are told."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from m3d_cli.camera import Camera
from m3d_cli.depthmap import DepthMap
from m3d_cli.errors import UsageError
from m3d_cli.evaluation.trajectory_scores import Alignment, align, position_errors
from m3d_cli.sequence.frames import SequenceFrame, View
from m3d_cli.slam.odometry import OdometryOptions, track
from m3d_cli.slam.pose_graph import Edge, optimised
from m3d_cli.slam.rgbd_match import judged, prepared
from m3d_cli.trajectory import Trajectory, inverse

CAMERA = Camera.centred(160, 120, 130)
OPTIONS = OdometryOptions(max_depth=8.0)


def filmed(room, walk: Trajectory, factor: float = 1.0) -> list[SequenceFrame]:
    def read(pose: np.ndarray) -> View:
        image, depth = room.look(CAMERA, pose)
        return View(DepthMap(factor * depth, CAMERA), image)

    return [
        SequenceFrame(str(index), None, partial(read, pose), float(time))
        for index, (time, pose) in enumerate(zip(walk.times, walk.poses, strict=True))
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
