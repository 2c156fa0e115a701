"""16-bit grey to 8 bits: over the range that the file declares, or over the part in use where that is small.

Thermal cameras and depth sensors fill a small part of 16 bits: divided by 257 they would reach the network with a
handful of grey levels.
"""

from __future__ import annotations

import math
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

LARGEST = 65535
# Shares of the pixels that may be dead, saturated or a hot spot: they lie outside the range in use, of which this part
# is added at both ends.
_OUTSIDE, _MARGIN = 0.01, 0.1
# A range in use that is a smaller share of the declared one is stretched: it would leave fewer than 64 grey levels.
SMALL_SHARE = 0.25

# TIFF's SMinSampleValue and SMaxSampleValue.
_TIFF_LOW, _TIFF_HIGH = 340, 341
_PNG_HEAD, _PNG_FRAME, _PNG_CHECKSUM = 8, 8, 4
# Chunks before the pixels; real files have a dozen.
_MOST_CHUNKS = 1000


def grey_bytes(values: NDArray[np.integer[Any]], declared: tuple[int, int] | None) -> tuple[NDArray[np.uint8], str]:
    """Values (H, W) of 0 to 65535 as 0 to 255, and a warning where they were stretched."""
    counts = np.bincount(values.ravel(), minlength=LARGEST + 1)
    low, high = _believed(declared, counts)
    first, last = range_in_use(counts)
    warning = ""
    if 0 < last - first < SMALL_SHARE * (high - low):
        warning = (
            f"16-bit grey: values {first} to {last} are {(last - first) / (high - low):.1%} of the range, and are "
            "stretched to all of it for the network"
        )
        low, high = first, last
    scaled = (values.astype(np.float32) - np.float32(low)) * np.float32(255 / (high - low))
    return np.rint(scaled.clip(0, 255)).astype(np.uint8), warning


def few_levels(pixels: NDArray[np.uint8]) -> tuple[str, ...]:
    """A warning for 16-bit colours that used a small part of their range, of which 8 bits keep a few levels."""
    first, last = range_in_use(np.bincount(pixels.ravel(), minlength=256))
    if last - first >= SMALL_SHARE * 256:
        return ()
    return (
        f"16-bit colours: {last - first + 1} of 256 levels are left in 8 bits; save a copy that is stretched, or grey",
    )


def declared_range(image: Image.Image) -> tuple[int, int] | None:
    """The lowest and highest value that a TIFF or PNG says its numbers can have; None where it says nothing."""
    tags = getattr(image, "tag_v2", None)
    if tags is not None:
        low, high = (_whole(tags.get(tag)) for tag in (_TIFF_LOW, _TIFF_HIGH))
        return None if low is None and high is None else (low or 0, LARGEST if high is None else high)
    bits = image.info.get(SIGNIFICANT_BITS)
    return (0, 2**bits - 1) if isinstance(bits, int) else None


# Where `note_significant_bits` keeps what Pillow does not read.
SIGNIFICANT_BITS = "m3d:significant_bits"


def note_significant_bits(image: Image.Image, file: IO[bytes]) -> None:
    """Keep what the sBIT chunk of a 16-bit grey PNG says with the image; the file's position stays."""
    if not image.mode.startswith("I"):
        return
    position = file.tell()
    file.seek(_PNG_HEAD)
    for _ in range(_MOST_CHUNKS):
        head = file.read(_PNG_FRAME)
        length, kind = int.from_bytes(head[:4], "big"), head[4:]
        if kind in (b"IDAT", b"IEND", b""):
            break
        if kind == b"sBIT":
            bits = file.read(1)
            if bits and 0 < bits[0] < 16:
                image.info[SIGNIFICANT_BITS] = bits[0]
            break
        file.seek(length + _PNG_CHECKSUM, 1)
    file.seek(position)


def _believed(declared: tuple[int, int] | None, counts: NDArray[np.intp]) -> tuple[int, int]:
    """The declared range, where the values lie in it; else all of 16 bits.

    PNG's standard scales samples of fewer bits to the full range, but many writers leave them as they were.
    """
    if declared is None or not 0 <= declared[0] < declared[1] <= LARGEST:
        return 0, LARGEST
    present = np.flatnonzero(counts)
    fits = declared[0] <= int(present[0]) and int(present[-1]) <= declared[1]
    return declared if fits else (0, LARGEST)


def range_in_use(counts: NDArray[np.intp]) -> tuple[int, int]:
    """The lowest and highest of the values that are counted, but for the few that lie far off."""
    below = np.cumsum(counts)
    total = int(below[-1])
    first = int(np.searchsorted(below, _OUTSIDE * total, side="right"))
    last = int(np.searchsorted(below, (1 - _OUTSIDE) * total, side="left"))
    present = np.flatnonzero(counts)
    margin = math.ceil(_MARGIN * (last - first))
    return max(int(present[0]), first - margin), min(int(present[-1]), last + margin)


def _whole(value: object) -> int | None:
    """A tag's number; a list holds one for each channel, of which there is one."""
    if isinstance(value, tuple | list):
        value = value[0] if value else None
    if isinstance(value, int | float) and math.isfinite(value):
        return int(value)
    return None
