"""Trajectory errors against evo, and against numbers made by hand."""

import importlib.util

import numpy as np
import pytest

from m3d_cli.errors import PoseError
from m3d_cli.evaluation.trajectory_scores import Alignment, align, score_trajectory
from m3d_cli.trajectory import Similarity, Trajectory, matrices

needs_evo = pytest.mark.skipif(importlib.util.find_spec("evo") is None, reason="evo is not installed")


def drive(count: int = 400) -> Trajectory:
    """A car on a winding road, a metre a frame."""
    heading = 0.4 * np.sin(np.arange(count) / 40)
    way = np.cumsum(np.stack([np.sin(heading), np.zeros(count), np.cos(heading)], axis=1), axis=0)
    quaternion = np.stack([0 * heading, np.sin(heading / 2), 0 * heading, np.cos(heading / 2)], axis=1)
    return Trajectory(np.arange(count) / 10, matrices(way, quaternion))


def shaken(truth: Trajectory) -> Trajectory:
    """The same in another world, a tenth too long, and noisy."""
    rng = np.random.default_rng(3)
    axis = rng.normal(scale=0.01, size=(len(truth), 3))
    noise = np.concatenate([axis, np.ones((len(truth), 1))], axis=1)
    noise /= np.linalg.norm(noise, axis=1, keepdims=True)
    jolts = matrices(rng.normal(scale=0.05, size=(len(truth), 3)), noise)
    return Trajectory(truth.times, truth.poses @ jolts).moved(Similarity(truth.poses[30, :3, :3], np.ones(3), 1.1))


@needs_evo
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("alignment", list(Alignment))
def test_errors_are_those_of_evo(alignment: Alignment) -> None:
    from evo.core import metrics
    from evo.core.trajectory import PoseTrajectory3D

    truth = drive()
    estimate = shaken(truth)
    scores = score_trajectory(estimate, truth, alignment, frames=5)
    theirs = PoseTrajectory3D(poses_se3=list(estimate.poses), timestamps=estimate.times)
    reference = PoseTrajectory3D(poses_se3=list(truth.poses), timestamps=truth.times)
    if alignment is Alignment.ORIGIN:
        theirs.align_origin(reference)
    elif alignment is not Alignment.NONE:
        theirs.align(reference, correct_scale=alignment is Alignment.SCALED)
    for relation, mine in (
        (metrics.PoseRelation.translation_part, scores.rpe_metres),
        (metrics.PoseRelation.rotation_angle_deg, scores.rpe_degrees),
    ):
        rpe = metrics.RPE(relation, 5, metrics.Unit.frames, all_pairs=True)
        rpe.process_data((reference, theirs))
        assert mine.rmse == pytest.approx(rpe.get_statistic(metrics.StatisticsType.rmse), rel=1e-6)
    ape = metrics.APE(metrics.PoseRelation.translation_part)
    ape.process_data((reference, theirs))
    for name in ("rmse", "mean", "median", "std"):
        assert getattr(scores.ape, name) == pytest.approx(ape.get_statistic(metrics.StatisticsType(name)), rel=1e-6)


def test_a_trajectory_too_long_by_a_tenth_drifts_ten_per_cent() -> None:
    truth = drive()
    long = truth.with_positions(1.1 * truth.positions)
    scores = score_trajectory(long, truth, Alignment.NONE)
    assert scores.drift is not None
    assert scores.drift.translation_percent == pytest.approx(10, rel=0.05)  # the road bends, and its chord is shorter
    assert scores.drift.rotation_deg_100m == pytest.approx(0, abs=1e-6)
    assert scores.drift.lengths == (100.0, 200.0, 300.0)
    assert scores.scale == pytest.approx(1 / 1.1)
    assert scores.length == pytest.approx(1.1 * scores.true_length)


def test_scale_is_only_forgiven_when_asked() -> None:
    truth = drive()
    long = truth.with_positions(1.1 * truth.positions)
    assert score_trajectory(long, truth, Alignment.RIGID).ape.rmse > 1
    assert score_trajectory(long, truth, Alignment.SCALED).ape.rmse == pytest.approx(0, abs=1e-9)


def test_a_short_way_has_no_kitti_drift() -> None:
    truth = drive(50)
    assert score_trajectory(truth, truth, Alignment.NONE).drift is None
    assert score_trajectory(truth, truth, Alignment.NONE, lengths=(10.0,)).drift is not None


def test_the_first_pose_can_be_laid_on_the_truths() -> None:
    truth = drive()
    away = truth.moved(Similarity(truth.poses[40, :3, :3], np.array([3.0, 2.0, 1.0])))
    np.testing.assert_allclose(align(away, truth, Alignment.ORIGIN).poses, truth.poses, atol=1e-9)
    np.testing.assert_allclose(align(away, truth, Alignment.RIGID).poses, truth.poses, atol=1e-9)


def test_motions_longer_than_the_trajectory_are_refused() -> None:
    with pytest.raises(PoseError, match="over 9 frames"):
        score_trajectory(drive(5), drive(5), Alignment.NONE, frames=9)
