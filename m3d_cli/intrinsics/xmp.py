"""What editors, phones and drones wrote in a photo's XMP packet: crops, panoramas, the lens in pixels.

A packet that cannot be read says nothing, as with EXIF.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from m3d_cli.bounded_files import MEGABYTE, XmlElement, parse_xml
from m3d_cli.intrinsics.pixel_lens import MOST_PIXELS, PixelLens, drone_lens, phone_lens

logger = logging.getLogger(__name__)

MOST_BYTES = 4 * MEGABYTE
# Where Pillow keeps the packet: JPEG, WebP and HEIC; PNG; the tag of TIFF.
_KEYS = ("xmp", "XML:com.adobe.xmp")
_TIFF_TAG = 700

# A crop that keeps less of a side than this leaves a number of pixels that no one would use.
LEAST_KEPT = 0.02
MOST_DEGREES = 45.0

EQUIRECTANGULAR, FISHEYE = "equirectangular", "fisheye"
# Prefixes are the writer's choice; these are the usual ones of the schemas read here, and their names go without.
_SCHEMAS = {
    "http://ns.adobe.com/camera-raw-settings/1.0/": "crs",
    "http://ns.google.com/photos/1.0/panorama/": "GPano",
    "http://www.dji.com/drone-dji/1.0/": "drone-dji",
    "http://pix4d.com/camera/1.0/": "Camera",
}


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
class SpherePart:
    """The part of a sphere that an equirectangular image shows: pixels of the whole, and where the part begins."""

    whole: tuple[int, int]
    left: int
    top: int
    size: tuple[int, int]

    @property
    def is_whole(self) -> bool:
        """Whether nothing is missing."""
        return self.whole == self.size


@dataclass(frozen=True, slots=True)
class XmpFacts:
    """The crop that was applied to the pixels, the projection of a panorama, and the lens; None where unknown.

    ``sphere_part`` is what of the whole sphere an equirectangular image shows.
    """

    crop: Crop | None = None
    projection: str = ""
    lens: PixelLens | None = None
    sphere_part: SpherePart | None = None


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
    return facts_of_values(_values(root))


def facts_of_values(values: Mapping[str, object]) -> XmpFacts:
    """Facts of values by name, without the prefixes of the schemas: those of a packet, or those exiftool lists."""
    return XmpFacts(_crop(values), _projection(values), drone_lens(values) or phone_lens(values), _sphere_part(values))


def _projection(values: Mapping[str, object]) -> str:
    """Google's photo spheres may leave the type out, of which there is one; Pix4D's schema names fisheye lenses."""
    named = str(values.get("ProjectionType", "")).casefold()
    if named:
        return named
    if "FullPanoWidthPixels" in values or _is_true(values.get("UsePanoramaViewer")):
        return EQUIRECTANGULAR
    return FISHEYE if str(values.get("ModelType", "")).casefold() == FISHEYE else ""


def _sphere_part(values: Mapping[str, object]) -> SpherePart | None:
    whole, area = "FullPano{}Pixels", "CroppedArea{}Pixels"
    names = (whole.format("Width"), whole.format("Height"), area.format("Left"), area.format("Top"))
    sides = (area.format("ImageWidth"), area.format("ImageHeight"))
    try:
        width, height, left, top, part_width, part_height = (int(float(str(values[n]))) for n in (*names, *sides))
    except (KeyError, ValueError, OverflowError):
        return None
    is_sound = 0 < part_width <= width <= MOST_PIXELS and 0 < part_height <= height <= MOST_PIXELS
    is_inside = 0 <= left <= width - part_width and 0 <= top <= height - part_height
    return SpherePart((width, height), left, top, (part_width, part_height)) if is_sound and is_inside else None


def _is_true(value: object) -> bool:
    return str(value).casefold() == "true"


def _values(root: XmlElement) -> dict[str, str]:
    """Values by name; of several cameras in one packet the first, which took the photo, counts."""
    values: dict[str, str] = {}
    for name, text in _listed(root):
        values.setdefault(name, text)
    return values


def _listed(root: XmlElement) -> Iterator[tuple[str, str]]:
    addresses = {address.rstrip("/") for address in _SCHEMAS}
    declared = {name for name, address in _declared(root) if address.strip().rstrip("/") in addresses}
    known = {*_SCHEMAS.values(), *(name.removeprefix("xmlns:") for name in declared)}

    def plain(name: str) -> str:
        prefix, colon, rest = name.partition(":")
        return rest if colon and prefix in known else name

    for one in root.all("rdf:Description"):
        yield from ((plain(name), text) for name, text in one.attributes.items())
        yield from ((plain(child.name), child.text) for child in one.children if child.text)


def _declared(element: XmlElement) -> Iterator[tuple[str, str]]:
    yield from ((name, text) for name, text in element.attributes.items() if name.startswith("xmlns:"))
    for child in element.children:
        yield from _declared(child)


def _crop(values: Mapping[str, object]) -> Crop | None:
    """The crop of Camera Raw, unless the packet says that the pixels are not cropped yet."""
    is_pending = str(values.get("AlreadyApplied", "")).casefold() == "false"
    if not _is_true(values.get("HasCrop")) or is_pending:
        return None
    try:
        left, top, right, bottom = (float(str(values[f"Crop{side}"])) for side in ("Left", "Top", "Right", "Bottom"))
        angle = float(str(values.get("CropAngle", "0")))
    except (KeyError, ValueError):
        return None
    crop = Crop(left, top, right, bottom, angle)
    is_whole = (left, top, right, bottom) == (0, 0, 1, 1)
    is_sound = all(LEAST_KEPT <= side <= 1 for side in (crop.width, crop.height)) and abs(angle) <= MOST_DEGREES
    return crop if is_sound and not is_whole else None
