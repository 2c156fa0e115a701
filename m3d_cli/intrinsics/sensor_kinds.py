"""Bounds on a sensor's size from the kind of camera, where no table has the model.

Diagonals in millimetres: compacts and superzooms have 1/3.2" to 1" types, most of them 1/2.7" to 1/1.7"; system cameras
four thirds to medium format; thermal cameras pixels of 12 to 17 micrometres. Phones and drones have no usual sensor:
what their lenses see says more than the size of their sensors.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from m3d_cli.intrinsics.sensors import normalised_make

# Pixel pitch of microbolometers, in millimetres; handheld ones of up to 320 pixels also had 25 micrometres.
THERMAL_PITCH = (0.012, 0.017)
OLD_THERMAL_PITCH = 0.025
_SMALL_THERMAL = 336
# Sizes that microbolometers have and the other cameras of these makes do not.
_THERMAL_SIZES = ((640, 512), (320, 256), (336, 256))
_THERMAL_MAKES = (
    "autel",
    "dji",
    "fluke",
    "guide",
    "hikmicro",
    "infiray",
    "parrot",
    "seek",
    "testo",
    "workswell",
    "yuneec",
)


@dataclass(frozen=True, slots=True)
class SensorKind:
    """Diagonals in mm that such cameras have, the usual one, and the relative sigma that covers them."""

    name: str
    smallest: float
    largest: float
    usual: float
    sigma: float


_COMPACT = SensorKind("a compact camera", 5.0, 11.3, 7.6, 0.25)
_COMPACT_OR_1_INCH = SensorKind("a compact camera", 5.0, 16.5, 7.6, 0.45)
_LARGE = SensorKind("a camera with a large sensor", 15.0, 56.0, 30.0, 0.25)
_MEDIUM_FORMAT = SensorKind("a medium format camera", 44.0, 70.0, 60.0, 0.15)
_CAMCORDER = SensorKind("a camcorder", 2.5, 16.5, 5.5, 0.4)

# A lens this long in mm sees no wide angle, whatever camera it is on.
LONG_LENS = 25.0
LONG_LENS_KIND = SensorKind("an unknown camera", 4.0, 60.0, 18.0, 0.7)

_CAMERA_MAKES = re.compile(
    r"(agfa|agfaphoto|canon|casio|concord|epson|fuji|fujifilm|ge|hewlett|hp|jenoptik|jvc|kodak|konica|kyocera|leica|minolta"
    r"|nikon|olympus|om|panasonic|pentax|polaroid|praktica|premier|ricoh|rollei|samsung|sanyo|sigma|sony|toshiba"
    r"|victor|vivitar|yakumo)"
)
_MEDIUM_FORMAT_MAKES = ("leaf", "mamiya", "phase")
# 1/4" to 1/1.3" types of phones and compacts, 1", four thirds, APS-C and APS-H, 24 x 36, medium format.
_SMALL_DIAGONALS = (4.5, 5.0, 5.7, 6.0, 6.6, 7.1, 7.7, 8.0, 8.5, 8.9, 9.3, 9.5, 10.0, 10.7, 11.0, 12.3, 13.3, 15.9)
_USUAL_DIAGONALS = (*_SMALL_DIAGONALS, 18.7, 21.6, 26.8, 28.3, 34.5, 43.3, 54.8)
_LENSES = re.compile(
    r"\beos\b|rebel|kiss|nikon (d\d|z ?\d|1 )|\bilc[ae]|\bnex\b|\bslt\b|\bdslr\b|alpha|pentax (k|\*|6)|\bk-\w|\*ist"
    r"|\be-([135]|30|[3-6]\d0|m\d|p\w*)\b|\bom-|\bpen-|dmc-(g|l)|\bdc-(g|s)|\bx-(t|e|h|pro|m|a|s)\d?\b|\bgfx|\bnx\d|\bsd\d\d?\b|maxxum|dynax"
    r"|s[1235] ?pro"
)
# Compacts with the sensors of system cameras.
_LARGE_COMPACTS = re.compile(
    r"\bx100|\bx70\b|\bxf10\b|\bgr( i+)?\b(?! digital)|coolpix a\b|g1 ?x\b|leica [qxms]|\bdsc-rx1(?!0)|\bdp\d|\bx1d"
)
_SONY_CAMERAS = re.compile(r"dsc|cyber|mavica|mvc|zv-")
_CAMCORDERS = re.compile(r"\b(hdr|fdr|dcr|ax|hc|gc|gz|gy|hf|vixia|legria|everio)-?\w*\d")
_PHONE_MAKES = re.compile(
    r"(apple|asus|blackberry|fairphone|google|hmd|honor|htc|huawei|infinix|jolla|lg|lge|meizu|motorola|nokia|nothing"
    r"|oneplus|oppo|poco|realme|redmi|samsung|sony|tcl|tecno|vivo|xiaomi|zte)"
)
# Diagonals of phones' sensors in mm: the front camera's 1/5" to the 1" type.
PHONE_DIAGONALS = (3.6, 16.5)
# The 1" type came to compacts with the DSC-RX100.
FIRST_1_INCH = 2012
# Before each year no phone had a sensor of a larger diagonal in mm: they grew by the N8, the 808 and the CM1.
_PHONES_UNTIL = ((2010, 7.3), (2012, 9.3), (2014, 13.5))
# Phones and panoramic cameras of makers that also build cameras.
_OTHERS = re.compile(r"sm-|gt-|sgh|sch-|shv|galaxy|theta|lumix phone|ixpand|gear 360")


def sensor_kind(make: str, model: str, width: float, height: float, year: int | None = None) -> SensorKind | None:
    """The kind of a camera whose images have ``width`` x ``height`` pixels; None where its name says nothing.

    ``year`` is when the photo was taken.
    """
    words = normalised_make(make).split()
    name = " ".join(model.casefold().split())
    is_thermal = "flir" in words or (words[:1] == ["dji"] and re.match(r"xt|flir", name) is not None)
    is_small = (max(width, height), min(width, height)) in _THERMAL_SIZES
    if is_thermal or (is_small and words[:1] and words[0] in _THERMAL_MAKES):
        return _thermal(width, height)
    if words[:1] and words[0] in _MEDIUM_FORMAT_MAKES:
        return _MEDIUM_FORMAT
    if not words or not _CAMERA_MAKES.fullmatch(words[0]) or _OTHERS.search(name):
        return None
    if _LENSES.search(name) or _LARGE_COMPACTS.search(name):
        return _LARGE
    if _CAMCORDERS.search(name):
        return _CAMCORDER
    if words[0] == "sony" and not _SONY_CAMERAS.search(name):
        return None
    return _COMPACT if year is not None and year < FIRST_1_INCH else _COMPACT_OR_1_INCH


def is_phone(make: str, model: str, width: float, height: float) -> bool:
    """Whether this is a phone, by its maker, who may also build cameras."""
    made_by = normalised_make(make).partition(" ")[0]
    return sensor_kind(make, model, width, height) is None and _PHONE_MAKES.fullmatch(made_by) is not None


def sensor_bounds(
    make: str, model: str, width: float, height: float, year: int | None = None
) -> tuple[float, float] | None:
    """Diagonals in mm that the sensor of such a camera or phone can have; None where its name says nothing."""
    kind = sensor_kind(make, model, width, height, year)
    if kind is not None:
        return kind.smallest, kind.largest
    if not is_phone(make, model, width, height):
        return None
    smallest, largest = PHONE_DIAGONALS
    return smallest, min(largest, _limit(_PHONES_UNTIL, year))


def usual_diagonals(kind: SensorKind | None) -> tuple[float, ...]:
    """Diagonals in mm of the sensors that such cameras have; of any camera where the kind is unknown."""
    low, high = (0.0, math.inf) if kind is None else (kind.smallest, kind.largest)
    if kind is not None and kind.name.startswith("a thermal"):
        return tuple(low + (high - low) * step / 20 for step in range(21))
    return tuple(one for one in _USUAL_DIAGONALS if low <= one <= high)


def _limit(limits: tuple[tuple[int, float], ...], year: int | None) -> float:
    return next((largest for before, largest in limits if year is not None and year < before), math.inf)


def _thermal(width: float, height: float) -> SensorKind:
    diagonal = math.hypot(width, height)
    finest, coarsest = THERMAL_PITCH
    if max(width, height) <= _SMALL_THERMAL:
        coarsest = OLD_THERMAL_PITCH
    usual = math.sqrt(finest * coarsest)
    # The pitch is one of few, so half the distance between them is the standard deviation.
    sigma = math.log(coarsest / finest) / 2
    return SensorKind("a thermal camera", 0.9 * finest * diagonal, 1.1 * coarsest * diagonal, usual * diagonal, sigma)
