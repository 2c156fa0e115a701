"""Kalibr's camchain (``cam0: {camera_model, intrinsics, resolution}``) and EuRoC's ``sensor.yaml`` of one camera.

Both write fx fy cx cy in OpenCV's pixel grid. The photos of a rig's cameras are recognised by their folders
(``cam0/``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from m3d_cli.camera import Distortion
from m3d_cli.errors import CalibrationError
from m3d_cli.intrinsics.calibration.document import (
    DocumentFormat,
    brown,
    by_folder,
    fisheye,
    has,
    of_opencv,
    pixels,
    reals,
    unsupported,
)
from m3d_cli.intrinsics.calibration.lens_models import folded, is_fisheye
from m3d_cli.intrinsics.calibration.match import CalibrationEntry, Intrinsics

_CAMERA = re.compile(r"cam\d+")


def _cameras(document: Any) -> dict[str, Mapping[str, Any]]:
    if not isinstance(document, Mapping):
        return {}
    return {str(k): v for k, v in document.items() if _CAMERA.fullmatch(str(k)) and has(v, "intrinsics")}


def _read_kalibr(document: Mapping[str, Any]) -> tuple[CalibrationEntry, ...]:
    cameras = {name: _intrinsics(item) for name, item in _cameras(document).items()}
    return by_folder(cameras, {name: (name,) for name in cameras})


def _intrinsics(item: Mapping[str, Any]) -> Intrinsics:
    if folded(item.get("camera_model", "pinhole")) != "pinhole":
        raise unsupported("camera model", item["camera_model"], ("pinhole",))
    numbers = reals(item["intrinsics"], (4,), "intrinsics")
    size = reals(item["resolution"], (2,), "resolution") if "resolution" in item else (None, None)
    return of_opencv(numbers, (pixels(size[0]), pixels(size[1])), _distortion(item))


def _distortion(item: Mapping[str, Any]) -> Distortion | None:
    model = item.get("distortion_model", item.get("distortion_type"))
    values = item.get("distortion_coeffs", item.get("distortion_coefficients")) or []
    is_equidistant = is_fisheye([model], "distortion model")
    is_unnamed = folded(model) in ("", "none")
    terms = reals(values, (0, 4, 5) if is_unnamed else (4, 5), "lens distortion")
    if any(terms) and is_unnamed:
        raise CalibrationError(
            f"lens distortion {terms} without a model", hint="name it in distortion_model: radtan or equidistant"
        )
    return fisheye(terms) if is_equidistant else brown(terms)


KALIBR = DocumentFormat("Kalibr's camchain", lambda document: bool(_cameras(document)), _read_kalibr)
EUROC = DocumentFormat(
    "EuRoC's sensor.yaml",
    lambda document: has(document, "intrinsics", "camera_model"),
    lambda document: (CalibrationEntry("", _intrinsics(document)),),
)
