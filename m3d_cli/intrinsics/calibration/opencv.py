"""OpenCV's intrinsics: files of its FileStorage (YAML 1.0 or XML), and plain YAML or JSON with the same numbers.

Plain files come from ROS (``camera_matrix: {data: [...]}``) and from Python scripts that dump what
``cv2.calibrateCamera`` returned (``camera_matrix: [[...]]``). Principal points are moved to m3d's pixel grid.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from m3d_cli.camera import OPENCV_OFFSET, Distortion, DistortionModel
from m3d_cli.errors import CalibrationError
from m3d_cli.intrinsics.calibration.match import Intrinsics, made_distortion

FISHEYE_NAMES = ("OPENCV_FISHEYE", "fisheye", "equidistant")

# Skew that moves no pixel by more than about this many pixels is rounding.
NOTED_SKEW = 0.5

_MATRIX_NAMES = ("camera_matrix", "Camera_Matrix", "cameraMatrix", "CameraMatrix", "K")
_DISTORTION_NAMES = (
    "distortion_coefficients",
    "Distortion_Coefficients",
    "distCoeffs",
    "dist_coeffs",
    "dist_coeff",
    "D",
)
_WIDTH_NAMES = ("image_width", "image_Width", "imageWidth", "width")
_HEIGHT_NAMES = ("image_height", "image_Height", "imageHeight", "height")
# The calibration sample of OpenCV writes this flag.
_FISHEYE_NAME = "fisheye_model"

# Plain files spell the same names in any case, with and without underscores; scripts add short ones.
_PLAIN_MATRIX = frozenset(("cameramatrix", "intrinsicmatrix", "k", "mtx"))
_PLAIN_DISTORTION = frozenset(("distortioncoefficients", "distcoeffs", "distcoeff", "distortion", "dist", "d"))
_PLAIN_WIDTH = frozenset(("imagewidth", "width"))
_PLAIN_HEIGHT = frozenset(("imageheight", "height"))
_PLAIN_MODEL = frozenset(("distortionmodel", "cameramodel"))


def is_opencv_storage(path: Path) -> bool:
    """Whether a YAML file is OpenCV's: its header is no valid YAML directive."""
    head = path.read_text(encoding="utf-8", errors="replace")[:4096]
    return head.startswith("%YAML:1.0") or "opencv-matrix" in head


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


def read_opencv(path: Path) -> Intrinsics:
    """Intrinsics in a file of OpenCV's FileStorage."""
    import cv2

    try:
        storage = cv2.FileStorage(str(path), cv2.FILE_STORAGE_READ)
    except (cv2.error, SystemError) as error:
        raise CalibrationError(f"{path}: OpenCV cannot read this file") from error
    try:
        return _intrinsics(path, storage)
    finally:
        storage.release()


def is_opencv_mapping(data: dict[str, Any]) -> bool:
    """Whether a plain document holds a camera matrix under one of the names of OpenCV's users."""
    return isinstance(_numbers(data, _PLAIN_MATRIX), list)


def read_opencv_mapping(data: dict[str, Any]) -> Intrinsics:
    """Intrinsics of a plain document whose matrices are (nested) lists, or mappings with ``data``."""
    _refuse_unknown_distortion(data)
    matrix = np.asarray(_numbers(data, _PLAIN_MATRIX), dtype=np.float64)
    terms = np.ravel(np.asarray(_numbers(data, _PLAIN_DISTORTION) or (), dtype=np.float64))
    is_fisheye = _plain(data, _PLAIN_MODEL) in FISHEYE_NAMES or bool(data.get(_FISHEYE_NAME))
    return _assembled(
        matrix.reshape(3, 3) if matrix.size == 9 else matrix,
        _pixels(_plain(data, _PLAIN_WIDTH)),
        _pixels(_plain(data, _PLAIN_HEIGHT)),
        made_distortion(DistortionModel.FISHEYE if is_fisheye else DistortionModel.BROWN, terms),
    )


def _refuse_unknown_distortion(data: dict[str, Any]) -> None:
    """A lens whose coefficients go by another name must not pass for one without distortion."""
    known = _PLAIN_DISTORTION | _PLAIN_MODEL
    unknown = [key for key in data if _bare(key).startswith("dist") and _bare(key) not in known]
    if unknown:
        raise CalibrationError(f"unknown keys {unknown}", hint="name the lens distortion dist_coeffs")


def _bare(key: Any) -> str:
    return str(key).casefold().replace("_", "")


def _plain(data: dict[str, Any], names: frozenset[str]) -> Any:
    return next((value for key, value in data.items() if _bare(key) in names), None)


def _numbers(data: dict[str, Any], names: frozenset[str]) -> Any:
    found = _plain(data, names)
    return found.get("data") if isinstance(found, dict) else found


def _pixels(value: Any) -> int | None:
    return None if value is None else int(value)


def _assembled(
    matrix: NDArray[np.float64], width: int | None, height: int | None, distortion: Distortion | None
) -> Intrinsics:
    return dataclasses.replace(from_matrix(matrix), width=width, height=height, distortion=distortion)


def _intrinsics(path: Path, storage: Any) -> Intrinsics:
    matrix = _matrix(storage, _MATRIX_NAMES)
    if matrix is None or matrix.shape != (3, 3):
        raise CalibrationError(f"{path}: no 3 x 3 camera_matrix in this file")
    width, height = _size(storage)
    return _assembled(matrix, width, height, _distortion(storage))


def _matrix(storage: Any, names: tuple[str, ...]) -> Any:
    for name in names:
        found = storage.getNode(name).mat()
        if found is not None:
            return found
    return None


def _size(storage: Any) -> tuple[int | None, int | None]:
    return _whole(storage, _WIDTH_NAMES), _whole(storage, _HEIGHT_NAMES)


def _whole(storage: Any, names: tuple[str, ...]) -> int | None:
    for name in names:
        node = storage.getNode(name)
        if not node.empty() and (node.isInt() or node.isReal()):
            return int(node.real())
    return None


def _distortion(storage: Any) -> Distortion | None:
    found = _matrix(storage, _DISTORTION_NAMES)
    if found is None:
        return None
    node = storage.getNode(_FISHEYE_NAME)
    is_fisheye = not node.empty() and node.real() != 0
    return made_distortion(DistortionModel.FISHEYE if is_fisheye else DistortionModel.BROWN, np.ravel(found))
