"""How the image at hand relates to the one the camera wrote: resized, cropped, or untouched.

EXIF keeps the size of the camera's image. A different size with the same aspect is a resize, which the focal length
in pixels follows; another aspect is a crop, after which the scale is only known within bounds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True)
class Frame:
    """The camera's image (long and short side, its own pixels) and its scale: pixels at hand for one camera pixel."""

    camera_long: float
    camera_short: float
    scale: float
    is_original_known: bool
    is_cropped: bool

    @classmethod
    def of(
        cls, width: int, height: int, exif_width: int | None, exif_height: int | None, *, is_turned: bool = False
    ) -> Frame:
        """Frame of an upright image ``width`` x ``height`` whose EXIF gives another size, the same, or none.

        ``is_turned`` tells that EXIF's width lies along the upright height.
        """
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
    def crop_sigma(self) -> float:
        """Relative sigma that a crop adds to every focal length from EXIF; 0 for an uncropped image."""
        if not self.is_cropped:
            return 0.0
        # The scale lies between this one (one side whole, then resized) and 1 (cut out, not resized).
        return min(LARGEST_CROP_SIGMA, max(CROP_SIGMA, abs(math.log(self.scale)) / 2))

    @property
    def may_be_cut_in_camera(self) -> bool:
        """Whether the aspect of the camera's own image is one that cameras cut from a larger sensor."""
        aspect = self.camera_long / self.camera_short
        return aspect < _SQUARE or _WIDE[0] < aspect < _WIDE[1]


def _crop_scale(stored: tuple[int, int], camera: tuple[int, int]) -> float:
    """Pixels at hand for one camera pixel after a crop; a crop keeps at most one side whole, so the larger ratio.

    Both sizes are (width, height) as stored. A portrait cut from a landscape photo keeps its sides apart; only a
    image larger than the camera's must have been turned by an editor, and is compared long side with long side.
    """
    scale = max(stored[0] / camera[0], stored[1] / camera[1])
    if scale <= 1 + ASPECT_TOLERANCE:
        return scale
    return max(max(stored) / max(camera), min(stored) / min(camera))
