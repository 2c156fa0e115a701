import numpy as np
import pytest

from m3d_cli.errors import DatasetError
from m3d_cli.evaluation.alignment import Alignment, align
from m3d_cli.evaluation.metrics import mean_scores, score

TRUTH = np.array([1.0, 2.0, 4.0, 10.0])
PREDICTION = np.array([1.1, 2.0, 3.0, 20.0])


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


def test_a_perfect_prediction_scores_perfectly() -> None:
    scores = score(TRUTH, TRUTH)
    assert (scores.abs_rel, scores.rmse, scores.silog, scores.delta1) == (0, 0, 0, 1)


def test_nothing_to_compare_is_an_error_not_a_zero() -> None:
    with pytest.raises(DatasetError, match="no pixel"):
        score(np.array([]), np.array([]))


def test_median_alignment_forgives_scale_and_only_scale() -> None:
    assert align(3 * TRUTH, TRUTH, Alignment.MEDIAN) == pytest.approx(TRUTH)
    assert not np.allclose(align(TRUTH + 1, TRUTH, Alignment.MEDIAN), TRUTH)


def test_scale_shift_alignment_forgives_both() -> None:
    assert align(0.5 * TRUTH + 2, TRUTH, Alignment.SCALE_SHIFT) == pytest.approx(TRUTH)


def test_no_alignment_changes_nothing() -> None:
    assert align(PREDICTION, TRUTH, Alignment.NONE) is PREDICTION


def test_every_picture_weighs_the_same() -> None:
    small, large = score(TRUTH[:1] * 1.5, TRUTH[:1]), score(np.repeat(TRUTH, 100), np.repeat(TRUTH, 100))
    mean = mean_scores([small, large])
    assert mean.abs_rel == pytest.approx(0.25)
    assert mean.ln_scale_mean == pytest.approx(np.log(1.5) / 2)
    assert mean.ln_scale_std == pytest.approx(np.log(1.5) / 2)
