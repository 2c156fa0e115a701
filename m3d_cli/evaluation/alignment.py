"""What may be forgiven before scoring: nothing, the scale, or scale and shift. A score without its alignment is no
score.
"""

from __future__ import annotations

from enum import Enum

import numpy as np
from numpy.typing import NDArray


class Alignment(str, Enum):
    """``none``: metric as predicted; ``median``: times median(truth) / median(prediction); ``scale-shift``: least
    squares.
    """

    NONE = "none"
    MEDIAN = "median"
    SCALE_SHIFT = "scale-shift"

    def __str__(self) -> str:
        return self.value


# A fitted depth may not fall below this: ratios and logarithms need positive metres.
LEAST_DEPTH = 1e-3


def align(prediction: NDArray[np.float64], truth: NDArray[np.float64], alignment: Alignment) -> NDArray[np.float64]:
    """Prediction (N,) in metres brought to ``truth`` (N,) by ``alignment``."""
    if alignment is Alignment.NONE:
        return prediction
    if alignment is Alignment.MEDIAN:
        return np.asarray(prediction * (np.median(truth) / np.median(prediction)))
    design = np.stack([prediction, np.ones_like(prediction)], axis=1)
    (scale, shift), *_ = np.linalg.lstsq(design, truth, rcond=None)
    return np.asarray(np.maximum(scale * prediction + shift, LEAST_DEPTH))
