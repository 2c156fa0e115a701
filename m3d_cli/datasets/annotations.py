"""Metric3D's annotation files: ``{"files": [{"rgb", "depth", "depth_scale", "cam_in", "normal"}, ...]}``.

``cam_in`` is fx, fy, cx, cy in OpenCV's pixel convention; paths count from the file's folder or one above it, or are
absolute. Where no scale is stated, the rule of the data set named by a folder of the path or by the file counts.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from m3d_cli.bounded_files import LIST_BYTES, MOST_LISTED_VALUES, read_json, reading
from m3d_cli.datasets.depth_files import RULES, DepthRule, read_normals
from m3d_cli.datasets.frame import Frame, Pinhole, frame_of_files
from m3d_cli.errors import DatasetError

_HINT = "an annotation file is an object with a list 'files' of objects with rgb, depth, cam_in and depth_scale"
# Data sets whose loaders treat depth as sparse.
SPARSE = frozenset({"waymo", "ddad", "dsec", "argoverse2", "lyft", "pandaset", "nuscenes", "kitti", "drivingstereo"})


def find_annotations(root: Path) -> tuple[Frame, ...]:
    """Frames of the annotation file ``root``, or of all ``*.json`` in the folder ``root``."""
    files = [root] if root.is_file() else sorted(root.glob("*.json"))
    frames = tuple(frame for file in files for frame in _read(file))
    if not frames:
        raise DatasetError(f"{root}: no annotated frames", hint=_HINT)
    return frames


def _read(file: Path) -> list[Frame]:
    with reading(file, "the annotation file", DatasetError, _HINT):
        return [_frame(file, entry) for entry in read_json(file, MOST_LISTED_VALUES, LIST_BYTES)["files"]]


def _frame(file: Path, entry: Mapping[str, Any]) -> Frame:
    image, depth = _resolve(file, entry["rgb"]), _resolve(file, entry["depth"])
    rule = _rule(file, entry)
    frame = frame_of_files(
        _name(entry["rgb"]),
        file.stem,
        image,
        depth,
        Pinhole.opencv(float(number) for number in entry["cam_in"]),
        rule,
        sparse=_data_set(file, entry) in SPARSE,
        scene=_name(entry["rgb"]).rpartition("/")[0],
    )
    if not entry.get("normal"):
        return frame
    return dataclasses.replace(frame, read_normals=partial(read_normals, _resolve(file, entry["normal"])))


def _name(path: str) -> str:
    """The path without ending, made to stay below any folder it is put into."""
    parts = Path(path).with_suffix("").parts
    return "/".join(part for part in parts if part not in ("..", Path(path).anchor))


def _rule(file: Path, entry: Mapping[str, Any]) -> DepthRule:
    if "depth_scale" in entry:
        scale = float(entry["depth_scale"])
        if not 0 < scale < float("inf"):
            raise ValueError(f"depth_scale {scale}")
        known = RULES.get(_data_set(file, entry))
        return DepthRule(scale, known.raw_limit if known and known.scale == scale else float("inf"))
    name = _data_set(file, entry)
    if name not in RULES:
        raise DatasetError(
            f"{file}: {entry['depth']} states no depth_scale", hint=f"state it, or name the file {'/'.join(RULES)}"
        )
    return RULES[name]


def _data_set(file: Path, entry: Mapping[str, Any]) -> str:
    """The known data set that a folder of the depth path or the annotation file is named for; empty for none."""
    parts = [part.lower() for part in (*Path(entry["depth"]).parts[:-1], file.stem)]
    return next((name for part in parts for name in RULES if part == name or part.startswith(f"{name}_")), "")


def _resolve(file: Path, path: str) -> Path:
    """Where a path of the file leads: to the first folder upwards that holds it, else beside the file."""
    for folder in file.absolute().parents:
        if (folder / path).exists():
            return folder / path
    return file.parent / path
