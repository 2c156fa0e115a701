"""``cameras.json`` of OpenDroneMap and ``camera_models.json`` of OpenSfM: focal lengths in long sides of the image.

Principal points are offsets from the middle of the image, which is the same place in either pixel grid.
"""

from __future__ import annotations

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
from m3d_cli.intrinsics.calibration.match import CalibrationEntry, Intrinsics

_BROWN = ("perspective", "simple_radial", "radial", "brown")
_FISHEYE = ("fisheye", "fisheye_opencv")


def _fits(document: Any) -> bool:
    cameras = document.values() if isinstance(document, Mapping) else ()
    return bool(cameras) and all(has(item, "projection_type", "width", "height") for item in cameras)


def _read(document: Mapping[str, Any]) -> tuple[CalibrationEntry, ...]:
    """One camera is that of all photos; of several, each is that of the photos whose EXIF names it."""
    if len(document) == 1:
        return tuple(CalibrationEntry("", _intrinsics(item)) for item in document.values())
    names = [_camera(key, item) for key, item in document.items()]
    if not all(names) or len(set(names)) < len(names):
        raise CalibrationError(
            f"{len(names)} cameras, and nothing here says which photo is whose",
            hint="keep one camera of each model in the file, or use COLMAP's or nerfstudio's export",
        )
    return tuple(
        CalibrationEntry("", _intrinsics(item), name) for name, item in zip(names, document.values(), strict=True)
    )


def _camera(key: str, item: Mapping[str, Any]) -> str:
    """Make and model in a key such as ``v2 dji fc6310 5472 3648 perspective 0.6666``; empty for another key."""
    before, found, _ = key.partition(f" {item['width']} {item['height']} ")
    return " ".join(before.removeprefix("v2 ").split()) if found else ""


def _intrinsics(item: Mapping[str, Any]) -> Intrinsics:
    model, width, height = item["projection_type"], pixels(item["width"]), pixels(item["height"])
    if model not in (*_BROWN, *_FISHEYE):
        raise unsupported("projection_type", model, (*_BROWN, *_FISHEYE))
    long = max(width or 1, height or 1)
    fx = real(item["focal_x"] if "focal_x" in item else item["focal"])
    fy = optional(item.get("focal_y"))
    names = ("k1", "k2", "k3", "k4") if model in _FISHEYE else ("k1", "k2", "p1", "p2", "k3")
    terms = [real(item.get(name, 0.0)) for name in names]
    return Intrinsics(
        fx=fx * long,
        fy=(fx if fy is None else fy) * long,
        cx=(width or 1) / 2 + real(item.get("c_x", 0.0)) * long,
        cy=(height or 1) / 2 + real(item.get("c_y", 0.0)) * long,
        width=width,
        height=height,
        distortion=fisheye(terms) if model in _FISHEYE else brown(terms),
    )


OPENSFM = DocumentFormat("cameras.json of OpenDroneMap or OpenSfM", _fits, _read)
