"""Normals, depth edges and point clouds against slower ways of counting the same."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from m3d_cli.errors import DatasetError
from m3d_cli.evaluation.boundary import THRESHOLDS, boundary_f1
from m3d_cli.evaluation.cloud_scores import score_clouds
from m3d_cli.evaluation.normal_scores import angles, score_normals


def turned(degrees: float) -> NDArray[np.float64]:
    radians = np.radians(degrees)
    return np.array([np.sin(radians), 0, -np.cos(radians)])


def test_angles_of_normals_are_those_they_were_turned_by() -> None:
    degrees = [0.0, 1e-4, 5.0, 11.0, 29.0, 90.0, 180.0]
    truth = np.tile(turned(0), (len(degrees), 1))
    assert angles(np.stack([turned(d) for d in degrees]), truth) == pytest.approx(degrees, abs=1e-9)


def test_normal_scores_are_those_worked_out_by_hand() -> None:
    prediction = np.stack([turned(d) for d in (1, 6, 10, 20, 40, 90, 90)])
    truth = np.tile(turned(0), (7, 1))
    truth[5], truth[6] = np.nan, 0
    scores = score_normals(3 * prediction.astype(np.float32), truth.astype(np.float32))
    assert scores.pixels == 5
    assert (scores.mean, scores.median) == (pytest.approx(77 / 5, abs=1e-4), pytest.approx(10, abs=1e-4))
    assert scores.rmse == pytest.approx(np.sqrt((1 + 36 + 100 + 400 + 1600) / 5), abs=1e-4)
    assert [scores.a1, scores.a2, scores.a3, scores.a4, scores.a5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 0.8])


def test_a_normal_that_was_not_predicted_is_at_right_angles_not_absent() -> None:
    prediction = np.stack([turned(2), np.full(3, np.nan), np.zeros(3)]).astype(np.float32)
    scores = score_normals(prediction, np.tile(turned(0), (3, 1)).astype(np.float32))
    assert (scores.pixels, scores.mean) == (3, pytest.approx((2 + 90 + 90) / 3, abs=1e-4))
    assert scores.a1 == pytest.approx(1 / 3)


def test_no_true_normal_is_an_error() -> None:
    with pytest.raises(DatasetError, match="no pixel has a true normal"):
        score_normals(np.ones((4, 3), np.float32), np.zeros((4, 3), np.float32))


def slow_boundary_f1(prediction: NDArray[np.float64], truth: NDArray[np.float64]) -> float:
    """Pixel by pixel: pixel a occludes its neighbour b where b is more than t times as far."""
    height, width = truth.shape
    scores = []
    for t in THRESHOLDS:
        recalls, precisions = [], []
        for dy, dx in ((0, 1), (0, -1), (1, 0), (-1, 0)):
            hits = true = predicted = 0
            for y in range(height):
                for x in range(width):
                    if not (0 <= y + dy < height and 0 <= x + dx < width):
                        continue
                    g = truth[y + dy, x + dx] / truth[y, x] > t
                    p = prediction[y + dy, x + dx] / prediction[y, x] > t
                    hits, true, predicted = hits + (g and p), true + g, predicted + p
            recalls.append(hits / max(true, 1))
            precisions.append(hits / max(predicted, 1))
        r, p = np.mean(recalls), np.mean(precisions)
        scores.append(2 * r * p / (r + p) if r + p else 0.0)
    return float(np.sum(np.array(scores) * THRESHOLDS) / THRESHOLDS.sum())


def test_boundary_f1_is_that_of_counting_pixel_by_pixel() -> None:
    rng = np.random.default_rng(0)
    truth = np.repeat(rng.uniform(1, 2, (6, 7)), 2, axis=1)
    prediction = truth * rng.lognormal(0, 0.05, truth.shape)
    expected = slow_boundary_f1(prediction, truth)
    assert 0.2 < expected < 0.95
    assert boundary_f1(prediction, truth) == pytest.approx(expected, abs=1e-9)


def test_boundary_f1_does_not_know_the_scale() -> None:
    truth = np.where(np.arange(20) < 10, 1.0, 3.0)[None].repeat(8, axis=0)
    assert boundary_f1(5 * truth, truth) == pytest.approx(boundary_f1(truth, truth))
    # A single step has edges in one of the four directions only.
    assert boundary_f1(truth, truth) == pytest.approx(0.25)


@pytest.mark.parametrize("fill", [np.nan, np.inf, 0.0])
def test_boundary_f1_of_flat_or_unknown_prediction_is_zero(fill: float) -> None:
    truth = np.where(np.arange(20) < 10, 1.0, 3.0)[None].repeat(8, axis=0)
    assert boundary_f1(np.full_like(truth, fill), truth) == 0


def test_a_truth_without_edges_has_no_boundary_f1() -> None:
    steps = np.where(np.arange(20) < 10, 1.0, 3.0)[None].repeat(8, axis=0)
    assert np.isnan(boundary_f1(steps, np.full_like(steps, 2.0)))
    assert np.isnan(boundary_f1(steps, np.full_like(steps, np.nan)))


def test_cloud_scores_are_those_of_a_search_tree_of_scipy() -> None:
    rng = np.random.default_rng(1)
    truth = rng.uniform(0, 1, (600, 3))
    prediction = truth[:400] + rng.normal(0, 0.03, (400, 3))
    scores = score_clouds(prediction, truth)
    accuracy, completeness = cKDTree(truth).query(prediction)[0], cKDTree(prediction).query(truth)[0]
    precision, recall = np.mean(accuracy < 0.05), np.mean(completeness < 0.05)
    assert scores.accuracy == pytest.approx(accuracy.mean(), abs=1e-9)
    assert scores.completeness == pytest.approx(completeness.mean(), abs=1e-9)
    assert scores.chamfer_l1 == pytest.approx((accuracy.mean() + completeness.mean()) / 2, abs=1e-9)
    assert scores.f_score == pytest.approx(2 * precision * recall / (precision + recall), abs=1e-9)


def test_clouds_far_apart_share_nothing_and_empty_ones_are_an_error() -> None:
    point = np.zeros((1, 3))
    assert score_clouds(point, point + 1).f_score == 0
    with pytest.raises(DatasetError, match="empty"):
        score_clouds(np.zeros((0, 3)), point)
