"""Is one set of depth maps better than another? A paired bootstrap over clusters of images.

Images of one scene are alike: taken as independent they would promise far more than they know, so whole scenes are
drawn. The interval is the bootstrap's t interval (Efron and Tibshirani, 1993, section 12.5): with a few dozen units it
keeps its promised rate where the plain percentile interval is too narrow.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from m3d_cli.evaluation.metrics import RISING
from m3d_cli.evaluation.pairing import Pairs
from m3d_cli.reporter import Reporter

RESAMPLES = 10_000
CONFIDENCE = 0.95
SEED = 5
# Resamples at a time: memory stays flat however many units there are.
_CHUNK = 500
# With fewer scenes than this their spread cannot be told; images are drawn then, which speaks of these scenes only.
LEAST_CLUSTERS = 8


@dataclass(frozen=True, slots=True)
class Comparison:
    """Means of A and B over the same images, B - A with its interval, and the verdict.

    ``drawn`` is what was resampled: ``clusters``, or ``images`` where there are too few, and then the interval holds
    for these ``clusters`` only. ``mean_over`` is as in the runs: ``sources`` or ``images``.
    """

    metric: str
    align: str
    images: int
    clusters: int
    drawn: str
    mean_over: str
    a: float
    b: float
    difference: float
    low: float
    high: float
    verdict: str
    only_a: tuple[str, ...] = ()
    only_b: tuple[str, ...] = ()
    confidence: float = CONFIDENCE
    resamples: int = RESAMPLES

    def warn(self, report: Reporter) -> None:
        """Report what the verdict leaves out."""
        for side, names in (("A", self.only_a), ("B", self.only_b)):
            if names:
                report.warn(f"{len(names)} images are only in {side} and left out, such as {', '.join(names[:3])}")
        if self.drawn == "pictures":
            report.warn(f"too few scenes ({self.clusters}) to speak of others: the interval holds for these only")

    def text(self, first: str, second: str, metric: str, alignment: str) -> str:
        """Lines for people."""
        interval = f"{100 * self.confidence:.0f} % interval {self.low:+.4f} to {self.high:+.4f}"
        units = f"{self.images} images in {self.clusters} scenes, mean over {self.mean_over}, alignment {alignment}"
        lines = (
            f"A  {first}  {metric} {self.a:.4f}",
            f"B  {second}  {metric} {self.b:.4f}",
            f"B - A  {self.difference:+.4f}  {interval}, {units}",
            self.verdict,
        )
        return "\n".join(lines)


def compare(pairs: Pairs, resamples: int = RESAMPLES, seed: int = SEED) -> Comparison:
    """Compare A and B over the same images; the seed is fixed, so the answer always is the same."""
    weights = _weights(pairs)
    clusters = list(dict.fromkeys(pairs.clusters))
    drawn = "clusters" if len(clusters) >= LEAST_CLUSTERS else "pictures"
    units = [clusters.index(name) for name in pairs.clusters] if drawn == "clusters" else range(len(pairs.a))
    totals, sizes = _summed(units, weights * (pairs.b - pairs.a), weights)
    low, high = bootstrap_t(totals, resamples, seed, weights=sizes)
    a, b = (float(np.average(side, weights=weights)) for side in (pairs.a, pairs.b))
    return Comparison(
        metric=pairs.metric,
        align=pairs.align,
        images=len(pairs.a),
        clusters=len(clusters),
        drawn=drawn,
        mean_over="sources" if pairs.by_source else "images",
        a=a,
        b=b,
        difference=b - a,
        low=low,
        high=high,
        verdict=_verdict(pairs.metric, low, high),
        only_a=pairs.only_a,
        only_b=pairs.only_b,
        resamples=resamples,
    )


def bootstrap_t(
    values: NDArray[np.float64],
    resamples: int = RESAMPLES,
    seed: int = SEED,
    confidence: float = CONFIDENCE,
    weights: NDArray[np.float64] | None = None,
) -> tuple[float, float]:
    """The interval of sum(values) / sum(weights) over units (N,), weights 1 without any; of no width where all agree.

    The error of the ratio is that of its residuals, values - ratio * weights (Cochran, 1977, section 6.4).
    """
    sizes = np.ones(len(values)) if weights is None else weights
    mean, error = (float(number[0]) for number in _ratio(values[None], sizes[None]))
    if not error > np.finfo(np.float64).eps * abs(mean):
        return mean, mean
    tail = (1 - confidence) / 2
    means, errors = _resampled(values, sizes, resamples, seed)
    with np.errstate(divide="ignore", invalid="ignore"):
        scores = np.nan_to_num((means - mean) / errors, nan=0.0, posinf=np.inf, neginf=-np.inf)
    low, high = np.quantile(scores, tail, method="lower"), np.quantile(scores, 1 - tail, method="higher")
    if not (np.isfinite(low) and np.isfinite(high)):
        # So many units score the same that resamples without spread come up often: their means must do.
        low, high = np.quantile(means, (tail, 1 - tail))
        return float(low), float(high)
    return mean - float(high) * error, mean - float(low) * error


def _resampled(
    values: NDArray[np.float64], weights: NDArray[np.float64], resamples: int, seed: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Means and errors (resamples,) of as many units drawn with replacement."""
    rng = np.random.default_rng(seed)
    parts = []
    for done in range(0, resamples, _CHUNK):
        drawn = rng.integers(0, len(values), (min(_CHUNK, resamples - done), len(values)))
        parts.append(_ratio(values[drawn], weights[drawn]))
    means, errors = zip(*parts, strict=True)
    return np.concatenate(means), np.concatenate(errors)


def _ratio(
    values: NDArray[np.float64], weights: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Ratios (R,) of the sums of values and weights (R, N), and their standard errors."""
    count = values.shape[1]
    total = weights.sum(axis=1)
    ratio = values.sum(axis=1) / total
    residuals = values - ratio[:, None] * weights
    squares = np.square(residuals).sum(axis=1)
    return ratio, np.sqrt(squares * count / max(1, count - 1)) / total


def _weights(pairs: Pairs) -> NDArray[np.float64]:
    """What each image weighs (N,): the same, or the same for every source."""
    if not pairs.by_source:
        return np.ones(len(pairs.a))
    counts = Counter(pairs.sources)
    return np.array([1 / counts[source] for source in pairs.sources])


def _summed(
    units: Sequence[int], totals: NDArray[np.float64], weights: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sums of totals and of weights by unit."""
    first, second = (np.bincount(units, each).astype(np.float64) for each in (totals, weights))
    return first, second


def _verdict(metric: str, low: float, high: float) -> str:
    if low <= 0 <= high:
        return "no difference"
    return "B is better" if (low > 0) == (metric in RISING) else "A is better"
