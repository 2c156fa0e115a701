"""Settings of ORB-SLAM2 and 3 (``Camera.fx``, ``Camera1.fx``) and of OpenVSLAM and stella_vslam, whose camera has a
``Camera.model``; in OpenCV's pixel grid.

Of a stereo rig the first camera is read.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from m3d_cli.errors import CalibrationError
from m3d_cli.intrinsics.calibration.document import (
    DocumentFormat,
    brown,
    fisheye,
    has,
    of_opencv,
    pixels,
    real,
    size_of,
    unsupported,
)
from m3d_cli.intrinsics.calibration.lens_models import folded, is_fisheye
from m3d_cli.intrinsics.calibration.match import CalibrationEntry, Intrinsics
from m3d_cli.intrinsics.calibration.opencv import from_matrix, matrix_of

_BROWN = ("k1", "k2", "p1", "p2", "k3")
_FISHEYE = ("k1", "k2", "k3", "k4")
_MODELS = ("PinHole", "Rectified", "KannalaBrandt8", "perspective", "fisheye")
# Raw images of a stereo rig, which ORB-SLAM2 rectifies to what ``Camera.fx`` describes.
_RAW = "LEFT"


def _flat(document: Any) -> Any:
    """stella_vslam's nested ``Camera: {model: ...}`` with OpenVSLAM's keys."""
    camera = document.get("Camera") if isinstance(document, Mapping) else None
    if not isinstance(camera, Mapping):
        return document
    return {**document, **{f"Camera.{name}": value for name, value in camera.items()}}


def _prefix(document: Any) -> str:
    return next((prefix for prefix in ("Camera1", "Camera") if has(document, f"{prefix}.fx", f"{prefix}.cy")), "")


def _fits(document: Any) -> bool:
    flat = _flat(document)
    return bool(_prefix(flat)) or has(flat, "Camera.model", "Camera.cols")


def _read(document: Mapping[str, Any]) -> tuple[CalibrationEntry, ...]:
    document = _flat(document)
    names = [document.get(key) for key in ("Camera.type", "Camera.model")]
    for name in names:
        if folded(name) not in {"", *map(folded, _MODELS)}:
            raise unsupported("camera model", name, _MODELS)
    if has(document, f"{_RAW}.K", f"{_RAW}.D"):
        return (CalibrationEntry("", _raw(document)),)
    prefix, is_equidistant = _prefix(document), is_fisheye(names, "camera model")
    if not is_equidistant and real(document.get(f"{prefix}.k4", 0.0)):
        raise unsupported("camera model", "without a name, with k4", _MODELS)
    numbers = [real(document[f"{prefix}.{name}"]) for name in ("fx", "fy", "cx", "cy")]
    width, height = (
        document.get(f"Camera.{long}", document.get(f"Camera.{short}"))
        for long, short in (("width", "cols"), ("height", "rows"))
    )
    terms = [real(document.get(f"{prefix}.{name}", 0.0)) for name in (_FISHEYE if is_equidistant else _BROWN)]
    lens = fisheye(terms) if is_equidistant else brown(terms)
    return (CalibrationEntry("", of_opencv(numbers, (pixels(width), pixels(height)), lens)),)


def _raw(document: Mapping[str, Any]) -> Intrinsics:
    """The left camera of a stereo rig before rectification."""
    matrix = matrix_of(document[f"{_RAW}.K"], f"{_RAW}.K")
    found = matrix_of(document[f"{_RAW}.D"], f"{_RAW}.D")
    if matrix is None:
        raise CalibrationError(f"{_RAW}.K is no matrix")
    width, height = size_of(document, f"{_RAW}.width", f"{_RAW}.height")
    return dataclasses.replace(
        from_matrix(matrix),
        width=width,
        height=height,
        distortion=None if found is None else brown(found.ravel().tolist()),
        notes=("LEFT.K and LEFT.D are taken, of the left images as recorded; rectified ones have Camera.fx",),
    )


ORB_SLAM = DocumentFormat("settings of ORB-SLAM or stella_vslam", _fits, _read)
