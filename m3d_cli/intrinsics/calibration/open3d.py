"""Open3D's and Azure Kinect's ``intrinsic_matrix``: column by column, in OpenCV's pixel grid."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from m3d_cli.intrinsics.calibration.document import DocumentFormat, has, pixels, reals
from m3d_cli.intrinsics.calibration.match import CalibrationEntry, Intrinsics
from m3d_cli.intrinsics.calibration.opencv import from_matrix


def of_columns(item: Mapping[str, Any], key: str, width: str, height: str) -> Intrinsics:
    """A flat or nested matrix; its zeros show whether rows or columns come first."""
    flat = np.ravel(np.array(item[key], dtype=object)).tolist()
    matrix = np.array(reals(flat, (9,), key)).reshape(3, 3)
    return dataclasses.replace(from_matrix(matrix), width=pixels(item.get(width)), height=pixels(item.get(height)))


def _read_open3d(document: Mapping[str, Any]) -> tuple[CalibrationEntry, ...]:
    inner = document if "intrinsic_matrix" in document else document["intrinsic"]
    return (CalibrationEntry("", of_columns(inner, "intrinsic_matrix", "width", "height")),)


def _is_open3d(document: Any) -> bool:
    """Open3D knows no lens distortion: a matrix of that name beside some is a script's."""
    inner = document["intrinsic"] if has(document, "intrinsic") else document
    return has(inner, "intrinsic_matrix") and not any(str(key).startswith("dist") for key in inner)


OPEN3D = DocumentFormat("Open3D's or Azure Kinect's intrinsic_matrix", _is_open3d, _read_open3d)
