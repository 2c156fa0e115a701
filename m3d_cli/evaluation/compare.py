"""Is one set of depth maps better than another? A paired bootstrap over pictures.

The interval is the bootstrap's t interval (Efron and Tibshirani, 1993, section 12.5): with a few dozen pictures it
keeps its promised rate where the plain percentile interval is too narrow.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from m3d_cli.errors import DatasetError, UsageError
from m3d_cli.evaluation.metrics import METRICS, RISING

RESAMPLES = 10_000
CONFIDENCE = 0.95
SEED = 5
# Resamples at a time: memory stays flat however many pictures there are.
_CHUNK = 500
# Fewer pictures than this say nothing about a mean.
LEAST_PICTURES = 5


@dataclass(frozen=True, slots=True)
class Comparison:
    """Means of A and B over the same pictures, B - A with its interval, and the verdict."""

    metric: str
    align: str
    images: int
    a: float
    b: float
    difference: float
    low: float
    high: float
    verdict: str
    confidence: float = CONFIDENCE
    resamples: int = RESAMPLES


def paired(
    a: Sequence[Mapping[str, Any]], b: Sequence[Mapping[str, Any]], metric: str, align: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Values (N,) of both for the pictures that both have, in the order of A; raises where a row lacks the score."""
    if metric not in METRICS:
        raise UsageError(f"metric {metric} is unknown", hint=f"one of {', '.join(METRICS)}")
    first, second = _values(a, metric, align), _values(b, metric, align)
    names = [name for name in first if name in second]
    if len(names) < LEAST_PICTURES:
        raise DatasetError(f"only {len(names)} pictures are in both", hint="score the same data set with both")
    return np.array([first[name] for name in names]), np.array([second[name] for name in names])


def compare(
    a: NDArray[np.float64],
    b: NDArray[np.float64],
    metric: str = "abs_rel",
    align: str = "none",
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> Comparison:
    """Compare values (N,) of A and B of the same pictures; the seed is fixed, so the answer always is the same."""
    difference = b - a
    low, high = bootstrap_t(difference, resamples, seed)
    mean = float(difference.mean())
    numbers = (float(a.mean()), float(b.mean()), mean, low, high)
    return Comparison(metric, align, len(a), *numbers, _verdict(metric, low, high), resamples=resamples)


def bootstrap_t(
    values: NDArray[np.float64], resamples: int = RESAMPLES, seed: int = SEED, confidence: float = CONFIDENCE
) -> tuple[float, float]:
    """The interval of the mean of ``values`` (N,); of no width where all are the same."""
    count, mean = len(values), float(values.mean())
    error = float(values.std(ddof=1)) / math.sqrt(count) if count > 1 else 0.0
    if error == 0:
        return mean, mean
    rng = np.random.default_rng(seed)
    parts = [_studentised(values, mean, min(_CHUNK, resamples - done), rng) for done in range(0, resamples, _CHUNK)]
    tail = (1 - confidence) / 2
    scores = np.concatenate(parts)
    if not np.isfinite(scores).all():
        # So many pictures score the same that resamples without spread come up: their means must do.
        return _percentile(values, resamples, seed, tail)
    low, high = np.quantile(scores, (tail, 1 - tail))
    return mean - float(high) * error, mean - float(low) * error


def _percentile(values: NDArray[np.float64], resamples: int, seed: int, tail: float) -> tuple[float, float]:
    rng = np.random.default_rng(seed)
    sizes = [min(_CHUNK, resamples - done) for done in range(0, resamples, _CHUNK)]
    means = [values[rng.integers(0, len(values), (size, len(values)))].mean(axis=1) for size in sizes]
    low, high = np.quantile(np.concatenate(means), (tail, 1 - tail))
    return float(low), float(high)


def _studentised(
    values: NDArray[np.float64], mean: float, resamples: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    drawn = values[rng.integers(0, len(values), (resamples, len(values)))]
    errors = drawn.std(axis=1, ddof=1) / math.sqrt(len(values))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray((drawn.mean(axis=1) - mean) / errors, dtype=np.float64)


def _values(rows: Sequence[Mapping[str, Any]], metric: str, align: str) -> dict[str, float]:
    """Value by picture; pictures without scores are left out."""
    try:
        return {
            f"{row.get('source', '')}/{row['name']}": float(row["align"][align][metric]) for row in rows if row["align"]
        }
    except (KeyError, TypeError, ValueError) as error:
        raise DatasetError(
            f"the scores have no {metric} with alignment {align}", hint="m3d eval ... --align none,median,scale-shift"
        ) from error


def _verdict(metric: str, low: float, high: float) -> str:
    if low <= 0 <= high:
        return "no difference"
    return "B is better" if (low > 0) == (metric in RISING) else "A is better"
