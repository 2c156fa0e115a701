"""The motion between two views by corners that both show, from wherever they are: SIFT (Lowe 2004) and PnP by RANSAC.

Dense odometry finds a motion only from near it. Corners need no start, and take metres from the first view alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from m3d_cli.camera import Camera
from m3d_cli.trajectory import inverse

# Corners of a view at most, and how much nearer a corner's match must be than the second best (Lowe's).
MOST = 500
RATIO = 0.8
# Lowe's threshold of contrast is 0.04; small images of plain rooms have few corners as strong.
CONTRAST = 0.02
# Corners that a motion must explain, and within how many pixels.
FEWEST = 12
REPROJECTION = 2.0
# Draws of RANSAC, and how sure it has to be before it stops earlier.
DRAWS = 300
SURE = 0.999

Motion = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Corners:
    """``pixels`` (K, 2), and what is around them, ``looks`` (K, 128)."""

    pixels: NDArray[np.float64]
    looks: NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class SharedCorners:
    """``points`` (K, 3) metres in the first camera, and the ``pixels`` (K, 2) at which the second view shows them."""

    points: NDArray[np.float64]
    pixels: NDArray[np.float64]
    camera: Camera

    def motion(self) -> Motion | None:
        """first_from_second that explains most of them; None where too few agree."""
        if len(self.points) < FEWEST:
            return None
        try:
            return _perspective(self.points, self.pixels, self.camera)
        except cv2.error:  # points on one line, or all in one place
            return None

    def explained(self, motion: Motion) -> int:
        """How many the motion first_from_second brings to within a few pixels of where they are."""
        second = inverse(motion)
        seen = self.points @ second[:3, :3].T + second[:3, 3]
        ahead = seen[:, 2] > 0
        missed = np.linalg.norm(self.camera.project(seen[ahead]) - self.pixels[ahead], axis=1)
        return int(np.count_nonzero(missed < REPROJECTION))


def find_corners(grey: NDArray[np.uint8]) -> Corners:
    """The strongest corners of an image (H, W); may be none."""
    points, looks = _sift().detectAndCompute(grey, None)
    if looks is None:
        return Corners(np.zeros((0, 2)), np.zeros((0, 128), np.float32))
    # OpenCV's pixel centres lie on whole numbers.
    pixels = np.array([point.pt for point in points], dtype=np.float64) + 0.5
    return Corners(pixels, np.asarray(looks, dtype=np.float32))


def shared_corners(first: Corners, second: Corners, depth: NDArray[np.float32], camera: Camera) -> SharedCorners:
    """Corners found in both views, where the first's ``depth`` (H, W) metres is known (not 0)."""
    one, other = _pairs(first.looks, second.looks)
    column, row = np.floor(first.pixels[one]).astype(np.intp).T
    inside = (column >= 0) & (column < camera.width) & (row >= 0) & (row < camera.height)
    metres = np.zeros(len(one))
    metres[inside] = depth[row[inside], column[inside]]
    known = metres > 0
    points = camera.unproject(first.pixels[one][known], metres[known])
    return SharedCorners(points, second.pixels[other][known], camera)


def _sift() -> cv2.SIFT:
    """The detector; without its precise upscaling every corner lies a quarter of a pixel off."""
    return cv2.SIFT.create(MOST, contrastThreshold=CONTRAST, enable_precise_upscale=True)


def _pairs(first: NDArray[np.float32], second: NDArray[np.float32]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Places of corners that look alike, and like no other."""
    if min(len(first), len(second)) < 2:
        return np.zeros(0, np.intp), np.zeros(0, np.intp)
    matches = cv2.BFMatcher(cv2.NORM_L2).knnMatch(first, second, k=2)
    clear = [best for best, rival in matches if best.distance < RATIO * rival.distance]
    index = np.array([(match.queryIdx, match.trainIdx) for match in clear], dtype=np.intp).reshape(-1, 2)
    return index[:, 0], index[:, 1]


def _perspective(points: NDArray[np.float64], pixels: NDArray[np.float64], camera: Camera) -> Motion | None:
    """first_from_second by three points and RANSAC, then by least squares over those that agree."""
    cv2.setRNGSeed(0)
    matrix = camera.matrix
    found, turn, shift, kept = cv2.solvePnPRansac(
        points, pixels, matrix, None, None, None, False, DRAWS, REPROJECTION, SURE, None, cv2.SOLVEPNP_P3P
    )
    if not found or kept is None or len(kept) < FEWEST:
        return None
    index = kept[:, 0]
    turn, shift = cv2.solvePnPRefineLM(points[index], pixels[index], matrix, None, turn, shift)
    second = np.eye(4)
    second[:3, :3] = cv2.Rodrigues(turn)[0]
    second[:3, 3] = shift[:, 0]
    return inverse(second)
