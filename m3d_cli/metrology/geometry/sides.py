"""Corners of a straight-sided thing to a fraction of a pixel: a line through the edge along each side, intersected.

The position of an edge is where the light, averaged along a short stretch of the side, changes most. Blur spreads light
evenly to both sides, but not the numbers of an image, which are its root (sRGB): in these an edge moves into the dark,
and a 50 mm square of 50 pixels comes out 1 % too small.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from m3d_cli.camera import OPENCV_OFFSET

Vector = NDArray[np.float64]

# The part of a side that is looked at: corners are rounded by blur.
INNER = 0.12
# How far from the given side its edge is looked for, in parts of the side and in pixels.
REACH, LEAST_REACH, MOST_REACH = 0.12, 2.0, 12.0
_PLACES, _OVERSAMPLING = 24, 4
# An edge changes the light by at least this much within a pixel, white being 1.
LEAST_CONTRAST = 0.015
# Distances of edge points from their line beyond which they belong to something else, in pixels.
_OUTLIER = 0.7
_LEAST_PLACES = 8
# Corners of a chessboard: how far from them their quadrants are compared, in pixels, which share of the contrast those
# that lie across may differ by, and how far their saddle points are looked for.
_QUADRANT, _ALIKE, _SADDLE_REACH = 6.0, 0.35, 5
# Pixels around an edge that count, and how often their centre is found anew.
_HALF_WIDTH, _RECENTRED = 2.0, 5


def refined_corners(image: NDArray[np.uint8], corners: Vector, *, is_dark_inside: bool | None = None) -> Vector | None:
    """Corners (4, 2) of a quadrilateral moved to where its sides' edges meet; None where a side shows no edge.

    ``image`` is (H, W, 3) or (H, W); ``corners`` in pixels, in order round it. ``is_dark_inside`` says which way
    brightness changes; None takes the stronger of both.
    """
    grey = image if image.ndim == 2 else np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), dtype=np.uint8)
    light = linear_light(grey)
    if _are_saddles(light, corners):
        shortest = float(np.linalg.norm(corners - np.roll(corners, -1, axis=0), axis=1).min())
        return _if_near(saddle_points(grey, corners, shortest), corners, _SADDLE_REACH)
    lines = []
    for first, last in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        line = _edge_line(light, first, last, corners.mean(axis=0), is_dark_inside)
        if line is None:
            return None
        lines.append(line)
    found = np.array([_meeting(lines[i - 1], lines[i]) for i in range(len(corners))])
    lengths = np.linalg.norm(corners - np.roll(corners, -1, axis=0), axis=1)
    most = 1.5 * _reach(float(lengths.min()))
    return _if_near(found, corners, most)


def _if_near(found: Vector, corners: Vector, most: float) -> Vector | None:
    is_near = np.isfinite(found).all() and float(np.linalg.norm(found - corners, axis=1).max()) <= most
    return found if is_near else None


def linear_light(grey: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Light (0 to 1) of sRGB's numbers (IEC 61966-2-1)."""
    level = np.arange(256) / 255
    table = np.where(level <= 0.04045, level / 12.92, ((level + 0.055) / 1.055) ** 2.4)
    return np.asarray(table.astype(np.float32)[grey])


def _are_saddles(light: NDArray[np.float32], corners: Vector) -> bool:
    """Whether every corner is one of a chessboard: across it lies what is inside, and beside it the opposite."""
    middle = corners.mean(axis=0)
    for index, corner in enumerate(corners):
        sides = [corners[index - 1] - corner, corners[(index + 1) % len(corners)] - corner]
        reach = _QUADRANT * min(1.0, 3 * _reach(min(float(np.linalg.norm(side)) for side in sides)))
        inward = (middle - corner) / max(float(np.linalg.norm(middle - corner)), 1e-9) * reach
        along = [side / max(float(np.linalg.norm(side)), 1e-9) * reach for side in sides]
        inside, across = _level(light, corner + inward), _level(light, corner - inward)
        beside = [_level(light, corner + along[0] - along[1]), _level(light, corner + along[1] - along[0])]
        contrast = min(abs(inside - one) for one in beside)
        if contrast < LEAST_CONTRAST or abs(inside - across) > _ALIKE * contrast:
            return False
    return True


def _level(light: NDArray[np.float32], place: Vector) -> float:
    """Light at a place of the image, averaged over 3 x 3 pixels."""
    column = int(np.clip(place[0], 1, light.shape[1] - 2))
    row = int(np.clip(place[1], 1, light.shape[0] - 2))
    return float(light[row - 1 : row + 2, column - 1 : column + 2].mean())


