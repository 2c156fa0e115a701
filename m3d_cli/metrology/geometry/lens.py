"""Points between a photo and its undistorted image.

People pick points on the photo that they see; depth belongs to the undistorted image.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from m3d_cli.camera import OPENCV_OFFSET, Camera, Distortion, DistortionModel
from m3d_cli.metrology.picks import Pick
from m3d_cli.photos.undistort import undistorted_camera

# Cameras that differ by less than this share of the focal length are the same.
_SAME = 0.001
# A coordinate outside every image.
OUTSIDE = -1.0
# Newton's steps, and how far from its pixel a point may end, in pixels.
_STEPS, _CLOSE = 5, 0.01
_SMALL = 1e-5  # step of the differences, in units of the focal length

Points = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Lens:
    """The ``camera`` of an upright photo, its ``distortion``, and the pinhole camera of its undistorted image."""

    camera: Camera
    distortion: Distortion
    pinhole: Camera

    @classmethod
    def of(cls, camera: Camera) -> Lens | None:
        """The lens of ``camera``; None where it distorts nothing. Raises CalibrationError."""
        return None if camera.distortion is None else cls(camera, camera.distortion, undistorted_camera(camera))

    def fits(self, camera: Camera) -> bool:
        """Whether ``camera`` is the pinhole, apart from rounding by a resize."""
        mine, other = (np.array([one.fx, one.fy, one.cx, one.cy]) for one in (self.pinhole, camera))
        return bool(np.abs(mine - other).max() <= _SAME * self.pinhole.focal)

    def undistorted(self, points: Points) -> Points:
        """Pixels (N, 2) of the photo to pixels of the undistorted image; OUTSIDE where no ray meets them.

        OpenCV's few iterations give a first estimate, which Newton's method makes exact.
        """
        slopes = self._estimated(points)
        with np.errstate(all="ignore"):
            for _ in range(_STEPS):
                slopes = slopes - _solved(self._slopes(slopes), self._distorted(slopes) - points)
            is_found = np.linalg.norm(self._distorted(slopes) - points, axis=1) < _CLOSE
        pixels = slopes * [self.pinhole.fx, self.pinhole.fy] + [self.pinhole.cx, self.pinhole.cy]
        return np.where(is_found[:, None], pixels, OUTSIDE)

    def distorted(self, points: Points) -> Points:
        """Pixels (N, 2) of the undistorted image to pixels of the photo."""
        pinhole = self.pinhole
        return self._distorted((points - [pinhole.cx, pinhole.cy]) / [pinhole.fx, pinhole.fy])

    def moved(self, picks: tuple[Pick, ...], sigma: float) -> tuple[tuple[Pick, ...], float]:
        """Points of the photo in the undistorted image, and the standard deviation of a point there.

        ``sigma`` is that in the photo; it grows where the image is stretched.
        """
        if not picks:
            return (), sigma
        pixels = _pixels(picks)
        across, down = (self.undistorted(pixels + step) - self.undistorted(pixels - step) for step in np.eye(2) / 2)
        stretch = np.sqrt(np.abs(across[:, 0] * down[:, 1] - across[:, 1] * down[:, 0]))
        places = zip(picks, self.undistorted(pixels), strict=True)
        moved = tuple(Pick(float(u), float(v), pick.side, (pick.u, pick.v)) for pick, (u, v) in places)
        return moved, sigma * float(stretch.mean())

    def seen(self, picks: Sequence[Pick]) -> tuple[Pick, ...]:
        """Points of the undistorted image with their pixels in the photo."""
        places = self.distorted(_pixels(picks)) if picks else ()
        found = [pick.given or (float(u), float(v)) for pick, (u, v) in zip(picks, places, strict=True)]
        return tuple(dataclasses.replace(pick, given=given) for pick, given in zip(picks, found, strict=True))

    def _estimated(self, points: Points) -> Points:
        """Slopes x/z and y/z of the rays that arrive at pixels (N, 2) of the photo, roughly."""
        undistort = cv2.fisheye.undistortPoints if self._is_fisheye else cv2.undistortPoints
        found = undistort((points - OPENCV_OFFSET)[:, None], self.camera.opencv_matrix, self._terms)
        return np.asarray(found, dtype=np.float64).reshape(-1, 2)

    def _distorted(self, slopes: Points) -> Points:
        """Pixels (N, 2) of the photo at which rays of these slopes arrive."""
        matrix = self.camera.opencv_matrix
        if self._is_fisheye:
            found = cv2.fisheye.distortPoints(slopes[:, None], matrix, self._terms)
        else:
            rays = np.concatenate([slopes, np.ones((len(slopes), 1))], axis=1)
            found, _ = cv2.projectPoints(rays[:, None], np.zeros(3), np.zeros(3), matrix, self._terms)
        return np.asarray(found, dtype=np.float64).reshape(-1, 2) + OPENCV_OFFSET

    @property
    def _is_fisheye(self) -> bool:
        return self.distortion.model is DistortionModel.FISHEYE

    @property
    def _terms(self) -> NDArray[np.float64]:
        return np.asarray(self.distortion.coefficients, dtype=np.float64)

    def _slopes(self, slopes: Points) -> Points:
        """How pixels change with the slopes, (N, 2, 2)."""
        steps = _SMALL * np.eye(2)
        columns = [(self._distorted(slopes + step) - self._distorted(slopes - step)) / (2 * _SMALL) for step in steps]
        return np.stack(columns, axis=2)


def _solved(matrices: Points, values: Points) -> Points:
    """x of matrices (N, 2, 2) x = values (N, 2); not finite where one is singular."""
    (a, b), (c, d) = (matrices[:, 0].T, matrices[:, 1].T)
    first, second = values.T
    found = np.stack([d * first - b * second, a * second - c * first], axis=1) / (a * d - b * c)[:, None]
    return np.asarray(found, dtype=np.float64)


def _pixels(picks: Sequence[Pick]) -> Points:
    return np.array([[pick.u, pick.v] for pick in picks], dtype=np.float64)
