"""The pinhole camera as a value: intrinsics in pixels that follow every geometric step a photo takes.

Convention: the centre of the top-left pixel is (0.5, 0.5), so a pixel edge is an integer and resizing, padding and
cropping invert exactly. Axes are x right, y down, z forward (OpenCV).
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from m3d_cli.errors import CalibrationError

# Offset between OpenCV's pixel grid (top-left centre at 0,0) and ours (top-left centre at 0.5,0.5), in pixels.
OPENCV_OFFSET = 0.5

# Fields of view over the long side, in degrees, that a photo can have: a telescope's to just below a half space.
FIELDS_OF_VIEW = (0.5, 179.5)

# Pixels along one side beyond which a number is no size.
LARGEST_SIDE = 10_000_000

# |fx/fy - 1| above this and the photo is resampled to square pixels before the canonical transform.
SQUARE_TOLERANCE = 0.01


class FocalSource(str, Enum):
    """Where a focal length came from, most trusted first."""

    USER = "user"
    CALIBRATION = "calibration"
    EXIF_35MM = "exif-35mm"
    EXIF_FOCAL_PLANE = "exif-focal-plane"
    SENSOR_TABLE = "sensor-table"
    ESTIMATED = "estimated"
    ASSUMED = "assumed"

    def __str__(self) -> str:
        return self.value


class DistortionModel(str, Enum):
    """Lens models of OpenCV: ``brown`` (k1 k2 p1 p2 k3 ...) and ``fisheye`` (k1 k2 k3 k4)."""

    BROWN = "brown"
    FISHEYE = "fisheye"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, slots=True)
class Distortion:
    """Lens distortion coefficients in OpenCV's order."""

    model: DistortionModel
    coefficients: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class FocalCandidate:
    """One possible focal length in pixels of the upright photo, and how it was derived."""

    fx: float
    fy: float
    source: FocalSource
    rel_sigma: float
    note: str

    @property
    def focal(self) -> float:
        """(fx + fy) / 2 in pixels."""
        return (self.fx + self.fy) / 2

    def widened(self, *sigmas: float) -> FocalCandidate:
        """The same with independent relative sigmas added."""
        return dataclasses.replace(self, rel_sigma=math.hypot(self.rel_sigma, *sigmas))

    def zoomed(self, factor: float) -> FocalCandidate:
        """The same seen through a digital zoom."""
        return dataclasses.replace(self, fx=self.fx * factor, fy=self.fy * factor)


