"""PNG files whose text is longer than Pillow takes: the pixels are sound, so the text is left out.

Editing histories, workflows of image generators and XMP packets grow to megabytes. Pillow's limit is a switch of the
whole process, which a library does not touch.
"""

from __future__ import annotations

import io
import logging
import zlib
from typing import IO

from PIL import PngImagePlugin

logger = logging.getLogger(__name__)

_SIGNATURE_BYTES, _FRAME, _CHECKSUM = 8, 8, 4
_TEXT = (b"tEXt", b"zTXt", b"iTXt")


def without_long_text(file: IO[bytes]) -> IO[bytes]:
    """The file, or a copy in memory without its text chunks that are too long; raises nothing that reading does not."""
    spans = _long_text(file)
    file.seek(0)
    if not spans:
        return file
    logger.info("%d text chunks of %d bytes left out", len(spans), sum(end - begin for begin, end in spans))
    pieces, position = [], 0
    for begin, end in spans:
        pieces.append(file.read(begin - position))
        position = end
        file.seek(end)
    return io.BytesIO(b"".join((*pieces, file.read())))


def _long_text(file: IO[bytes]) -> list[tuple[int, int]]:
    """Where the text chunks lie, frames included, that Pillow would refuse."""
    spans, total = [], 0
    position = _SIGNATURE_BYTES
    file.seek(position)
    while len(head := file.read(_FRAME)) == _FRAME:
        length, kind = int.from_bytes(head[:4], "big"), head[4:]
        end = position + _FRAME + length + _CHECKSUM
        if kind in _TEXT:
            size = _text_bytes(kind, file.read(length))
            total += size
            if size > PngImagePlugin.MAX_TEXT_CHUNK or total > PngImagePlugin.MAX_TEXT_MEMORY:
                spans.append((position, end))
                total -= size
        if kind == b"IEND":
            break
        position = end
        file.seek(position)
    return spans


def _text_bytes(kind: bytes, body: bytes) -> int:
    """Bytes of a chunk's text, unpacked no further than one byte beyond the limit."""
    packed = _packed(kind, body)
    if packed is None:
        return len(body)
    try:
        return len(zlib.decompressobj().decompress(packed, PngImagePlugin.MAX_TEXT_CHUNK + 1))
    except zlib.error:
        return 0  # Pillow skips it


def _packed(kind: bytes, body: bytes) -> bytes | None:
    """The packed part of a chunk: keyword, NUL, method, data; in iTXt with a flag before and two more texts."""
    rest = body.partition(b"\0")[2]
    if kind == b"zTXt":
        return rest[1:]
    if kind == b"iTXt" and rest[:1] == b"\1":
        return rest[2:].partition(b"\0")[2].partition(b"\0")[2]
    return None
