"""Depth at a picked pixel, read from a window around it and on one side of any edge; never from a single pixel.

Inverse depth of a plane is linear in the image, so a small window is fitted by ``w = w0 + wu du + wv dv``. An edge is
blurred over a pixel of the network, which covers many of a large photo: jumps are looked for at that grid, and
blurred pixels are left out of the fit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from m3d_cli.camera import Camera
from m3d_cli.depthmap import DepthMap
from m3d_cli.metrology.picks import MeasureError, Pick, Side

# The window reaches this share of the image's long side, and at least LEAST_REACH pixels, to each side of the pick.
WINDOW_SHARE = 0.004
LEAST_REACH = 2
# And at least this many pixels of the network, without which both sides of an edge are not seen.
CELLS = 2
# Sorted depths that differ by more than this from one to the next lie on two sides of an edge,
SPLIT = 0.06
# unless all of the window lies within this share of one plane, as a floor does that is seen at a grazing angle.
FLAT = 0.015
# The other side of an edge counts when it holds this share of the window.
LEAST_SIDE = 0.12
# Pixels a fit needs; with fewer known ones only the window's median is used.
LEAST_FIT = 6
_SMALLEST_RESIDUAL = 1e-4


@dataclass(frozen=True, slots=True)
class Reading:
    """Inverse depth (1/m) at a pick and its change per pixel, and how well the window fits.

    ``residual`` is the relative standard deviation of the fit; ``other_depth`` is the depth across an edge, metres;
    ``confidence`` the network's at the pick, where known.
    """

    pick: Pick
    inverse: float
    gradient: tuple[float, float]
    residual: float
    other_depth: float | None = None
    confidence: float | None = None

    @property
    def depth(self) -> float:
        """Metres along the optical axis."""
        return 1 / self.inverse

    def at(self, pick: Pick) -> Reading:
        """The same surface at another pixel on this side of any edge: within a pixel, its slope is followed; farther
        on, the depth is kept and what the slope would change adds to the residual.
        """
        du, dv = pick.u - self.pick.u, pick.v - self.pick.v
        change = (self.gradient[0] * du + self.gradient[1] * dv) / self.inverse
        if math.hypot(du, dv) <= 1 and abs(change) < SPLIT:
            return replace(self, pick=pick, inverse=self.inverse * (1 + change), other_depth=None)
        return replace(self, pick=pick, residual=math.hypot(self.residual, change), other_depth=None)


def check_inside(pick: Pick, camera: Camera, subject: str) -> None:
    """Raise MeasureError, about ``subject``, for a pick outside the photo or outside its undistorted image."""
    if not _is_inside(pick.shown, camera):
        raise MeasureError(
            f"{subject} {pick} lies outside the image of {camera.width} x {camera.height} pixels",
            hint="points count in pixels of the upright photo",
        )
    if not _is_inside((pick.u, pick.v), camera):
        raise MeasureError(
            f"{subject} {pick} lies where the undistorted image is cut off",
            hint="pick it nearer to the middle of the photo",
        )


def _is_inside(place: tuple[float, float], camera: Camera) -> bool:
    return 0 <= place[0] <= camera.width and 0 <= place[1] <= camera.height


def read_depth(depth: DepthMap, pick: Pick, name: str, cell: float = 1.0) -> Reading:
    """The depth at ``pick``; raises MeasureError, naming the measurement, outside the image and on unknown depth.

    ``cell`` is how many pixels of the depth map one pixel of the network covers.
    """
    camera = depth.camera
    check_inside(pick, camera, f"{name}: the point")
    column, row = min(int(pick.u), camera.width - 1), min(int(pick.v), camera.height - 1)
    step = max(1, round(cell))
    rows, columns = _window(depth, row, column, step)
    values = depth.depth[rows, columns]
    if not math.isfinite(depth.depth[row, column]):
        raise MeasureError(
            f"{name}: the depth at {pick} is unknown (sky, or beyond the range of the network)",
            hint="pick a point on the object itself",
        )
    side, other = _own_side(values, row - rows.start, column - columns.start, pick.side, step)
    inverse, gradient, residual = _fit(values, side, rows, columns, pick)
    confidence = None if depth.confidence is None else float(depth.confidence[row, column])
    return Reading(pick, inverse, gradient, residual, None if pick.side else other, confidence)


def _window(depth: DepthMap, row: int, column: int, step: int) -> tuple[slice, slice]:
    share = round(WINDOW_SHARE * max(depth.camera.width, depth.camera.height))
    reach = max(LEAST_REACH, share, CELLS * step)
    rows = slice(max(0, row - reach), min(depth.camera.height, row + reach + 1))
    return rows, slice(max(0, column - reach), min(depth.camera.width, column + reach + 1))


def _own_side(
    values: NDArray[np.float32], row: int, column: int, chosen: Side | None, step: int
) -> tuple[NDArray[np.bool_], float | None]:
    """The pixels of the window that are on the pick's side of its largest jump, and the median depth of the other side.

    Jumps are looked for between every ``step``-th row and column through the pick.
    """
    known = np.isfinite(values)
    grid = values[row % step :: step, column % step :: step]
    grid_known = np.isfinite(grid)
    cut = _cut(grid, grid_known)
    if cut is None:
        return known, None
    near = known & (values <= cut)
    far = known & ~near
    is_near = bool(near[row, column]) if chosen is None else chosen is Side.NEAR
    own, other = (near, far) if is_near else (far, near)
    others = grid[grid_known & ((grid > cut) if is_near else (grid <= cut))]
    sharp = without_blur(own, other, step)
    if len(others) < LEAST_SIDE * grid_known.sum():
        return sharp, None
    return sharp, float(np.median(others))


def without_blur(own: NDArray[np.bool_], other: NDArray[np.bool_], cell: float) -> NDArray[np.bool_]:
    """The pixels of ``own`` (H, W) that are not within a pixel of the network, ``cell`` wide, of the ``other`` side.

    All of ``own`` where that leaves too few.
    """
    reach = round(cell)
    if reach <= 1:
        return own
    around = np.ones((2 * reach + 1, 2 * reach + 1), dtype=np.uint8)
    sharp = own & ~cv2.dilate(other.astype(np.uint8), around).astype(np.bool_)
    return sharp if sharp.sum() >= LEAST_FIT else own


def _cut(grid: NDArray[np.float32], known: NDArray[np.bool_]) -> float | None:
    """The depth between the two sides of an edge, None where the window holds one surface."""
    ordered = np.sort(grid[known])
    ratios = ordered[1:] / ordered[:-1]
    if not len(ratios) or ratios.max() < 1 + SPLIT or _is_flat(grid, known):
        return None
    place = int(ratios.argmax())
    return float(np.sqrt(ordered[place] * ordered[place + 1]))


def _is_flat(grid: NDArray[np.float32], known: NDArray[np.bool_]) -> bool:
    if known.sum() < LEAST_FIT:
        return False
    v, u = np.nonzero(known)
    inverse = 1 / grid[known].astype(np.float64)
    design = np.stack([np.ones(len(u)), u, v], axis=1)
    misfit = design @ np.linalg.lstsq(design, inverse, rcond=None)[0] - inverse
    return bool(np.abs(misfit).max() <= FLAT * np.median(inverse))


def _fit(
    values: NDArray[np.float32], side: NDArray[np.bool_], rows: slice, columns: slice, pick: Pick
) -> tuple[float, tuple[float, float], float]:
    v, u = np.nonzero(side)
    inverse = 1 / values[side].astype(np.float64)
    du, dv = u + columns.start + 0.5 - pick.u, v + rows.start + 0.5 - pick.v
    if len(inverse) < LEAST_FIT or np.ptp(du) < 2 or np.ptp(dv) < 2:
        middle = float(np.median(inverse))
        return middle, (0.0, 0.0), max(_SMALLEST_RESIDUAL, float(np.std(inverse)) / middle)
    design = np.stack([np.ones_like(du), du, dv], axis=1)
    solution, *_ = np.linalg.lstsq(design, inverse, rcond=None)
    level = float(solution[0])
    if not 0.5 < level / float(np.median(inverse)) < 2:
        # A steep fit that runs away from what the window holds says nothing about the pick.
        level, solution = float(np.median(inverse)), np.array([0.0, 0.0, 0.0])
    residual = float(np.sqrt(np.mean((design @ solution - inverse) ** 2))) / level
    return level, (float(solution[1]), float(solution[2])), max(_SMALLEST_RESIDUAL, residual)
