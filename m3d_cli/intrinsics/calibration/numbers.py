"""Bare numbers, in OpenCV's pixel grid: NumPy's arrays, and text of 4, 8 or 9 numbers or of a matrix in rows."""

from __future__ import annotations

import dataclasses
import io
import math

import numpy as np

from m3d_cli.errors import CalibrationError
from m3d_cli.intrinsics.calibration.document import brown, real
from m3d_cli.intrinsics.calibration.match import CalibrationEntry
from m3d_cli.intrinsics.calibration.opencv import MOST_NUMBERS, from_matrix

# fx fy cx cy, and k1 k2 p1 p2 after them.
_WITH_DISTORTION = 8


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


def read_numbers(text: str) -> tuple[CalibrationEntry, ...]:
    """fx fy cx cy, these with k1 k2 p1 p2, or a matrix; separated by spaces, commas, semicolons or brackets."""
    plain = text.translate(str.maketrans(",;[]\t", "     "))
    rows = [line.partition("#")[0].split() for line in plain.splitlines()]
    table = [[real(word) for word in row[: MOST_NUMBERS + 1]] for row in rows if row][: MOST_NUMBERS + 1]
    flat = [number for row in table for number in row]
    if len(table) in (1, len(flat)) and len(flat) == _WITH_DISTORTION:
        lens = brown(flat[4:])
        return (CalibrationEntry("", dataclasses.replace(from_matrix(np.array(flat[:4])), distortion=lens)),)
    if len(table) in (1, len(flat)):
        matrix = np.array(flat).reshape(3, 3) if len(flat) == 9 else np.array(flat)
        return (CalibrationEntry("", from_matrix(matrix)),)
    if len({len(row) for row in table}) != 1 or len(flat) > MOST_NUMBERS:
        raise CalibrationError("the rows are no matrix")
    return (CalibrationEntry("", from_matrix(np.array(table))),)
