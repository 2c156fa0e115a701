"""What a camera wrote about a photo: EXIF by exifread first, Pillow second, merged tag by tag.

Real files hold 0/0 rationals, sentinels, lists, units as text and cut-off segments. Whatever cannot be read becomes
"unknown" (None) and a note, never a made-up number and never an exception.
"""

from __future__ import annotations

import dataclasses
import logging
import math
import os
import re
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, Any

from PIL import Image, ImageFile

from m3d_cli.intrinsics.pixel_lens import PixelLens
from m3d_cli.intrinsics.xmp import Crop, SpherePart, XmpFacts, facts_of_values, read_xmp

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_CHECKSUM_BYTES = 4
logger = logging.getLogger(__name__)

# Values that cameras and editors write for "unknown" in 16- and 32-bit fields.
SENTINELS = frozenset((0.0, 1.0, 32767.0, 65535.0, 4294967295.0))
# Pixel counts and densities of 1 or 32767 can be true.
OVERFLOWS = frozenset((0.0, 65535.0, 4294967295.0))

# iPhones write this into CustomRendered, where EXIF knows 0 and 1.
_APPLE_PANORAMA = 6

_EXIF_IFD = 0x8769
# Name in exifread without its "Image "/"EXIF " prefix -> tag number, for Pillow.
_TAGS = {
    "Make": 0x010F,
    "Model": 0x0110,
    "FocalLength": 0x920A,
    "ExifImageWidth": 0xA002,
    "ExifImageLength": 0xA003,
    "FocalPlaneXResolution": 0xA20E,
    "FocalPlaneYResolution": 0xA20F,
    "FocalPlaneResolutionUnit": 0xA210,
    "CustomRendered": 0xA401,
    "DigitalZoomRatio": 0xA404,
    "FocalLengthIn35mmFilm": 0xA405,
    "LensModel": 0xA434,
    "Software": 0x0131,
    "DateTimeOriginal": 0x9003,
}
_DATE = re.compile(r"((?:19|20)\d\d)[:-](\d\d)[:-](\d\d)")
_NUMBER = re.compile(r"[-+]?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?|[-+]?\.\d+")
_RATIO = re.compile(r"\s*([-+]?\d+(?:\.\d+)?)\s*/\s*([-+]?\d+(?:\.\d+)?)")


@dataclass(frozen=True, slots=True)
class ExifFacts:
    """Tags that tell the focal length; None or empty where unknown.

    ``focal_mm`` is the real focal length, ``focal_35mm`` the 35 mm equivalent, both in millimetres. ``plane_x`` and
    ``plane_y`` are pixels per ``plane_unit`` (2 inch, 3 cm, 4 mm, 5 micrometre) on the sensor. ``width`` and
    ``height`` are the image's as the camera wrote it, before any editing. ``crop`` is what an editor cut out of it,
    ``year`` is when the photo was taken, ``software`` what wrote the file: a camera's firmware or an editor.
    ``projection`` that of a panorama, ``pixel_lens`` a lens in pixels that a drone or a phone stated (all from XMP).
    """

    make: str = ""
    model: str = ""
    lens: str = ""
    focal_mm: float | None = None
    focal_35mm: float | None = None
    plane_x: float | None = None
    plane_y: float | None = None
    plane_unit: int | None = None
    width: int | None = None
    height: int | None = None
    digital_zoom: float | None = None
    year: int | None = None
    software: str = ""
    crop: Crop | None = None
    projection: str = ""
    pixel_lens: PixelLens | None = None
    sphere_part: SpherePart | None = None
    notes: tuple[str, ...] = ()

    @property
    def gives_focal(self) -> bool:
        """Whether a focal length may follow from these tags."""
        return any(one is not None for one in (self.focal_mm, self.focal_35mm, self.pixel_lens))

    def completed_by(self, other: ExifFacts) -> ExifFacts:
        """These facts, with those of ``other`` where these are unknown.

        A resolution keeps to its own unit and a width to its own height: those are taken together or not at all.
        """
        taken: dict[str, Any] = {"notes": (*self.notes, *other.notes)}
        for group in _STATEMENTS:
            if not any(getattr(self, name) for name in group):
                taken |= {name: getattr(other, name) for name in group}
        return dataclasses.replace(self, **taken)


