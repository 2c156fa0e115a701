"""Poses as values: what is refused, and how trajectories are brought together."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from m3d_cli.errors import PoseError
from m3d_cli.trajectory import (
    Similarity,
    Trajectory,
    angles,
    inverse,
    matrices,
    quaternions,
    umeyama,
)


def wander(count: int = 30, seed: int = 0) -> Trajectory:
    """A walk with turning views, ten poses a second."""
    rng = np.random.default_rng(seed)
    quaternion = rng.normal(size=(count, 4))
    quaternion /= np.linalg.norm(quaternion, axis=1, keepdims=True)
    positions = np.cumsum(rng.normal(scale=0.1, size=(count, 3)), axis=0)
    return Trajectory(np.arange(count) / 10, matrices(positions, quaternion))


def turn(seed: int) -> np.ndarray:
    return wander(1, seed).poses[0, :3, :3]


@given(st.integers(0, 10_000))
def test_quaternions_and_matrices_are_each_others_inverse(seed: int) -> None:
    poses = wander(5, seed).poses
    back = matrices(poses[:, :3, 3], quaternions(poses))
    np.testing.assert_allclose(back, poses, atol=1e-12)


def test_a_quarter_turn_about_z_has_the_quaternion_of_the_textbook() -> None:
    pose = np.eye(4)
    pose[:2, :2] = [[0, -1], [1, 0]]
    np.testing.assert_allclose(quaternions(pose[None])[0], [0, 0, 0.5**0.5, 0.5**0.5], atol=1e-15)
    np.testing.assert_allclose(angles(pose), np.pi / 2)


def test_half_turns_have_their_angle() -> None:
    pose = np.diag([-1.0, -1.0, 1.0, 1.0])
    np.testing.assert_allclose(angles(pose), np.pi)
    np.testing.assert_allclose(np.abs(quaternions(pose[None])[0]), [0, 0, 1, 0], atol=1e-15)


def test_an_inverse_undoes_a_pose() -> None:
    poses = wander().poses
    np.testing.assert_allclose(inverse(poses) @ poses, np.tile(np.eye(4), (30, 1, 1)), atol=1e-12)


@given(st.integers(0, 1000), st.floats(0.05, 20))
def test_umeyama_finds_the_similarity(seed: int, scale: float) -> None:
    walk = wander(20, seed)
    similarity = Similarity(turn(seed + 1), np.array([1.0, -2.0, 3.0]), scale)
    found = umeyama(walk.positions, walk.moved(similarity).positions, with_scale=True)
    assert found.scale == pytest.approx(scale, rel=1e-9)
    np.testing.assert_allclose(found.rotation, similarity.rotation, atol=1e-9)
    np.testing.assert_allclose(found.translation, similarity.translation, atol=1e-7)


def test_umeyama_never_mirrors() -> None:
    points = wander(20).positions
    found = umeyama(points, points * [1, 1, -1], with_scale=False)
    assert np.linalg.det(found.rotation) == pytest.approx(1)


def test_positions_on_a_line_leave_the_rotation_open() -> None:
    line = np.outer(np.arange(5.0), [1.0, 2.0, 3.0])
    with pytest.raises(PoseError, match="one line"):
        umeyama(line, line, with_scale=False)


@pytest.mark.parametrize(
    "wrong",
    [np.diag([1.0, 1.0, -1.0, 1.0]), np.diag([2.0, 2.0, 2.0, 1.0]), np.full((4, 4), np.nan), np.ones((4, 4))],
    ids=["mirror", "scale", "not a number", "no rotation"],
)
def test_matrices_that_are_no_rigid_motion_are_refused(wrong: np.ndarray) -> None:
    poses = np.stack([np.eye(4), wrong])
    with pytest.raises(PoseError, match="pose 2 of 2 is no rigid motion"):
        Trajectory.counted(poses)


def test_rounded_rotations_become_exact() -> None:
    walk = wander()
    rounded = Trajectory(walk.times, np.round(walk.poses, 4))
    gram = np.swapaxes(rounded.poses[:, :3, :3], 1, 2) @ rounded.poses[:, :3, :3]
    np.testing.assert_allclose(gram, np.tile(np.eye(3), (30, 1, 1)), atol=1e-12)


@pytest.mark.parametrize("times", [[0.0, 2.0, 1.0], [0.0, 1.0, 1.0]], ids=["back", "twice"])
def test_times_that_do_not_ascend_are_refused(times: list[float]) -> None:
    with pytest.raises(PoseError, match="pose 3 is at 1"):
        Trajectory(np.array(times), np.tile(np.eye(4), (3, 1, 1)))
