"""Calibration files of OpenCV's FileStorage (YAML 1.0 with ``!!opencv-matrix``, or XML)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from m3d_cli.camera import OPENCV_OFFSET, Distortion, DistortionModel
from m3d_cli.errors import CalibrationError
from m3d_cli.files.calibration import Intrinsics

_MATRIX_NAMES = ("camera_matrix", "Camera_Matrix", "cameraMatrix", "CameraMatrix", "K")
_DISTORTION_NAMES = ("distortion_coefficients", "Distortion_Coefficients", "distCoeffs", "dist_coeffs", "D")
_WIDTH_NAMES = ("image_width", "image_Width", "imageWidth", "width")
_HEIGHT_NAMES = ("image_height", "image_Height", "imageHeight", "height")
# The calibration sample of OpenCV writes this flag.
_FISHEYE_NAME = "fisheye_model"


def is_opencv_storage(path: Path) -> bool:
    """Whether a YAML file is OpenCV's: its header is no valid YAML directive."""
    head = path.read_text(encoding="utf-8", errors="replace")[:4096]
    return head.startswith("%YAML:1.0") or "opencv-matrix" in head


def read_opencv(path: Path) -> Intrinsics:
    """Intrinsics with the principal point moved to m3d's pixel grid."""
    import cv2

    try:
        storage = cv2.FileStorage(str(path), cv2.FILE_STORAGE_READ)
    except (cv2.error, SystemError) as error:
        raise CalibrationError(f"{path}: OpenCV cannot read this file") from error
    try:
        return _intrinsics(path, storage)
    finally:
        storage.release()


def _intrinsics(path: Path, storage: Any) -> Intrinsics:
    matrix = _matrix(storage, _MATRIX_NAMES)
    if matrix is None or matrix.shape != (3, 3):
        raise CalibrationError(f"{path}: no 3 x 3 camera_matrix in this file")
    width, height = _size(storage)
    return Intrinsics(
        fx=float(matrix[0, 0]),
        fy=float(matrix[1, 1]),
        cx=float(matrix[0, 2]) + OPENCV_OFFSET,
        cy=float(matrix[1, 2]) + OPENCV_OFFSET,
        width=width,
        height=height,
        distortion=_distortion(storage),
    )


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
    if found is None or not np.any(found):
        return None
    node = storage.getNode(_FISHEYE_NAME)
    is_fisheye = not node.empty() and node.real() != 0
    coefficients = tuple(float(value) for value in np.ravel(found))
    return Distortion(DistortionModel.FISHEYE if is_fisheye else DistortionModel.BROWN, coefficients)
