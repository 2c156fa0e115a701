"""TUM RGB-D: ``rgb.txt`` and ``depth.txt`` list files by time; images are paired with the depth nearest in time.

Intrinsics by Kinect (freiburg1 to 3, which the sequence's name tells) as the benchmark states them, in OpenCV's pixel
convention. Of a sequence without such a name the Kinect's default stands in, marked as assumed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from m3d_cli.bounded_files import read_text, reading
from m3d_cli.camera import FocalSource
from m3d_cli.datasets.depth_files import DepthRule
from m3d_cli.datasets.frame import Frame, Pinhole, frame_of_files, stem_below
from m3d_cli.errors import DatasetError

RULE = DepthRule(5000)
SIZE = (640, 480)
PINHOLES = {
    "freiburg1": Pinhole.opencv((517.3, 516.5, 318.6, 255.3), SIZE),
    "freiburg2": Pinhole.opencv((520.9, 521.0, 325.1, 249.7), SIZE),
    "freiburg3": Pinhole.opencv((535.4, 539.2, 320.1, 247.6), SIZE),
}
ROS_DEFAULT = dataclasses.replace(
    Pinhole.opencv((525.0, 525.0, 319.5, 239.5), SIZE), focal_source=FocalSource.ASSUMED, focal_rel_sigma=0.25
)
# Seconds between an image and its depth beyond which they are no pair (the benchmark's own association).
APART = 0.02


def find_tum(root: Path) -> tuple[Frame, ...]:
    """Frames of the sequence ``root`` or of every sequence below it, a source a sequence."""
    return tuple(frame for file in sorted(root.rglob("rgb.txt")) for frame in _sequence(root, file.parent))


def _sequence(root: Path, folder: Path) -> list[Frame]:
    pictures, depths = _read_list(folder / "rgb.txt"), _read_list(folder / "depth.txt")
    pinhole = next((pinhole for name, pinhole in PINHOLES.items() if name in folder.name), ROS_DEFAULT)
    source = folder.name
    return [
        frame_of_files(stem_below(root, folder / image), source, folder / image, folder / depth, pinhole, RULE)
        for image, depth in associate(pictures, depths)
    ]


def associate(pictures: Sequence[tuple[float, str]], depths: Sequence[tuple[float, str]]) -> list[tuple[str, str]]:
    """Pairs of names nearest in time, the closest first served, each used once, in the order of the images."""
    times = np.array([time for time, _ in depths])
    near = [
        (float(abs(times[j] - time)), i, int(j))
        for i, (time, _) in enumerate(pictures)
        for j in np.flatnonzero(np.abs(times - time) < APART)
    ]
    taken: dict[int, int] = {}
    for _, i, j in sorted(near):
        if i not in taken and j not in taken.values():
            taken[i] = j
    return [(pictures[i][1], depths[j][1]) for i, j in sorted(taken.items())]


def _read_list(path: Path) -> list[tuple[float, str]]:
    with reading(path, "the list of times and files", DatasetError, "restore the file"):
        lines = [line.split() for line in read_text(path).splitlines() if line.strip()]
        return [(float(words[0]), words[1]) for words in lines if not words[0].startswith("#")]
