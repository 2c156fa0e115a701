"""Image formats told from the first bytes of a file, never from its name alone.

Camera RAW is the exception: most RAW kinds are TIFF files inside, so the name decides between the two.
"""

from __future__ import annotations

import importlib.util
import os
from enum import Enum
from functools import cache
from pathlib import PurePath


class ImageFormat(str, Enum):
    """Formats m3d reads; the value is Pillow's name for the plugin, ``RAW`` is rawpy's."""

    JPEG = "JPEG"
    PNG = "PNG"
    WEBP = "WEBP"
    TIFF = "TIFF"
    BMP = "BMP"
    GIF = "GIF"
    HEIF = "HEIF"
    AVIF = "AVIF"
    RAW = "RAW"

    def __str__(self) -> str:
        return self.value


# Bytes needed by `sniff`: an ISO base media file lists its brands right after the 8-byte box header.
HEAD_BYTES = 64

RAW_SUFFIXES = frozenset(
    [
        ".3fr",
        ".ari",
        ".arw",
        ".cr2",
        ".cr3",
        ".crw",
        ".dcr",
        ".dng",
        ".erf",
        ".fff",
        ".iiq",
        ".kdc",
        ".mef",
        ".mos",
        ".mrw",
        ".nef",
        ".nrw",
        ".orf",
        ".pef",
        ".raf",
        ".raw",
        ".rw2",
        ".rwl",
        ".sr2",
        ".srf",
        ".srw",
        ".x3f",
    ]
)
IMAGE_SUFFIXES = frozenset(
    [
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".mpo",
        ".png",
        ".webp",
        ".tif",
        ".tiff",
        ".bmp",
        ".gif",
        ".heic",
        ".heif",
        ".hif",
        ".avif",
    ]
)

_PREFIXES: tuple[tuple[bytes, ImageFormat], ...] = (
    (b"\xff\xd8\xff", ImageFormat.JPEG),
    (b"\x89PNG\r\n\x1a\n", ImageFormat.PNG),
    (b"II*\x00", ImageFormat.TIFF),
    (b"MM\x00*", ImageFormat.TIFF),
    (b"II+\x00", ImageFormat.TIFF),
    (b"MM\x00+", ImageFormat.TIFF),
    (b"GIF87a", ImageFormat.GIF),
    (b"GIF89a", ImageFormat.GIF),
    (b"BM", ImageFormat.BMP),
    (b"FUJIFILMCCD-RAW", ImageFormat.RAW),
    (b"IIRS", ImageFormat.RAW),
    (b"IIRO", ImageFormat.RAW),
    (b"IIU\x00", ImageFormat.RAW),
    (b"FOVb", ImageFormat.RAW),
)
_HEIF_BRANDS = frozenset((b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"))
_AVIF_BRANDS = frozenset((b"avif", b"avis"))

# A bitmap's second field is its file size and its fifth the size of a known header: "BM" alone also begins plain text.
_BMP_HEADER_SIZES = frozenset((12, 16, 40, 52, 56, 64, 108, 124))


def sniff(head: bytes) -> ImageFormat | None:
    """Format of a file that starts with ``head`` (at least 64 bytes of it, or all), or None if it is no image."""
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return ImageFormat.WEBP
    if head[4:8] == b"ftyp":
        return _sniff_iso_media(head)
    for prefix, found in _PREFIXES:
        if head.startswith(prefix):
            return found if found is not ImageFormat.BMP or _is_bitmap(head) else None
    return None


def _sniff_iso_media(head: bytes) -> ImageFormat | None:
    size = min(int.from_bytes(head[:4], "big"), len(head))
    brands = [head[8:12], *(head[i : i + 4] for i in range(16, size, 4))]
    if brands[0] == b"crx ":
        return ImageFormat.RAW
    if any(brand in _AVIF_BRANDS for brand in brands):
        return ImageFormat.AVIF
    if any(brand in _HEIF_BRANDS for brand in brands):
        return ImageFormat.HEIF
    return None


def _is_bitmap(head: bytes) -> bool:
    return int.from_bytes(head[14:18], "little") in _BMP_HEADER_SIZES


def has_raw_name(path: PurePath | str) -> bool:
    """Whether the name ends like a camera RAW file."""
    return PurePath(path).suffix.lower() in RAW_SUFFIXES


def has_image_name(path: PurePath | str) -> bool:
    """Whether the name ends like an image other than camera RAW."""
    return os.path.splitext(path)[1].lower() in IMAGE_SUFFIXES  # noqa: PTH122 - hot loop


@cache
def can_read_raw() -> bool:
    """Whether the optional package that develops camera RAW is installed."""
    return importlib.util.find_spec("rawpy") is not None
