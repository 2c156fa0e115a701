"""transforms.json of nerfstudio, instant-ngp and Blender: intrinsics for all frames, overridden frame by frame.

Principal points count from the corner of the image. Blender gives ``camera_angle_x`` without a size: it goes with the
width of the photo.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from m3d_cli.errors import CalibrationError
from m3d_cli.intrinsics.calibration.document import (
    DocumentFormat,
    brown,
    fisheye,
    has,
    optional,
    pixels,
    real,
    unsupported,
)
from m3d_cli.intrinsics.calibration.lens_models import folded, is_fisheye
from m3d_cli.intrinsics.calibration.match import CalibrationEntry, Intrinsics

_MODELS = ("PINHOLE", "PERSPECTIVE", "SIMPLE_RADIAL", "RADIAL", "OPENCV", "FULL_OPENCV", "OPENCV_FISHEYE")
# instant-ngp's flags of images that are not flat.
_FLAGS = ("equirectangular", "latlong", "orthographic")
_TERMS = ("k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6")
_FISHEYE_TERMS = ("k1", "k2", "k3", "k4")


def _read(document: Mapping[str, Any]) -> tuple[CalibrationEntry, ...]:
    entries: list[CalibrationEntry] = []
    for frame in document.get("frames") or ():
        merged = {**document, **frame}
        if _has_focal(merged):
            entries.append(CalibrationEntry(str(frame["file_path"]).removeprefix("./"), _intrinsics(merged)))
    if _has_focal(document):
        entries.append(CalibrationEntry("", _intrinsics(document)))
    return tuple(entries)


def _has_focal(item: Mapping[str, Any]) -> bool:
    return "fl_x" in item or "camera_angle_x" in item


def _intrinsics(item: Mapping[str, Any]) -> Intrinsics:
    width, height = pixels(item.get("w")), pixels(item.get("h"))
    model = item.get("camera_model")
    is_equidistant = is_fisheye([model, *(["fisheye"] if item.get("is_fisheye") else [])], "camera model")
    _refuse_other_lenses(item)
    fx, in_widths = item.get("fl_x"), False
    if fx is None:
        angle = real(item["camera_angle_x"])
        if not 0 < angle < math.pi:
            raise CalibrationError(f"camera_angle_x is an angle in radians, not {angle:g}")
        fx, in_widths = (width or 1) / 2 / math.tan(angle / 2), width is None
    names = _FISHEYE_TERMS if is_equidistant else _TERMS if folded(model) == "fullopencv" else _TERMS[:5]
    terms = [real(item.get(name, 0.0)) for name in names]
    if unused := [name for name in _TERMS if name not in names and real(item.get(name, 0.0))]:
        raise unsupported("camera model", f"{model or 'without a name'} with {' '.join(unused)}", _MODELS)
    return Intrinsics(
        fx=real(fx),
        fy=real(item.get("fl_y", fx)),
        cx=optional(item.get("cx")),
        cy=optional(item.get("cy")),
        width=width,
        height=height,
        distortion=fisheye(terms) if is_equidistant else brown(terms),
        in_widths=in_widths,
    )


def _refuse_other_lenses(item: Mapping[str, Any]) -> None:
    """instant-ngp marks other lenses by keys of their own, nerfstudio gives longer models a list of parameters."""
    marks = [name for name in _FLAGS if item.get(name)]
    marks += [name for name in item if str(name).startswith("ftheta")]
    marks += [name for name in ("distortion_params",) if item.get(name)]
    if marks:
        raise unsupported("the lens model of", marks[0], _MODELS)


NERFSTUDIO = DocumentFormat(
    "transforms.json of nerfstudio or Blender",
    lambda document: any(has(document, key) for key in ("fl_x", "camera_angle_x", "frames")),
    _read,
)
