"""How the errors of a depth map behave: one of the whole picture, one of each thing in it, one along its surfaces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Places whose ln depths differ by much more than this belong to things that err each by itself.
DEPTH_REACH = 0.3


@dataclass(frozen=True, slots=True)
class DepthNoise:
    """Standard deviations of the errors of ln depth.

    ``scale_sigma`` is common to the picture. ``shape_sigma`` changes along a surface: two places a distance d apart,
    in long sides of the picture, share exp(-d / ``reach``) of it. ``object_sigma`` is that of a thing: places of equal
    depth share it, places at other depths do not. So a length on one surface is far surer than the distance between
    two things. ``long_side`` in pixels. ``confidence_errors`` are pairs of a confidence, rising, and how much larger
    than usual object and shape error are there. ``cell`` is how many pixels one pixel of the network covers: edges are
    smeared over so many. ``relief_sigma`` is by what share of it surfaces recede too little or too much: networks make
    slanted ones too flat.
    """

    scale_sigma: float
    shape_sigma: float
    reach: float
    long_side: float
    object_sigma: float = 0.0
    confidence_errors: tuple[tuple[float, float], ...] = ()
    cell: float = 1.0
    relief_sigma: float = 0.0

    def factors(self, confidences: Sequence[float | None] | NDArray[np.float32]) -> NDArray[np.float64]:
        """How much larger than usual the errors (N,) are at places of these confidences; 1 where none is known."""
        known = np.array([np.nan if one is None else one for one in confidences], dtype=np.float64)
        if not self.confidence_errors:
            return np.ones(len(known))
        places, errors = zip(*self.confidence_errors, strict=True)
        return np.where(np.isfinite(known), np.interp(known, places, errors), 1.0)

    def covariance(
        self,
        pixels: NDArray[np.float64],
        depths: NDArray[np.float64],
        residuals: NDArray[np.float64],
        factors: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        """Covariance (N, N) of ln depth at ``pixels`` (N, 2) without the scale error.

        ``depths`` (N,) in metres; ``residuals`` (N,) are each place's own relative errors; ``factors`` (N,) those of
        `factors`.
        """
        apart = np.linalg.norm(pixels[:, None] - pixels[None], axis=2) / self.long_side
        deeper = np.log(depths)[:, None] - np.log(depths)[None]
        along = self.shape_sigma**2 * np.exp(-apart / self.reach)
        between = self.object_sigma**2 * np.exp(-0.5 * (deeper / DEPTH_REACH) ** 2)
        return np.asarray((along + between) * np.outer(factors, factors) + np.diag(residuals**2))

    @classmethod
    def exact(cls, long_side: float) -> DepthNoise:
        """For depth that is known exactly, as in tests and from sensors."""
        return cls(0.0, 0.0, 1.0, long_side)
