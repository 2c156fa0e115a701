"""Camera RAW through rawpy (LibRaw), an optional package."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from m3d_cli.photos.header import PictureInfo, check_size, photo_errors
from m3d_cli.photos.sniff import ImageFormat

# LibRaw's flip codes to the EXIF orientation they stand for.
_FLIPS = {0: 1, 3: 3, 5: 8, 6: 6}


def read_raw_info(path: Path) -> PictureInfo:
    """Size and orientation of the developed image."""
    import rawpy

    with photo_errors(path), rawpy.imread(str(path)) as raw:
        sizes = raw.sizes
        info = PictureInfo(ImageFormat.RAW, sizes.width, sizes.height, _FLIPS.get(sizes.flip, 1), True, "RAW")
    check_size(path, info, path.stat().st_size)
    return info


def decode_raw(path: Path) -> NDArray[np.uint8]:
    """Upright sRGB pixels (H, W, 3), developed with the white balance of the camera."""
    import rawpy

    with photo_errors(path), rawpy.imread(str(path)) as raw:
        return np.asarray(raw.postprocess(use_camera_wb=True, output_bps=8), dtype=np.uint8)
