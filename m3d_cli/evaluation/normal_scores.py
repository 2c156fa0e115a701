"""Angles between predicted and true surface normals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from m3d_cli.errors import DatasetError

# A normal that was not predicted counts as this many degrees off: leaving it out would reward silence.
UNKNOWN_DEGREES = 90.0
# Degrees below which a normal counts as right (Metric3D v2, section 5.2, and the works before it).
TIGHT_DEGREES = (5.0, 7.5, 11.25, 22.5, 30.0)


@dataclass(frozen=True, slots=True)
class NormalScores:
    """Degrees, and the shares of pixels below each of TIGHT_DEGREES (``a1`` to ``a5``)."""

    mean: float
    median: float
    rmse: float
    a1: float
    a2: float
    a3: float
    a4: float
    a5: float
    pixels: int


def angles(prediction: NDArray[np.float64], truth: NDArray[np.float64]) -> NDArray[np.float64]:
    """Degrees (N,) between vectors (N, 3) of any positive length.

    By the arc tangent: the arc cosine cannot tell small angles apart.
    """
    cross = np.linalg.norm(np.cross(prediction, truth), axis=-1)
    return np.asarray(np.degrees(np.arctan2(cross, np.sum(prediction * truth, axis=-1))))


def score_normals(prediction: NDArray[np.float32], truth: NDArray[np.float32]) -> NormalScores:
    """Scores of normals (..., 3) where the truth is known; a vector that is not finite or has no length is unknown.

    A true normal without a predicted one counts as UNKNOWN_DEGREES off.
    """
    counted = is_direction(truth)
    if not counted.any():
        raise DatasetError("no pixel has a true normal")
    known = is_direction(prediction)[counted]
    degrees = np.full(len(known), UNKNOWN_DEGREES)
    degrees[known] = angles(*(side[counted][known].astype(np.float64) for side in (prediction, truth)))
    a1, a2, a3, a4, a5 = (float(np.mean(degrees < limit)) for limit in TIGHT_DEGREES)
    rmse = float(np.sqrt(np.mean(degrees**2)))
    mean, median = float(degrees.mean()), float(np.median(degrees))
    return NormalScores(mean, median, rmse, a1, a2, a3, a4, a5, len(degrees))


def is_direction(normals: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which of the vectors (..., 3) are known."""
    return np.asarray(np.isfinite(normals).all(axis=-1) & (np.abs(np.nan_to_num(normals)).sum(axis=-1) > 0))
