"""KITTI's ``calib.txt`` and ``calib_cam_to_cam.txt``, in OpenCV's pixel grid.

The photos of the cameras are recognised by their folders (``image_2``, ``image_02``).
"""

from __future__ import annotations

import dataclasses
import re

import numpy as np

from m3d_cli.intrinsics.calibration.document import by_folder, pixels, reals
from m3d_cli.intrinsics.calibration.match import CalibrationEntry, Intrinsics
from m3d_cli.intrinsics.calibration.opencv import from_matrix

KITTI = "KITTI's calib.txt"

# P2, P_rect_02: the projection of the rectified images.
_PROJECTION = re.compile(r"P(?:_rect_)?(\d+)\s*:(.*)")
_SIZE = re.compile(r"S_rect_(\d+)\s*:(.*)")


def is_kitti(text: str) -> bool:
    """Whether a line holds the projection of a camera."""
    return any(_PROJECTION.match(line) for line in text.splitlines())


def read_kitti(text: str) -> tuple[CalibrationEntry, ...]:
    """The left 3 x 3 of every camera's projection."""
    sizes = {int(found[1]): found[2].split() for line in text.splitlines() if (found := _SIZE.match(line))}
    cameras: dict[str, Intrinsics] = {}
    for line in text.splitlines():
        if found := _PROJECTION.match(line):
            matrix = np.array(reals(found[2].split(), (12,), found[1])).reshape(3, 4)
            width, height = (sizes.get(int(found[1])) or [None, None])[:2]
            cameras[found[1]] = dataclasses.replace(from_matrix(matrix), width=pixels(width), height=pixels(height))
    return by_folder(cameras, {name: (f"image_{int(name)}", f"image_{int(name):02d}") for name in cameras})
