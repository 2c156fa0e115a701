"""RealSense's intrinsics of a stream (``ppx``, ``ppy``, ``coeffs``), in OpenCV's pixel grid.

Its usual model, the inverse of Brown and Conrady, is turned into OpenCV's terms.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from m3d_cli.camera import Distortion
from m3d_cli.errors import CalibrationError
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

_BROWN = ("brown_conrady", "modified_brown_conrady")
_FISHEYE = ("kannala_brandt4",)
_INVERSE = "inverse_brown_conrady"
# librealsense's rs2_distortion, by its number.
_NUMBERED = ("none", "modified_brown_conrady", _INVERSE, "ftheta", "brown_conrady", "kannala_brandt4")

# Points along a side for the inversion, and the pixels that it may miss by.
GRID = 25
MOST_MISSED = 1.0


def _read_realsense(document: Mapping[str, Any]) -> tuple[CalibrationEntry, ...]:
    numbers = [real(document[name]) for name in ("fx", "fy", "ppx", "ppy")]
    size = size_of(document)
    return (CalibrationEntry("", of_opencv(numbers, size, _realsense_lens(document, numbers, size))),)


def _realsense_lens(
    document: Mapping[str, Any], numbers: list[float], size: tuple[int | None, int | None]
) -> Distortion | None:
    terms = [real(term) for term in document.get("coeffs") or ()]
    model = _model(document.get("model", "none"))
    if model in _FISHEYE:
        return fisheye(terms[:4])
    if not any(terms):
        return None
    if model in _BROWN:
        return brown(terms)
    if model == _INVERSE and len(terms) == 5 and None not in size:
        return brown(_inverted(terms, numbers, (size[0] or 1, size[1] or 1)))
    raise unsupported("distortion model with coefficients", model, (*_BROWN, _INVERSE, *_FISHEYE))


def _model(value: object) -> str:
    """``distortion.inverse_brown_conrady``, ``Inverse Brown Conrady``, ``RS2_DISTORTION_...`` or 2: one name."""
    text = str(value).strip()
    if text.isdecimal() and int(text) < len(_NUMBERED):
        return _NUMBERED[int(text)]
    bare = re.sub(r"[\s-]+", "_", text.casefold())
    return bare.removeprefix("distortion.").removeprefix("rs2_distortion_")


def _inverted(terms: list[float], numbers: list[float], size: tuple[int, int]) -> list[float]:
    """Brown's terms whose distortion is undone by ``terms``, which map distorted to undistorted directions.

    By least squares over the image: distorted directions are linear in k1 k2 p1 p2 k3.
    """
    fx, fy, cx, cy = numbers
    u, v = np.meshgrid(np.linspace(0, size[0] - 1, GRID), np.linspace(0, size[1] - 1, GRID))
    distorted = np.stack([(u.ravel() - cx) / fx, (v.ravel() - cy) / fy])
    straight = distorted + np.tensordot(_shifts(distorted), terms, axes=1)
    design = _shifts(straight)
    found, *_ = np.linalg.lstsq(design.reshape(-1, 5), (distorted - straight).ravel(), rcond=None)
    missed = np.abs(straight + np.tensordot(design, found, axes=1) - distorted).max() * max(fx, fy)
    if not missed < MOST_MISSED:
        raise CalibrationError(f"the inverse distortion cannot be inverted: {missed:.2g} px are left")
    return [float(term) for term in found]


def _shifts(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far each of k1 k2 p1 p2 k3 moves directions (2, N), for one unit of it: (2, N, 5)."""
    x, y = points
    r2 = x * x + y * y
    along_x = (x * r2, x * r2**2, 2 * x * y, r2 + 2 * x * x, x * r2**3)
    along_y = (y * r2, y * r2**2, r2 + 2 * y * y, 2 * x * y, y * r2**3)
    return np.stack([np.stack(along_x, axis=-1), np.stack(along_y, axis=-1)])


REALSENSE = DocumentFormat("RealSense's intrinsics", lambda d: has(d, "fx", "fy", "ppx", "ppy"), _read_realsense)
