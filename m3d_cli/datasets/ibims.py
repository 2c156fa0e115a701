"""iBims-1, core raw: ``rgb/NAME.png``, ``depth/NAME.png``, ``mask_invalid``, ``mask_transp`` and ``calib/NAME.txt``.

Depth spans 50 m over 16 bits. ``NAME.txt`` holds fx, fy, cx, cy or a 3 x 3 matrix, in OpenCV's pixel convention.
"""

from __future__ import annotations

import dataclasses
import re
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from m3d_cli.bounded_files import read_text, reading
from m3d_cli.datasets.depth_files import DepthRule
from m3d_cli.datasets.frame import LOST_MASK, Frame, Pinhole, frame_of_files
from m3d_cli.errors import DatasetError

RULE = DepthRule(65535 / 50, farthest=50.0)
SIZE = (640, 480)
MASKS = ("mask_invalid", "mask_transp")
_NUMBER = re.compile(r"[-+]?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?")


def find_ibims(root: Path) -> tuple[Frame, ...]:
    """Frames of the folder that holds ``rgb`` and ``depth``, ``root`` or one below it."""
    folders = sorted(path.parent for path in (root / "rgb", *root.glob("*/rgb")) if path.is_dir())
    return tuple(_frame(folder, path) for folder in folders for path in sorted((folder / "rgb").glob("*.png")))


def _frame(folder: Path, image: Path) -> Frame:
    depth = folder / "depth" / image.name
    pinhole = _pinhole(folder / "calib" / f"{image.stem}.txt")
    # Images are numbered by kind of room (office_01): those of a kind may show the same one.
    scene = image.stem.rstrip("0123456789").rstrip("_")
    frame = frame_of_files(image.stem, "ibims", image, depth, pinhole, RULE, scene=scene)
    masks = [path for kind in MASKS if (path := folder / kind / image.name).is_file()]
    lost = [f"{LOST_MASK}: {kind}" for kind in MASKS if not (folder / kind / image.name).is_file()]
    words = "; ".join([frame.rule, *(f"mask {mask.parent.name}" for mask in masks), *lost])
    return dataclasses.replace(frame, read_depth=partial(_masked, depth, masks), rule=words)


def _masked(depth: Path, masks: list[Path]) -> NDArray[np.float32]:
    """Depth where every mask is set; a mask is 0 where depth does not hold."""
    metres = RULE.read(depth, masks[0] if masks else None)
    for mask in masks[1:]:
        metres[np.isnan(RULE.read(depth, mask))] = np.nan
    return metres


def _pinhole(path: Path) -> Pinhole:
    with reading(path, "the calibration", DatasetError, "restore the file"):
        numbers = [float(text) for text in _NUMBER.findall(read_text(path))]
    if len(numbers) == 4:
        return Pinhole.opencv(numbers, SIZE)
    if len(numbers) != 9:
        raise DatasetError(f"{path}: {len(numbers)} numbers are no calibration", hint="fx fy cx cy, or 3 x 3 numbers")
    matrix = np.array(numbers).reshape(3, 3)
    # MATLAB writes the transpose.
    matrix = matrix.T if matrix[2, 0] else matrix
    return Pinhole.opencv((matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2]), SIZE)
