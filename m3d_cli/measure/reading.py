"""Depth at a picked pixel, read from a window around it and on one side of any edge; never from a single pixel.

Inverse depth of a plane is linear in the picture, so a small window is fitted by ``w = w0 + wu du + wv dv``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from m3d_cli.camera import Camera
from m3d_cli.depthmap import DepthMap
from m3d_cli.errors import M3dError

# The window reaches this share of the picture's long side, and at least so many pixels, to each side of the pick.
WINDOW_SHARE = 0.004
LEAST_REACH = 2
# Sorted depths that differ by more than this from one to the next lie on two sides of an edge.
SPLIT = 0.06
# The other side of an edge counts when it holds this share of the window.
LEAST_SIDE = 0.12
# Pixels a fit needs; with fewer known ones the window tells only its median.
LEAST_FIT = 6
_SMALLEST_RESIDUAL = 1e-4


class MeasureError(M3dError):
    """A measurement that cannot be made, by name and with the way out; the others go on."""

    code = "BAD_MEASUREMENT"
    exit_code = 3


class Side(str, Enum):
    """Which side of an edge a pick means."""

    NEAR = "near"
    FAR = "far"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, slots=True)
class Pick:
    """A point in pixels of the upright photo, top-left corner (0, 0); ``side`` for picks at an edge.

    Where a lens was straightened, ``u`` and ``v`` are pixels of the straightened picture, and ``given`` is the pixel of
    the photo.
    """

    u: float
    v: float
    side: Side | None = None
    given: tuple[float, float] | None = None

    @property
    def shown(self) -> tuple[float, float]:
        """The pixel of the photo that people see."""
        return (self.u, self.v) if self.given is None else self.given

    def __str__(self) -> str:
        return "{:g},{:g}".format(*self.shown)


@dataclass(frozen=True, slots=True)
class Reading:
    """Inverse depth (1/m) at a pick and its change a pixel, and how well the window fits.

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

    @property
    def is_on_edge(self) -> bool:
        """Whether an occluding edge runs through the window."""
        return self.other_depth is not None


def check_inside(pick: Pick, camera: Camera, subject: str) -> None:
    """Raise MeasureError, about ``subject``, for a pick outside the photo or outside its straightened picture."""
    if not _is_inside(pick.shown, camera):
        raise MeasureError(
            f"{subject} {pick} lies outside the picture of {camera.width} x {camera.height} pixels",
            hint="points count in pixels of the upright photo",
        )
    if not _is_inside((pick.u, pick.v), camera):
        raise MeasureError(
            f"{subject} {pick} lies where straightening the lens cuts the picture off",
            hint="pick it nearer to the middle of the photo",
        )


def _is_inside(place: tuple[float, float], camera: Camera) -> bool:
    return 0 <= place[0] <= camera.width and 0 <= place[1] <= camera.height


def read_depth(depth: DepthMap, pick: Pick, name: str) -> Reading:
    """The depth at ``pick``; raises MeasureError, naming the measurement, outside the picture and on unknown depth."""
    camera = depth.camera
    check_inside(pick, camera, f"{name}: the point")
    column, row = min(int(pick.u), camera.width - 1), min(int(pick.v), camera.height - 1)
    rows, columns = _window(depth, row, column)
    values = depth.depth[rows, columns]
    known = np.isfinite(values)
    if not math.isfinite(depth.depth[row, column]):
        raise MeasureError(
            f"{name}: the depth at {pick} is unknown (sky, or beyond what the network can tell)",
            hint="pick a point on the thing itself",
        )
    side, other = _own_side(values, known, row - rows.start, column - columns.start, pick.side)
    inverse, gradient, residual = _fit(values, side, rows, columns, pick)
    confidence = None if depth.confidence is None else float(depth.confidence[row, column])
    return Reading(pick, inverse, gradient, residual, None if pick.side else other, confidence)


def _window(depth: DepthMap, row: int, column: int) -> tuple[slice, slice]:
    reach = max(LEAST_REACH, round(WINDOW_SHARE * max(depth.camera.width, depth.camera.height)))
    rows = slice(max(0, row - reach), min(depth.camera.height, row + reach + 1))
    return rows, slice(max(0, column - reach), min(depth.camera.width, column + reach + 1))


def _own_side(
    values: NDArray[np.float32], known: NDArray[np.bool_], row: int, column: int, wanted: Side | None
) -> tuple[NDArray[np.bool_], float | None]:
    """The pixels of the window on the pick's side of its largest jump, and the median depth of the other side."""
    ordered = np.sort(values[known])
    ratios = ordered[1:] / ordered[:-1]
    if not len(ratios) or ratios.max() < 1 + SPLIT:
        return known, None
    cut = float(ordered[int(ratios.argmax())])
    near = known & (values <= cut)
    far = known & ~near
    is_near = bool(near[row, column]) if wanted is None else wanted is Side.NEAR
    own, other = (near, far) if is_near else (far, near)
    if other.sum() < LEAST_SIDE * known.sum():
        return own, None
    return own, float(np.median(values[other]))


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
        # A steep fit that runs away from what the window holds tells nothing at the pick.
        level, solution = float(np.median(inverse)), np.array([0.0, 0.0, 0.0])
    residual = float(np.sqrt(np.mean((design @ solution - inverse) ** 2))) / level
    return level, (float(solution[1]), float(solution[2])), max(_SMALLEST_RESIDUAL, residual)
