"""A photo that sees more than a flat image can, cut into flat views for the network and joined again on the sphere."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import cv2
import numpy as np
from numpy.typing import NDArray

from m3d_cli.camera import OPENCV_OFFSET, Camera, FocalSource
from m3d_cli.depthmap import DepthMap
from m3d_cli.spherical import RangeMap, SphericalCamera

# Views of 90 x 74 degrees, 4:3 as the networks were trained; neighbours share at least a third of their width.
VIEW_FIELD = 90.0
_RATIO = 4 / 3
# Pitch in degrees, upwards, and how many views turn round at it.
_RINGS = ((0.0, 8), (50.0, 6), (-50.0, 6), (90.0, 1), (-90.0, 1))
WIDEST_VIEW = 1200  # pixels; more would only be averaged away by the network's input
LEAST_SEEN = 0.5  # of a view's pixels, for it to be used

# The scale of views is corrected where they overlap: what one pair says, against what a network's scale errs.
_PAIR_SIGMA = 0.05
_SCALE_SIGMA = 0.15
_GRID = (90, 180)  # directions of the whole sphere at which views are compared
_FEWEST_SHARED = 30  # of those directions, for a pair to be compared
_BLOCK = 128  # rows that are joined at a time


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """A flat view: its camera, and ``turn`` (3, 3), which takes the view's axes into those of the whole photo."""

    camera: Camera
    turn: NDArray[np.float32]

    def directions(self) -> NDArray[np.float32]:
        """Directions (H, W, 3) of its pixels in the axes of the whole photo, with z = 1 in its own."""
        return self.camera.rays() @ self.turn.T


