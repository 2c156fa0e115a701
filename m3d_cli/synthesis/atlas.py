"""A fixed bank of procedural textures with their mip levels in one picture, from which one call paints every pixel."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from types import MappingProxyType

import cv2
import numpy as np
from numpy.typing import NDArray

from m3d_cli.synthesis import texture
from m3d_cli.synthesis.texture import LEVELS, SIZE

_BANK_SEED = 20
_RIM = 1  # pixels repeated around every level, so that bilinear reading wraps
_ROW = SIZE + 2 * _RIM
_LEFT = np.cumsum([0, *[(SIZE >> level) + 2 * _RIM for level in range(LEVELS - 1)]]).astype(np.float32)
_TEXEL_BIAS = 0.2  # of a level towards the sharper one

# How many textures of each kind the bank holds.
_KINDS = MappingProxyType({"floor": 12, "wall": 12, "pavement": 8, "facade": 8, "top": 8, "print": 16})


class Atlas:
    """Textures by number: ``widths`` (T,) are metres of one repeat; ``numbers`` tells which are of a kind."""

    def __init__(self) -> None:
        rng = np.random.default_rng(_BANK_SEED)
        surfaces = [_drawn(kind, rng) for kind, count in _KINDS.items() for _ in range(count)]
        self.widths = np.array([width for _, width in surfaces], dtype=np.float32)
        self.numbers: Mapping[str, range] = _numbered()
        self._sheet = np.vstack([_row_of(image) for image, _ in surfaces])

    def paint(
        self, number: NDArray[np.int64], u: NDArray[np.float32], v: NDArray[np.float32], pixel: NDArray[np.float32]
    ) -> NDArray[np.uint8]:
        """RGB (H, W, 3) of places (u, v) in metres on textures, in the level that suits a ``pixel``'s width in metres;
        all (H, W).
        """
        width = self.widths[number]
        texels = pixel * np.float32(SIZE) / width
        exponent = np.frexp(np.maximum(texels, np.float32(1)) * np.float32(2 ** (0.5 - _TEXEL_BIAS)))[1] - 1
        level = np.clip(exponent, 0, LEVELS - 1)
        size = (SIZE >> level).astype(np.float32)
        across, down = u / width, -v / width
        x = (across - np.floor(across)) * size + _LEFT[level] + np.float32(_RIM - 0.5)
        y = (down - np.floor(down)) * size + (number * _ROW).astype(np.float32) + np.float32(_RIM - 0.5)
        return np.asarray(cv2.remap(self._sheet, x, y, cv2.INTER_LINEAR), dtype=np.uint8)


@functools.cache
def atlas() -> Atlas:
    """The bank, drawn once a process; it is always the same."""
    return Atlas()


def _drawn(kind: str, rng: np.random.Generator) -> tuple[NDArray[np.uint8], float]:
    if kind == "print":
        return texture.print_(rng), float(rng.uniform(0.15, 0.5))
    makers = {
        "floor": texture.floor,
        "wall": texture.wall,
        "pavement": texture.pavement,
        "facade": texture.facade,
        "top": texture.grain,
    }
    surface = makers[kind](rng)
    return surface.image, surface.width


def _numbered() -> Mapping[str, range]:
    ends = np.cumsum(list(_KINDS.values())).tolist()
    return MappingProxyType({kind: range(end - _KINDS[kind], end) for kind, end in zip(_KINDS, ends, strict=True)})


def _row_of(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """All levels side by side, each with its rim."""
    row = np.zeros((_ROW, int(_LEFT[-1]) + 1 + 2 * _RIM, 3), dtype=np.uint8)
    level: NDArray[np.uint8] = image[..., :3]
    for left in _LEFT.astype(int):
        size = len(level)
        row[: size + 2 * _RIM, left : left + size + 2 * _RIM] = np.pad(
            level, ((_RIM,) * 2, (_RIM,) * 2, (0, 0)), "wrap"
        )
        half = max(1, size // 2)
        shrunk = cv2.resize(level, (half, half), interpolation=cv2.INTER_AREA)
        level = np.asarray(shrunk, dtype=np.uint8).reshape(half, half, 3)
    return row
