"""How the errors of a depth map behave: one scale error a picture, and shape errors that nearby pixels share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class DepthNoise:
    """Errors of ln depth: ``scale_sigma`` common to the whole picture, ``shape_sigma`` from place to place.

    Two places a distance d apart, in long sides of the picture, share exp(-d / ``reach``) of the shape error: a length
    on one surface is far surer than the distance between two things. ``long_side`` in pixels.
    """

    scale_sigma: float
    shape_sigma: float
    reach: float
    long_side: float

    def covariance(self, pixels: NDArray[np.float64], residuals: NDArray[np.float64]) -> NDArray[np.float64]:
        """Covariance (N, N) of ln depth at ``pixels`` (N, 2) without the scale error; ``residuals`` (N,) are each
        place's own.
        """
        apart = np.linalg.norm(pixels[:, None] - pixels[None], axis=2) / self.long_side
        shared = self.shape_sigma**2 * np.exp(-apart / self.reach)
        return np.asarray(shared + np.diag(residuals**2))

    @classmethod
    def exact(cls, long_side: float) -> DepthNoise:
        """For depth that is known exactly, as in tests and from sensors."""
        return cls(0.0, 0.0, 1.0, long_side)
