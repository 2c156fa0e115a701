"""ScanNet as its reader exports it: ``SCENE/color/N.jpg``, ``SCENE/depth/N.png``, ``SCENE/intrinsic/*.txt``."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from m3d_cli.bounded_files import read_text, reading
from m3d_cli.datasets.depth_files import DepthRule
from m3d_cli.datasets.frame import Frame, Pinhole, frame_of_files, stem_below
from m3d_cli.errors import DatasetError

RULE = DepthRule(1000, 65500)
COLOUR_SIZE = (1296, 968)
_HINT = "export the scene again"


def find_scannet(root: Path) -> tuple[Frame, ...]:
    """Frames of all scenes below ``root``; depth (640 x 480) is brought to the image's size by nearest pixels."""
    pictures = sorted(root.rglob("color/*.jpg"), key=lambda path: (path.parent, len(path.stem), path.stem))
    pinholes = {folder: _pinhole(folder) for folder in {path.parent.parent for path in pictures}}
    return tuple(_frame(root, path, pinholes[path.parent.parent]) for path in pictures)


def _frame(root: Path, image: Path, pinhole: Pinhole) -> Frame:
    depth = image.parent.parent / "depth" / f"{image.stem}.png"
    name = stem_below(root, image)
    # sceneNNNN_MM is scan MM of one room.
    scene = image.parent.parent.name.partition("_")[0]
    return frame_of_files(name, "scannet", image, depth, pinhole, RULE, fits_depth=True, scene=scene)


def _pinhole(scene: Path) -> Pinhole:
    """The colour camera's; the size they belong to is in ``SCENE.txt``, else the sensor's own."""
    path = scene / "intrinsic" / "intrinsic_color.txt"
    with reading(path, "the 4 x 4 matrix of intrinsics", DatasetError, _HINT):
        matrix = np.loadtxt(path, dtype=np.float64)
        numbers = (matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2])
        return Pinhole.opencv((float(number) for number in numbers), _size(scene))


def _size(scene: Path) -> tuple[int, int]:
    header = scene / f"{scene.name}.txt"
    if not header.is_file():
        return COLOUR_SIZE
    with reading(header, "the header of the scene", DatasetError, _HINT):
        lines = [line.split("=") for line in read_text(header).splitlines() if line.count("=") == 1]
        facts = {name.strip(): value.strip() for name, value in lines}
        width, height = facts.get("colorWidth", ""), facts.get("colorHeight", "")
        return (int(width), int(height)) if width.isdigit() and height.isdigit() else COLOUR_SIZE