@dataclass(frozen=True, slots=True, eq=False)
class Panel:
    """A view with what the network found there: ln range (H, W), NaN where unknown, and which pixels are ``seen``."""

    view: View
    log_range: NDArray[np.float32]
    seen: NDArray[np.bool_]

    @classmethod
    def of(cls, view: View, depth: DepthMap, seen: NDArray[np.bool_]) -> Panel:
        """Depth of a view, as range."""
        x, y = view.camera.slopes()
        with np.errstate(invalid="ignore", divide="ignore"):
            log_range = np.log(depth.depth * np.sqrt(x * x + y * y + 1))
        log_range[~(seen & np.isfinite(log_range))] = np.nan
        return cls(view, log_range, seen)

    def sampled(self, directions: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """ln range at directions (H, W, 3), NaN where unknown, and how much the view counts there (0 to 1, falling to
        its edges; also where it found nothing).
        """
        camera = self.view.camera
        own = directions @ self.view.turn
        ahead = own[..., 2] > 1e-3
        with np.errstate(invalid="ignore", divide="ignore"):
            u = np.where(ahead, own[..., 0] / own[..., 2] * camera.fx + camera.cx, -9)
            v = np.where(ahead, own[..., 1] / own[..., 2] * camera.fy + camera.cy, -9)
        weight = _tent(u, camera.width) * _tent(v, camera.height)
        maps = (u - OPENCV_OFFSET).astype(np.float32), (v - OPENCV_OFFSET).astype(np.float32)
        known = np.isfinite(self.log_range)
        share = cv2.remap(known.astype(np.float32), *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        seen = cv2.remap(self.seen.astype(np.float32), *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        filled = np.where(known, self.log_range, np.float32(0))
        total = cv2.remap(filled, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        found = np.where((share > 0.5) & (weight > 0), total / np.maximum(share, 1e-6), np.float32(np.nan))
        return found.astype(np.float32), (weight * seen).astype(np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Joined:
    """The joined range, and by how much the views' scales differed before (standard deviation of ln range)."""

    range: RangeMap
    spread: float


def views_of(camera: SphericalCamera) -> tuple[View, ...]:
    """Views that together cover what ``camera`` sees, of about its own resolution."""
    width = min(WIDEST_VIEW, max(16, round(2 * camera.fx * math.tan(math.radians(VIEW_FIELD) / 2))))
    focal = width / 2 / math.tan(math.radians(VIEW_FIELD) / 2)
    flat = Camera.centred(width, round(width / _RATIO), focal, FocalSource.CALIBRATION, rel_sigma=0.005)
    small = flat.resized(32, 24)
    turns = [_turn(360.0 * k / count, pitch) for pitch, count in _RINGS for k in range(count)]
    return tuple(View(flat, turn) for turn in turns if _seen(camera, View(small, turn)).mean() >= LEAST_SEEN)


def reduced(image: NDArray[np.uint8], camera: SphericalCamera, focal: float) -> NDArray[np.uint8]:
    """``image`` made smaller, where it has more than ``focal`` pixels per radian, so that views are not aliased."""
    factor = focal / camera.fx
    if factor >= 1:
        return image
    size = (max(2, round(camera.width * factor)), max(2, round(camera.height * factor)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def cut(image: NDArray[np.uint8], camera: SphericalCamera, view: View) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """The pixels of a view (H, W, 3), black where ``camera`` sees nothing, and where it sees something (H, W).

    ``image`` may be a reduced copy of that of ``camera``.
    """
    camera = camera.resized(image.shape[1], image.shape[0])
    u, v = camera.project(view.directions())
    seen = np.isfinite(u)
    border = cv2.BORDER_CONSTANT
    if camera.wraps:
        # Half a pixel beyond a pole is the pole.
        border, v = cv2.BORDER_WRAP, np.clip(v, 0.5, camera.height - 0.5)
    columns, rows = (np.where(seen, a - OPENCV_OFFSET, -9).astype(np.float32) for a in (u, v))
    return np.asarray(cv2.remap(image, columns, rows, cv2.INTER_LINEAR, borderMode=border), dtype=np.uint8), seen


def join(camera: SphericalCamera, panels: Sequence[Panel]) -> Joined:
    """Range on the whole photo from that of its views, averaged by ln range where they overlap.

    A network's scale differs from view to view. Each view gets a factor that makes overlaps agree, by least squares of
    the medians of all pairs, and none where nothing disagrees; the factors' mean stays near one, so that the scale is
    that of all views together.
    """
    offsets, spread = _offsets(panels)
    # Finer than the views is nothing to be had.
    focal = min(camera.fx, panels[0].view.camera.fx)
    size = (max(2, round(camera.width * focal / camera.fx)), max(2, round(camera.height * focal / camera.fx)))
    coarse = camera.resized(*size)
    rows = [_joined_rows(coarse, panels, offsets, slice(top, top + _BLOCK)) for top in range(0, size[1], _BLOCK)]
    log_range = np.concatenate(rows)
    if size != (camera.width, camera.height):
        log_range = _enlarged(log_range, camera)
    with np.errstate(over="ignore"):
        return Joined(RangeMap(np.exp(log_range).astype(np.float32), camera), spread)


def _joined_rows(
    camera: SphericalCamera, panels: Sequence[Panel], offsets: NDArray[np.float64], rows: slice
) -> NDArray[np.float32]:
    directions = camera.directions(rows)
    visible = np.isfinite(directions[..., 0])
    directions = np.where(visible[..., None], directions, np.float32(0))
    total = np.zeros(visible.shape, np.float32)
    known, every = np.zeros_like(total), np.full_like(total, 1e-9)
    for panel, offset in zip(panels, offsets, strict=True):
        found, weight = panel.sampled(directions)
        is_known = np.isfinite(found)
        total += np.where(is_known, weight * (found + np.float32(offset)), 0)
        known += np.where(is_known, weight, 0)
        every += weight
    # Views that found nothing (sky) have their say about what is unknown.
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(visible & (known > 0.5 * every), total / known, np.float32(np.nan))


def _offsets(panels: Sequence[Panel]) -> tuple[NDArray[np.float64], float]:
    """What is added to the ln range of each view, and the standard deviation of what pairs disagreed by."""
    sphere = SphericalCamera.full_sphere(_GRID[1], _GRID[0]).directions()
    found = [panel.sampled(sphere)[0] for panel in panels]
    count = len(panels)
    normal, right = np.eye(count) / _SCALE_SIGMA**2, np.zeros(count)
    differences = []
    for i, j in combinations(range(count), 2):
        apart = found[i] - found[j]
        apart = apart[np.isfinite(apart)]
        if len(apart) < _FEWEST_SHARED:
            continue
        middle = float(np.median(apart))
        differences.append(middle)
        for a, b, sign in ((i, j, -1), (j, i, 1)):
            normal[a, a] += 1 / _PAIR_SIGMA**2
            normal[a, b] -= 1 / _PAIR_SIGMA**2
            right[a] += sign * middle / _PAIR_SIGMA**2
    spread = float(np.std(differences)) / math.sqrt(2) if len(differences) > 1 else 0.0
    return np.asarray(np.linalg.solve(normal, right), dtype=np.float64), spread


def _enlarged(log_range: NDArray[np.float32], camera: SphericalCamera) -> NDArray[np.float32]:
    """To the size of ``camera``'s image; what is unknown stays so, in whole pixels of the small one."""
    size = (camera.width, camera.height)
    known = np.isfinite(log_range)
    share = cv2.resize(known.astype(np.float32), size, interpolation=cv2.INTER_LINEAR)
    total = cv2.resize(np.where(known, log_range, np.float32(0)), size, interpolation=cv2.INTER_LINEAR)
    return np.asarray(np.where(share > 0.5, total / np.maximum(share, 1e-6), np.nan), dtype=np.float32)


def _seen(camera: SphericalCamera, view: View) -> NDArray[np.bool_]:
    return np.isfinite(camera.project(view.directions())[0])


def _tent(position: NDArray[np.floating], size: int) -> NDArray[np.floating]:
    """1 in the middle of a side, falling to 0 at its ends and beyond."""
    return np.asarray(np.clip(1 - np.abs(2 * position / size - 1), 0, None))


def _turn(yaw: float, pitch: float) -> NDArray[np.float32]:
    """Degrees to the right, then up, as a rotation of x right, y down, z forward."""
    a, b = math.radians(yaw), math.radians(pitch)
    about_y = np.array([[math.cos(a), 0, math.sin(a)], [0, 1, 0], [-math.sin(a), 0, math.cos(a)]])
    about_x = np.array([[1, 0, 0], [0, math.cos(b), -math.sin(b)], [0, math.sin(b), math.cos(b)]])
    return np.asarray(about_y @ about_x, dtype=np.float32)
