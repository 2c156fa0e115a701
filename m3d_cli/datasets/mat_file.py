"""Numeric arrays of MATLAB's files of level 5 (``save -v6`` and ``-v7``), checked as they are read.

scipy's reader takes a damaged file's word for types and sizes, and can end the whole process.
Format: MathWorks, "MAT-File Format", section "Level 5 MAT-File Format".
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

HEADER_BYTES, TAG_BYTES, SMALL_BYTES = 128, 8, 4
_ORDERS = {b"IM": "<", b"MI": ">"}
_MATRIX, _COMPRESSED = 14, 15
_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
# What one array may unpack to.
MOST_BYTES = 16_000_000


def numeric_arrays(data: bytes) -> dict[str, NDArray[np.generic]]:
    """Every real numeric array by its name, as a row of its numbers; raises ValueError for what is no such file."""
    order = _ORDERS.get(data[HEADER_BYTES - 2 : HEADER_BYTES])
    if order is None:
        raise ValueError("not a MATLAB file of level 5")
    found = {}
    for kind, body in _elements(data[HEADER_BYTES:], order):
        whole = _elements(_unpacked(body), order) if kind == _COMPRESSED else iter([(kind, body)])
        for inner, matrix in whole:
            if inner != _MATRIX:
                raise ValueError(f"an element of type {inner} in place of an array")
            # Flags, dimensions, name, real part; other kinds of arrays have arrays in them, or nothing.
            parts = list(_elements(matrix, order))
            if len(parts) == 4 and parts[3][0] in _NUMBERS:
                found[parts[2][1].decode("ascii")] = np.frombuffer(parts[3][1], order + _NUMBERS[parts[3][0]])
    return found


def _elements(data: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    """Type and bytes of the elements that follow each other; all but compressed ones fill whole eights of bytes."""
    at = 0
    while at + TAG_BYTES <= len(data):
        kind, size = struct.unpack_from(f"{order}II", data, at)
        start = at + TAG_BYTES
        if kind >> 16:
            kind, size, start = kind & 0xFFFF, kind >> 16, at + SMALL_BYTES
        if start + size > len(data) or (start == at + SMALL_BYTES and size > SMALL_BYTES):
            raise ValueError("it is truncated")
        yield kind, data[start : start + size]
        at = start + size if kind == _COMPRESSED else start + size + -(start + size) % TAG_BYTES


def _unpacked(data: bytes) -> bytes:
    packer = zlib.decompressobj()
    whole = packer.decompress(data, MOST_BYTES)
    if not packer.eof:
        raise ValueError(f"an array is truncated or larger than {MOST_BYTES} bytes")
    return whole
