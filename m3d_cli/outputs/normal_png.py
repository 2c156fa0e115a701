"""Surface normals as a 16-bit RGB PNG: red, green, blue are x right, y down, z forward, n = (value - 32768) / 32767.

(0, 0, 0) is unknown, which no normal gives.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from m3d_cli.errors import OutputError
from m3d_cli.outputs.png import decode_png16, encode_png16

STEPS = 32767
ZERO = 32768

AXES_KEY = "m3d:normal_axes"
AXES = "x right, y down, z forward; facing the camera; n = (value - 32768) / 32767; 0 0 0 is unknown"


def encode_normal_png(normals: NDArray[np.float32]) -> bytes:
    """The PNG of unit normals (H, W, 3); what is not a number becomes unknown."""
    known = np.isfinite(normals).all(axis=2)
    values = np.rint(np.nan_to_num(normals) * STEPS + ZERO)
    values[~known] = 0
    return encode_png16(values.astype(np.uint16), {AXES_KEY: AXES})


def read_normal_png(path: Path) -> NDArray[np.float32]:
    """Unit normals (H, W, 3) of a PNG that `encode_normal_png` made, NaN where unknown."""
    try:
        values = decode_png16(path.read_bytes(), str(path))
    except OSError as error:
        raise OutputError(f"{path}: cannot be read ({error.strerror})") from error
    if values.ndim != 3 or values.shape[2] != 3:
        raise OutputError(f"{path}: not a 16-bit RGB PNG", hint="normal PNGs are written by m3d depth --format normal")
    rgb = values[..., ::-1]
    normals = (rgb.astype(np.float32) - ZERO) / STEPS
    normals[(rgb == 0).all(axis=2)] = math.nan
    return np.asarray(normals, dtype=np.float32)
