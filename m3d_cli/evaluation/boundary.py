"""How well depth edges stand where they should: the scale-invariant boundary F1 of Depth Pro (arXiv 2410.02073,
section 3.3), for dense truth.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

# Depth ratios between neighbours that make an edge; each of them weighs in proportion to itself.
THRESHOLDS = np.linspace(1.05, 1.25, 10)
# Depth below this many metres counts as this.
NEAREST = 1e-6


def boundary_f1(prediction: NDArray[np.floating], truth: NDArray[np.floating]) -> float:
    """F1 over THRESHOLDS of metres (H, W) against metres (H, W); 0 where no edge is in both, NaN without a true edge.

    A pair of neighbours one of which is unknown (NaN) in the truth is no edge there; unknown predicted depth ends no
    edge either. Recall and precision are means over the four directions in which depth can step.
    """
    predicted = np.where(np.isfinite(truth), prediction, np.nan)
    ratios = list(zip(_steps(predicted), _steps(truth), strict=True))
    if not any(_count(g > THRESHOLDS[0]) for _, g in ratios):
        return float("nan")
    scores = [_f1([(p > t, g > t) for p, g in ratios]) for t in THRESHOLDS]
    return float(np.average(scores, weights=THRESHOLDS))


def _steps(depth: NDArray[np.floating]) -> Iterator[NDArray[np.float64]]:
    """Ratios of inverse depth between neighbours: right, left, below, above; unknown is NaN, which exceeds nothing."""
    metres = np.where(np.isfinite(depth), depth, np.nan).astype(np.float64)
    inverse = np.reciprocal(np.maximum(metres, NEAREST))
    right = inverse[:, 1:] / inverse[:, :-1]
    below = inverse[1:] / inverse[:-1]
    yield from (right, np.reciprocal(right), below, np.reciprocal(below))


def _f1(edges: list[tuple[NDArray[np.bool_], NDArray[np.bool_]]]) -> float:
    hits = [_count(p & g) for p, g in edges]
    recall = float(np.mean([hit / max(_count(g), 1) for hit, (_, g) in zip(hits, edges, strict=True)]))
    precision = float(np.mean([hit / max(_count(p), 1) for hit, (p, _) in zip(hits, edges, strict=True)]))
    return 2 * recall * precision / (recall + precision) if recall + precision else 0.0


def _count(mask: NDArray[np.bool_]) -> int:
    return int(np.count_nonzero(mask))
