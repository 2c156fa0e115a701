"""What editors and phones wrote in a photo's XMP packet: the crop of Camera Raw and Lightroom, and panoramas.

A packet that cannot be read says nothing, as with EXIF. Names are those of the usual prefixes (``crs``, ``GPano``).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass

from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from m3d_cli.bounded_files import MEGABYTE, XmlElement, parse_xml

logger = logging.getLogger(__name__)

MOST_BYTES = 4 * MEGABYTE
# Where Pillow keeps the packet: JPEG, WebP and HEIC; PNG; the tag of TIFF.
_KEYS = ("xmp", "XML:com.adobe.xmp")
_TIFF_TAG = 700

# A crop that keeps less of a side than this leaves a number of pixels that no one would use.
LEAST_KEPT = 0.02
MOST_DEGREES = 45.0


@dataclass(frozen=True, slots=True)
class Crop:
    """The part of the camera's image that an editor kept, as fractions of its sides, and the angle it was turned by."""

    left: float
    top: float
    right: float
    bottom: float
    degrees: float = 0.0

    @property
    def width(self) -> float:
        """Part of the width that was kept."""
        return self.right - self.left

    @property
    def height(self) -> float:
        """Part of the height that was kept."""
        return self.bottom - self.top


@dataclass(frozen=True, slots=True)
class XmpFacts:
    """The crop that was applied to the pixels, and the projection of a panorama; None and empty where there is none."""

    crop: Crop | None = None
    projection: str = ""


def read_xmp(image: Image.Image) -> XmpFacts:
    """Facts of the packet in an opened image; none where it has no packet or an unreadable one."""
    packet = next((image.info[key] for key in _KEYS if key in image.info), None)
    if packet is None and isinstance(image, TiffImageFile):
        packet = image.tag_v2.get(_TIFF_TAG)
    if isinstance(packet, str):
        packet = packet.encode()
    if not isinstance(packet, bytes) or len(packet) > MOST_BYTES:
        return XmpFacts()
    return facts_of_packet(packet)


def facts_of_packet(packet: bytes) -> XmpFacts:
    """Facts of an XMP packet, whose values are attributes or elements."""
    try:
        root = parse_xml(packet.strip(b"\0 \t\r\n"))
    except Exception as error:  # noqa: BLE001 - a broken packet may raise whatever the parser does
        logger.info("the XMP packet cannot be read: %r", error)
        return XmpFacts()
    values = dict(_values(root))
    return XmpFacts(_crop(values), values.get("GPano:ProjectionType", "").casefold())


def _values(element: XmlElement) -> Iterator[tuple[str, str]]:
    for one in element.all("rdf:Description"):
        yield from one.attributes.items()
        yield from ((child.name, child.text) for child in one.children if child.text)


def _crop(values: dict[str, str]) -> Crop | None:
    """The crop of Camera Raw, unless the packet says that the pixels are not cropped yet."""
    if values.get("crs:HasCrop", "").casefold() != "true" or values.get("crs:AlreadyApplied", "").casefold() == "false":
        return None
    try:
        left, top, right, bottom = (float(values[f"crs:Crop{side}"]) for side in ("Left", "Top", "Right", "Bottom"))
        angle = float(values.get("crs:CropAngle", "0"))
    except (KeyError, ValueError):
        return None
    crop = Crop(left, top, right, bottom, angle)
    is_whole = (left, top, right, bottom) == (0, 0, 1, 1)
    is_sound = all(LEAST_KEPT <= side <= 1 for side in (crop.width, crop.height)) and abs(angle) <= MOST_DEGREES
    return crop if is_sound and not is_whole else None
