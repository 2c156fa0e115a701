"""Lenses that are no pinhole, by the names of cameras and lenses: fisheyes, action cameras, all-round cameras."""

from __future__ import annotations

import re

from m3d_cli.intrinsics.exif import ExifFacts
from m3d_cli.intrinsics.xmp import EQUIRECTANGULAR, FISHEYE

_FISHEYES = re.compile(r"fish[- ]?eye|\bef8-15mm")
_ACTION_CAMERAS = re.compile(
    r"gopro|\bhero ?\d|osmo action|\bac00\d\b|ydxj|\byi (4k|lite|action|discovery)|insta360 (go|ace|one r)|sjcam"
    r"|\bsj\d{4}|bebop|parrot disco|akaso|virb|hdr-as\d|fdr-x\d"
)
_ALL_ROUND_CAMERAS = re.compile(
    r"theta|insta360|gopro max|sm-[cr]2[01]0|gear ?360|mi ?sphere|mijia ?360|xiaomi sphere|qoocam|sp360"
    r"|pixpro (sp|orbit)|360 ?(cam|fly)|vuze|keymission 360"
)
# 360 x 180 degrees; one in two hundred of rounding.
_ALL_ROUND_SHAPE, _SHAPE_TOLERANCE = 2.0, 0.01


def is_all_round_shape(width: float, height: float) -> bool:
    """Whether an image has the shape of an equirectangular one."""
    return abs(width / height - _ALL_ROUND_SHAPE) <= _SHAPE_TOLERANCE


def sees_all_round(exif: ExifFacts, width: float, height: float) -> str:
    """What shows that a photo is equirectangular, for a message; empty where nothing does."""
    if exif.projection == EQUIRECTANGULAR:
        return "its XMP says"
    if is_all_round_shape(width, height) and _ALL_ROUND_CAMERAS.search(_names(exif)):
        return f"its shape and its camera ({exif.model}) say"
    return ""


def bent_lens(exif: ExifFacts) -> str:
    """What the lens is that bends straight lines, for a message; empty for one that is not known to."""
    names = _names(exif)
    if exif.projection == FISHEYE or _FISHEYES.search(names):
        return "a fisheye lens"
    return "the wide lens of an action camera" if _ACTION_CAMERAS.search(names) else ""


def _names(exif: ExifFacts) -> str:
    return f"{exif.make} {exif.model} {exif.lens}".casefold()
