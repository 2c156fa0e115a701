"""Lenses stated in pixels, by drones and by phones that take depth photos."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

# Focal lengths and sides of images, in pixels. Lenses in parts of a side, whose side writers disagree on, are shorter.
LEAST_PIXELS, MOST_PIXELS = 16.0, 100_000.0

# The design of a lens, of which each copy differs a little; one copy calibrated in the factory; what a phone states.
DESIGN_SIGMA, FACTORY_SIGMA, PHONE_SIGMA = 0.02, 0.01, 0.02

# fx, fy, cx, cy, k1, k2, p1, p2, k3 after the date, with cx and cy from the middle of the image.
_DEWARP_NUMBERS = 9
# Coefficients and offsets (in parts of the focal length) beyond which the numbers are not those of a drone's lens.
_MOST_DISTORTION, _MOST_OFFSET = 2.0, 0.1


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


def phone_lens(values: Mapping[str, object]) -> PixelLens | None:
    """The imaging model of the first camera in a depth photo (Dynamic Depth 1.0, XDM 1.0): pixels of its own size."""
    try:
        fx, fy = (float(str(values[f"ImagingModel:FocalLength{axis}"])) for axis in "XY")
        width, height = (float(str(values[f"ImagingModel:Image{side}"])) for side in ("Width", "Height"))
        x, y = (float(str(values.get(f"ImagingModel:PrincipalPoint{axis}", 0.5))) for axis in "XY")
    except (KeyError, ValueError):
        return None
    is_in_parts = all(0 <= part <= 1 for part in (x, y))
    offset = ((x - 0.5) * width, (y - 0.5) * height) if is_in_parts else (x - width / 2, y - height / 2)
    lens = PixelLens(fx, fy, max(width, height), PHONE_SIGMA, "XMP ImagingModel", offset)
    return lens if lens.is_sound else None
