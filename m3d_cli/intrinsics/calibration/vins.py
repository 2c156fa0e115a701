"""VINS's cameras (``projection_parameters``), in OpenCV's pixel grid."""

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


def _read_vins(document: Mapping[str, Any]) -> tuple[CalibrationEntry, ...]:
    model, parameters = str(document.get("model_type", "PINHOLE")), document["projection_parameters"]
    size = size_of(document, "image_width", "image_height")
    if model == "PINHOLE":
        numbers = [real(parameters[name]) for name in ("fx", "fy", "cx", "cy")]
        terms = document.get("distortion_parameters") or {}
        lens = brown([real(terms.get(name, 0.0)) for name in _BROWN])
    elif model == "KANNALA_BRANDT":
        numbers = [real(parameters[name]) for name in ("mu", "mv", "u0", "v0")]
        lens = fisheye([real(parameters.get(name, 0.0)) for name in ("k2", "k3", "k4", "k5")])
    else:
        raise unsupported("model_type", model, ("PINHOLE", "KANNALA_BRANDT"))
    return (CalibrationEntry("", of_opencv(numbers, size, lens)),)


VINS = DocumentFormat("VINS's camera", lambda document: has(document, "projection_parameters"), _read_vins)
