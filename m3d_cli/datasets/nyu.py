"""NYU Depth v2: the labelled ``.mat`` with its official ``splits.mat``, or images with ``sync_depth_*.png`` beside.

Intrinsics are those of the toolbox's colour camera (``camera_params.m``), in OpenCV's pixel convention, for 640 x 480.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from m3d_cli.bounded_files import read_bytes, reading
from m3d_cli.datasets.depth_files import DepthRule, load_h5py, read_hdf5
from m3d_cli.datasets.frame import Frame, Pinhole, frame_of_files, stem_below
from m3d_cli.datasets.mat_file import numeric_arrays
from m3d_cli.errors import DatasetError

PINHOLE = Pinhole.opencv((518.857901, 519.469611, 325.582449, 253.736166), (640, 480))
LABELLED = "nyu_depth_v2_labeled.mat"
SPLITS = "splits.mat"
# PNG units a metre of the exported official splits; beyond the Kinect's reach nothing is known.
MILLIMETRES = DepthRule(1000, 65500)
METRES = DepthRule(1)


def find_nyu(root: Path) -> tuple[Frame, ...]:
    """Frames of the ``.mat`` in ``root`` with their split, or of ``rgb_*.jpg`` and ``sync_depth_*.png`` below it."""
    file = root if root.is_file() else root / LABELLED
    if file.is_file():
        return _labelled(file)
    pictures = sorted(path for ending in ("jpg", "png") for path in root.rglob(f"rgb_*.{ending}"))
    return tuple(_exported(root, path) for path in pictures)


def _exported(root: Path, image: Path) -> Frame:
    depth = image.with_name(image.name.replace("rgb_", "sync_depth_")).with_suffix(".png")
    folders = {part.lower() for part in image.relative_to(root).parts[:-1]}
    split = next((name for name in ("test", "train") if name in folders), "")
    name, scene = stem_below(root, image), image.relative_to(root).parent.as_posix()
    return frame_of_files(name, "nyu", image, depth, PINHOLE, MILLIMETRES, split=split, scene=scene)


def _labelled(file: Path) -> tuple[Frame, ...]:
    """The 1449 labelled frames; numbers count from 0, as exported images are named."""
    count, scenes = _contents(file)
    splits = read_splits(file.with_name(SPLITS))
    return tuple(
        Frame(
            f"rgb_{index:05}",
            "nyu",
            file,
            file,
            PINHOLE,
            False,
            partial(_picture, file, index),
            partial(_depth, file, index),
            split=splits.get(index, ""),
            scene=scenes[index] if scenes else "",
            rule=METRES.words(),
        )
        for index in range(count)
    )


def _contents(file: Path) -> tuple[int, list[str]]:
    """How many frames there are, and the scene of each; a copy without the table of scenes has none."""
    h5py = load_h5py(file)
    with reading(file, "the labelled NYU file", DatasetError, "fetch it again"), h5py.File(file, "r") as content:
        scenes = content.get("scenes", [])
        # A cell array of MATLAB: references to rows of character codes.
        names = ["".join(map(chr, np.ravel(content[cell]))) for cell in np.ravel(scenes)]
        return len(content["depths"]), names


def read_splits(path: Path) -> dict[int, str]:
    """``train`` or ``test`` by frame number counted from 0, from the official ``splits.mat``; empty without it."""
    if not path.is_file():
        return {}
    with reading(path, "the splits of NYU", DatasetError, "fetch splits.mat again"):
        content = numeric_arrays(read_bytes(path))
        names = {"train": content["trainNdxs"], "test": content["testNdxs"]}
        return {int(number) - 1: split for split, numbers in names.items() for number in np.ravel(numbers)}


def _picture(file: Path, index: int) -> NDArray[np.uint8]:
    """MATLAB stores columns first: (3, W, H) becomes (H, W, 3)."""
    return np.ascontiguousarray(read_hdf5(file, "images", index).T, dtype=np.uint8)


def _depth(file: Path, index: int) -> NDArray[np.float32]:
    return METRES.metres(np.ascontiguousarray(read_hdf5(file, "depths", index).T))
