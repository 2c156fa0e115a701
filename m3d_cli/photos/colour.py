"""Any pixel layout Pillow knows to 8-bit sRGB.

Transparency is laid over white, as a viewer shows it. 16-bit grey is brought to 8 bits by `grey16`. An
embedded colour profile is applied unless it is sRGB already; a profile that cannot be used is left out with a note.
"""

from __future__ import annotations

import io
import logging
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from m3d_cli.errors import PhotoError
from m3d_cli.photos.grey16 import declared_range, grey_bytes

logger = logging.getLogger(__name__)

WHITE = (255, 255, 255)

_PROFILE_MODES = ("RGB", "L", "CMYK", "LAB")


def to_rgb(image: Image.Image) -> tuple[Image.Image, tuple[str, ...]]:
    """8-bit sRGB of a loaded image, and warnings; raises `PhotoError` for values with no agreed brightness."""
    if image.mode == "F":
        return Image.fromarray(_float_bytes(np.asarray(image))).convert("RGB"), ()
    if image.mode.startswith("I"):
        grey, warning = _grey(image)
        return Image.fromarray(grey).convert("RGB"), (warning,) if warning else ()
    return _coloured(image), ()


def _coloured(image: Image.Image) -> Image.Image:
    if _is_transparent(image):
        return _over_white(image)
    profile = image.info.get("icc_profile")
    if image.mode == "LAB":
        return _converted(image, ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()) or image.convert(
            "RGB"
        )
    if isinstance(profile, bytes) and profile and image.mode in _PROFILE_MODES:
        converted = _converted(image, profile)
        if converted is not None:
            return converted
    return image if image.mode == "RGB" else image.convert("RGB")


def _is_transparent(image: Image.Image) -> bool:
    return image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info


def _over_white(image: Image.Image) -> Image.Image:
    # "RGBa" and "La" only convert to their own straight-alpha kin.
    straight = {"RGBa": "RGBA", "La": "LA"}.get(image.mode)
    rgba = (image.convert(straight) if straight else image).convert("RGBA")
    profile = image.info.get("icc_profile")
    colours = rgba.convert("RGB")
    if isinstance(profile, bytes) and profile and image.mode in ("RGBA", "P", "RGB"):
        colours = _converted(colours, profile) or colours
    canvas = Image.new("RGB", image.size, WHITE)
    canvas.paste(colours, mask=rgba.getchannel("A"))
    return canvas


def _grey(image: Image.Image) -> tuple[NDArray[np.uint8], str]:
    values = np.asarray(image)
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 65535:
        raise PhotoError(
            f"gray values from {low} to {high} do not fit 16 bits", hint="save the image with 8 or 16 bits"
        )
    return grey_bytes(values, declared_range(image))


def _float_bytes(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Floating point brightness is only agreed on between 0 and 1."""
    finite = bool(np.isfinite(values).all())
    if not finite or values.min() < 0 or values.max() > 1:
        raise PhotoError(
            "floating point pixels outside 0..1 have no agreed brightness (is this a depth map?)",
            hint="save the image with 8 or 16 bits",
        )
    scaled: NDArray[np.uint8] = np.rint(values * 255).astype(np.uint8)
    return scaled


def _converted(image: Image.Image, profile: bytes) -> Image.Image | None:
    """``image`` in sRGB, or None when its profile needs no conversion or cannot be used."""
    try:
        transform = _transform_to_srgb(profile, image.mode)
        return transform.apply(image) if transform else None
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError) as error:
        logger.info("colour profile left out: %s", error)
        return None


@lru_cache(maxsize=32)
def _transform_to_srgb(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Transform from ``profile`` to sRGB; None for sRGB itself. A batch meets few profiles, so each is built once."""
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    if mode == "RGB" and "srgb" in (source.profile.profile_description or "").lower():
        return None
    return ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
