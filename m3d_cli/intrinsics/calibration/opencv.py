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
from m3d_cli.intrinsics.calibration.image_size import image_size
from m3d_cli.intrinsics.calibration.lens_models import MODEL_KEYS, folded, is_fisheye_document
from m3d_cli.intrinsics.calibration.match import CalibrationEntry, Intrinsics

# Skew that moves no pixel by more than about this many pixels is rounding.
NOTED_SKEW = 0.5

# A camera matrix has 16 numbers at most, distortion 14; what is larger is something else.
MOST_NUMBERS = 64
# OpenCV's letters of element types, of one channel.
_TYPES = frozenset("ucwsifdh")

# Names are compared without case, spaces, hyphens and underscores; scripts add short ones.
_MATRIX = frozenset(("cameramatrix", "intrinsicmatrix", "k", "mtx"))
_DISTORTION = frozenset(("distortioncoefficients", "distcoeffs", "distcoeff", "distortion", "dist", "d"))
_SINGLE_TERMS = frozenset(("k1", "k2", "k3", "k4", "p1", "p2"))
# OpenCV's fisheye tutorials print DIM, K and D, of four terms.
_FISHEYE_SIZE, _FISHEYE_TERMS = "dim", 4


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
    if not isinstance(value, (Mapping, list)) or not value:
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
    if not data:
        return None
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
    is_fisheye, notes = _lens_kind(document, terms)
    plain = from_matrix(matrix.reshape(3, 3) if matrix.size == 9 else matrix)
    width, height = image_size(document)
    intrinsics = dataclasses.replace(
        plain,
        width=width,
        height=height,
        distortion=fisheye(terms) if is_fisheye else brown(terms),
        notes=(*plain.notes, *notes),
        region=_region(document.get("roi"), width, height),
    )
    return (CalibrationEntry("", intrinsics),)


def _lens_kind(document: Mapping[str, Any], terms: list[float]) -> tuple[bool, tuple[str, ...]]:
    """Whether the lens is OpenCV's fisheye, and a note where nothing but the other keys says so."""
    names = {folded(key) for key in document}
    if is_fisheye_document(document):
        return True, ()
    if _FISHEYE_SIZE not in names or names & MODEL_KEYS or len(terms) != _FISHEYE_TERMS:
        return False, ()
    return True, ("DIM, K and D with 4 terms are taken as those of OpenCV's fisheye; distortion_model says otherwise",)


def _region(roi: Any, width: int | None, height: int | None) -> tuple[int, int, int, int] | None:
    """Left, top, width and height of the part that a driver of ROS cuts out of the calibrated image; None for all."""
    if not isinstance(roi, Mapping) or not (roi.get("width") and roi.get("height")):
        return None
    left, top = real(roi.get("x_offset", 0)), real(roi.get("y_offset", 0))
    wide, high = pixels(roi["width"]) or 0, pixels(roi["height"]) or 0
    if width is None or height is None or min(left, top) < 0 or left + wide > width or top + high > height:
        raise CalibrationError(f"the region of interest {wide} x {high} does not lie in the image")
    return (int(left), int(top), wide, high) if (wide, high) != (width, height) else None


def _refuse_unknown_distortion(document: Mapping[str, Any]) -> None:
    """A lens whose coefficients go by another name must not pass for one without distortion."""
    known = _DISTORTION | MODEL_KEYS
    unknown = [key for key in document if folded(key).startswith("dist") and folded(key) not in known]
    unknown += [key for key, value in document.items() if folded(key) in _SINGLE_TERMS and value not in (0, None)]
    if unknown:
        raise CalibrationError(f"unknown keys {unknown}", hint="name the lens distortion dist_coeffs, in one list")


def _value(document: Mapping[str, Any], names: frozenset[str]) -> Any:
    return next((value for key, value in document.items() if folded(key) in names), None)


OPENCV = DocumentFormat("OpenCV's or ROS's camera_matrix (YAML, XML, JSON)", _fits, _read)
