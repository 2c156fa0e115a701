"""Where the rays of a picture meet boxes, upright cylinders and spheres: exact, in numpy, without a mesh.

World axes are x right, y away, z up, in metres. All solids are convex, so a ray is inside one between two distances.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from m3d_cli.camera import Camera
from m3d_cli.synthesis.render import Pose

Array = NDArray[np.float32]


class Rays(NamedTuple):
    """Rays ``start + t way``: three numbers or arrays each. Of a picture, t is depth along the optical axis."""

    start: tuple[Array, Array, Array]
    way: tuple[Array, Array, Array]

    def within(self, window: tuple[slice, slice]) -> Rays:
        """The rays of some rows and columns; they share one start."""
        x, y, z = self.way
        return Rays(self.start, (x[window], y[window], z[window]))


class Face(NamedTuple):
    """What points (N,) lie on: outward normals (3, N), places on the surface in metres, and which side it is."""

    normal: Array
    u: Array
    v: Array
    side: NDArray[np.int64]


class Span(NamedTuple):
    """Between which distances a ray is inside a solid; ``near`` is larger than ``far`` where it misses."""

    near: Array
    far: Array

    def first(self) -> Array:
        """Distance of the first surface, +inf where the ray misses or starts beyond it."""
        return np.where((self.near < self.far) & (self.near > 0), self.near, np.float32(np.inf))


@dataclass(frozen=True, slots=True)
class Box:
    """Standing on height ``z``, turned by ``yaw`` about the vertical through its middle.

    Sides: 0 left, 1 right, 2 front (-y), 3 back, 4 bottom, 5 top.
    """

    x: float
    y: float
    z: float
    width: float
    depth: float
    height: float
    yaw: float = 0.0

    @property
    def centre(self) -> tuple[float, float, float]:
        """Middle of the solid."""
        return self.x, self.y, self.z + self.height / 2

    @property
    def reach(self) -> float:
        """Radius of a ball about the middle that holds the solid."""
        return math.sqrt(self.width**2 + self.depth**2 + self.height**2) / 2

    def corners(self) -> NDArray[np.float64]:
        """Corners (3, 8) of a box that holds the solid."""
        cos, sin = math.cos(self.yaw), math.sin(self.yaw)
        right, back = np.array([cos, sin]) * self.width / 2, np.array([-sin, cos]) * self.depth / 2
        return _around(self.x, self.y, self.z, right, back, self.height)

    def span(self, rays: Rays) -> Span:
        """Where rays are inside."""
        start, way = self._turned(*self._moved(rays.start)), self._turned(*rays.way)
        spans = [_slab(s, w, half) for s, w, half in zip(start, way, self._half, strict=True)]
        return _common(*spans)

    def face(self, points: Array) -> Face:
        """The side that points (3, N) lie on."""
        x, y, z = self._turned(*self._moved((points[0], points[1], points[2])))
        right, back, up = (np.abs(p) / np.float32(half) for p, half in zip((x, y, z), self._half, strict=True))
        flat = up >= np.maximum(right, back)
        front = (back > right) & ~flat
        side = np.where(flat, 4 + (z > 0), np.where(front, 2 + (y > 0), x > 0))
        normal = np.take(self._normals(), side, axis=1)
        return Face(normal, np.where(flat | front, x, y), np.where(flat, y, z), side)

    def _normals(self) -> Array:
        """Outward normals (3, 6) of the six sides."""
        cos, sin = math.cos(self.yaw), math.sin(self.yaw)
        right, back = np.array([cos, sin, 0]), np.array([-sin, cos, 0])
        up = np.array([0, 0, 1])
        return np.stack([-right, right, -back, back, -up, up], axis=1).astype(np.float32)

    @property
    def _half(self) -> tuple[float, float, float]:
        return self.width / 2, self.depth / 2, self.height / 2

    def _moved(self, place: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        x, y, z = (np.subtract(p, np.float32(c)) for p, c in zip(place, self.centre, strict=True))
        return x, y, z

    def _turned(self, x: Array, y: Array, z: Array) -> tuple[Array, Array, Array]:
        if self.yaw == 0:
            return x, y, z
        cos, sin = np.float32(math.cos(self.yaw)), np.float32(math.sin(self.yaw))
        return cos * x + sin * y, cos * y - sin * x, z


@dataclass(frozen=True, slots=True)
class Cylinder:
    """Upright, standing on height ``z``."""

    x: float
    y: float
    z: float
    radius: float
    height: float

    @property
    def centre(self) -> tuple[float, float, float]:
        """Middle of the solid."""
        return self.x, self.y, self.z + self.height / 2

    @property
    def reach(self) -> float:
        """Radius of a ball about the middle that holds the solid."""
        return math.hypot(self.radius, self.height / 2)

    def corners(self) -> NDArray[np.float64]:
        """Corners (3, 8) of a box that holds the solid."""
        right, back = np.array([self.radius, 0.0]), np.array([0.0, self.radius])
        return _around(self.x, self.y, self.z, right, back, self.height)

    def span(self, rays: Rays) -> Span:
        """Where rays are inside."""
        (x, y, z), (dx, dy, dz) = rays
        x, y = x - np.float32(self.x), y - np.float32(self.y)
        side = _quadratic(dx * dx + dy * dy, x * dx + y * dy, x * x + y * y - np.float32(self.radius**2))
        return _common(side, _slab(z - np.float32(self.z + self.height / 2), dz, self.height / 2))

    def face(self, points: Array) -> Face:
        """The side that points (3, N) lie on: 0 round, 4 bottom, 5 top."""
        x, y, z = points - np.array(self.centre, dtype=np.float32)[:, None]
        out = np.hypot(x, y) / np.float32(self.radius)
        lid = np.abs(z) / np.float32(self.height / 2) > out
        flat = np.where(lid, np.float32(0), 1 / np.maximum(out * np.float32(self.radius), np.float32(1e-9)))
        normal = np.stack([x * flat, y * flat, np.zeros_like(z)])
        normal[2, lid] = np.sign(z[lid])
        round_ = np.arctan2(y, x) * np.float32(self.radius)
        return Face(normal, np.where(lid, x, round_), np.where(lid, y, z), np.where(lid, 4 + (z > 0), 0))


@dataclass(frozen=True, slots=True)
class Ball:
    """A sphere; ``z`` is the height of its lowest point."""

    x: float
    y: float
    z: float
    radius: float

    @property
    def centre(self) -> tuple[float, float, float]:
        """Middle of the solid."""
        return self.x, self.y, self.z + self.radius

    @property
    def reach(self) -> float:
        """Its radius."""
        return self.radius

    def corners(self) -> NDArray[np.float64]:
        """Corners (3, 8) of a box that holds the solid."""
        right, back = np.array([self.radius, 0.0]), np.array([0.0, self.radius])
        return _around(self.x, self.y, self.z, right, back, 2 * self.radius)

    def span(self, rays: Rays) -> Span:
        """Where rays are inside."""
        (x, y, z), (dx, dy, dz) = rays
        x, y, z = (p - np.float32(c) for p, c in zip((x, y, z), self.centre, strict=True))
        lengths = dx * dx + dy * dy + dz * dz
        return _quadratic(lengths, x * dx + y * dy + z * dz, x * x + y * y + z * z - np.float32(self.radius**2))

    def face(self, points: Array) -> Face:
        """Where points (3, N) lie on it; there is one side."""
        away = points - np.array(self.centre, dtype=np.float32)[:, None]
        normal = away / np.linalg.norm(away, axis=0)
        around = np.arctan2(normal[1], normal[0]) * np.float32(self.radius)
        return Face(normal, around, normal[2] * np.float32(self.radius), np.zeros(len(around), dtype=np.int64))


# Metres before the camera from which on a solid's corners are projected.
_NEAREST = 0.02

Solid = Box | Cylinder | Ball


def picture_rays(camera: Camera, pose: Pose) -> Rays:
    """Rays through the pixels' centres, (H, W)."""
    u = ((np.arange(camera.width) + 0.5 - camera.cx) / camera.fx).astype(np.float32)
    v = ((np.arange(camera.height) + 0.5 - camera.cy) / camera.fy).astype(np.float32)
    turn = pose.rotation.astype(np.float32)
    x, y, z = (row[0] * u[None] + (row[1] * v[:, None] + row[2]) for row in turn)
    start_x, start_y, start_z = (np.asarray(p, dtype=np.float32) for p in pose.position)
    return Rays((start_x, start_y, start_z), (x, y, z))


