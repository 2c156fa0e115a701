"""m3d's own form: a mapping with fx, a list of such with ``pattern``, or patterns mapped to such.

Principal points count from the corner of the image. Polycam writes one such file per photo, with the pose beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from m3d_cli.camera import Distortion
from m3d_cli.errors import CalibrationError
from m3d_cli.intrinsics.calibration.document import DocumentFormat, brown, fisheye, has, optional, pixels, real
from m3d_cli.intrinsics.calibration.lens_models import is_fisheye
from m3d_cli.intrinsics.calibration.match import CalibrationEntry, Intrinsics

_KEYS = frozenset(("fx", "fy", "cx", "cy", "width", "height", "distortion", "pattern"))


def _is_own(document: Any) -> bool:
    if isinstance(document, list):
        return bool(document) and all(has(item, "fx", "pattern") for item in document)
    if not isinstance(document, Mapping):
        return False
    return "fx" in document or (bool(document) and all(has(item, "fx") for item in document.values()))


def _read_own(document: Any) -> tuple[CalibrationEntry, ...]:
    if isinstance(document, list):
        return tuple(CalibrationEntry(str(item["pattern"]), _intrinsics(item)) for item in document)
    if "fx" in document:
        return (CalibrationEntry(str(document.get("pattern", "")), _intrinsics(document)),)
    return tuple(CalibrationEntry(str(pattern), _intrinsics(item)) for pattern, item in document.items())


def _intrinsics(item: Mapping[str, Any]) -> Intrinsics:
    if unknown := sorted(map(str, set(item) - _KEYS)):
        raise CalibrationError(f"unknown keys {unknown}", hint=f"known are {sorted(_KEYS)}")
    fx = real(item["fx"])
    return Intrinsics(
        fx=fx,
        fy=real(item.get("fy", fx)),
        cx=optional(item.get("cx")),
        cy=optional(item.get("cy")),
        width=pixels(item.get("width")),
        height=pixels(item.get("height")),
        distortion=_distortion(item.get("distortion")),
    )


def _distortion(value: Any) -> Distortion | None:
    """``{"model": "fisheye", "coefficients": [...]}``, or a list of Brown's coefficients."""
    if value is None:
        return None
    if not isinstance(value, Mapping):
        return brown([real(term) for term in value])
    terms = [real(term) for term in value["coefficients"]]
    return fisheye(terms) if is_fisheye([value.get("model", "brown")], "distortion model") else brown(terms)


def _read_polycam(document: Mapping[str, Any]) -> tuple[CalibrationEntry, ...]:
    return (CalibrationEntry("", _intrinsics({key: document[key] for key in _KEYS & set(document)})),)


OWN = DocumentFormat("m3d's own (fx, fy, cx, cy, width, height)", _is_own, _read_own)
POLYCAM = DocumentFormat(
    "Polycam's camera of a photo",
    lambda d: has(d, "fx", "fy") and (has(d, "t_00") or has(d, "blur_score")),
    _read_polycam,
)
