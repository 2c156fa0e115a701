"""Surface normals as a 16-bit RGB PNG: red, green, blue are x right, y down, z forward, n = (value - 32768) / 32767.

(0, 0, 0) is unknown, which no normal gives.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from m3d_cli.depthmap import NORMAL_AXES, coded_normals, decoded_normals
from m3d_cli.errors import OutputError
from m3d_cli.formats.png16 import decode_png16, encode_png16

AXES_KEY = "m3d:normal_axes"


def encode_normal_png(normals: NDArray[np.float32]) -> bytes:
    """The PNG of unit normals (H, W, 3); what is not a number becomes unknown."""
    return encode_png16(coded_normals(normals), {AXES_KEY: NORMAL_AXES})


def read_normal_png(path: Path) -> NDArray[np.float32]:
    """Unit normals (H, W, 3) of a PNG that `encode_normal_png` made, NaN where unknown."""
    try:
        values = decode_png16(path.read_bytes(), str(path))
    except OSError as error:
        raise OutputError(f"{path}: cannot be read ({error.strerror})") from error
    if values.ndim != 3 or values.shape[2] != 3:
        raise OutputError(f"{path}: not a 16-bit RGB PNG", hint="normal PNGs are written by m3d depth --format normal")
    return decoded_normals(values[..., ::-1])
