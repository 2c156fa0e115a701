"""Each kind of measurement as a pure function of points and planes in metres, camera axes (x right, y down, z forward).

A plane is q with q . X = 1 for its points, so it lies 1 / |q| metres from the camera and q points towards it.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]


def path(points: Vector) -> float:
    """Sum of the segments between points (N, 3)."""
    return float(np.linalg.norm(np.diff(points, axis=0), axis=1).sum())


def range_(points: Vector) -> float:
    """Straight distance of the first of points (N, 3) from the camera's centre."""
    return float(np.linalg.norm(points[0]))


def angle(points: Vector) -> float:
    """Degrees at the middle one of three points."""
    return between(points[0] - points[1], points[2] - points[1])


def extent(points: Vector, up: Vector) -> float:
    """How far apart two points are along the unit vector ``up``."""
    return abs(float((points[0] - points[1]) @ up))


def above(point: Vector, q: Vector) -> float:
    """Height of a point over a plane, positive on the camera's side."""
    return float((1 - q @ point) / np.linalg.norm(q))


def distance_of_camera(q: Vector) -> float:
    """Distance of the camera's centre from a plane."""
    return float(1 / np.linalg.norm(q))


def area(points: Vector) -> float:
    """Area of a flat polygon (N, 3)."""
    following = np.roll(points, -1, axis=0)
    return float(np.linalg.norm(np.cross(points, following).sum(axis=0)) / 2)


def gap(first: Vector, second: Vector, centre_of_first: Vector, centre_of_second: Vector) -> float:
    """Distance of two near-parallel planes: each one's centre from the other plane, averaged."""
    return (abs(above(centre_of_second, first)) + abs(above(centre_of_first, second))) / 2


def between(one: Vector, other: Vector) -> float:
    """Degrees between two vectors."""
    return math.degrees(math.atan2(float(np.linalg.norm(np.cross(one, other))), float(one @ other)))


def upward(q: Vector) -> Vector:
    """Unit vector (3,) up from a ground plane, towards the camera."""
    return np.asarray(-q / np.linalg.norm(q))


def tilt(q: Vector, up: Vector) -> float:
    """Degrees between a plane's normal and ``up``: 0 for a level plane, 90 for a wall."""
    slope = between(q, up)
    return min(slope, 180 - slope)
