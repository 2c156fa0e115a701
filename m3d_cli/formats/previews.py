"""An image for people: depth in colours with a bar that says what they mean in metres."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from m3d_cli.errors import OutputError, UsageError

COLOUR_MAPS = {"turbo": cv2.COLORMAP_TURBO, "viridis": cv2.COLORMAP_VIRIDIS}

# Longest side of a preview, in pixels: it is to be looked at, not measured.
LONGEST = 1600
BAR_WIDTH = 22
MARGIN = 14
LABEL_WIDTH = 92
TICKS = 6
UNKNOWN_GREY = 40
PAPER = (250, 250, 250)
INK = (30, 30, 30)


@dataclass(frozen=True, slots=True)
class PreviewStyle:
    """Colours; ``vmin`` and ``vmax`` in metres fix the range, None takes the map's 2nd and 98th percentile."""

    colour_map: str = "turbo"
    vmin: float | None = None
    vmax: float | None = None

    def __post_init__(self) -> None:
        if self.colour_map not in COLOUR_MAPS:
            raise UsageError(f"colour map {self.colour_map} is unknown", hint=f"one of {', '.join(COLOUR_MAPS)}")
        low, high = self.vmin or 0.0, math.inf if self.vmax is None else self.vmax
        if not 0 <= low < high or self.vmin == 0:
            raise UsageError(f"--vmin {self.vmin} must be positive and below --vmax {self.vmax}")


def encode_preview(depth: NDArray[np.float32], style: PreviewStyle) -> bytes:
    """The preview of metres (H, W) as an 8-bit PNG."""
    ok, data = cv2.imencode(".png", render_preview(depth, style)[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 3])
    if not ok:
        raise OutputError("the PNG encoder refused the preview")
    return data.tobytes()


def render_preview(depth: NDArray[np.float32], style: PreviewStyle) -> NDArray[np.uint8]:
    """RGB image (H', W', 3): near is warm, colours step evenly in log depth, unknown is dark grey."""
    small = _shrunk(depth)
    low, high = _range(small, style)
    picture = _coloured(small, low, high, style.colour_map)
    bar = _bar(max(picture.shape[0], 160), low, high, style.colour_map)
    canvas = np.full((bar.shape[0], picture.shape[1] + bar.shape[1], 3), PAPER, dtype=np.uint8)
    canvas[: picture.shape[0], : picture.shape[1]] = picture
    canvas[:, picture.shape[1] :] = bar
    return canvas


def _shrunk(depth: NDArray[np.float32]) -> NDArray[np.float32]:
    factor = LONGEST / max(depth.shape)
    if factor >= 1:
        return depth
    size = (max(1, round(depth.shape[1] * factor)), max(1, round(depth.shape[0] * factor)))
    return np.asarray(cv2.resize(depth, size, interpolation=cv2.INTER_NEAREST), dtype=np.float32)


def _range(depth: NDArray[np.float32], style: PreviewStyle) -> tuple[float, float]:
    known = depth[np.isfinite(depth) & (depth > 0)]
    low, high = np.percentile(known, (2, 98)) if known.size else (1.0, 2.0)
    low = float(low) if style.vmin is None else style.vmin
    high = float(high) if style.vmax is None else style.vmax
    return low, max(high, low * 1.01)


def _coloured(depth: NDArray[np.float32], low: float, high: float, colour_map: str) -> NDArray[np.uint8]:
    known = np.isfinite(depth) & (depth > 0)
    place = np.log(np.where(known, depth, low) / low) / np.log(high / low)
    grey = np.clip(255 * (1 - place), 0, 255).astype(np.uint8)
    colours = cv2.applyColorMap(grey, COLOUR_MAPS[colour_map])[..., ::-1]
    return np.where(known[..., None], colours, UNKNOWN_GREY).astype(np.uint8)


def _bar(height: int, low: float, high: float, colour_map: str) -> NDArray[np.uint8]:
    bar = np.full((height, MARGIN + BAR_WIDTH + LABEL_WIDTH, 3), PAPER, dtype=np.uint8)
    rows = np.arange(MARGIN, height - MARGIN)
    place = (rows - MARGIN) / max(1, len(rows) - 1)
    metres = (high * (low / high) ** place).astype(np.float32)
    bar[rows, MARGIN : MARGIN + BAR_WIDTH] = _coloured(metres[:, None], low, high, colour_map)
    for tick in range(TICKS):
        row = int(MARGIN + tick / (TICKS - 1) * (len(rows) - 1))
        value = high * (low / high) ** (tick / (TICKS - 1))
        right = MARGIN + BAR_WIDTH
        cv2.line(bar, (right, row), (right + 5, row), INK, 1)
        cv2.putText(bar, f"{value:.3g} m", (right + 9, row + 5), cv2.FONT_HERSHEY_SIMPLEX, 0.45, INK, 1, cv2.LINE_AA)
    return bar