def saddle_points(grey: NDArray[np.uint8], corners: Vector, apart: float) -> Vector:
    """Corners (N, 2) of a chessboard whose squares have ``apart`` pixels, moved to the saddle points of brightness."""
    reach = int(np.clip(apart / 3, 2, _SADDLE_REACH))
    stop = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 40, 1e-3)
    start = np.ascontiguousarray(corners - OPENCV_OFFSET, dtype=np.float32).reshape(-1, 1, 2)
    found = cv2.cornerSubPix(grey, start, (reach, reach), (-1, -1), stop)
    return np.asarray(found, dtype=np.float64).reshape(-1, 2) + OPENCV_OFFSET


def _reach(length: float) -> float:
    return float(np.clip(REACH * length, LEAST_REACH, MOST_REACH))


def _edge_line(
    light: NDArray[np.float32], first: Vector, last: Vector, middle: Vector, is_dark_inside: bool | None
) -> tuple[Vector, Vector] | None:
    """A point of the edge along the side from ``first`` to ``last`` and its direction."""
    along = last - first
    length = float(np.linalg.norm(along))
    if length < 2 * LEAST_REACH:
        return None
    along = along / length
    outward = np.array([along[1], -along[0]])
    outward *= np.sign(outward @ ((first + last) / 2 - middle)) or 1.0
    reach = _reach(length)
    steps = np.arange(-reach, reach + 1e-9, 1 / _OVERSAMPLING)
    stretches = np.linspace(INNER, 1 - INNER, max(_PLACES, round(length / 4)))
    places = first + stretches[:, None] * (last - first)
    where = places[:, None] + steps[None, :, None] * outward
    sampled = cv2.remap(
        light,
        (where[..., 0] - 0.5).astype(np.float32),
        (where[..., 1] - 0.5).astype(np.float32),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    # Along the side, three neighbours are averaged; across it, bilinear samples are smoothed to half a pixel.
    profile = cv2.blur(sampled, (_OVERSAMPLING // 2 + 1, 3), borderType=cv2.BORDER_REPLICATE)
    change = np.gradient(np.asarray(profile, dtype=np.float64), 1 / _OVERSAMPLING, axis=1)
    if is_dark_inside is None:
        is_dark_inside = bool(change.max(axis=1).mean() >= (-change).max(axis=1).mean())
    change = change if is_dark_inside else -change
    peaks = change.argmax(axis=1)
    strength = change[np.arange(len(change)), peaks]
    offsets = _centres(change, peaks, steps)
    usable = strength > LEAST_CONTRAST
    if usable.sum() < _LEAST_PLACES:
        return None
    return _line(places[usable] + offsets[usable, None] * outward)


def _centres(change: Vector, peaks: NDArray[np.int64], steps: Vector) -> Vector:
    """Centre of gravity of the change of brightness around its peak, with weights that fall off evenly around it."""
    centres = steps[peaks]
    for _ in range(_RECENTRED):
        weights = np.maximum(change, 0) * np.maximum(0, 1 - np.abs(steps[None] - centres[:, None]) / _HALF_WIDTH)
        centres = (weights * steps).sum(axis=1) / np.maximum(weights.sum(axis=1), 1e-9)
    return np.asarray(centres)


def _line(points: Vector) -> tuple[Vector, Vector] | None:
    """Total least squares through ``points`` (N, 2), without those that lie off."""
    kept = np.ones(len(points), dtype=np.bool_)
    for _ in range(4):
        middle = np.median(points[kept], axis=0) if kept.all() else points[kept].mean(axis=0)
        direction = np.linalg.svd(points[kept] - points[kept].mean(axis=0))[2][0]
        across = (points - points[kept].mean(axis=0)) @ np.array([-direction[1], direction[0]])
        spread = 1.5 * float(np.median(np.abs(across[kept] - np.median(across[kept]))))
        kept = np.abs(across - np.median(across[kept])) <= max(_OUTLIER / 2, min(_OUTLIER, 3 * spread))
        if kept.sum() < _LEAST_PLACES:
            return None
    middle = points[kept].mean(axis=0)
    return middle, np.asarray(np.linalg.svd(points[kept] - middle)[2][0])


def _meeting(one: tuple[Vector, Vector], other: tuple[Vector, Vector]) -> Vector:
    matrix = np.stack([one[1], -other[1]], axis=1)
    if abs(np.linalg.det(matrix)) < 0.05:
        return np.full(2, np.nan)
    return np.asarray(one[0] + np.linalg.solve(matrix, other[0] - one[0])[0] * one[1])
