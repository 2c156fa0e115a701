"""Depth scores of one image, and their mean over images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields

import numpy as np
from numpy.typing import NDArray

from m3d_cli.errors import DatasetError

# delta_k counts pixels with max(p/t, t/p) < 1.25^k.
DELTA = 1.25


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
    """Scores of metres (N,) against metres (N,), both positive and finite; logarithms are natural but for log10.

    SILog is the spread of the log error, without the factor 100 of KITTI's server. Raises DatasetError without a pixel.
    """
    if len(truth) == 0:
        raise DatasetError("no pixel has both a predicted and a true depth")
    ratio = prediction / truth
    log_error = np.log(ratio)
    squared = np.square(prediction - truth)
    farther = np.maximum(ratio, np.reciprocal(ratio))
    return DepthScores(
        abs_rel=float(np.mean(np.abs(ratio - 1))),
        sq_rel=float(np.mean(squared / truth)),
        rmse=math.sqrt(np.mean(squared)),
        rmse_log=math.sqrt(np.mean(np.square(log_error))),
        log10=float(np.mean(np.abs(log_error))) / math.log(10),
        silog=float(np.std(log_error)),
        delta1=np.count_nonzero(farther < DELTA) / len(truth),
        delta2=np.count_nonzero(farther < DELTA**2) / len(truth),
        delta3=np.count_nonzero(farther < DELTA**3) / len(truth),
        ln_scale=float(np.median(log_error)),
        pixels=len(truth),
    )


@dataclass(frozen=True, slots=True)
class MeanScores:
    """Means over images, and how the scale error spreads from image to image (standard deviation)."""

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


METRICS = tuple(field.name for field in fields(MeanScores) if not field.name.startswith("ln_scale"))
# Of these, more is better; of the others, less.
RISING = frozenset({"delta1", "delta2", "delta3"})


def mean_scores(scores: Sequence[DepthScores]) -> MeanScores:
    """Every image weighs the same, however many pixels it has."""
    if not scores:
        raise DatasetError("no image has a pixel with known depth")
    table = [asdict(s) for s in scores]
    means = {name: float(np.mean([row[name] for row in table])) for name in METRICS}
    scales = [s.ln_scale for s in scores]
    return MeanScores(**means, ln_scale_mean=float(np.mean(scales)), ln_scale_std=float(np.std(scales)))


def mean_of_means(means: Sequence[MeanScores]) -> MeanScores:
    """Every source weighs the same, however many images it has.

    ``ln_scale_std`` is that of images drawn from every source alike: the spread within sources and that between them.
    """
    rows = [asdict(mean) for mean in means]
    averages = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
    within = np.mean([row["ln_scale_std"] ** 2 for row in rows])
    between = np.var([row["ln_scale_mean"] for row in rows])
    return MeanScores(**averages | {"ln_scale_std": math.sqrt(within + between)})
