"""Lens distortion taken out of a photo, so that the network sees a pinhole image."""

from __future__ import annotations

import dataclasses
import math

import cv2
import numpy as np
from numpy.typing import NDArray

from m3d_cli.camera import OPENCV_OFFSET, Camera, Distortion, DistortionModel
from m3d_cli.errors import CalibrationError

# Focal lengths over the long side of the image, beyond which a lens model broke down.
FOCAL_RATIOS = (0.2, 20.0)

# A principal point nearer to the edge than this part of a side is a lens model that broke down, not a lens.
EDGE_MARGIN = 0.05


def undistorted_camera(camera: Camera) -> Camera:
    """The pinhole camera of the undistorted image: same size, square pixels, every pixel seen by the lens.

    Raises `CalibrationError` when no flat image can hold what the lens sees: a fisheye of about 180 degrees or more,
    or coefficients that fold the image over.
    """
    lens = camera.distortion
    if lens is None:
        return camera
    matrix = _pinhole_matrix(camera, lens)
    # The larger focal length keeps both axes inside what the lens saw, and makes the pixels square.
    focal = float(max(matrix[0, 0], matrix[1, 1]))
    cx, cy = float(matrix[0, 2]) + OPENCV_OFFSET, float(matrix[1, 2]) + OPENCV_OFFSET
    _check_pinhole(camera, focal, cx, cy)
    return dataclasses.replace(camera, fx=focal, fy=focal, cx=cx, cy=cy, distortion=None)


def lost_share(camera: Camera) -> float:
    """Part (0 to 1) of one side that `undistorted_camera` cuts off to make the pixels square."""
    if camera.distortion is None:
        return 0.0
    matrix = _pinhole_matrix(camera, camera.distortion)
    return 1 - float(min(matrix[0, 0], matrix[1, 1]) / max(matrix[0, 0], matrix[1, 1]))


def _check_pinhole(camera: Camera, focal: float, cx: float, cy: float) -> None:
    least, most = FOCAL_RATIOS
    is_focal_possible = math.isfinite(focal) and least < focal / max(camera.width, camera.height) < most
    parts = (cx / camera.width, cy / camera.height)
    if is_focal_possible and all(EDGE_MARGIN <= part <= 1 - EDGE_MARGIN for part in parts):
        return
    raise CalibrationError(
        "the lens distortion of the calibration cannot be taken out: the straight image would have a focal length "
        f"of {focal:.4g} px and its principal point at ({cx:.4g}, {cy:.4g}) px",
        hint="check the distortion coefficients; a lens of about 180 degrees does not fit a flat image",
    )


def _pinhole_matrix(camera: Camera, lens: Distortion) -> NDArray[np.float64]:
    size = (camera.width, camera.height)
    terms = np.asarray(lens.coefficients, dtype=np.float64)
    if lens.model is DistortionModel.FISHEYE:
        found = cv2.fisheye.estimateNewCameraMatrixForUndistortRectify(
            camera.opencv_matrix, terms, size, np.eye(3), balance=0.0
        )
    else:
        found, _ = cv2.getOptimalNewCameraMatrix(camera.opencv_matrix, terms, size, alpha=0.0)
    return np.asarray(found, dtype=np.float64)


def undistort(image: NDArray[np.uint8], camera: Camera) -> NDArray[np.uint8]:
    """``image`` (H, W, 3), which may be a reduced copy of the image of ``camera``, as `undistorted_camera` sees it."""
    lens = camera.distortion
    if lens is None:
        return image
    height, width = image.shape[:2]
    source = camera.resized(width, height)
    target = undistorted_camera(camera).resized(width, height)
    terms = np.asarray(lens.coefficients, dtype=np.float64)
    maps = cv2.fisheye.initUndistortRectifyMap if lens.model is DistortionModel.FISHEYE else cv2.initUndistortRectifyMap
    map_x, map_y = maps(source.opencv_matrix, terms, np.eye(3), target.opencv_matrix, (width, height), cv2.CV_32FC1)
    straight = cv2.remap(image, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(straight, dtype=np.uint8)
