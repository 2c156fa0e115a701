"""The size of the calibrated image under the names that programs give it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from m3d_cli.intrinsics.calibration.document import pixels
from m3d_cli.intrinsics.calibration.lens_models import folded

# Names are compared without case, spaces, hyphens and underscores; the first kind that a document has counts.
_WIDTHS = frozenset(
    [f"{start}{end}" for start in ("", "image", "img") for end in ("width", "widthpx", "w")]
    + ["imagecols", "xres", "xresolution", "resx"]
)
_HEIGHTS = frozenset(
    [f"{start}{end}" for start in ("", "image", "img") for end in ("height", "heightpx", "h")]
    + ["imagerows", "yres", "yresolution", "resy"]
)
# Width before height; and NumPy's order, rows before columns.
_SIZE = frozenset(("imagesize", "imgsize", "size", "resolution", "imageresolution", "dim", "dims", "framesize"))
_SHAPE = frozenset(("imgshape", "imageshape", "shape"))
# These may also be of a chessboard or a marker, which has fewer squares than any image has pixels.
_COLUMNS, _ROWS = frozenset(("cols", "columns")), frozenset(("rows",))
_DOUBTFUL = frozenset(("size", "shape"))
LEAST_SIDE = 64


def image_size(document: Mapping[str, Any]) -> tuple[int | None, int | None]:
    """Width and height that a document gives its image, None where it gives none.

    An order that scripts confuse is no matter here: the principal point shows it when the photo is known.
    """
    values = {folded(key): value for key, value in document.items()}
    width, height = _first(values, _WIDTHS), _first(values, _HEIGHTS)
    if width is not None or height is not None:
        return pixels(width), pixels(height)
    for name, value in values.items():
        sides = _sides(value) if name in _SIZE | _SHAPE else None
        if sides is not None and (name not in _DOUBTFUL or min(sides) >= LEAST_SIDE):
            return sides if name in _SIZE else (sides[1], sides[0])
    columns, rows = pixels(_first(values, _COLUMNS)), pixels(_first(values, _ROWS))
    if columns is None or rows is None or min(columns, rows) < LEAST_SIDE:
        return None, None
    return columns, rows


def _first(values: Mapping[str, Any], names: frozenset[str]) -> Any:
    return next((value for name, value in values.items() if name in names), None)


def _sides(value: Any) -> tuple[int, int] | None:
    """Two sides as a mapping, a (nested) list or ``1280x720``; None for anything else, such as the size of a square."""
    if isinstance(value, Mapping) and "data" in value:
        value = value["data"]
    if isinstance(value, Mapping):
        width, height = image_size(value)
        return None if width is None or height is None else (width, height)
    if isinstance(value, str):
        value = re.findall(r"\d+", value)
    while isinstance(value, list) and len(value) == 1:
        value = value[0]
    if not isinstance(value, list) or len(value) not in (2, 3):
        return None
    flat = [one[0] if isinstance(one, list) and len(one) == 1 else one for one in value]
    first, second = pixels(flat[0]), pixels(flat[1])
    return None if first is None or second is None else (first, second)