def window_of(solid: Solid, camera: Camera, pose: Pose) -> tuple[slice, slice] | None:
    """Rows and columns outside of which a solid cannot be seen; None where it cannot be seen at all."""
    x, y, z = pose.rotation.T @ (solid.corners() - pose.position[:, None])
    if z.max() <= 0:
        return None
    if z.min() < _NEAREST:
        return slice(0, camera.height), slice(0, camera.width)
    columns = _whole(x / z * camera.fx + camera.cx, camera.width)
    rows = _whole(y / z * camera.fy + camera.cy, camera.height)
    return (rows, columns) if rows.start < rows.stop and columns.start < columns.stop else None


def _whole(places: NDArray[np.float64], size: int) -> slice:
    return slice(max(0, math.floor(places.min())), min(size, math.ceil(places.max())))


def _around(
    x: float, y: float, z: float, right: NDArray[np.float64], back: NDArray[np.float64], height: float
) -> NDArray[np.float64]:
    """Corners (3, 8) of an upright box from the middle of its foot and its half edges (2,)."""
    flat = [a * right + b * back + (x, y) for a in (-1, 1) for b in (-1, 1)]
    return np.array([(*corner, level) for corner in flat for level in (z, z + height)]).T


def _slab(start: Array, way: Array, half: float) -> Span:
    """Between two planes at -half and +half of one axis."""
    with np.errstate(divide="ignore", invalid="ignore"):
        one, other = (np.float32(-half) - start) / way, (np.float32(half) - start) / way
    return Span(np.minimum(one, other), np.maximum(one, other))


def _quadratic(a: Array, b: Array, c: Array) -> Span:
    """Where a t^2 + 2 b t + c is negative."""
    with np.errstate(divide="ignore", invalid="ignore"):
        root = np.sqrt(b * b - a * c)
        near, far = (-b - root) / a, (-b + root) / a
    missed = np.isnan(root)
    return Span(np.where(missed, np.float32(np.inf), near), np.where(missed, np.float32(-np.inf), far))


def _common(*spans: Span) -> Span:
    near, far = spans[0]
    for span in spans[1:]:
        near, far = np.maximum(near, span.near), np.minimum(far, span.far)
    return Span(near, far)
