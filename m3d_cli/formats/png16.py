"""16-bit PNG files with text chunks, written fast and read with every checksum looked at."""

from __future__ import annotations

import logging
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from m3d_cli.errors import OutputError
from m3d_cli.formats.array_bounds import check_numbers

logger = logging.getLogger(__name__)

SIGNATURE = b"\x89PNG\r\n\x1a\n"

# Colour types, the number of the filter, and how hard to pack.
_GREY, _RGB = 0, 2
_UP = 2
_LEVEL = 1

# A chunk's length and kind before its body, and its checksum behind it.
_FRAME, _CHECKSUM = 8, 4


def encode_png16(values: NDArray[np.uint16], text: Mapping[str, str]) -> bytes:
    """A 16-bit PNG of (H, W) grey or (H, W, 3) RGB values with text chunks.

    Every row is the difference to the one above it (the `up` filter), packed by ISA-L at level 1: in less than half the
    time of zlib's level 1 and no larger (bench/png.py). Without ISA-L zlib does it.
    """
    height, width = values.shape[:2]
    colour = _GREY if values.ndim == 2 else _RGB
    head = struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0)
    chunks = (
        _chunk(b"IHDR", head),
        *(_chunk(b"tEXt", key.encode("latin-1") + b"\0" + value.encode("latin-1")) for key, value in text.items()),
        _chunk(b"IDAT", _deflated(_up_filtered(values))),
        _chunk(b"IEND", b""),
    )
    return b"".join((SIGNATURE, *chunks))


def decode_png16(data: bytes, name: str) -> NDArray[np.uint16]:
    """Values of a 16-bit PNG, (H, W) or (H, W, channels) as stored; raises OutputError for anything else or damaged."""
    kinds = [kind for kind, _ in _chunks(data, name)]
    if kinds[:1] != [b"IHDR"] or kinds[-1:] != [b"IEND"]:
        raise OutputError(f"{name}: the PNG is cut short")
    try:
        width, height = struct.unpack_from(">II", data, len(SIGNATURE) + _FRAME)
        check_numbers(width * height, len(data))
    except (struct.error, ValueError) as error:
        raise OutputError(f"{name}: the PNG is damaged ({error})") from error
    try:
        values = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise OutputError(f"{name}: the PNG cannot be decoded") from error
    if values is None or values.dtype != np.uint16:
        raise OutputError(f"{name}: not a 16-bit PNG")
    return np.asarray(values, dtype=np.uint16)


def text_of(data: bytes, name: str) -> dict[str, str]:
    """The tEXt chunks of a PNG."""
    pairs = [body.partition(b"\0") for kind, body in _chunks(data, name) if kind == b"tEXt"]
    return {key.decode("latin-1"): value.decode("latin-1") for key, _, value in pairs}


def _chunks(data: bytes, name: str) -> Iterator[tuple[bytes, bytes]]:
    """Kind and body of every chunk, checked."""
    if data[: len(SIGNATURE)] != SIGNATURE:
        raise OutputError(f"{name}: not a PNG")
    position = len(SIGNATURE)
    while position + _FRAME + _CHECKSUM <= len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + _FRAME + length
        if end + _CHECKSUM > len(data):
            raise OutputError(f"{name}: the PNG is cut short")
        if zlib.crc32(memoryview(data)[position + 4 : end]) != struct.unpack_from(">I", data, end)[0]:
            raise OutputError(f"{name}: a checksum of the PNG is wrong, the file is damaged")
        yield kind, data[position + _FRAME : end]
        position = end + _CHECKSUM


def _up_filtered(values: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """What a PNG packs (H, 1 + bytes of a row): the filter's number and the differences of big-endian bytes."""
    rows = np.ascontiguousarray(values, dtype=">u2").view(np.uint8).reshape(len(values), -1)
    filtered = np.empty((rows.shape[0], rows.shape[1] + 1), np.uint8)
    filtered[:, 0] = _UP
    filtered[0, 1:] = rows[0]
    np.subtract(rows[1:], rows[:-1], out=filtered[1:, 1:])
    return filtered


def _deflated(data: NDArray[np.uint8]) -> bytes:
    return _packer()(data.data, _LEVEL)


@cache
def _packer() -> Callable[[memoryview, int], bytes]:
    """ISA-L where it is installed, else zlib; chosen once, since the two give other bytes for the same pixels.

    A library that was there for one photo and not for the next (no memory, too many open files) must not change the
    files of a run in silence.
    """
    try:
        from isal import isal_zlib
    except ModuleNotFoundError:
        return zlib.compress
    except ImportError as error:
        logger.warning("ISA-L cannot be loaded (%s): zlib packs depth PNGs, to other bytes of the same pixels", error)
        return zlib.compress
    packed: Callable[[memoryview, int], bytes] = isal_zlib.compress
    return packed


def _chunk(kind: bytes, body: bytes) -> bytes:
    checksum = zlib.crc32(body, zlib.crc32(kind))
    return b"".join((struct.pack(">I", len(body)), kind, body, struct.pack(">I", checksum)))
