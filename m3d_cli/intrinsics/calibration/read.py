"""Readers of ``--intrinsics`` files; each returns principal points that count from the image's corner.

COLMAP and nerfstudio count from the corner as m3d does. OpenCV and bare 3 x 3 matrices count from the centre of the
top-left pixel and are moved by half a pixel.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from m3d_cli.camera import Distortion, DistortionModel
from m3d_cli.errors import CalibrationError
from m3d_cli.intrinsics.calibration.colmap import read_colmap
from m3d_cli.intrinsics.calibration.match import Calibration, CalibrationEntry, Intrinsics, made_distortion
from m3d_cli.intrinsics.calibration.opencv import (
    FISHEYE_NAMES,
    from_matrix,
    is_opencv_mapping,
    is_opencv_storage,
    read_opencv,
    read_opencv_mapping,
)

_KEYS = frozenset(("fx", "fy", "cx", "cy", "width", "height", "distortion", "pattern"))
_NERFSTUDIO_KEYS = ("fl_x", "camera_angle_x", "frames")


def read_calibration(path: Path) -> Calibration:
    """The calibration in ``path``; raises `CalibrationError` naming what is wrong with it."""
    try:
        entries = _reader(path)(path)
    except CalibrationError:
        raise
    except Exception as error:
        raise CalibrationError(f"{path}: the calibration cannot be read: {error}") from error
    if not entries:
        raise CalibrationError(f"{path}: no intrinsics in this file")
    for entry in entries:
        _check(path, entry.intrinsics)
    return Calibration(path.name, entries)


def _reader(path: Path) -> Callable[[Path], tuple[CalibrationEntry, ...]]:
    suffix = path.suffix.lower()
    if suffix == ".npy":
        return _read_npy
    if suffix == ".xml" or (suffix in (".yml", ".yaml") and is_opencv_storage(path)):
        return lambda file: (CalibrationEntry("", read_opencv(file)),)
    if suffix == ".json":
        return _read_json
    if suffix in (".yml", ".yaml"):
        return _read_yaml
    if suffix != ".txt":
        raise CalibrationError(
            f"{path}: unknown kind of calibration", hint="JSON, YAML, XML, NPY, TXT or COLMAP's cameras.txt is read"
        )
    return read_colmap if _has_letters(path) else _read_text


def _has_letters(path: Path) -> bool:
    """COLMAP names camera models; a bare matrix has numbers only."""
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    return any(letter.isupper() for line in lines for letter in line.replace("E", "e"))


def _read_npy(path: Path) -> tuple[CalibrationEntry, ...]:
    return (CalibrationEntry("", from_matrix(np.load(path, allow_pickle=False))),)


def _read_text(path: Path) -> tuple[CalibrationEntry, ...]:
    return (CalibrationEntry("", from_matrix(np.loadtxt(path, delimiter=_delimiter(path), ndmin=2))),)


def _delimiter(path: Path) -> str | None:
    return "," if "," in path.read_text(encoding="utf-8") else None


def _read_json(path: Path) -> tuple[CalibrationEntry, ...]:
    return _from_document(json.loads(path.read_text(encoding="utf-8-sig")))


def _read_yaml(path: Path) -> tuple[CalibrationEntry, ...]:
    import yaml

    return _from_document(yaml.safe_load(path.read_text(encoding="utf-8-sig")))


def _from_document(data: Any) -> tuple[CalibrationEntry, ...]:
    if isinstance(data, list):
        return tuple(CalibrationEntry(str(item["pattern"]), _from_mapping(item)) for item in data)
    if not isinstance(data, dict):
        raise CalibrationError("a calibration is a mapping with fx, or patterns mapped to such")
    if any(key in data for key in _NERFSTUDIO_KEYS):
        return _from_nerfstudio(data)
    if is_opencv_mapping(data):
        return (CalibrationEntry("", read_opencv_mapping(data)),)
    if "fx" in data:
        return (CalibrationEntry(str(data.get("pattern", "")), _from_mapping(data)),)
    return tuple(CalibrationEntry(str(pattern), _from_mapping(item)) for pattern, item in data.items())


def _from_mapping(item: Any) -> Intrinsics:
    """m3d's own form: fx, and fy, cx, cy, width, height, distortion where known."""
    if not isinstance(item, dict) or "fx" not in item:
        raise CalibrationError(f"intrinsics need at least fx, got {item!r}")
    if unknown := sorted(set(item) - _KEYS):
        raise CalibrationError(f"unknown keys {unknown}", hint=f"known are {sorted(_KEYS)}")
    fx = float(item["fx"])
    return Intrinsics(
        fx=fx,
        fy=float(item.get("fy", fx)),
        cx=_optional(item.get("cx")),
        cy=_optional(item.get("cy")),
        width=_pixels(item.get("width")),
        height=_pixels(item.get("height")),
        distortion=_distortion(item.get("distortion")),
    )


def _optional(value: Any) -> float | None:
    return None if value is None else float(value)


def _pixels(value: Any) -> int | None:
    return None if value is None else int(value)


def _distortion(value: Any) -> Distortion | None:
    """``{"model": "fisheye", "coefficients": [...]}``, or a list of Brown's coefficients."""
    if value is None:
        return None
    if isinstance(value, dict):
        model = DistortionModel(value.get("model", "brown"))
        return made_distortion(model, value["coefficients"])
    return made_distortion(DistortionModel.BROWN, value)


def _from_nerfstudio(data: dict[str, Any]) -> tuple[CalibrationEntry, ...]:
    """transforms.json: intrinsics for all frames, overridden frame by frame."""
    entries: list[CalibrationEntry] = []
    for frame in data.get("frames") or ():
        merged = {**data, **frame}
        if "fl_x" in merged or "camera_angle_x" in merged:
            entries.append(CalibrationEntry(str(frame["file_path"]).removeprefix("./"), _nerfstudio_intrinsics(merged)))
    if "fl_x" in data or "camera_angle_x" in data:
        entries.append(CalibrationEntry("", _nerfstudio_intrinsics(data)))
    return tuple(entries)


def _nerfstudio_intrinsics(item: dict[str, Any]) -> Intrinsics:
    width, height = _pixels(item.get("w")), _pixels(item.get("h"))
    fx = item.get("fl_x")
    if fx is None:
        if width is None:
            raise CalibrationError("camera_angle_x needs w, the width of the images")
        fx = width / 2 / math.tan(float(item["camera_angle_x"]) / 2)
    fisheye = item.get("camera_model") in FISHEYE_NAMES
    names = ("k1", "k2", "k3", "k4") if fisheye else ("k1", "k2", "p1", "p2", "k3")
    model = DistortionModel.FISHEYE if fisheye else DistortionModel.BROWN
    return Intrinsics(
        fx=float(fx),
        fy=float(item.get("fl_y", fx)),
        cx=_optional(item.get("cx")),
        cy=_optional(item.get("cy")),
        width=width,
        height=height,
        distortion=made_distortion(model, [item.get(name, 0.0) for name in names]),
    )


def _check(path: Path, intrinsics: Intrinsics) -> None:
    numbers = [intrinsics.fx, intrinsics.fy, intrinsics.cx or 0.0, intrinsics.cy or 0.0]
    size = (intrinsics.width, intrinsics.height)
    if not all(map(math.isfinite, numbers)) or min(intrinsics.fx, intrinsics.fy) <= 0:
        raise CalibrationError(f"{path}: focal lengths must be positive and finite, got {numbers}")
    if any(side is not None and side < 1 for side in size):
        raise CalibrationError(f"{path}: an image of {size[0]} x {size[1]} pixels has no area")
