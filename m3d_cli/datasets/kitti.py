"""KITTI raw images with the annotated depth of the depth benchmark; the Eigen split where its list lies beside them.

A list is any ``*eigen*.txt`` below the folder whose name says train, val or test, in either of the two common forms:
``image depth focal`` (paths, ``None`` where no depth was annotated), or ``date/drive number side``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from m3d_cli.bounded_files import read_text, reading
from m3d_cli.datasets.depth_files import DepthRule
from m3d_cli.datasets.frame import Frame, Pinhole, frame_of_files
from m3d_cli.errors import DatasetError

RULE = DepthRule(256, 65500)
CALIBRATION = "calib_cam_to_cam.txt"
SIDES = {"l": "image_02", "r": "image_03", "2": "image_02", "3": "image_03"}
# The list that papers score.
BENCHMARK_SPLIT = "test"
# Drive, camera folder and number.
Key = tuple[str, str, str]
_FORMS = "lines are: image depth focal, or: date/drive number side"
_HINT = "needs DATE/DRIVE/image_02/data/*.png, DATE/calib_cam_to_cam.txt and (train|val)/DRIVE/proj_depth/groundtruth"


def find_kitti(root: Path) -> tuple[Frame, ...]:
    """Frames of the Eigen lists below ``root`` by split, or every frame with annotated depth."""
    depths = {_key(path): path for path in sorted(root.rglob("proj_depth/groundtruth/image_0[23]/*.png"))}
    drives = {path.name: path for path in sorted(root.rglob("*_sync")) if (path.parent / CALIBRATION).is_file()}
    if not depths or not drives:
        raise DatasetError(f"{root}: no annotated depth or no raw drive of KITTI", hint=_HINT)
    splits = _listed_splits(root, depths)
    if not splits:
        return tuple(_frame(drives, key, path, _half(path)) for key, path in depths.items())
    return tuple(_frame(drives, key, depths[key], split) for split, keys in splits.items() for key in keys)


def without_depth(root: Path, frames: Sequence[Frame]) -> Counter[str]:
    """How many frames the Eigen lists name, by split, that are not among ``frames``: their depth was not annotated."""
    there = {_key(frame.depth) for frame in frames}
    listed: dict[str, set[Key]] = {}
    for file in root.rglob("*eigen*.txt"):
        listed.setdefault(_split_of(file), set()).update(key for key, _ in read_list(file))
    return Counter({split: len(keys - there) for split, keys in listed.items()})


def _listed_splits(root: Path, depths: Mapping[Key, Path]) -> dict[str, list[Key]]:
    """The annotated frames of each list by its split; raises DatasetError where two lists of a split differ."""
    found: dict[str, tuple[Path, list[Key]]] = {}
    for file in sorted(root.rglob("*eigen*.txt")):
        split = _split_of(file)
        keys = list(dict.fromkeys(_with_depth(file, split, depths)))
        first, known = found.setdefault(split, (file, keys))
        if set(known) != set(keys):
            raise DatasetError(f"{file}: lists other {split} frames than {first}", hint="leave one of the two there")
    return {split: keys for split, (_, keys) in found.items()}


def _split_of(file: Path) -> str:
    """Train, val or test, as the list's name says."""
    said = [split for split in ("train", "val", "test") if split in file.stem.lower()]
    if len(said) != 1:
        raise DatasetError(f"{file}: its name does not say its split", hint="such as eigen_test_files.txt")
    return said[0]


def _with_depth(file: Path, split: str, depths: Mapping[Key, Path]) -> list[Key]:
    """The frames of a list that were annotated; raises DatasetError where a test list names depth that is not there.

    Who scores the test frames need not have the depth of the others.
    """
    listed = read_list(file)
    lost = [key for key, has_depth in listed if has_depth and key not in depths]
    if lost and split == BENCHMARK_SPLIT:
        raise DatasetError(f"{file}: depth of {len(lost)} frames is not there, such as {'/'.join(lost[0])}", hint=_HINT)
    return [key for key, _ in listed if key in depths]


def read_list(file: Path) -> list[tuple[Key, bool]]:
    """Every line's frame, and whether the line names annotated depth."""
    with reading(file, "the list of KITTI frames", DatasetError, _FORMS):
        lines = [line.split() for line in read_text(file).splitlines() if line.strip()]
        return [(_listed(words), bool(Path(words[0]).suffix) and words[1] != "None") for words in lines]


def _listed(words: list[str]) -> Key:
    path = Path(words[0])
    if path.suffix:
        return path.parts[-4], path.parts[-3], path.stem
    return path.name, SIDES[words[2]], f"{int(words[1]):010}"


def _key(depth: Path) -> Key:
    """The frame of an annotated depth file."""
    return depth.parents[3].name, depth.parent.name, depth.stem


def _half(depth: Path) -> str:
    return depth.parents[4].name if depth.parents[4].name in ("train", "val") else ""


def _frame(drives: dict[str, Path], key: Key, depth: Path, split: str) -> Frame:
    name, camera, number = key
    if name not in drives:
        raise DatasetError(f"{depth}: the raw drive {name} is missing", hint=_HINT)
    folder = drives[name]
    image = folder / camera / "data" / f"{number}.png"
    if not image.is_file() and image.with_suffix(".jpg").is_file():
        image = image.with_suffix(".jpg")
    pinhole = read_calibration(folder.parent / CALIBRATION, camera[-2:])
    stem = f"{folder.parent.name}/{name}/{camera}/data/{number}"
    return frame_of_files(stem, "kitti", image, depth, pinhole, RULE, sparse=True, split=split, scene=name)


def read_calibration(path: Path, camera: str) -> Pinhole:
    """Rectified intrinsics of camera ``02`` or ``03``, in OpenCV's pixel convention, and the size they belong to."""
    with reading(path, "the calibration of KITTI", DatasetError, "fetch the date's calibration"):
        lines = dict(line.split(":", 1) for line in read_text(path).splitlines() if ":" in line)
        matrix = np.array(lines[f"P_rect_{camera}"].split(), dtype=np.float64).reshape(3, 4)
        width, height = (round(float(number)) for number in lines[f"S_rect_{camera}"].split())
        return Pinhole.opencv((matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2]), (width, height))
