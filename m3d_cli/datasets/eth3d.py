"""ETH3D high-resolution: ``SCENE/images/*/NAME.JPG`` and ``SCENE/ground_truth_depth/*/NAME.JPG``, which is not a
image but float32 metres, row by row, infinite where unknown.

Each scene's COLMAP model (``dslr_calibration_*``) tells the cameras; without one, the intrinsics that Metric3D's own
loader takes for every image of 6048 x 4032 pixels stand in, marked as assumed.
"""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from m3d_cli.bounded_files import read_text, reading
from m3d_cli.camera import FocalSource
from m3d_cli.datasets.depth_files import RULES
from m3d_cli.datasets.frame import Frame, Pinhole, frame_of_files, stem_below
from m3d_cli.errors import DatasetError
from m3d_cli.formats.colmap import TEXT_BYTES

SIZE = (6048, 4032)
ASSUMED = Pinhole(2000.0, 2000.0, 3024.0, 2016.0, SIZE, FocalSource.ASSUMED, 0.25)
FLOAT_BYTES = 4


def find_eth3d(root: Path) -> tuple[Frame, ...]:
    """Frames with ground-truth depth below ``root``."""
    depths = sorted(path for path in root.rglob("ground_truth_depth/*/*") if path.is_file())
    cameras = {scene: read_cameras(scene) for scene in {path.parents[2] for path in depths}}
    return tuple(_frame(root, path, cameras[path.parents[2]]) for path in depths)


def _frame(root: Path, depth: Path, cameras: dict[str, Pinhole]) -> Frame:
    image = depth.parents[2] / "images" / depth.parent.name / depth.name
    pinhole = cameras.get(depth.name, ASSUMED)
    name, scene = stem_below(root, image), depth.parents[2].name
    frame = frame_of_files(name, "eth3d", image, depth, pinhole, RULES["eth3d"], sparse=True, scene=scene)
    return dataclasses.replace(frame, read_depth=partial(_depth, depth, pinhole.size or SIZE))


def _depth(path: Path, size: tuple[int, int]) -> NDArray[np.float32]:
    with reading(path, "the depth", DatasetError, "restore the file"):
        values = np.fromfile(path, dtype="<f4")
    width, height = size
    if values.size != width * height:
        raise DatasetError(
            f"{path}: {values.size * FLOAT_BYTES} bytes are not float32 of {width} x {height} pixels",
            hint="restore the file; depth belongs to the distorted images of dslr_images",
        )
    return RULES["eth3d"].metres(values.reshape(height, width))


def read_cameras(scene: Path) -> dict[str, Pinhole]:
    """Cameras by image name of the scene's COLMAP text model, without lens distortion; empty without one."""
    for folder in sorted(scene.glob("*calibration*")):
        files = folder / "cameras.txt", folder / "images.txt"
        if all(file.is_file() for file in files):
            return _read_model(*files)
    return {}


def _read_model(cameras: Path, images: Path) -> dict[str, Pinhole]:
    with reading(cameras, "the COLMAP text model", DatasetError, "fetch the calibration again"):
        known = {words[0]: _camera(words) for words in _lines(cameras)}
        # Two lines an image: IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME, and its points.
        lines = [line for line in read_text(images, TEXT_BYTES).splitlines() if not line.startswith("#")]
        rows = [line.split(maxsplit=9) for line in lines[::2] if line.strip()]
        return {Path(row[9]).name: known[row[8]] for row in rows}


def _camera(words: list[str]) -> Pinhole:
    """``ID MODEL WIDTH HEIGHT fx fy cx cy ...``, as all models of ETH3D begin; COLMAP's pixels are ours."""
    fx, fy, cx, cy = (float(word) for word in words[4:8])
    return Pinhole(fx, fy, cx, cy, (int(words[2]), int(words[3])))


def _lines(path: Path) -> list[list[str]]:
    return [line.split() for line in read_text(path).splitlines() if line.strip() and line[0] != "#"]
