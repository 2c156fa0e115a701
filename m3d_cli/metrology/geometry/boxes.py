"""The foreground inside a box drawn on the photo, and the points where it ends."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from m3d_cli.depthmap import DepthMap
from m3d_cli.metrology.geometry.depth_reading import Reading, read_depth, without_blur
from m3d_cli.metrology.measurands import Measurand
from m3d_cli.metrology.picks import MeasureError, Pick

# Depths on either side of the largest gap belong to different objects when they differ by this share.
GAP = 0.05
# An object that fills less of its box than this was not meant.
LEAST_SHARE = 0.05
# Two objects are apart by this share of the depths' span (in logs), ignoring _STRAY percent of the pixels per side.
LEAST_GAP, _STRAY = 0.05, 1.0
_BINS = 96
# From a pixel's centre to its left, right, upper and lower border.
_HALF = 0.5
# Pixels of a rectangle within one pixel of its corner's.
_CORNER = 4
# A surface whose inverse depth changes by less than this share per pixel is as deep at the next one.
_LEVEL = 1e-4

Ends = tuple[Reading, Reading]


@dataclass(frozen=True, slots=True)
class BoxEnds:
    """Pairs of readings at which the foreground begins and ends along x, y and z."""

    ends: tuple[Ends, Ends, Ends]
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Foreground:
    """Pixels (N, 2) of the foreground as columns and rows, and for each the nearest one (N, 2) that no edge blurs,
    whose depth they are taken to have: ``points`` (N, 3) metres.
    """

    pixels: NDArray[np.int64]
    sound: NDArray[np.int64]
    points: NDArray[np.float64]


def box_extremes(depth: DepthMap, measurand: Measurand, cell: float = 1.0) -> BoxEnds:
    """The ends of the nearest object in the box between two corners; raises MeasureError for an empty box.

    ``cell`` is how many pixels of the depth map one pixel of the network covers.
    """
    rows, columns = _window(depth, measurand)
    values = depth.depth[rows, columns]
    known = np.isfinite(values)
    if known.sum() < 16:
        raise MeasureError(f"{measurand.name}: the box holds no known depth", hint="draw it around the object")
    front, is_cut = _cut(values, known, cell)
    found = _foreground(depth, (rows, columns), front, known & ~front, cell)
    warnings = () if is_cut else ("nothing stands out in the box: its whole content was measured",)

    def end(axis: int, place: int, step: int) -> Reading:
        column, row = found.sound[place]
        inner = read_depth(depth, Pick(float(column) + _HALF, float(row) + _HALF), measurand.name, cell)
        return inner.at(_border(found.pixels[place], _outward(inner, axis, step)))

    first, second, third = (
        (end(axis, int(along.argmin()), -1), end(axis, int(along.argmax()), 1))
        for axis, along in enumerate(found.points.T)
    )
    return BoxEnds((first, second, third), warnings)


def _border(pixel: NDArray[np.int64], outward: tuple[float, float]) -> Pick:
    """Where an object ends that covers this pixel's centre and not the next one's: halfway between them."""
    return Pick(float(pixel[0]) + _HALF * (1 + outward[0]), float(pixel[1]) + _HALF * (1 + outward[1]))


def _outward(end: Reading, axis: int, step: int) -> tuple[float, float]:
    """The direction in the image, along its rows or columns, in which x, y or z grows (``step`` 1) or falls (-1)."""
    if axis == 0:
        return float(step), 0.0
    if axis == 1:
        return 0.0, float(step)
    du, dv = (-step * slope for slope in end.gradient)
    if max(abs(du), abs(dv)) < _LEVEL * end.inverse:
        return 0.0, 0.0
    return (math.copysign(1, du), 0.0) if abs(du) > abs(dv) else (0.0, math.copysign(1, dv))


def _foreground(
    depth: DepthMap,
    window: tuple[slice, slice],
    front: NDArray[np.bool_],
    other: NDArray[np.bool_],
    cell: float,
) -> _Foreground:
    rows, columns = window
    front = _without_specks(front)
    sound = without_blur(front, other, cell)
    v, u = np.nonzero(front)
    # The number of each pixel's nearest sound one; they are numbered in the order of their rows.
    _, labels = cv2.distanceTransformWithLabels(
        (~sound).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    nearest = np.zeros(labels.max() + 1, dtype=np.int64)
    nearest[labels[sound]] = np.flatnonzero(sound)
    source_v, source_u = np.divmod(nearest[labels[front]], front.shape[1])
    x, y = depth.camera.slopes()
    z = depth.depth[rows, columns][source_v, source_u].astype(np.float64)
    points = np.stack([x[0, u + columns.start] * z, y[v + rows.start, 0] * z, z], axis=1)
    first = np.array([columns.start, rows.start])
    return _Foreground(np.stack([u, v], axis=1) + first, np.stack([source_u, source_v], axis=1) + first, points)


def _without_specks(front: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Without pixels that have fewer neighbours than a corner; all of them where nothing else is left."""
    count = cv2.boxFilter(front.astype(np.uint8), -1, (3, 3), normalize=False, borderType=cv2.BORDER_CONSTANT)
    whole = front & (count >= _CORNER)
    return whole if whole.any() else front


