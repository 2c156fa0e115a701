"""16-bit PNG files with text chunks, written fast and read with every checksum looked at."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

from m3d_cli.errors import OutputError

SIGNATURE = b"\x89PNG\r\n\x1a\n"

# Signature and IHDR chunk, after which text chunks may stand.
_HEAD = len(SIGNATURE) + 25
# A chunk's length and kind before its body, and its checksum behind it.
_FRAME, _CHECKSUM = 8, 4


def encode_png16(values: NDArray[np.uint16], text: Mapping[str, str]) -> bytes:
    """A 16-bit PNG of (H, W) grey or (H, W, 3) RGB values with text chunks.

    Level 1 with the `up` filter: on depth it is both smaller and three times faster than zlib's usual level 6.
    """
    pixels = values if values.ndim == 2 else values[..., ::-1]
    flags = [cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_UP]
    ok, encoded = cv2.imencode(".png", np.ascontiguousarray(pixels), flags)
    if not ok:
        raise OutputError("the PNG encoder refused the picture")
    data = encoded.data
    return b"".join([data[:_HEAD], *(_text_chunk(key, value) for key, value in text.items()), data[_HEAD:]])


def decode_png16(data: bytes, name: str) -> NDArray[np.uint16]:
    """Values of a 16-bit PNG, (H, W) or (H, W, channels) as stored; raises OutputError for anything else or damaged."""
    kinds = [kind for kind, _ in _chunks(data, name)]
    if kinds[:1] != [b"IHDR"] or kinds[-1:] != [b"IEND"]:
        raise OutputError(f"{name}: the PNG is cut short")
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


def _text_chunk(key: str, value: str) -> bytes:
    body = b"tEXt" + key.encode("latin-1") + b"\0" + value.encode("latin-1")
    return struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
