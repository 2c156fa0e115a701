"""One decoder for every photo: upright 8-bit sRGB pixels, or a `PhotoError` that says what is wrong with the file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

from m3d_cli.errors import PhotoError
from m3d_cli.photos.colour import to_rgb
from m3d_cli.photos.grey16 import few_levels
from m3d_cli.photos.header import PictureInfo, identify, opened, photo_errors
from m3d_cli.photos.raw import decode_raw, read_raw_info
from m3d_cli.photos.sniff import ImageFormat

# What brings pixels stored with an EXIF orientation upright.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


# Width and height of a decode that is enough to estimate a focal length.
_ENOUGH_FOR_FOCAL = (960, 720)


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    """Upright sRGB pixels, uint8 (H, W, 3), and the facts of the file; the pixels may be a reduced copy.

    ``info.width`` and ``info.height`` always are of the full image. ``warnings`` say what was done to its values.
    """

    image: NDArray[np.uint8]
    info: PictureInfo
    warnings: tuple[str, ...] = ()


def read_info(path: Path) -> PictureInfo:
    """Format, size and orientation of the image in ``path`` from its header; raises `PhotoError`."""
    if identify(path) is ImageFormat.RAW:
        return read_raw_info(path)
    with opened(path) as (_, info):
        return info


def decode(path: Path, at_least: tuple[int, int] | None = None) -> Decoded:
    """Pixels of ``path``; the first frame of an animation.

    ``at_least`` (width, height, upright) allows a smaller copy of at least that size where decoding one is cheaper: a
    JPEG decodes at 1/2, 1/4 or 1/8 in a fraction of the time.
    """
    if identify(path) is ImageFormat.RAW:
        return Decoded(decode_raw(path), read_raw_info(path))
    with opened(path) as (image, info):
        if at_least is not None and info.format is ImageFormat.JPEG:
            _reduce(image, info, at_least)
        pixels, warnings = _pixels(path, image, info)
        return Decoded(pixels, info, warnings)


def focal_copy(path: Path, image: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
    """The pixels from which a focal length is estimated, the same for every command; ``image`` is what is decoded.

    A JPEG that was decoded at another size would give a slightly different estimate.
    """
    if image is None or identify(path) is ImageFormat.JPEG:
        return decode(path, _ENOUGH_FOR_FOCAL).image
    return image


def _reduce(image: ImageFile.ImageFile, info: PictureInfo, at_least: tuple[int, int]) -> None:
    width, height = reversed(at_least) if info.is_turned else at_least
    # Pillow keeps the copy at least as large as asked for, and the whole image when none is.
    image.draft(None, (max(1, width), max(1, height)))


def _pixels(path: Path, image: ImageFile.ImageFile, info: PictureInfo) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    is_deep = _is_16_bit_colour(image)
    image.load()
    try:
        rgb, warnings = to_rgb(image)
    except PhotoError as error:
        raise PhotoError(f"{path}: {error.message}", hint=error.hint) from error
    if not info.rotated_by_decoder and info.orientation in _UPRIGHT:
        rgb = rgb.transpose(_UPRIGHT[info.orientation])
    with photo_errors(path):
        pixels = np.array(rgb, dtype=np.uint8)
    return pixels, (*warnings, *few_levels(pixels)) if is_deep else warnings


def _is_16_bit_colour(image: ImageFile.ImageFile) -> bool:
    """Whether the file has 16 bits a channel, of which Pillow keeps the upper 8; shown before the pixels are loaded."""
    return image.mode in ("RGB", "RGBA") and any("16" in str(tile.args) for tile in image.tile)
