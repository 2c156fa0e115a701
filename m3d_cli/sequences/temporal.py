"""Depth over time: how much it flickers where the image does not change, and a filter that steadies it.

The last frame is laid on the new one by dense optical flow (DIS, Kroeger 2016); what flow there and back disagrees on,
or what changed its looks, was hidden and does not count.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from m3d_cli.errors import UsageError

# Longer side at which flow is looked for.
FLOW_SIDE = 480
# Pixels (at that size) by which flow there and back may miss, grey levels by which a point's looks may change, and
# log depth beyond which it is another thing.
FLOW_ERROR = 1.0
GREY_CHANGE = 20.0
DEPTH_CHANGE = 0.25

Depth = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Warp:
    """Where in the last frame each pixel (H, W) of the new one was, and whether it was seen there."""

    column: NDArray[np.float32]
    row: NDArray[np.float32]
    seen: NDArray[np.bool_]

    def applied(self, values: Depth) -> Depth:
        """The last frame's ``values`` (H, W) at the new frame's pixels, NaN where they were not seen."""
        moved = cv2.remap(values, self.column, self.row, cv2.INTER_LINEAR, borderValue=float("nan"))
        return np.asarray(np.where(self.seen, moved, np.float32(np.nan)), dtype=np.float32)


class Flow:
    """Warps from each frame to the next."""

    def __init__(self) -> None:
        self._dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        self._last: NDArray[np.uint8] | None = None

    def warp(self, image: NDArray[np.uint8]) -> Warp | None:
        """The warp of the frame before onto ``image`` (H, W, 3); None for the first frame."""
        factor = min(1.0, FLOW_SIDE / max(image.shape[:2]))
        small = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA) if factor < 1 else image
        grey = np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), dtype=np.uint8)
        last, self._last = self._last, grey
        if last is None or last.shape != grey.shape:
            return None
        return self._between(last, grey, image.shape[1], image.shape[0])

    def _between(self, last: NDArray[np.uint8], grey: NDArray[np.uint8], width: int, height: int) -> Warp:
        zero = np.zeros((*grey.shape, 2), dtype=np.float32)
        back = np.asarray(self._dis.calc(grey, last, zero.copy()))
        ahead = np.asarray(self._dis.calc(last, grey, zero.copy()))
        rows, columns = np.indices(grey.shape, dtype=np.float32)
        column, row = columns + back[..., 0], rows + back[..., 1]
        returned = cv2.remap(ahead, column, row, cv2.INTER_LINEAR, borderValue=(1e6, 1e6))
        moved = cv2.remap(last, column, row, cv2.INTER_LINEAR).astype(np.float32)
        seen = (np.linalg.norm(back + returned, axis=2) < FLOW_ERROR) & (np.abs(moved - grey) < GREY_CHANGE)
        return _enlarged(column, row, seen, width, height)


@dataclass(slots=True)
class WarpedError:
    """Mean change of log depth of points that both frames show, over a clip."""

    _last: Depth | None = None
    _means: list[float] = field(default_factory=list)

    def add(self, depth: Depth, warp: Warp | None) -> None:
        """The next frame's depth (H, W)."""
        log = log_depth(depth)
        if warp is not None and self._last is not None:
            change = np.abs(log - warp.applied(self._last))
            counts = np.isfinite(change)
            if counts.any():
                self._means.append(float(change[counts].mean()))
        self._last = log

    @property
    def value(self) -> float | None:
        """Relative change a frame, on average over frames; None where no two frames showed the same."""
        return float(np.mean(self._means)) if self._means else None


class TemporalFilter:
    """Exponential average in log depth along the flow: each new frame has the share ``1 - strength``."""

    def __init__(self, strength: float) -> None:
        if not 0 < strength < 1:
            raise UsageError(f"--filter {strength} is not between 0 and 1", hint="0.7 is a good start")
        self.strength = strength
        self._last: Depth | None = None

    def add(self, depth: Depth, warp: Warp | None) -> Depth:
        """The steadied depth of the next frame; new where the last one did not show the same thing."""
        log = log_depth(depth)
        if warp is not None and self._last is not None and self._last.shape == log.shape:
            before = warp.applied(self._last)
            with np.errstate(invalid="ignore"):
                same = np.abs(before - log) < DEPTH_CHANGE
            log = np.where(same, self.strength * before + (1 - self.strength) * log, log).astype(np.float32)
        self._last = log
        return np.exp(log)


def log_depth(depth: Depth) -> Depth:
    """Logarithm of metres, NaN where unknown."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(depth > 0, np.log(depth), np.float32(np.nan)).astype(np.float32)


def _enlarged(
    column: NDArray[np.float32], row: NDArray[np.float32], seen: NDArray[np.bool_], width: int, height: int
) -> Warp:
    """A warp found in a smaller image, for the full one."""
    if seen.shape == (height, width):
        return Warp(column, row, seen)
    across, down = width / seen.shape[1], height / seen.shape[0]
    full = (width, height)
    # Pixel centres: place p of the small image is (p + 0.5) * factor - 0.5 in the full one.
    wide = cv2.resize((column + 0.5) * across - 0.5, full, interpolation=cv2.INTER_LINEAR)
    tall = cv2.resize((row + 0.5) * down - 0.5, full, interpolation=cv2.INTER_LINEAR)
    mask = cv2.resize(seen.astype(np.uint8), full, interpolation=cv2.INTER_NEAREST)
    return Warp(np.asarray(wide, np.float32), np.asarray(tall, np.float32), np.asarray(mask, np.bool_))