@dataclass(frozen=True, slots=True)
class Camera:
    """Intrinsics of one photo in pixels, and how far the focal length can be trusted.

    ``focal_rel_sigma`` is the relative standard deviation of the focal length. ``derivation`` says how the focal length
    follows from what is known of the photo, ``candidates`` are all that were found, in pixels of the full photo; they
    and ``warnings`` are no part of a camera's identity.
    """

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    focal_source: FocalSource = FocalSource.ASSUMED
    focal_rel_sigma: float = 0.25
    distortion: Distortion | None = None
    derivation: str = field(default="", compare=False, repr=False)
    candidates: tuple[FocalCandidate, ...] = field(default=(), compare=False, repr=False)
    warnings: tuple[str, ...] = field(default=(), compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            raise CalibrationError(f"a camera of {self.width} x {self.height} pixels has no area")
        if max(self.width, self.height) > LARGEST_SIDE:
            raise CalibrationError(f"a side of a camera's image has at most {LARGEST_SIDE:,} pixels")
        numbers = (self.fx, self.fy, self.cx, self.cy)
        if not all(math.isfinite(n) for n in numbers) or self.fx <= 0 or self.fy <= 0:
            raise CalibrationError(f"intrinsics must be finite and focal lengths positive, got {numbers}")

    @classmethod
    def centred(
        cls,
        width: int,
        height: int,
        focal: float,
        source: FocalSource = FocalSource.USER,
        rel_sigma: float = 0.005,
    ) -> Camera:
        """Square-pixel camera with the principal point in the middle of the image; ``focal`` in pixels."""
        return cls(width, height, focal, focal, width / 2, height / 2, source, rel_sigma)

    @classmethod
    def from_opencv(cls, width: int, height: int, matrix: NDArray[np.float64]) -> Camera:
        """Camera from a 3x3 matrix whose principal point counts from the centre of the top-left pixel."""
        cx, cy = float(matrix[0, 2]) + OPENCV_OFFSET, float(matrix[1, 2]) + OPENCV_OFFSET
        return cls(width, height, float(matrix[0, 0]), float(matrix[1, 1]), cx, cy, FocalSource.CALIBRATION, 0.005)

    def checked(self) -> Camera:
        """This camera of a whole photo; raises CalibrationError where its focal length is none of a camera.

        Crops and reduced copies of a photo may see less, so this is asked once, where a camera enters.
        """
        long = max(self.width, self.height)
        for focal in (self.fx, self.fy):
            angle = math.degrees(2 * math.atan(long / 2 / focal))
            if not FIELDS_OF_VIEW[0] <= angle <= FIELDS_OF_VIEW[1]:
                raise CalibrationError(
                    f"a focal length of {focal:.4g} px sees {angle:.3g} degrees over {long} px; "
                    f"{FIELDS_OF_VIEW[0]:g} to {FIELDS_OF_VIEW[1]:g} degrees are possible",
                    hint="focal lengths are in pixels of the upright image, fields of view in degrees",
                )
        return self

    @property
    def focal(self) -> float:
        """The one focal length of the canonical transform: (fx + fy) / 2, pixels."""
        return (self.fx + self.fy) / 2

    @property
    def matrix(self) -> NDArray[np.float64]:
        """K, (3, 3), for pixel centres at +0.5."""
        return np.array([[self.fx, 0, self.cx], [0, self.fy, self.cy], [0, 0, 1]], dtype=np.float64)

    @property
    def opencv_matrix(self) -> NDArray[np.float64]:
        """K, (3, 3), as OpenCV's functions expect it (pixel centres at integers)."""
        matrix = self.matrix
        matrix[:2, 2] -= OPENCV_OFFSET
        return matrix

    @property
    def has_square_pixels(self) -> bool:
        """Whether fx and fy agree within 1 %."""
        return abs(self.fx / self.fy - 1) <= SQUARE_TOLERANCE

    @property
    def horizontal_fov(self) -> float:
        """Horizontal field of view in degrees."""
        left, right = self.cx / self.fx, (self.width - self.cx) / self.fx
        return math.degrees(math.atan(left) + math.atan(right))

    @property
    def is_assumed(self) -> bool:
        """Whether nothing is known of the focal length."""
        return self.focal_source is FocalSource.ASSUMED

    def with_warnings(self, *warnings: str) -> Camera:
        """The same with more warnings."""
        return dataclasses.replace(self, warnings=(*self.warnings, *warnings))

    def with_focal(self, focal: float, source: FocalSource, rel_sigma: float) -> Camera:
        """The same image seen with another focal length (pixels)."""
        return dataclasses.replace(self, fx=focal, fy=focal, focal_source=source, focal_rel_sigma=rel_sigma)

    def resized(self, width: int, height: int) -> Camera:
        """Camera of the image resampled to ``width`` x ``height``."""
        sx, sy = width / self.width, height / self.height
        return dataclasses.replace(
            self,
            width=width,
            height=height,
            fx=self.fx * sx,
            fy=self.fy * sy,
            cx=self.cx * sx,
            cy=self.cy * sy,
        )

    def padded(self, left: int, top: int, right: int, bottom: int) -> Camera:
        """Camera after a border was added; negative numbers crop."""
        return dataclasses.replace(
            self,
            width=self.width + left + right,
            height=self.height + top + bottom,
            cx=self.cx + left,
            cy=self.cy + top,
        )

    def cropped(self, left: int, top: int, width: int, height: int) -> Camera:
        """Camera of the rectangle whose top-left corner is (left, top)."""
        return dataclasses.replace(self, width=width, height=height, cx=self.cx - left, cy=self.cy - top)

    def rotated(self, orientation: int) -> Camera:
        """Camera after the pixels were made upright by the EXIF ``orientation`` (1 to 8).

        Lens distortion of Brown's tangential terms does not survive a mirror; such a lens must be undistorted first.
        """
        if orientation not in range(1, 9):
            raise CalibrationError(f"EXIF orientation is 1 to 8, not {orientation}")
        camera = self._transposed() if orientation >= 5 else self
        mirror_x = orientation in (2, 3, 6, 7)
        mirror_y = orientation in (3, 4, 7, 8)
        cx = camera.width - camera.cx if mirror_x else camera.cx
        cy = camera.height - camera.cy if mirror_y else camera.cy
        return dataclasses.replace(camera, cx=cx, cy=cy)

    def _transposed(self) -> Camera:
        return dataclasses.replace(
            self,
            width=self.height,
            height=self.width,
            fx=self.fy,
            fy=self.fx,
            cx=self.cy,
            cy=self.cx,
        )

    def square_pixelled(self) -> Camera:
        """Camera of the image resampled so that fx = fy; the coarser axis is the one that grows."""
        focal = max(self.fx, self.fy)
        width = max(1, round(self.width * focal / self.fx))
        height = max(1, round(self.height * focal / self.fy))
        return self.resized(width, height)

    def slopes(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """x / z of every column, (1, width), and y / z of every row, (height, 1), at pixel centres."""
        u = (np.arange(self.width, dtype=np.float64) + 0.5 - self.cx) / self.fx
        v = (np.arange(self.height, dtype=np.float64) + 0.5 - self.cy) / self.fy
        return u.astype(np.float32)[None], v.astype(np.float32)[:, None]

    def rays(self) -> NDArray[np.float32]:
        """Direction of every pixel centre, (height, width, 3), with z = 1: point = ray * depth."""
        rays = np.empty((self.height, self.width, 3), dtype=np.float32)
        rays[..., 0], rays[..., 1] = self.slopes()
        rays[..., 2] = 1.0
        return rays

    def unproject(self, pixels: NDArray[np.float64], depth: NDArray[np.float64]) -> NDArray[np.float64]:
        """Points (N, 3) in metres of pixel positions (N, 2) at ``depth`` (N,) metres along z."""
        x = (pixels[:, 0] - self.cx) / self.fx * depth
        y = (pixels[:, 1] - self.cy) / self.fy * depth
        return np.stack([x, y, depth], axis=1)

    def project(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Pixel positions (N, 2) of points (N, 3) in front of the camera."""
        u = points[:, 0] / points[:, 2] * self.fx + self.cx
        v = points[:, 1] / points[:, 2] * self.fy + self.cy
        return np.stack([u, v], axis=1)
