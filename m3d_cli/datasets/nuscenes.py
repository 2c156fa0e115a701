"""nuScenes with its LiDAR exported to sparse depth PNGs: ``samples/CAMERA/NAME.jpg``, ``depth/CAMERA/NAME.png`` and the
tables ``v1.0-*/sample_data.json`` and ``calibrated_sensor.json``, which hold each image's intrinsics. Every such
folder is read: a download holds several.

Depth is in 1/200 m, as Metric3D exports it; a file ``depth_scale.txt`` beside it says otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from m3d_cli.bounded_files import LIST_BYTES, MOST_LISTED_VALUES, read_json, read_text, reading
from m3d_cli.datasets.depth_files import RULES, DepthRule
from m3d_cli.datasets.frame import Frame, Pinhole, frame_of_files, stem_below
from m3d_cli.errors import DatasetError

_HINT = "needs samples/CAMERA/*.jpg, depth/CAMERA/*.png and v1.0-*/{sample_data,calibrated_sensor}.json"


def find_nuscenes(root: Path) -> tuple[Frame, ...]:
    """Frames with exported depth below ``root``."""
    tables = sorted(root.glob("v1.0-*"))
    if not tables:
        raise DatasetError(f"{root}: no tables of nuScenes", hint=_HINT)
    pinholes = {name: pinhole for folder in tables for name, pinhole in read_pinholes(folder).items()}
    rule = _rule(root / "depth" / "depth_scale.txt")
    return tuple(_frame(root, path, pinholes, rule) for path in sorted((root / "depth").glob("*/*.png")))


def _frame(root: Path, depth: Path, pinholes: Mapping[str, Pinhole], rule: DepthRule) -> Frame:
    image = root / "samples" / depth.parent.name / f"{depth.stem}.jpg"
    key = image.relative_to(root).as_posix()
    if key not in pinholes:
        raise DatasetError(f"{image}: no intrinsics in sample_data.json", hint=_HINT)
    # LOG__CAMERA__TIME: images of one drive share the name of its log.
    scene = image.stem.partition("__")[0] if "__" in image.stem else ""
    name = stem_below(root, image)
    return frame_of_files(name, "nuscenes", image, depth, pinholes[key], rule, sparse=True, scene=scene)


def read_pinholes(folder: Path) -> dict[str, Pinhole]:
    """Intrinsics by file name, in OpenCV's pixel convention; only cameras have some."""
    rows, found = _table(folder / "calibrated_sensor.json"), {}
    with reading(folder / "calibrated_sensor.json", "the list of sensors", DatasetError, _HINT):
        sensors = {row["token"]: row.get("camera_intrinsic") for row in rows}
    images = _table(folder / "sample_data.json")
    with reading(folder / "sample_data.json", "the list of images", DatasetError, _HINT):
        for row in images:
            matrix = sensors.get(row["calibrated_sensor_token"])
            if matrix:
                numbers = (float(matrix[i][j]) for i, j in ((0, 0), (1, 1), (0, 2), (1, 2)))
                size = (int(row["width"]), int(row["height"])) if row.get("width") else None
                found[str(row["filename"])] = Pinhole.opencv(numbers, size)
    return found


def _table(path: Path) -> Sequence[Mapping[str, Any]]:
    with reading(path, "the table of nuScenes", DatasetError, _HINT):
        rows = read_json(path, MOST_LISTED_VALUES, LIST_BYTES)
    if not isinstance(rows, list):
        raise DatasetError(f"{path}: not a table of nuScenes", hint=_HINT)
    return rows


def _rule(path: Path) -> DepthRule:
    if not path.is_file():
        return RULES["nuscenes"]
    with reading(path, "the scale of depth", DatasetError, "PNG units a metre, such as 200"):
        scale = float(read_text(path))
    if not 0 < scale < float("inf"):
        raise DatasetError(f"{path}: {scale} is not a positive number", hint="PNG units a metre, such as 200")
    return DepthRule(scale, RULES["nuscenes"].raw_limit)
