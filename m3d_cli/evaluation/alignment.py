"""What may be forgiven before scoring: nothing, the scale, or scale and shift. A score without its alignment is no
score.
"""

from __future__ import annotations

from enum import Enum

import numpy as np
from numpy.typing import NDArray

from m3d_cli.errors import UsageError


class Alignment(str, Enum):
    """``none``: metric as predicted; ``median``: times median(truth) / median(prediction); ``scale-shift``: least
    squares in depth.
    """

    NONE = "none"
    MEDIAN = "median"
    SCALE_SHIFT = "scale-shift"

    def __str__(self) -> str:
        return self.value


DEFAULT_ALIGNMENTS = (Alignment.NONE, Alignment.MEDIAN)

# A fitted depth may not fall below this many metres: ratios and logarithms need positive numbers.
LEAST_DEPTH = 1e-3
# Predictions that differ by less than this share of their mean are one constant, which no line can be fitted through.
CONSTANT = 1e-9


def parse_alignments(text: str) -> tuple[Alignment, ...]:
    """Alignments from a list with commas, each once, in the order given."""
    names = list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    known = [str(alignment) for alignment in Alignment]
    wrong = [name for name in names if name not in known]
    if wrong or not names:
        raise UsageError(f"alignment {', '.join(wrong) or 'list is empty'}", hint=f"any of {', '.join(known)}")
    return tuple(Alignment(name) for name in names)


def align(prediction: NDArray[np.float64], truth: NDArray[np.float64], alignment: Alignment) -> NDArray[np.float64]:
    """Prediction (N,) in metres brought to ``truth`` (N,) by ``alignment``; both positive, finite and not empty."""
    if alignment is Alignment.NONE:
        return prediction
    line = _fitted_line(prediction, truth) if alignment is Alignment.SCALE_SHIFT else None
    if line is None:
        return np.asarray(prediction * (np.median(truth) / np.median(prediction)))
    scale, shift = line
    return np.asarray(np.maximum(scale * prediction + shift, LEAST_DEPTH))


def _fitted_line(prediction: NDArray[np.float64], truth: NDArray[np.float64]) -> tuple[float, float] | None:
    """Scale and shift of least squares; None where the prediction is constant or the line would turn near into far.

    Metric3D's evaluation also goes back to the median then.
    """
    mean, target = float(prediction.mean()), float(truth.mean())
    centred = prediction - mean
    spread = float(np.mean(centred**2))
    if spread <= (CONSTANT * mean) ** 2:
        return None
    scale = float(np.mean(centred * (truth - target))) / spread
    return (scale, target - scale * mean) if scale > 0 else None
