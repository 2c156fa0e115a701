"""OpenCV's matrices: its FileStorage (YAML 1.0, XML or JSON), ROS's camera_info and dumps of ``cv2.calibrateCamera``.

All of them are documents with a camera matrix under one of the usual names: nested lists, a flat list, or a mapping
with rows, cols and data. OpenCV's own reader corrupts memory on files that lie about these, so it never sees one.
Principal points are moved to m3d's pixel grid.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from m3d_cli.bounded_files import XmlElement
from m3d_cli.camera import OPENCV_OFFSET
from m3d_cli.errors import CalibrationError
from m3d_cli.intrinsics.calibration.document import DocumentFormat, brown, fisheye, pixels, real
from m3d_cli.intrinsics.calibration.match import CalibrationEntry, Intrinsics

FISHEYE_NAMES = ("OPENCV_FISHEYE", "fisheye", "equidistant")

# Skew that moves no pixel by more than about this many pixels is rounding.
NOTED_SKEW = 0.5

# A camera matrix has 16 numbers at most, distortion 14; what is larger is something else.
MOST_NUMBERS = 64
# OpenCV's letters of element types, of one channel.
_TYPES = frozenset("ucwsifdh")

# Names are compared without case and underscores; scripts add short ones.
_MATRIX = frozenset(("cameramatrix", "intrinsicmatrix", "k", "mtx"))
_DISTORTION = frozenset(("distortioncoefficients", "distcoeffs", "distcoeff", "distortion", "dist", "d"))
_WIDTH = frozenset(("imagewidth", "width"))
_HEIGHT = frozenset(("imageheight", "height"))
_MODEL = frozenset(("distortionmodel", "cameramodel"))
# The calibration sample of OpenCV writes this flag.
_FISHEYE_FLAG = "fisheye_model"


def from_matrix(values: NDArray[Any]) -> Intrinsics:
    """Intrinsics of a 3 x 3 matrix, or of the four numbers fx fy cx cy, in OpenCV's pixel grid.

    A matrix may stand column by column, as Open3D, ARKit and MATLAB write it: its zeros and its one show which.
    """
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.size == 4 and numbers.shape != (2, 2):
        fx, fy, cx, cy = (float(number) for number in numbers.ravel())
        return Intrinsics(fx, fy, cx + OPENCV_OFFSET, cy + OPENCV_OFFSET)
    if numbers.shape not in ((3, 3), (3, 4), (4, 4)):
        raise CalibrationError(f"intrinsics are a 3 x 3 matrix or fx fy cx cy, not {numbers.shape}")
    matrix = _row_major(numbers[:3, :3])
    skew = float(matrix[0, 1])
    return Intrinsics(
        fx=float(matrix[0, 0]),
        fy=float(matrix[1, 1]),
        cx=float(matrix[0, 2]) + OPENCV_OFFSET,
        cy=float(matrix[1, 2]) + OPENCV_OFFSET,
        notes=(f"the skew of the calibration ({skew:g} px) is left out",) if abs(skew) > NOTED_SKEW else (),
    )


def _row_major(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """``matrix`` (3, 3) as [[fx, skew, cx], [0, fy, cy], [0, 0, 1]], which it or its transpose must be."""
    is_by_columns = bool(matrix[2, :2].any())
    upright = matrix.T if is_by_columns else matrix
    if abs(upright[2, 2] - 1) <= 1e-6 and upright[1, 0] == 0 and not upright[2, :2].any():
        return upright
    raise CalibrationError("the matrix is not of the form [[fx, 0, cx], [0, fy, cy], [0, 0, 1]], nor its transpose")


def storage_document(root: XmlElement) -> Any:
    """The values of OpenCV's XML as its YAML and JSON have them: mappings, lists, numbers and texts."""
    if root.children:
        if all(child.name == "_" for child in root.children):
            return [storage_document(child) for child in root.children]
        return {child.name: storage_document(child) for child in root.children}
    words = root.text.split()
    try:
        numbers = [float(word) for word in words]
    except ValueError:
        return root.text.strip('"')
    return numbers[0] if len(numbers) == 1 and root.name != "data" else numbers


def matrix_of(value: Any, name: str) -> NDArray[np.float64] | None:
    """A matrix written as (nested) lists, or as a mapping with rows, cols and data; None where there is none."""
    if not isinstance(value, (Mapping, list)):
        return None
    if isinstance(value, list):
        table = [row if isinstance(row, list) else [row] for row in value]
        flat = [real(number) for row in table[:MOST_NUMBERS] for number in row[:MOST_NUMBERS]]
        if len(flat) != sum(map(len, table)) or len({len(row) for row in table}) > 1:
            raise CalibrationError(f"{name} is no matrix")
        return np.array(flat).reshape(len(table), -1)
    data = value.get("data")
    if not isinstance(data, list):
        raise CalibrationError(f"{name} has no data")
    rows, columns = pixels(value.get("rows", len(data))), pixels(value.get("cols", 1))
    if str(value.get("dt", "d")).lstrip("1") not in _TYPES:
        raise CalibrationError(f"{name} has elements of the type {value['dt']!r:.60}, not one number each")
    if rows is None or columns is None or rows * columns != len(data) or len(data) > MOST_NUMBERS:
        raise CalibrationError(f"{name} has {rows} x {columns} numbers, of which {len(data)} are there")
    return np.array([real(number) for number in data]).reshape(rows, columns)


def _fits(document: Any) -> bool:
    return isinstance(document, Mapping) and isinstance(_value(document, _MATRIX), (list, Mapping))


def _read(document: Mapping[str, Any]) -> tuple[CalibrationEntry, ...]:
    _refuse_unknown_distortion(document)
    matrix = matrix_of(_value(document, _MATRIX), "the camera matrix")
    if matrix is None:
        raise CalibrationError("no camera matrix")
    found = matrix_of(_value(document, _DISTORTION), "the lens distortion")
    terms = [] if found is None else found.ravel().tolist()
    is_fisheye = _value(document, _MODEL) in FISHEYE_NAMES or bool(document.get(_FISHEYE_FLAG))
    intrinsics = dataclasses.replace(
        from_matrix(matrix.reshape(3, 3) if matrix.size == 9 else matrix),
        width=pixels(_value(document, _WIDTH)),
        height=pixels(_value(document, _HEIGHT)),
        distortion=fisheye(terms) if is_fisheye else brown(terms),
    )
    return (CalibrationEntry("", intrinsics),)


def _refuse_unknown_distortion(document: Mapping[str, Any]) -> None:
    """A lens whose coefficients go by another name must not pass for one without distortion."""
    known = _DISTORTION | _MODEL
    unknown = [key for key in document if _bare(key).startswith("dist") and _bare(key) not in known]
    if unknown:
        raise CalibrationError(f"unknown keys {unknown}", hint="name the lens distortion dist_coeffs")


def _bare(key: Any) -> str:
    return str(key).casefold().replace("_", "")


def _value(document: Mapping[str, Any], names: frozenset[str]) -> Any:
    return next((value for key, value in document.items() if _bare(key) in names), None)


OPENCV = DocumentFormat("OpenCV's or ROS's camera_matrix (YAML, XML, JSON)", _fits, _read)
