"""Photos that are not flat: cameras whose pixels are angles, and range maps, which belong to them.

Range is the distance from the camera's centre along each pixel's ray, in metres; depth along one axis means nothing
where the camera sees all round. Axes are x right, y down, z forward, pixel centres at +0.5, as everywhere.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from m3d_cli.depthmap import DepthSummary, summary_of
from m3d_cli.errors import CalibrationError, OutputError

# Lenses beyond this angle from the axis do not exist; a model's polynomial may still reach there.
WIDEST_FISHEYE = math.radians(125)
# Rounding of an image of the sphere, in parts of a side.
_SHAPE_TOLERANCE = 0.01
_NEWTON_STEPS = 12


class Projection(str, Enum):
    """How directions become pixels: longitude and latitude, or the angle from the axis as a radius."""

    EQUIRECTANGULAR = "equirectangular"
    FISHEYE = "fisheye"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, slots=True)
class SphericalCamera:
    """A camera whose image is not flat; ``fx`` and ``fy`` are pixels per radian at the principal point.

    Equirectangular: u = fx * longitude + cx, v = fy * latitude + cy, latitude counted downwards. Fisheye: the radius
    of a ray at the angle theta from the axis is theta (1 + k1 theta^2 + k2 theta^4 + k3 theta^6 + k4 theta^8) (Kannala
    and Brandt, PAMI 2006, as OpenCV has it); ``terms`` are k1 to k4, and nothing beyond the angle ``reach`` is seen.
    """

    projection: Projection
    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    terms: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0)
    reach: float = math.pi

    def __post_init__(self) -> None:
        numbers = (self.fx, self.fy, self.cx, self.cy, *self.terms, self.reach)
        if min(self.width, self.height) < 1 or not all(map(math.isfinite, numbers)) or min(self.fx, self.fy) <= 0:
            raise CalibrationError(f"not a {self.projection} camera: {self.width} x {self.height} pixels, {numbers}")

    @classmethod
    def full_sphere(cls, width: int, height: int) -> SphericalCamera:
        """An equirectangular photo of 360 x 180 degrees; raises CalibrationError unless it is twice as wide as high."""
        if abs(width / height - 2) > 0.02:
            raise CalibrationError(
                f"{width} x {height} pixels are no equirectangular photo of 360 x 180 degrees, which is twice as wide "
                "as high",
                hint="a part of a sphere must be padded to the whole of it first",
            )
        fx, fy = width / math.tau, height / math.pi
        return cls(Projection.EQUIRECTANGULAR, width, height, fx, fy, width / 2, height / 2)

    @classmethod
    def part_of_sphere(
        cls, size: tuple[int, int], whole: tuple[int, int], left: float, top: float, part: tuple[int, int]
    ) -> SphericalCamera:
        """An equirectangular photo of ``size`` that shows a ``part`` of a sphere of ``whole`` pixels, from left, top.

        Raises CalibrationError where photo and part have another shape.
        """
        across, down = size[0] / part[0], size[1] / part[1]
        if abs(across / down - 1) > _SHAPE_TOLERANCE:
            raise CalibrationError(
                f"{size[0]} x {size[1]} pixels, but {part[0]} x {part[1]} for this part of a sphere in its XMP",
                hint="the photo was cropped afterwards; pad it to 360 x 180 degrees and remove its XMP",
            )
        fx, fy = whole[0] * across / math.tau, whole[1] * down / math.pi
        cx, cy = (whole[0] / 2 - left) * across, (whole[1] / 2 - top) * down
        return cls(Projection.EQUIRECTANGULAR, *size, fx, fy, cx, cy)

    @classmethod
    def equidistant(cls, width: int, height: int, field_of_view: float) -> SphericalCamera:
        """A fisheye photo whose width sees ``field_of_view`` degrees, angles in proportion to the radius."""
        if not 1 <= field_of_view <= math.degrees(2 * WIDEST_FISHEYE):
            raise CalibrationError(
                f"a fisheye photo does not see {field_of_view:g} degrees over its width", hint="--fov is in degrees"
            )
        focal = width / math.radians(field_of_view)
        return cls(Projection.FISHEYE, width, height, focal, focal, width / 2, height / 2, reach=WIDEST_FISHEYE)

    @property
    def wraps(self) -> bool:
        """Whether the left edge continues the right one, and nothing of the sphere is missing."""
        is_all_round = abs(self.fx * math.tau / self.width - 1) < _SHAPE_TOLERANCE
        return self.projection is Projection.EQUIRECTANGULAR and is_all_round and self._is_pole_to_pole

    @property
    def _is_pole_to_pole(self) -> bool:
        return abs(self.fy * math.pi / self.height - 1) < _SHAPE_TOLERANCE

    def resized(self, width: int, height: int) -> SphericalCamera:
        """The camera of the image resampled to ``width`` x ``height``."""
        sx, sy = width / self.width, height / self.height
        return dataclasses.replace(
            self, width=width, height=height, fx=self.fx * sx, fy=self.fy * sy, cx=self.cx * sx, cy=self.cy * sy
        )

    def directions(self, rows: slice = slice(None)) -> NDArray[np.float32]:
        """Unit vectors (R, width, 3) of the pixel centres of ``rows``, NaN where nothing is seen."""
        x = ((np.arange(self.width) + 0.5 - self.cx) / self.fx)[None]
        y = ((np.arange(self.height)[rows] + 0.5 - self.cy) / self.fy)[:, None]
        if self.projection is Projection.EQUIRECTANGULAR:
            across = np.cos(y)
            parts = np.broadcast_arrays(across * np.sin(x), np.sin(y), across * np.cos(x))
            return np.stack(parts, axis=2).astype(np.float32)
        radius = np.hypot(x, y)
        theta = self.angle(radius)
        with np.errstate(invalid="ignore"):
            share = np.where(radius > 0, np.sin(theta) / np.maximum(radius, 1e-12), 1.0)
            found = np.stack([x * share, y * share, np.cos(theta)], axis=2)
        return found.astype(np.float32)

    def project(self, directions: NDArray[np.floating]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Pixel positions u, v (...) of directions (..., 3) of any length; NaN where the camera does not look."""
        x, y, z = np.moveaxis(directions, -1, 0)
        side = np.hypot(x, z) if self.projection is Projection.EQUIRECTANGULAR else np.hypot(x, y)
        if self.projection is Projection.EQUIRECTANGULAR:
            u, v = np.arctan2(x, z) * self.fx + self.cx, np.arctan2(y, side) * self.fy + self.cy
            hidden = np.zeros(u.shape, dtype=np.bool_)
        else:
            theta = np.arctan2(side, z)
            share = np.where(side > 0, self._radius(theta) / np.maximum(side, 1e-12), 0.0)
            u, v = x * share * self.fx + self.cx, y * share * self.fy + self.cy
            hidden = theta > self.reach
        if not self.wraps:
            hidden = hidden | (u < 0) | (v < 0) | (u > self.width) | (v > self.height)
            u, v = np.where(hidden, np.nan, u), np.where(hidden, np.nan, v)
        return u.astype(np.float32), v.astype(np.float32)

    def _radius(self, theta: NDArray[np.floating]) -> NDArray[np.floating]:
        square = theta**2
        k1, k2, k3, k4 = self.terms
        return np.asarray(theta * (1 + square * (k1 + square * (k2 + square * (k3 + square * k4)))))

    def angle(self, radius: NDArray[np.floating]) -> NDArray[np.floating]:
        """Angles from a fisheye's axis (radians) of radii in focal lengths, by Newton's method; NaN beyond the reach or
        where there is none.
        """
        k1, k2, k3, k4 = self.terms
        theta = np.minimum(radius, self.reach)
        if any(self.terms):
            for _ in range(_NEWTON_STEPS):
                square = theta**2
                slope = 1 + square * (3 * k1 + square * (5 * k2 + square * (7 * k3 + square * 9 * k4)))
                theta = theta - (self._radius(theta) - radius) / np.where(slope > 1e-3, slope, 1e-3)
        solved = np.abs(self._radius(theta) - radius) < 1e-6
        return np.where(solved & (theta >= 0) & (theta <= self.reach), theta, np.nan)


@dataclass(frozen=True, slots=True, eq=False)
class RangeMap:
    """Range in metres along each pixel's ray, float32 (height, width), NaN where unknown, and its camera."""

    range: NDArray[np.float32]
    camera: SphericalCamera

    def __post_init__(self) -> None:
        size = (self.camera.height, self.camera.width)
        if self.range.dtype != np.float32 or self.range.shape != size:
            raise OutputError(
                f"range must be float32 {size} like its camera, got {self.range.dtype} {self.range.shape}"
            )

    @property
    def summary(self) -> DepthSummary:
        """What reports say of it."""
        return summary_of(self.range)

    def points(self) -> NDArray[np.float32]:
        """Points (height, width, 3) in metres, NaN where unknown."""
        return self.camera.directions() * self.range[..., None]
