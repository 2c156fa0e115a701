"""One focal length for photos that one camera took at one zoom (``--same-camera``).

Focal lengths are compared as fractions of the long side, so that resized copies count. The robust middle replaces
what EXIF said for each photo, and fills in for photos whose EXIF was lost.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from m3d_cli.camera import Camera, FocalCandidate, FocalSource
from m3d_cli.intrinsics.ladder import AGREEMENT, ASSUMED_WARNING
from m3d_cli.intrinsics.original_size import ASPECT_TOLERANCE, CROP_SIGMA

# Below this share of photos near the middle, the photos are not from one camera at one zoom.
NEEDED_SHARE = 0.6

# A calibration's focal length without its principal point and its lens distortion, on the photos it does not name.
BORROWED_CALIBRATION_SIGMA = 0.03

# The user's own word and a calibration are not voted on.
_FIXED = (FocalSource.USER, FocalSource.CALIBRATION)


def consensus(cameras: Sequence[Camera]) -> tuple[Camera, ...]:
    """``cameras`` in the same order, with the common focal length; unchanged but for a warning when there is none."""
    known = [camera for camera in cameras if not camera.is_assumed]
    if not known:
        return tuple(cameras)
    middle = _weighted_median([(_ratio(one), 1 / one.focal_rel_sigma**2) for one in known])
    near = [one for one in known if abs(_ratio(one) / middle - 1) <= AGREEMENT]
    if len(near) < NEEDED_SHARE * len(known):
        warning = (
            "--same-camera: the focal lengths differ too much for one camera at one zoom; each photo keeps its own"
        )
        return tuple(camera.with_warnings(warning) for camera in cameras)
    best = _best(near)
    return tuple(_shared(one, middle, best, len(near)) for one in cameras)


def _best(near: Sequence[Camera]) -> Camera:
    """The photo whose source and sigma the others take over; a calibrated one only if there is no other.

    What a calibration says about the lens stays with the photos it names, so others have less than a calibration.
    """
    others = [one for one in near if one.focal_source is not FocalSource.CALIBRATION]
    best = min(others or near, key=lambda one: one.focal_rel_sigma)
    if others:
        return best
    sigma = math.hypot(best.focal_rel_sigma, BORROWED_CALIBRATION_SIGMA)
    return dataclasses.replace(best, focal_source=FocalSource.ESTIMATED, focal_rel_sigma=sigma)


def _ratio(camera: Camera) -> float:
    return camera.focal / max(camera.width, camera.height)


def _aspect(camera: Camera) -> float:
    return max(camera.width, camera.height) / min(camera.width, camera.height)


def _weighted_median(pairs: list[tuple[float, float]]) -> float:
    """Value at which half of the weight is reached."""
    half = sum(weight for _, weight in pairs) / 2
    reached = 0.0
    for value, weight in sorted(pairs):
        reached += weight
        if reached >= half:
            return value
    raise ValueError("no values")


def _shared(camera: Camera, ratio: float, best: Camera, count: int) -> Camera:
    if camera.focal_source in _FIXED:
        return camera
    focal = ratio * max(camera.width, camera.height)
    # All photos share the rounding of one tag, so numbers do not shrink the error below that of the best photo.
    sigma = best.focal_rel_sigma
    if abs(_aspect(camera) / _aspect(best) - 1) > ASPECT_TOLERANCE:
        sigma = math.hypot(sigma, CROP_SIGMA)
    note = f"consensus of {count} photo{'' if count == 1 else 's'} of the same camera"
    shared = FocalCandidate(focal, focal, best.focal_source, sigma, note)
    warnings = tuple(one for one in camera.warnings if one != ASSUMED_WARNING)
    if not camera.is_assumed and abs(camera.focal / focal - 1) > AGREEMENT:
        warnings = (
            *warnings,
            f"--same-camera: {camera.focal:.0f} px of this photo gave way to the common {focal:.0f} px",
        )
    if camera.is_assumed:
        warnings = (*warnings, f"focal length taken from the other photos of the same camera ({note})")
    return dataclasses.replace(
        camera,
        fx=focal,
        fy=focal,
        focal_source=best.focal_source,
        focal_rel_sigma=sigma,
        derivation=note,
        candidates=(shared, *camera.candidates),
        warnings=warnings,
    )
