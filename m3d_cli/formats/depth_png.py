"""Depth as a 16-bit PNG: ``metres = value / scale``, 0 = unknown, scale and unit written inside the file.

Depth beyond 65535 / scale metres has no value: such a pixel is 0 and counted, never wrapped.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from m3d_cli.depthmap import LARGEST_STEP
from m3d_cli.errors import OutputError
from m3d_cli.formats.png16 import decode_png16, encode_png16, text_of

MILLIMETRES = 1000.0
UNKNOWN = 0
# Steps per metre beyond which no depth is stored.
COARSEST, FINEST = 1e-6, 1e12

# Text keywords inside the PNG.
SCALE_KEY = "m3d:depth_scale"
UNIT_KEY = "m3d:unit"
INVALID_KEY = "m3d:invalid"
TYPE_KEY = "m3d:depth_type"


@dataclass(frozen=True, slots=True, eq=False)
class DepthPng:
    """A depth PNG read back: float32 metres (H, W), NaN unknown, and the scale it was stored with."""

    depth: NDArray[np.float32]
    scale: float


def encode_depth_png(depth: NDArray[np.float32], scale: float = MILLIMETRES, kind: str = "z") -> tuple[bytes, int]:
    """The bytes of the PNG of metres (H, W), NaN unknown, and how many pixels are too far for 16 bits.

    ``kind``: "z" for depth along the optical axis, "range" for distances from the camera.
    """
    values, clipped = quantise(depth, scale)
    return encode_steps(values, scale, kind), clipped


def encode_steps(values: NDArray[np.uint16], scale: float, kind: str = "z") -> bytes:
    """The bytes of the PNG of steps (H, W) of 1/scale metres, 0 = unknown."""
    unit = "millimetre" if scale == MILLIMETRES else f"1/{scale:.17g} metre"
    text = {SCALE_KEY: f"{scale:.17g}", UNIT_KEY: unit, INVALID_KEY: str(UNKNOWN), TYPE_KEY: kind}
    return encode_png16(values, text)


def quantise(depth: NDArray[np.float32], scale: float) -> tuple[NDArray[np.uint16], int]:
    """Metres (H, W) to uint16 steps of 1/scale metres, rounded half to even, and the number of clipped pixels.

    A step is 0 where depth is unknown, clipped or nearer than half a step.
    """
    clipped = 0
    limit = (LARGEST_STEP + 0.5) / scale
    largest = float(np.fmax.reduce(depth, axis=None))
    if largest >= limit:
        beyond = depth >= limit
        clipped = int(np.count_nonzero(beyond & np.isfinite(depth)))
        depth = np.where(beyond, np.float32(np.nan), depth)
    # One pass that multiplies, rounds and saturates; what is not a number saturates to 0.
    values = np.empty(depth.shape, dtype=np.uint16)
    cv2.multiply(depth, np.array([[scale]]), dst=values, dtype=cv2.CV_16U)
    return values, clipped


def read_depth_png(path: Path, scale: float | None = None) -> DepthPng:
    """Depth in metres from a 16-bit PNG; ``scale`` overrides the file's own, and 1000 stands in where it has none."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise OutputError(f"{path}: cannot be read ({error.strerror})") from error
    values = decode_png16(data, str(path))
    if values.ndim != 2:
        raise OutputError(f"{path}: not a 16-bit grey PNG", hint="depth PNGs are written by m3d depth")
    factor = _scale(path, text_of(data, str(path)).get(SCALE_KEY)) if scale is None else scale
    if not COARSEST <= factor <= FINEST:
        raise OutputError(f"{path}: its depth scale is not a positive number of steps per metre: {factor}")
    depth = values.astype(np.float32)
    depth /= np.float32(factor)
    depth[values == UNKNOWN] = np.nan
    return DepthPng(depth, factor)


def _scale(path: Path, stored: str | None) -> float:
    if stored is None:
        return MILLIMETRES
    try:
        return float(stored)
    except ValueError as error:
        raise OutputError(f"{path}: its depth scale is not a number: {stored!r}") from error
