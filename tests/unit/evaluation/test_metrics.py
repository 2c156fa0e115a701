"""Scores against numbers worked out by hand, scipy, and rows scored once with euler-eval 2.30."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from m3d_cli.errors import DatasetError, UsageError
from m3d_cli.evaluation.alignment import LEAST_DEPTH, Alignment, align, parse_alignments
from m3d_cli.evaluation.metrics import METRICS, mean_of_means, mean_scores, score

TRUTH = np.array([1.0, 2.0, 4.0, 10.0])
PREDICTION = np.array([1.1, 2.0, 3.0, 20.0])


def random_pair() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    rng = np.random.default_rng(3)
    truth = rng.uniform(0.5, 12, 5000)
    return truth * rng.lognormal(0.1, 0.2, 5000), truth


def test_scores_are_those_worked_out_by_hand() -> None:
    scores = score(PREDICTION, TRUTH)
    assert scores.abs_rel == pytest.approx((0.1 + 0 + 0.25 + 1.0) / 4)
    assert scores.sq_rel == pytest.approx((0.01 + 0 + 1 / 4 + 100 / 10) / 4)
    assert scores.rmse == pytest.approx(np.sqrt((0.01 + 0 + 1 + 100) / 4))
    assert scores.delta1 == pytest.approx(0.5)  # 4/3 and 2 are beyond 1.25
    assert scores.delta2 == pytest.approx(0.75)
    assert scores.delta3 == pytest.approx(0.75)
    logs = np.array([np.log(1.1), 0, np.log(0.75), np.log(2)])
    assert scores.rmse_log == pytest.approx(np.sqrt((logs**2).mean()))
    assert scores.silog == pytest.approx(logs.std())
    assert scores.log10 == pytest.approx(np.abs(logs).mean() / np.log(10))
    assert scores.ln_scale == pytest.approx(np.log(1.1) / 2)
    assert scores.pixels == 4


# What euler-eval 2.30 (compute_standard_depth_metrics) gives for random_pair().
EULER_EVAL = {
    "abs_rel": 0.19927398568710988,
    "sq_rel": 0.4299169066550948,
    "rmse": 1.8700899638310797,
    "rmse_log": 0.22358772242196015,
    "log10": 0.07791580330439875,
    "silog": 0.20017323088581193,
    "delta1": 0.6764,
    "delta2": 0.9528,
    "delta3": 0.9978,
}


@pytest.mark.parametrize("name", EULER_EVAL)
def test_scores_are_those_of_euler_eval(name: str) -> None:
    assert getattr(score(*random_pair()), name) == pytest.approx(EULER_EVAL[name], rel=1e-9)


def test_a_perfect_prediction_scores_perfectly() -> None:
    scores = score(TRUTH, TRUTH)
    assert (scores.abs_rel, scores.rmse, scores.silog, scores.delta1) == (0, 0, 0, 1)


def test_one_pixel_has_an_error_and_no_spread() -> None:
    scores = score(np.array([3.0]), np.array([2.0]))
    assert (scores.abs_rel, scores.rmse, scores.silog, scores.pixels) == (0.5, 1.0, 0.0, 1)
    assert scores.ln_scale == pytest.approx(np.log(1.5))


def test_nothing_to_compare_is_an_error_not_a_zero() -> None:
    with pytest.raises(DatasetError, match="no pixel"):
        score(np.array([]), np.array([]))
    with pytest.raises(DatasetError, match="no image"):
        mean_scores([])


def test_median_alignment_forgives_scale_and_only_scale() -> None:
    assert align(3 * TRUTH, TRUTH, Alignment.MEDIAN) == pytest.approx(TRUTH)
    assert not np.allclose(align(TRUTH + 1, TRUTH, Alignment.MEDIAN), TRUTH)


def test_scale_shift_alignment_forgives_both() -> None:
    assert align(0.5 * TRUTH + 2, TRUTH, Alignment.SCALE_SHIFT) == pytest.approx(TRUTH)


def test_scale_and_shift_are_those_of_linear_regression() -> None:
    prediction, truth = random_pair()
    line = stats.linregress(prediction, truth)
    expected = np.maximum(line.slope * prediction + line.intercept, LEAST_DEPTH)
    assert align(prediction, truth, Alignment.SCALE_SHIFT) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    "prediction",
    [
        pytest.param(np.full(4, 5.0), id="constant depth"),
        pytest.param(TRUTH[::-1].copy(), id="near and far exchanged"),
    ],
)
def test_where_no_rising_line_fits_the_median_does(prediction: NDArray[np.float64]) -> None:
    aligned = align(prediction, TRUTH, Alignment.SCALE_SHIFT)
    assert aligned == pytest.approx(align(prediction, TRUTH, Alignment.MEDIAN))


def test_one_pixel_is_aligned_by_its_ratio() -> None:
    for alignment in (Alignment.MEDIAN, Alignment.SCALE_SHIFT):
        assert align(np.array([3.0]), np.array([2.0]), alignment) == pytest.approx([2.0])


def test_a_fitted_depth_stays_positive() -> None:
    prediction, truth = np.array([1.0, 2, 3, 10, 11]), np.array([0.01, 0.01, 0.01, 10.0, 10.0])
    assert align(prediction, truth, Alignment.SCALE_SHIFT).min() == LEAST_DEPTH


def test_no_alignment_changes_nothing() -> None:
    assert align(PREDICTION, TRUTH, Alignment.NONE) is PREDICTION


def test_alignments_are_read_from_a_list() -> None:
    assert parse_alignments("scale-shift, none,none") == (Alignment.SCALE_SHIFT, Alignment.NONE)
    for text in ("lsq", "none,best", ""):
        with pytest.raises(UsageError):
            parse_alignments(text)


def test_every_picture_weighs_the_same() -> None:
    small, large = score(TRUTH[:1] * 1.5, TRUTH[:1]), score(np.repeat(TRUTH, 100), np.repeat(TRUTH, 100))
    mean = mean_scores([small, large])
    assert mean.abs_rel == pytest.approx(0.25)
    assert mean.ln_scale_mean == pytest.approx(np.log(1.5) / 2)
    assert mean.ln_scale_std == pytest.approx(np.log(1.5) / 2)


def test_every_source_weighs_the_same() -> None:
    one, two = mean_scores([score(TRUTH * 1.5, TRUTH)]), mean_scores([score(TRUTH, TRUTH)] * 9)
    assert mean_of_means([one, two]).abs_rel == pytest.approx(0.25)
    assert set(METRICS) == {"abs_rel", "sq_rel", "rmse", "rmse_log", "log10", "silog", "delta1", "delta2", "delta3"}
