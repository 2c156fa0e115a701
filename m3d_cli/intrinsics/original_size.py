"""How the image at hand relates to the one the camera wrote: resized, cropped, or untouched.

EXIF keeps the size of the camera's image. A different size with the same aspect is a resize, which the focal length
in pixels follows; another aspect is a crop, after which the scale is only known within bounds.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

from m3d_cli.intrinsics.xmp import Crop

# Aspect ratios closer than this are the same image; half a pixel of rounding on the short side comes on top.
ASPECT_TOLERANCE = 0.01

# Relative sigma of the focal length of a crop that kept one side whole; a smaller one may be cut out at any scale.
CROP_SIGMA = 0.08
LARGEST_CROP_SIGMA = 0.25

# 16:9 and square images may be cut from a 4:3 sensor inside the camera, with EXIF speaking of the whole sensor: the
# diagonal rule is then 8.2 % or 15.1 % low.
IN_CAMERA_CROP_SIGMA = 0.08
_WIDE = (1.70, 1.85)
_SQUARE = 1.05

# No sensor is wider than this: phones cut 18:9 to 21:9 from the whole width of 4:3, with EXIF speaking of all of it.
# Beyond the second number an image is a panorama or a strip.
CUT_ASPECTS = (1.9, 2.5)
CUT_SHAPE = 4 / 3
CUT_SIGMA = 0.04
# Phones cut square images from 4:3 as well, but an editor's square has the same shape.
SQUARE_CUT_SIGMA = 0.08

# An editor's crop is written with six digits; what it may have resized afterwards is seen by the size.
EDITED_SIGMA = 0.01
_SHAPES = (4 / 3, 3 / 2, 16 / 9, 1.0)


@dataclass(frozen=True, slots=True)
class Frame:
    """The camera's image (long and short side, its own pixels) and its scale: pixels at hand for one camera pixel."""

    camera_long: float
    camera_short: float
    scale: float
    is_original_known: bool
    is_cropped: bool
    added_sigma: float = 0.0
    centre: tuple[float, float] = (0.5, 0.5)

    @classmethod
    def of(
        cls,
        width: int,
        height: int,
        exif_width: int | None,
        exif_height: int | None,
        *,
        is_turned: bool = False,
        crop: Crop | None = None,
        is_phone: bool = False,
    ) -> Frame:
        """Frame of an upright image ``width`` x ``height`` whose EXIF gives another size, the same, or none.

        ``is_turned`` tells that EXIF's width lies along the upright height; ``crop`` is an editor's; ``is_phone`` that
        a phone took the image. ``centre`` is the middle of the camera's image in parts of the sides of the image at
        hand.
        """
        if crop is not None:
            return cls._edited((width, height), (exif_width, exif_height), crop, is_turned=is_turned)
        frame = cls._of_sizes(width, height, exif_width, exif_height, is_turned=is_turned)
        if frame.is_strip:
            return dataclasses.replace(frame, added_sigma=LARGEST_CROP_SIGMA)
        if is_phone and frame.camera_long / frame.camera_short < _SQUARE:
            return dataclasses.replace(frame, camera_long=frame.camera_short * CUT_SHAPE, added_sigma=SQUARE_CUT_SIGMA)
        if frame.camera_long / frame.camera_short <= CUT_ASPECTS[0]:
            return frame
        return dataclasses.replace(frame, camera_short=frame.camera_long / CUT_SHAPE, added_sigma=CUT_SIGMA)

    @classmethod
    def _edited(
        cls, size: tuple[int, int], exif: tuple[int | None, int | None], crop: Crop, *, is_turned: bool
    ) -> Frame:
        """Frame of the whole image before an editor's crop, whose sides may be those of the image before a turn."""
        straight = (size[0] / crop.width, size[1] / crop.height)
        turned = (size[0] / crop.height, size[1] / crop.width)
        camera = (max(exif[0] or 0, exif[1] or 0), min(exif[0] or 0, exif[1] or 0))
        is_rewritten = 0 in camera or abs(camera[0] / max(size) - 1) <= ASPECT_TOLERANCE
        shapes = _SHAPES if is_rewritten else (camera[0] / camera[1],)
        whole = min((straight, turned), key=lambda one: min(abs(_aspect(one) / shape - 1) for shape in shapes))
        long, short = max(whole), min(whole)
        is_known = not is_rewritten and abs(_aspect(whole) / _aspect(camera) - 1) <= 2 * ASPECT_TOLERANCE
        frame_long, frame_short = camera if is_known else (long, short)
        centre = ((0.5 - crop.left) / crop.width, (0.5 - crop.top) / crop.height)
        # A corner that was cut out does not hold the middle of the camera's image.
        is_known_place = whole is straight and not is_turned
        sigma = math.hypot(EDITED_SIGMA, math.radians(abs(crop.degrees)))
        return cls(
            frame_long,
            frame_short,
            long / frame_long,
            is_original_known=True,
            is_cropped=False,
            added_sigma=sigma,
            centre=centre if is_known_place else (0.5, 0.5),
        )

    @classmethod
    def _of_sizes(
        cls, width: int, height: int, exif_width: int | None, exif_height: int | None, *, is_turned: bool
    ) -> Frame:
        long, short = max(width, height), min(width, height)
        if not exif_width or not exif_height:
            return cls(long, short, 1.0, is_original_known=False, is_cropped=False)
        # Long with long: the image may have been turned since.
        camera_long, camera_short = max(exif_width, exif_height), min(exif_width, exif_height)
        tolerance = ASPECT_TOLERANCE + 0.5 / min(short, camera_short)
        same_aspect = abs((long * camera_short) / (short * camera_long) - 1) <= tolerance
        if same_aspect:
            scale = long / camera_long
        else:
            stored = (height, width) if is_turned else (width, height)
            scale = _crop_scale(stored, (exif_width, exif_height))
        return cls(camera_long, camera_short, scale, is_original_known=True, is_cropped=not same_aspect)

    @property
    def diagonal(self) -> float:
        """Diagonal of the camera's image in pixels at hand."""
        return math.hypot(self.camera_long, self.camera_short) * self.scale

    @property
    def long(self) -> float:
        """Long side of the camera's image in pixels at hand."""
        return self.camera_long * self.scale

    @property
    def is_strip(self) -> bool:
        """Whether the camera's image is too wide for one exposure."""
        return self.camera_long / self.camera_short > CUT_ASPECTS[1]

    @property
    def crop_sigma(self) -> float:
        """Relative sigma that a crop adds to every focal length from EXIF; 0 for an uncropped image."""
        if not self.is_cropped:
            return self.added_sigma
        # The scale lies between this one (one side whole, then resized) and 1 (cut out, not resized).
        return min(LARGEST_CROP_SIGMA, max(CROP_SIGMA, abs(math.log(self.scale)) / 2))

    @property
    def may_be_cut_in_camera(self) -> bool:
        """Whether the aspect of the camera's own image is one that cameras cut from a larger sensor."""
        aspect = self.camera_long / self.camera_short
        return aspect < _SQUARE or _WIDE[0] < aspect < _WIDE[1]


def _aspect(size: tuple[float, float]) -> float:
    return max(size) / min(size)


def _crop_scale(stored: tuple[int, int], camera: tuple[int, int]) -> float:
    """Pixels at hand for one camera pixel after a crop; a crop keeps at most one side whole, so the larger ratio.

    Both sizes are (width, height) as stored. A portrait cut from a landscape photo keeps its sides apart; only a
    image larger than the camera's must have been turned by an editor, and is compared long side with long side.
    """
    scale = max(stored[0] / camera[0], stored[1] / camera[1])
    if scale <= 1 + ASPECT_TOLERANCE:
        return scale
    return max(max(stored) / max(camera), min(stored) / min(camera))
