"""RealSense's intrinsics of a stream (``ppx``, ``ppy``, ``coeffs``), in OpenCV's pixel grid."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from m3d_cli.camera import Distortion
from m3d_cli.intrinsics.calibration.document import (
    DocumentFormat,
    brown,
    fisheye,
    has,
    of_opencv,
    real,
    size_of,
    unsupported,
)
from m3d_cli.intrinsics.calibration.match import CalibrationEntry

_REALSENSE_BROWN = ("brown_conrady", "modified_brown_conrady")
_REALSENSE_FISHEYE = ("kannala_brandt4",)


def _read_realsense(document: Mapping[str, Any]) -> tuple[CalibrationEntry, ...]:
    numbers = [real(document[name]) for name in ("fx", "fy", "ppx", "ppy")]
    return (CalibrationEntry("", of_opencv(numbers, size_of(document), _realsense_lens(document))),)


def _realsense_lens(document: Mapping[str, Any]) -> Distortion | None:
    terms = [real(term) for term in document.get("coeffs") or ()]
    model = str(document.get("model", "none")).removeprefix("distortion.").casefold()
    if not any(terms):
        return None
    if model in _REALSENSE_FISHEYE:
        return fisheye(terms[:4])
    if model in _REALSENSE_BROWN:
        return brown(terms)
    # The inverse model maps distorted to undistorted pixels: OpenCV's terms cannot stand for it.
    raise unsupported("distortion model with coefficients", model, (*_REALSENSE_BROWN, *_REALSENSE_FISHEYE))


REALSENSE = DocumentFormat("RealSense's intrinsics", lambda d: has(d, "fx", "fy", "ppx", "ppy"), _read_realsense)
