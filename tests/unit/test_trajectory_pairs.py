"""Which poses of two trajectories belong together, and which kinds never meet."""

import dataclasses

import numpy as np
import pytest

from m3d_cli.errors import PoseError
from m3d_cli.trajectory import Keys, Poses, Trajectory
from m3d_cli.trajectory_pairs import associate


def line(count: int) -> Poses:
    poses = np.tile(np.eye(4), (count, 1, 1))
    poses[:, 0, 3] = np.arange(count)
    return poses


def timed(*times: float) -> Trajectory:
    return Trajectory(np.array(times), line(len(times)))


def numbered(*numbers: float, names: tuple[str, ...] | None = None) -> Trajectory:
    return Trajectory(np.array(numbers), line(len(numbers)), names, Keys.INDICES)


def test_poses_pair_up_with_the_nearest_time_once() -> None:
    mine, theirs = associate(timed(0.005, 0.104, 0.11, 5.0), timed(*np.arange(30) / 10))
    np.testing.assert_allclose(theirs.times, [0.0, 0.1])
    np.testing.assert_allclose(mine.times, [0.005, 0.104])


def test_times_that_do_not_match_are_reported_with_both_spans() -> None:
    with pytest.raises(PoseError, match=r"within 0\.02 s.*100\.000 to 100\.200 s against 0\.000 to 0\.200 s"):
        associate(timed(100, 100.1, 100.2), timed(0, 0.1, 0.2))


def test_counts_of_poses_must_agree_where_nothing_else_is_known() -> None:
    with pytest.raises(PoseError, match="2 poses and 3"):
        associate(Trajectory.counted(line(2)), Trajectory.counted(line(3)))
    mine, theirs = associate(Trajectory.counted(line(3)), Trajectory.counted(line(3)))
    assert len(mine) == len(theirs) == 3


def test_frame_numbers_never_meet_seconds() -> None:
    for estimate, truth in ((numbered(0, 1, 2), timed(0, 1, 2)), (timed(0, 1, 2), numbered(0, 1, 2))):
        with pytest.raises(PoseError, match="do not pair up") as caught:
            associate(estimate, truth)
        assert "--times FILE" in str(caught.value.hint)


def test_frame_numbers_pair_by_number_where_frames_are_missing() -> None:
    mine, theirs = associate(numbered(2, 3, 5), Trajectory.counted(line(6)))
    assert mine.times.tolist() == theirs.times.tolist() == [2, 3, 5]
    assert theirs.positions[:, 0].tolist() == [2, 3, 5]
    with pytest.raises(PoseError, match="by frame numbers alone"):
        associate(numbered(2, 3, 9), Trajectory.counted(line(6)))


def test_names_pair_frame_numbers_with_times() -> None:
    estimate = numbered(0, 1, 2, names=("walk/a.1", "walk/b.2", "walk/c.3"))
    truth = dataclasses.replace(timed(7.5, 8.5, 9.5), names=("b.2.png", "c.3.png", "d.4.png"))
    mine, theirs = associate(estimate, truth)
    assert mine.times.tolist() == [1, 2]
    assert theirs.times.tolist() == [7.5, 8.5]


def test_names_in_another_order_are_refused() -> None:
    with pytest.raises(PoseError, match="in another order"):
        associate(numbered(0, 1, names=("a", "b")), numbered(0, 1, names=("b.jpg", "a.jpg")))


def test_names_of_which_none_is_shared_leave_frame_numbers() -> None:
    mine, _ = associate(numbered(0, 1, names=("a", "b")), numbered(0, 1, names=("frame-0", "frame-1")))
    assert len(mine) == 2
