"""Distances between two point clouds: Chamfer and F-score, as for reconstructions (Metric3D v1, table 2)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from m3d_cli.errors import DatasetError
from m3d_cli.open3d_import import load_open3d

# A point is found when one of the other cloud lies within this many metres.
F_DISTANCE = 0.05


@dataclass(frozen=True, slots=True)
class CloudScores:
    """Metres and shares: ``chamfer_l1`` is the mean of accuracy and completeness."""

    accuracy: float
    completeness: float
    chamfer_l1: float
    precision: float
    recall: float
    f_score: float


def score_clouds(
    prediction: NDArray[np.floating], truth: NDArray[np.floating], distance: float = F_DISTANCE
) -> CloudScores:
    """Scores of points (N, 3) against points (M, 3), metres."""
    if not len(prediction) or not len(truth):
        raise DatasetError("an empty point cloud has no distance to another")
    to_truth, to_prediction = nearest(prediction, truth), nearest(truth, prediction)
    precision, recall = float(np.mean(to_truth < distance)), float(np.mean(to_prediction < distance))
    accuracy, completeness = float(to_truth.mean()), float(to_prediction.mean())
    both = precision + recall
    f_score = 2 * precision * recall / both if both else 0.0
    return CloudScores(accuracy, completeness, (accuracy + completeness) / 2, precision, recall, f_score)


def nearest(points: NDArray[np.floating], others: NDArray[np.floating]) -> NDArray[np.float64]:
    """Metres (N,) from each of ``points`` (N, 3) to the closest of ``others`` (M, 3)."""
    o3d = load_open3d()
    first, second = (
        o3d.geometry.PointCloud(o3d.utility.Vector3dVector(np.ascontiguousarray(c, dtype=np.float64)))
        for c in (points, others)
    )
    return np.asarray(first.compute_point_cloud_distance(second), dtype=np.float64)
