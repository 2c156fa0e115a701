"""KITTI raw pictures with the annotated depth of the depth benchmark; the Eigen split where its list lies beside them.

A list is any ``*eigen*.txt`` below the folder, in either of the two common forms: ``picture depth focal`` (paths,
``None`` where no depth was annotated), or ``date/drive number side``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from m3d_cli.datasets.depth_files import DepthRule
from m3d_cli.datasets.frame import Frame, Pinhole, frame_of_files
from m3d_cli.errors import DatasetError

RULE = DepthRule(256, 65500)
CALIBRATION = "calib_cam_to_cam.txt"
SIDES = {"l": "image_02", "r": "image_03", "2": "image_02", "3": "image_03"}
_FORMS = "lines are: picture depth focal, or: date/drive number side"
_HINT = "needs DATE/DRIVE/image_02/data/*.png, DATE/calib_cam_to_cam.txt and (train|val)/DRIVE/proj_depth/groundtruth"


def find_kitti(root: Path) -> tuple[Frame, ...]:
    """Frames of the Eigen list below ``root``, or every frame with annotated depth."""
    depths = {_key(path): path for path in sorted(root.rglob("proj_depth/groundtruth/image_0[23]/*.png"))}
    drives = {path.name: path for path in sorted(root.rglob("*_sync")) if (path.parent / CALIBRATION).is_file()}
    if not depths or not drives:
        raise DatasetError(f"{root}: no annotated depth or no raw drive of KITTI", hint=_HINT)
    lists = sorted(root.rglob("*eigen*.txt"))
    listed = [key for file in lists for key in _with_depth(file, depths)]
    split = "eigen" if lists else ""
    keys: Iterable[tuple[str, str, str]] = listed if lists else depths
    return tuple(_frame(drives, key, depths[key], split or _half(depths[key])) for key in dict.fromkeys(keys))


def _with_depth(file: Path, depths: Mapping[tuple[str, str, str], Path]) -> list[tuple[str, str, str]]:
    """The frames of a list that were annotated; raises DatasetError where the list names depth that is not there."""
    listed = read_list(file)
    lost = [key for key, has_depth in listed if has_depth and key not in depths]
    if lost:
        raise DatasetError(f"{file}: depth of {len(lost)} frames is not there, such as {'/'.join(lost[0])}", hint=_HINT)
    return [key for key, _ in listed if key in depths]


def read_list(file: Path) -> list[tuple[tuple[str, str, str], bool]]:
    """Drive, camera folder and number of every line, and whether the line names annotated depth."""
    lines = [line.split() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    try:
        return [(_listed(words), bool(Path(words[0]).suffix) and words[1] != "None") for words in lines]
    except (IndexError, KeyError, ValueError) as error:
        raise DatasetError(f"{file}: not a list of KITTI frames ({error!r})", hint=_FORMS) from error


def _listed(words: list[str]) -> tuple[str, str, str]:
    path = Path(words[0])
    if path.suffix:
        return path.parts[-4], path.parts[-3], path.stem
    return path.name, SIDES[words[2]], f"{int(words[1]):010}"


def _key(depth: Path) -> tuple[str, str, str]:
    """Drive, camera folder and number of an annotated depth file."""
    return depth.parents[3].name, depth.parent.name, depth.stem


def _half(depth: Path) -> str:
    return depth.parents[4].name if depth.parents[4].name in ("train", "val") else ""


def _frame(drives: dict[str, Path], key: tuple[str, str, str], depth: Path, split: str) -> Frame:
    name, camera, number = key
    if name not in drives:
        raise DatasetError(f"{depth}: the raw drive {name} is missing", hint=_HINT)
    folder = drives[name]
    image = folder / camera / "data" / f"{number}.png"
    if not image.is_file() and image.with_suffix(".jpg").is_file():
        image = image.with_suffix(".jpg")
    pinhole = read_calibration(folder.parent / CALIBRATION, camera[-2:])
    stem = f"{folder.parent.name}/{name}/{camera}/data/{number}"
    return frame_of_files(stem, "kitti", image, depth, pinhole, RULE, sparse=True, split=split)


def read_calibration(path: Path, camera: str) -> Pinhole:
    """Rectified intrinsics of camera ``02`` or ``03``, in OpenCV's pixel convention, and the size they belong to."""
    try:
        lines = dict(line.split(":", 1) for line in path.read_text(encoding="utf-8").splitlines() if ":" in line)
        matrix = np.array(lines[f"P_rect_{camera}"].split(), dtype=np.float64).reshape(3, 4)
        width, height = (round(float(number)) for number in lines[f"S_rect_{camera}"].split())
    except (OSError, KeyError, ValueError) as error:
        raise DatasetError(
            f"{path}: not a calibration of KITTI ({error!r})", hint="fetch the date's calibration"
        ) from error
    return Pinhole.opencv((matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2]), (width, height))
