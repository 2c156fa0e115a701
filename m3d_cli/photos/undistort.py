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

# Points along a ray from the centre to a corner, and the part of the largest radius at which the corner must lie.
_SAMPLES, _UNFOLDED = 33, 0.98

_HINT = "check the distortion coefficients, their order and their signs"
_FISHEYE_HINT = (
    "--projection fisheye takes a lens too wide for a flat image, with the same --intrinsics; "
    "otherwise check the distortion coefficients"
)


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
    hint = _FISHEYE_HINT if lens.model is DistortionModel.FISHEYE else _HINT
    _check_pinhole(camera, focal, cx, cy, hint)
    straight = dataclasses.replace(camera, fx=focal, fy=focal, cx=cx, cy=cy, distortion=None)
    _check_folds(straight, lens, hint)
    return straight


def lost_share(camera: Camera) -> float:
    """Part (0 to 1) of one side that `undistorted_camera` cuts off to make the pixels square."""
    if camera.distortion is None:
        return 0.0
    matrix = _pinhole_matrix(camera, camera.distortion)
    return 1 - float(min(matrix[0, 0], matrix[1, 1]) / max(matrix[0, 0], matrix[1, 1]))


def _check_pinhole(camera: Camera, focal: float, cx: float, cy: float, hint: str) -> None:
    least, most = FOCAL_RATIOS
    is_focal_possible = math.isfinite(focal) and least < focal / max(camera.width, camera.height) < most
    parts = (cx / camera.width, cy / camera.height)
    if is_focal_possible and all(EDGE_MARGIN <= part <= 1 - EDGE_MARGIN for part in parts):
        return
    raise CalibrationError(
        "the lens distortion of the calibration cannot be taken out: the straight image would have a focal length "
        f"of {focal:.4g} px and its principal point at ({cx:.4g}, {cy:.4g}) px",
        hint=hint,
    )


def _check_folds(straight: Camera, lens: Distortion, hint: str) -> None:
    """Radii in the photo grow with those of the undistorted image up to its corners, or the lens model folds it."""
    sides = np.array([(u, v) for u in (0, straight.width) for v in (0, straight.height)], dtype=np.float64)
    corners = straight.unproject(sides, np.ones(len(sides)))[:, :2]
    steps = np.linspace(0, 1, _SAMPLES)[:, None, None]
    rays = np.concatenate([steps * corners, np.ones((_SAMPLES, len(sides), 1))], axis=2)
    shown = _distorted(rays.reshape(-1, 1, 3), lens).reshape(_SAMPLES, len(sides), 2)
    # Along the direction of the corner, so that a ray shown on the other side of the centre counts as negative.
    radii = (shown * corners).sum(axis=2)
    if np.isfinite(radii).all() and (radii[-1] >= _UNFOLDED * radii.max(axis=0)).all():
        return
    raise CalibrationError(
        "the lens distortion of the calibration folds the image over",
        hint=hint,
    )


def _distorted(points: NDArray[np.float64], lens: Distortion) -> NDArray[np.float64]:
    """Where the lens shows points (N, 1, 3), for a focal length of 1: (N, 2)."""
    terms = np.asarray(lens.coefficients, dtype=np.float64)
    project = cv2.fisheye.projectPoints if lens.model is DistortionModel.FISHEYE else cv2.projectPoints
    shown, _ = project(points, np.zeros(3), np.zeros(3), np.eye(3), terms)
    return np.asarray(shown, dtype=np.float64).reshape(-1, 2)


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
