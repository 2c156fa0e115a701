"""Open3D's and Azure Kinect's ``intrinsic_matrix``: column by column, in OpenCV's pixel grid."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from m3d_cli.errors import CalibrationError
from m3d_cli.intrinsics.calibration.document import DocumentFormat, has, pixels, reals
from m3d_cli.intrinsics.calibration.lens_models import names_lens
from m3d_cli.intrinsics.calibration.match import CalibrationEntry, Intrinsics
from m3d_cli.intrinsics.calibration.opencv import from_matrix


def of_columns(item: Mapping[str, Any], key: str, width: str, height: str) -> Intrinsics:
    """A flat or nested matrix; its zeros show whether rows or columns come first."""
    flat = np.ravel(np.array(item[key], dtype=object)).tolist()
    matrix = np.array(reals(flat, (9,), key)).reshape(3, 3)
    return dataclasses.replace(from_matrix(matrix), width=pixels(item.get(width)), height=pixels(item.get(height)))


def _read_open3d(document: Mapping[str, Any]) -> tuple[CalibrationEntry, ...]:
    found = {of_columns(inner, "intrinsic_matrix", "width", "height") for inner in _cameras(document)}
    if len(found) > 1:
        raise CalibrationError(f"{len(found)} cameras, and nothing here says which photo is whose")
    return tuple(CalibrationEntry("", one) for one in found)


def _cameras(document: Any) -> list[Any]:
    """A PinholeCameraIntrinsic is one itself, PinholeCameraParameters hold one, a trajectory holds many of them."""
    if has(document, "parameters") and isinstance(document["parameters"], list):
        return [one["intrinsic"] for one in document["parameters"] if has(one, "intrinsic")]
    return [document["intrinsic"] if has(document, "intrinsic") else document]


def _is_open3d(document: Any) -> bool:
    """Open3D knows no lens distortion: a matrix of that name beside some is a script's."""
    cameras = _cameras(document)
    return bool(cameras) and all(has(one, "intrinsic_matrix") and not names_lens(one) for one in cameras)


OPEN3D = DocumentFormat("Open3D's or Azure Kinect's intrinsic_matrix", _is_open3d, _read_open3d)
