"""What editors, phones and drones wrote in a photo's XMP packet: crops, panoramas, the lens in pixels.

A packet that cannot be read says nothing, as with EXIF. Names have the usual prefixes (``crs``, ``GPano``,
``drone-dji``, ``ImagingModel``).
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping
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
# Focal lengths and sides of images, in pixels. Lenses in parts of a side, whose side writers disagree on, are shorter.
LEAST_PIXELS, MOST_PIXELS = 16.0, 100_000.0

# The design of a lens, of which each copy differs a little; one copy calibrated in the factory; what a phone states.
DESIGN_SIGMA, FACTORY_SIGMA, PHONE_SIGMA = 0.02, 0.01, 0.02

# fx, fy, cx, cy, k1, k2, p1, p2, k3 after the date, with cx and cy from the middle of the image.
_DEWARP_NUMBERS = 9
# Coefficients and offsets (in parts of the focal length) beyond which the numbers are not those of a drone's lens.
_MOST_DISTORTION, _MOST_OFFSET = 2.0, 0.1


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
class PixelLens:
    """A lens in pixels of an image whose long side has ``long`` pixels (None: that of the camera's whole image).

    ``offset`` is the principal point from the middle of the image; ``distortion`` are Brown's k1, k2, p1, p2, k3 of
    the pixels as stored, empty where there is none or it was removed. ``tag`` is where all this stands.
    """

    fx: float
    fy: float
    long: float | None
    rel_sigma: float
    tag: str
    offset: tuple[float, float] = (0.0, 0.0)
    distortion: tuple[float, ...] = ()

    @property
    def is_sound(self) -> bool:
        """Whether the numbers can be those of a lens."""
        sides = (self.fx, self.fy, self.fx if self.long is None else self.long)
        return (
            all(LEAST_PIXELS <= side <= MOST_PIXELS for side in sides)
            and all(abs(part) <= _MOST_OFFSET * self.fx for part in self.offset)
            and all(abs(term) <= _MOST_DISTORTION for term in self.distortion)
        )


@dataclass(frozen=True, slots=True)
class XmpFacts:
    """The crop that was applied to the pixels, the projection of a panorama, and the lens; None where unknown."""

    crop: Crop | None = None
    projection: str = ""
    lens: PixelLens | None = None


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
    values = _values(root)
    lens = drone_lens({name.removeprefix("drone-dji:"): text for name, text in values.items()}) or _phone_lens(values)
    return XmpFacts(_crop(values), values.get("GPano:ProjectionType", "").casefold(), lens)


def drone_lens(values: Mapping[str, object]) -> PixelLens | None:
    """The lens of a DJI drone by the names of its tags: as calibrated in the factory, else as designed."""
    try:
        middle = [float(str(values[f"CalibratedOpticalCenter{axis}"])) for axis in "XY"]
    except (KeyError, ValueError):
        middle = []
    long = 2 * max(middle) if middle else None
    return _dewarped(values, long) or _designed(values, long)


def _dewarped(values: Mapping[str, object], long: float | None) -> PixelLens | None:
    """``DewarpData`` is "date;fx,fy,cx,cy,k1,k2,p1,p2,k3"; with ``DewarpFlag`` 1 the distortion was removed."""
    try:
        numbers = [float(text) for text in str(values["DewarpData"]).rpartition(";")[2].split(",")]
    except (KeyError, ValueError):
        return None
    if len(numbers) != _DEWARP_NUMBERS or not all(map(math.isfinite, numbers)):
        return None
    fx, fy, x, y, *distortion = numbers
    is_removed = str(values.get("DewarpFlag", "0")).strip() not in ("0", "False")
    terms = () if is_removed or not any(distortion) else tuple(distortion)
    lens = PixelLens(fx, fy, long, FACTORY_SIGMA, "XMP DewarpData", (x, y), terms)
    return lens if lens.is_sound else None


def _designed(values: Mapping[str, object], long: float | None) -> PixelLens | None:
    """``CalibratedFocalLength`` is in pixels of the whole image, whose middle is the optical centre."""
    try:
        focal = float(str(values["CalibratedFocalLength"]))
    except (KeyError, ValueError):
        return None
    lens = PixelLens(focal, focal, long, DESIGN_SIGMA, "XMP CalibratedFocalLength")
    return lens if long is not None and lens.is_sound else None


def _phone_lens(values: Mapping[str, str]) -> PixelLens | None:
    """The imaging model of the first camera in a depth photo (Dynamic Depth 1.0, XDM 1.0): pixels of its own size."""
    try:
        fx, fy = (float(values[f"ImagingModel:FocalLength{axis}"]) for axis in "XY")
        width, height = (float(values[f"ImagingModel:Image{side}"]) for side in ("Width", "Height"))
        x, y = (float(values.get(f"ImagingModel:PrincipalPoint{axis}", 0.5)) for axis in "XY")
    except (KeyError, ValueError):
        return None
    is_in_parts = all(0 <= part <= 1 for part in (x, y))
    offset = ((x - 0.5) * width, (y - 0.5) * height) if is_in_parts else (x - width / 2, y - height / 2)
    lens = PixelLens(fx, fy, max(width, height), PHONE_SIGMA, "XMP ImagingModel", offset)
    return lens if lens.is_sound else None


def _values(root: XmlElement) -> dict[str, str]:
    """Values by name; of several cameras in one packet the first, which took the photo, counts."""
    values: dict[str, str] = {}
    for name, text in _listed(root):
        values.setdefault(name, text)
    return values


def _listed(root: XmlElement) -> Iterator[tuple[str, str]]:
    for one in root.all("rdf:Description"):
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
