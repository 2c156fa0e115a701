"""Settings of ORB-SLAM2 and 3 (``Camera.fx``, ``Camera1.fx``), in OpenCV's pixel grid.

Of a stereo rig the first camera is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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

_BROWN = ("k1", "k2", "p1", "p2", "k3")
_PINHOLE = ("PinHole", "Pinhole", "PINHOLE", "Rectified")


def _orb_prefix(document: Any) -> str:
    return next((prefix for prefix in ("Camera1", "Camera") if has(document, f"{prefix}.fx", f"{prefix}.cy")), "")


def _read_orb(document: Mapping[str, Any]) -> tuple[CalibrationEntry, ...]:
    prefix, model = _orb_prefix(document), str(document.get("Camera.type", _PINHOLE[0]))
    numbers = [real(document[f"{prefix}.{name}"]) for name in ("fx", "fy", "cx", "cy")]
    size = size_of(document, "Camera.width", "Camera.height")
    is_fisheye = model == "KannalaBrandt8"
    if not is_fisheye and model not in _PINHOLE:
        raise unsupported("Camera.type", model, (*_PINHOLE, "KannalaBrandt8"))
    names = ("k1", "k2", "k3", "k4") if is_fisheye else _BROWN
    terms = [real(document.get(f"{prefix}.{name}", 0.0)) for name in names]
    return (CalibrationEntry("", of_opencv(numbers, size, fisheye(terms) if is_fisheye else brown(terms))),)


ORB_SLAM = DocumentFormat("ORB-SLAM's settings", lambda document: bool(_orb_prefix(document)), _read_orb)
