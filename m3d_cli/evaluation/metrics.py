"""Depth scores of one picture, and their mean over pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from m3d_cli.errors import DatasetError


@dataclass(frozen=True, slots=True)
class DepthScores:
    """Errors over the pixels where both depths are known; ``ln_scale`` is the median of ln(prediction / truth)."""

    abs_rel: float
    sq_rel: float
    rmse: float
    rmse_log: float
    log10: float
    silog: float
    delta1: float
    delta2: float
    delta3: float
    ln_scale: float
    pixels: int


def score(prediction: NDArray[np.float64], truth: NDArray[np.float64]) -> DepthScores:
    """Scores of metres (N,) against metres (N,), both positive and finite; logarithms are natural but for log10."""
    if len(truth) == 0:
        raise DatasetError("no pixel has both a predicted and a true depth")
    log_error = np.log(prediction) - np.log(truth)
    ratio = np.maximum(prediction / truth, truth / prediction)
    return DepthScores(
        abs_rel=float(np.mean(np.abs(prediction - truth) / truth)),
        sq_rel=float(np.mean((prediction - truth) ** 2 / truth)),
        rmse=float(np.sqrt(np.mean((prediction - truth) ** 2))),
        rmse_log=float(np.sqrt(np.mean(log_error**2))),
        log10=float(np.mean(np.abs(np.log10(prediction) - np.log10(truth)))),
        silog=float(np.sqrt(max(0.0, np.mean(log_error**2) - np.mean(log_error) ** 2))),
        delta1=float(np.mean(ratio < 1.25)),
        delta2=float(np.mean(ratio < 1.25**2)),
        delta3=float(np.mean(ratio < 1.25**3)),
        ln_scale=float(np.median(log_error)),
        pixels=len(truth),
    )


@dataclass(frozen=True, slots=True)
class MeanScores:
    """Means over pictures, and how the scale error spreads from picture to picture."""

    abs_rel: float
    sq_rel: float
    rmse: float
    rmse_log: float
    log10: float
    silog: float
    delta1: float
    delta2: float
    delta3: float
    ln_scale_mean: float
    ln_scale_std: float


def mean_scores(scores: Sequence[DepthScores]) -> MeanScores:
    """Every picture weighs the same, however many pixels it has."""
    table = [asdict(s) for s in scores]
    names = ("abs_rel", "sq_rel", "rmse", "rmse_log", "log10", "silog", "delta1", "delta2", "delta3")
    means = {name: float(np.mean([row[name] for row in table])) for name in names}
    scales = [s.ln_scale for s in scores]
    return MeanScores(**means, ln_scale_mean=float(np.mean(scales)), ln_scale_std=float(np.std(scales)))