def _window(depth: DepthMap, measurand: Measurand) -> tuple[slice, slice]:
    one, other = measurand.points
    left, right = sorted((one.u, other.u))
    top, bottom = sorted((one.v, other.v))
    if right - left < 4 or bottom - top < 4:
        raise MeasureError(
            f"{measurand.name}: the box is smaller than four pixels", hint="give two corners around the object"
        )
    if left < 0 or top < 0 or right > depth.camera.width or bottom > depth.camera.height:
        raise MeasureError(
            f"{measurand.name}: the box reaches outside the image, {depth.camera.width} x {depth.camera.height} pixels",
            hint="points count in pixels of the upright photo",
        )
    return slice(int(top), int(np.ceil(bottom))), slice(int(left), int(np.ceil(right)))


def _cut(values: NDArray[np.float32], known: NDArray[np.bool_], cell: float) -> tuple[NDArray[np.bool_], bool]:
    """Pixels nearer than the emptiest place of the depths' histogram, between-class variance deciding (Otsu); all of
    them, and False, where near and far run into each other.
    """
    logs = np.log(values[known])
    counts, limits = np.histogram(logs, _BINS)
    middles = (limits[:-1] + limits[1:]) / 2
    below = np.cumsum(counts)[:-1]
    sums = np.cumsum(counts * middles)
    above = len(logs) - below
    with np.errstate(divide="ignore", invalid="ignore"):
        apart = (sums[-1] - sums[:-1]) / above - sums[:-1] / below
        score = np.where((below > 0) & (above > 0), below * above * apart**2, 0)
    # Between two objects every cut of the empty stretch scores the same: the middle one leaves both whole.
    best = int(np.median(np.flatnonzero(score >= score.max() * (1 - 1e-9))))
    cut = float(np.exp(limits[best + 1]))
    near = known & (values < cut)
    far = known & ~near
    if near.sum() < LEAST_SHARE * known.sum() or not _is_apart(values, near, far, cell):
        return known, False
    return near, True


def _is_apart(values: NDArray[np.float32], near: NDArray[np.bool_], far: NDArray[np.bool_], cell: float) -> bool:
    """Whether depths jump from one side to the other, apart from what the edge between them blurs."""
    if not (near.any() and far.any()):
        return False
    front, back = np.log(values[without_blur(near, far, cell)]), np.log(values[without_blur(far, near, cell)])
    span = float(back.max() - front.min())
    gap = float(np.percentile(back, _STRAY) - np.percentile(front, 100 - _STRAY))
    is_gap = gap > max(math.log1p(GAP / 4), LEAST_GAP * span)
    return is_gap and float(np.median(back) - np.median(front)) > math.log1p(GAP)
