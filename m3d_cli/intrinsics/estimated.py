"""What the picture itself says about its focal length, and how that takes the place of an assumption.

A network's distribution over ln(focal / diagonal) and, in built scenes, vanishing points. Both come with a standard
deviation; where they agree they are fused by variance.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from m3d_cli.camera import FocalSource
from m3d_cli.intrinsics.exif_focal import FocalCandidate
from m3d_cli.intrinsics.ladder import FocalEstimate
from m3d_cli.intrinsics.sensors import FULL_FRAME_DIAGONAL
from m3d_cli.intrinsics.vanishing_points import LineFocal

# Two opinions, or EXIF and the picture, contradict each other beyond this many standard deviations.
CONTRADICTION = 3.0


@dataclass(frozen=True, slots=True)
class FocalOpinion:
    """Focal length over the diagonal of the picture, the standard deviation of its logarithm, and what told it."""

    ratio: float
    sigma: float
    note: str

    @property
    def equivalent(self) -> float:
        """35 mm equivalent in mm (by diagonal)."""
        return self.ratio * FULL_FRAME_DIAGONAL


def opinion_of_distribution(log_ratios: NDArray[np.float64], probability: NDArray[np.float64]) -> FocalOpinion:
    """Mean and spread of a distribution (N,) over ln ratios (N,)."""
    probability = probability / probability.sum()
    mean = float((probability * log_ratios).sum())
    spread = math.sqrt(float((probability * (log_ratios - mean) ** 2).sum()))
    return FocalOpinion(math.exp(mean), spread, "told by the picture")


def fused(seen: FocalOpinion, lines: LineFocal | None) -> FocalOpinion:
    """``seen`` with what vanishing points say, unless they contradict it: lines of a slanted roof are no frame."""
    if lines is None:
        return seen
    apart = abs(math.log(lines.ratio / seen.ratio))
    if apart > CONTRADICTION * math.hypot(lines.sigma, seen.sigma):
        return seen
    ours, theirs = 1 / seen.sigma**2, 1 / lines.sigma**2
    mean = (ours * math.log(seen.ratio) + theirs * math.log(lines.ratio)) / (ours + theirs)
    sigma = 1 / math.sqrt(ours + theirs)
    return FocalOpinion(math.exp(mean), sigma, f"told by the picture and {lines.lines} of its lines")


def told_by_picture(estimate: FocalEstimate, opinion: FocalOpinion) -> FocalEstimate:
    """``estimate`` with the focal length of ``opinion``; other candidates stay beside it."""
    candidate = candidate_of(estimate, opinion)
    warning = (
        f"focal length told by the picture alone: {opinion.equivalent:.0f} mm (35 mm equivalent) within "
        f"{opinion.sigma:.0%}; lengths along the view share that (pass --focal or --focal-35mm)"
    )
    kept = () if estimate.is_assumed else estimate.warnings
    return dataclasses.replace(
        estimate,
        fx=candidate.fx,
        fy=candidate.fy,
        source=candidate.source,
        rel_sigma=candidate.rel_sigma,
        derivation=candidate.note,
        candidates=(candidate, *estimate.candidates),
        warnings=(*kept, warning),
    )


def candidate_of(estimate: FocalEstimate, opinion: FocalOpinion) -> FocalCandidate:
    """The opinion in pixels of the estimate's picture."""
    focal = opinion.ratio * math.hypot(estimate.width, estimate.height)
    note = f"{opinion.note}: {opinion.equivalent:.0f} mm (35 mm equivalent)"
    return FocalCandidate(focal, focal, FocalSource.ESTIMATED, opinion.sigma, note)


def contradiction(estimate: FocalEstimate, opinion: FocalOpinion) -> str | None:
    """A warning where ``estimate`` and the picture differ beyond doubt: a crop, or a wrong tag."""
    told = candidate_of(estimate, opinion)
    apart = abs(math.log(told.focal / estimate.focal))
    if estimate.is_assumed or apart <= CONTRADICTION * math.hypot(estimate.rel_sigma, opinion.sigma):
        return None
    return (
        f"the picture looks like {told.focal:.0f} px (within {opinion.sigma:.0%}), {estimate.source} says "
        f"{estimate.focal:.0f} px: a crop, or a wrong tag?"
    )