# Fields of `ExifFacts`, those together that are only true together.
_STATEMENTS = (
    ("make",),
    ("model",),
    ("lens",),
    ("focal_mm",),
    ("focal_35mm",),
    ("digital_zoom",),
    ("year",),
    ("software",),
    ("crop",),
    ("projection",),
    ("pixel_lens",),
    ("sphere_part",),
    ("plane_x", "plane_y", "plane_unit"),
    ("width", "height"),
)


def read_exif(
    path: Path, open_header: Callable[[Path], AbstractContextManager[tuple[Image.Image, object]]]
) -> ExifFacts:
    """EXIF facts of the photo in ``path``; empty facts with a note when there are none to read.

    ``open_header`` opens it with Pillow before any pixel is decoded.
    """

    edits: list[XmpFacts] = []

    def read_with_pillow(path: Path) -> dict[str, Any]:
        with open_header(path) as (image, _):
            edits.append(read_xmp(image))
            return _pillow_tags(image)

    notes: list[str] = []
    first = _attempt("exifread", _read_with_exifread, path, notes)
    second = _attempt("Pillow", read_with_pillow, path, notes)
    found = facts_from_tags({**second, **first}, tuple(notes))
    if not edits:
        return found
    xmp = edits[0]
    return dataclasses.replace(
        found,
        crop=xmp.crop,
        projection=xmp.projection or found.projection,
        pixel_lens=xmp.lens,
        sphere_part=xmp.sphere_part,
    )


def header_exif(image: Image.Image) -> Image.Exif:
    """EXIF of an opened image without decoding it: Pillow would decode a PNG to look for EXIF behind the pixels."""
    if image.format != "PNG":
        return image.getexif()
    if isinstance(image, ImageFile.ImageFile) and image.fp is not None and "exif" not in image.info:
        late = _png_exif(image.fp)
        if late:
            image.info["exif"] = late
    return Image.Image.getexif(image)


def _png_exif(file: IO[bytes]) -> bytes:
    """The eXIf chunk of a PNG wherever it stands; the position in ``file`` is kept."""
    before = file.tell()
    try:
        file.seek(len(_PNG_SIGNATURE))
        while len(head := file.read(8)) == 8:
            length, kind = int.from_bytes(head[:4], "big"), head[4:]
            if kind == b"eXIf":
                return b"Exif\0\0" + file.read(length)
            if kind == b"IEND":
                return b""
            file.seek(length + _PNG_CHECKSUM_BYTES, os.SEEK_CUR)
        return b""
    finally:
        file.seek(before)


def facts_from_tags(tags: Mapping[str, Any], notes: tuple[str, ...] = ()) -> ExifFacts:
    """Facts of raw tag values (numbers, rationals, lists, texts such as "4.2 mm") by EXIF name."""
    unit = integer(tags.get("FocalPlaneResolutionUnit"))
    zoom = positive(tags.get("DigitalZoomRatio"), OVERFLOWS)
    xmp = facts_of_values(tags)
    return ExifFacts(
        make=text(tags.get("Make")),
        model=text(tags.get("Model")),
        lens=text(tags.get("LensModel")),
        focal_mm=positive(tags.get("FocalLength"), SENTINELS),
        focal_35mm=positive(tags.get("FocalLengthIn35mmFilm"), SENTINELS),
        plane_x=positive(tags.get("FocalPlaneXResolution"), OVERFLOWS),
        plane_y=positive(tags.get("FocalPlaneYResolution"), OVERFLOWS),
        plane_unit=unit if unit in (2, 3, 4, 5) else None,
        width=size(tags.get("ExifImageWidth")),
        height=size(tags.get("ExifImageLength")),
        digital_zoom=zoom,
        year=_year(text(tags.get("DateTimeOriginal"))),
        software=text(tags.get("Software")),
        crop=xmp.crop,
        projection=xmp.projection or ("panorama" if integer(tags.get("CustomRendered")) == _APPLE_PANORAMA else ""),
        pixel_lens=xmp.lens,
        sphere_part=xmp.sphere_part,
        notes=notes,
    )


