"""What the image itself says about its focal length, and how that takes the place of an assumption.

A network's distribution over ln(focal / diagonal) and, in built scenes, vanishing points. Both come with a standard
deviation; where they agree they are fused by variance.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from m3d_cli.camera import Camera, FocalCandidate, FocalSource
from m3d_cli.intrinsics.ladder import ASSUMED_WARNING
from m3d_cli.intrinsics.sensors import FULL_FRAME_DIAGONAL
from m3d_cli.intrinsics.vanishing_points import LineFocal

# Two opinions, or EXIF and the image, contradict each other beyond this many standard deviations.
CONTRADICTION = 3.0


@dataclass(frozen=True, slots=True)
class FocalOpinion:
    """Focal length over the diagonal of the image, the standard deviation of its logarithm, and how it was found."""

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
    return FocalOpinion(math.exp(mean), spread, "estimated from the image")


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
    return FocalOpinion(math.exp(mean), sigma, f"estimated from the image and {lines.lines} of its lines")


def estimated_from_image(camera: Camera, opinion: FocalOpinion, *, is_asked: bool = False) -> Camera:
    """``camera`` with the focal length of ``opinion``; other candidates stay beside it.

    What is assumed of a phone's main camera stays where the image says less than that, unless the user asked for what
    the image says.
    """
    candidate = candidate_of(camera, opinion)
    priors = [one for one in camera.candidates if one.source is FocalSource.ASSUMED]
    if camera.is_assumed and not is_asked and any(one.rel_sigma <= opinion.sigma for one in priors):
        return dataclasses.replace(camera, candidates=(*camera.candidates, candidate))
    warning = (
        f"focal length estimated from the image alone: {opinion.equivalent:.0f} mm (35 mm equivalent) within "
        f"{opinion.sigma:.0%}; lengths along the view share that (pass --focal or --focal-35mm)"
    )
    kept = tuple(one for one in camera.warnings if one != ASSUMED_WARNING)
    return dataclasses.replace(
        camera,
        fx=candidate.fx,
        fy=candidate.fy,
        focal_source=candidate.source,
        focal_rel_sigma=candidate.rel_sigma,
        derivation=candidate.note,
        candidates=(candidate, *camera.candidates),
        warnings=(*kept, warning),
    )


def candidate_of(camera: Camera, opinion: FocalOpinion) -> FocalCandidate:
    """The opinion in pixels of the camera's image."""
    focal = opinion.ratio * math.hypot(camera.width, camera.height)
    note = f"{opinion.note}: {opinion.equivalent:.0f} mm (35 mm equivalent)"
    return FocalCandidate(focal, focal, FocalSource.ESTIMATED, opinion.sigma, note)


def contradiction(camera: Camera, opinion: FocalOpinion) -> str | None:
    """A warning where ``camera`` and the image differ beyond doubt: a crop, or a wrong tag."""
    told = candidate_of(camera, opinion)
    apart = abs(math.log(told.focal / camera.focal))
    if camera.is_assumed or apart <= CONTRADICTION * math.hypot(camera.focal_rel_sigma, opinion.sigma):
        return None
    return (
        f"the image looks like {told.focal:.0f} px (within {opinion.sigma:.0%}), {camera.focal_source} says "
        f"{camera.focal:.0f} px: a crop, or a wrong tag?"
    )
