"""Bare numbers, in OpenCV's pixel grid: NumPy's arrays, and text of 4, 8 or 9 numbers or of a matrix in rows.

9 numbers are a matrix, or DROID-SLAM's fx fy cx cy k1 k2 p1 p2 k3.
"""

from __future__ import annotations

import dataclasses
import io
import math
import re

import numpy as np

from m3d_cli.errors import CalibrationError
from m3d_cli.intrinsics.calibration.document import brown, of_opencv, pixels, real
from m3d_cli.intrinsics.calibration.match import CalibrationEntry
from m3d_cli.intrinsics.calibration.opencv import MOST_NUMBERS, from_matrix

# Characters of a matrix with comments around it, at most.
LONGEST_TEXT = 65_536

# fx fy cx cy, and k1 k2 p1 p2 after them.
_WITH_DISTORTION = 8
_TERMS = ("k1", "k2", "p1", "p2", "k3")
_WIDTHS, _HEIGHTS = ("width", "w", "image_width"), ("height", "h", "image_height")
_NAMES = frozenset(("fx", "fy", "cx", "cy", *_TERMS, *_WIDTHS, *_HEIGHTS))


def read_npy(data: bytes) -> tuple[CalibrationEntry, ...]:
    """The matrix of a .npy file."""
    file = io.BytesIO(data)
    version = np.lib.format.read_magic(file)
    header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, _ = header(file)
    if math.prod(shape) > MOST_NUMBERS:
        raise CalibrationError(f"intrinsics are a 3 x 3 matrix or fx fy cx cy, not {shape}")
    file.seek(0)
    return (CalibrationEntry("", from_matrix(np.load(file, allow_pickle=False))),)


def named_numbers(text: str) -> dict[str, float] | None:
    """Numbers with their names, as lines ``fx = 915.4`` or as a line of names above one of numbers; else None."""
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    pairs = [re.split(r"\s*[:=,;\s]\s*", line) for line in lines[:MOST_NUMBERS]]
    if len(pairs) == 2 and len(pairs[0]) == len(pairs[1]) > 2:
        pairs = [list(pair) for pair in zip(*pairs, strict=True)]
    if any(len(pair) != 2 for pair in pairs) or "fx" not in {pair[0].casefold() for pair in pairs}:
        return None
    return {name.casefold(): real(value) for name, value in pairs}


def read_named(found: dict[str, float]) -> tuple[CalibrationEntry, ...]:
    """Intrinsics of named numbers: fx fy cx cy, and width height k1 k2 p1 p2 k3 where they are known."""
    if unknown := sorted(found.keys() - _NAMES):
        raise CalibrationError(
            f"unknown names {unknown}",
            hint=f"known are {', '.join(sorted(_NAMES))}; other lenses go into JSON or YAML with a distortion_model",
        )
    numbers = [found[name] for name in ("fx", "fy", "cx", "cy")]
    width, height = (next((found[one] for one in names if one in found), None) for names in (_WIDTHS, _HEIGHTS))
    lens = brown([found.get(name, 0.0) for name in _TERMS])
    return (CalibrationEntry("", of_opencv(numbers, (pixels(width), pixels(height)), lens)),)


def read_numbers(text: str) -> tuple[CalibrationEntry, ...]:
    """fx fy cx cy, these with k1 k2 p1 p2, or a matrix; separated by spaces, commas, semicolons or brackets."""
    if len(text) > LONGEST_TEXT:
        raise CalibrationError("intrinsics are a few numbers, not a file of this size")
    plain = text.translate(str.maketrans(",;[]\t", "     "))
    rows = [line.partition("#")[0].split() for line in plain.splitlines()]
    table = [[real(word) for word in row[: MOST_NUMBERS + 1]] for row in rows if row][: MOST_NUMBERS + 1]
    flat = [number for row in table for number in row]
    if len(table) in (1, len(flat)) and (len(flat) == _WITH_DISTORTION or _is_droid(flat)):
        lens = brown(flat[4:])
        return (CalibrationEntry("", dataclasses.replace(from_matrix(np.array(flat[:4])), distortion=lens)),)
    if len(table) in (1, len(flat)):
        matrix = np.array(flat).reshape(3, 3) if len(flat) == 9 else np.array(flat)
        return (CalibrationEntry("", from_matrix(matrix)),)
    if len({len(row) for row in table}) != 1 or len(flat) > MOST_NUMBERS:
        raise CalibrationError("the rows are no matrix")
    return (CalibrationEntry("", from_matrix(np.array(table))),)


def _is_droid(flat: list[float]) -> bool:
    """Whether 9 numbers are fx fy cx cy and five small coefficients, and no matrix."""
    return len(flat) == 9 and min(flat[:4]) > max(map(abs, flat[4:]))