def _year(date: str) -> int | None:
    """Year of an EXIF date; None on the first of January, where clocks that were never set begin."""
    found = _DATE.match(date)
    return int(found[1]) if found and (found[2], found[3]) != ("01", "01") else None


def number(value: Any) -> float | None:
    """``value`` (plain, rational, first of a list, or text such as "4.2 mm" and "63/10") as a finite number or None."""
    while isinstance(value, (list, tuple)):
        if not value:
            return None
        value = value[0]
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    if isinstance(value, str):
        return _number_in_text(value)
    try:
        result = float(value)
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return None
    return result if math.isfinite(result) else None


def _number_in_text(value: str) -> float | None:
    if ratio := _RATIO.match(value):
        over, under = float(ratio[1]), float(ratio[2])
        return over / under if under else None
    found = _NUMBER.search(value)
    result = float(found[0]) if found else math.nan
    return result if math.isfinite(result) else None


def positive(value: Any, unknown: frozenset[float]) -> float | None:
    """``value`` as a number above zero that is none of the ``unknown`` codes; else None."""
    result = number(value)
    return result if result is not None and result > 0 and result not in unknown else None


def integer(value: Any) -> int | None:
    """``value`` as an integer, else None."""
    result = number(value)
    return int(result) if result is not None and result == int(result) else None


def size(value: Any) -> int | None:
    """``value`` as a plausible number of pixels along one side, else None."""
    result = positive(value, OVERFLOWS)
    return int(result) if result is not None and 1 <= result < 1_000_000 else None


def text(value: Any) -> str:
    """``value`` as one clean line of text; empty for anything else."""
    while isinstance(value, (list, tuple)) and value:
        value = value[0]
    if isinstance(value, bytes):
        value = value.decode("utf-8", errors="replace")
    if not isinstance(value, str):
        return ""
    return " ".join("".join(c if c.isprintable() else " " for c in value.partition("\0")[0]).split())


def _attempt(name: str, reader: Callable[[Path], dict[str, Any]], path: Path, notes: list[str]) -> dict[str, Any]:
    try:
        return {tag: value for tag, value in reader(path).items() if not _is_void(value)}
    except Exception as error:  # noqa: BLE001 - the one place where broken EXIF may raise anything at all
        logger.info("%s: %s cannot read the EXIF: %r", path, name, error)
        notes.append(f"EXIF unreadable by {name}: {type(error).__name__}")
        return {}


def _is_void(value: Any) -> bool:
    """Whether a reader's value says nothing, so that the other reader may answer."""
    return not text(value) and number(value) is None


def _read_with_exifread(path: Path) -> dict[str, Any]:
    exifread = _quiet_exifread()
    with path.open("rb") as file:
        found = exifread.process_file(file, details=False, extract_thumbnail=False)
    tags: dict[str, Any] = {}
    for key, tag in found.items():
        name = key.partition(" ")[2]
        # "Thumbnail ..." repeats names of the main image with other values.
        if name in _TAGS and key.startswith(("Image ", "EXIF ")):
            tags[name] = tag.values
    return tags


@cache
def _quiet_exifread() -> Any:
    import exifread

    # exifread reports every oddity of a file as a warning on standard error; the notes say what matters.
    logging.getLogger("exifread").setLevel(logging.CRITICAL + 1)
    return exifread


def _pillow_tags(image: Image.Image) -> dict[str, Any]:
    exif = header_exif(image)
    # The main directory is authoritative for the camera, the EXIF directory for the lens.
    merged = {**dict(exif), **dict(exif.get_ifd(_EXIF_IFD))}
    return {name: merged[number_] for name, number_ in _TAGS.items() if number_ in merged}
