"""7-Scenes: ``SCENE/seq-NN/frame-NNNNNN.color.png`` and ``.depth.png`` (millimetres), ``SCENE/TestSplit.txt``.

The Kinect's default intrinsics, as the data set states them: 585 pixels, principal point 320, 240. It names no pixel
convention; those who unproject its depth count whole pixels from 0, so the numbers are taken as OpenCV's.
"""

from __future__ import annotations

import re
from pathlib import Path

from m3d_cli.bounded_files import read_text, reading
from m3d_cli.datasets.depth_files import DepthRule
from m3d_cli.datasets.frame import Frame, Pinhole, frame_of_files
from m3d_cli.errors import DatasetError

PINHOLE = Pinhole.opencv((585.0, 585.0, 320.0, 240.0), (640, 480))
# 65535 is unknown.
RULE = DepthRule(1000, 65500)
SPLIT_FILES = {"train": "TrainSplit.txt", "test": "TestSplit.txt"}


def find_sevenscenes(root: Path) -> tuple[Frame, ...]:
    """Frames below ``root``, a source a scene, with their split where the scene's lists are there."""
    pictures = sorted(root.rglob("seq-*/frame-*.color.png"))
    splits = {scene: read_splits(scene) for scene in {path.parents[1] for path in pictures}}
    return tuple(_frame(root, path, splits[path.parents[1]]) for path in pictures)


def _frame(root: Path, image: Path, splits: dict[int, str]) -> Frame:
    depth = image.with_name(image.name.replace(".color.", ".depth."))
    sequence = int(re.sub(r"\D", "", image.parent.name) or 0)
    name = (image.parent / image.name.removesuffix(".color.png")).relative_to(root).as_posix()
    split = splits.get(sequence, "")
    return frame_of_files(name, image.parents[1].name, image, depth, PINHOLE, RULE, split=split)


def read_splits(scene: Path) -> dict[int, str]:
    """Split by sequence number: a list holds lines like ``sequence3``."""
    found: dict[int, str] = {}
    for split, name in SPLIT_FILES.items():
        file = scene / name
        if file.is_file():
            with reading(file, "the list of sequences", DatasetError, "fetch it again"):
                found |= {int(number): split for number in re.findall(r"(\d+)", read_text(file))}
    return found
