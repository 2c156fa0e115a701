"""DDAD in the DGP format: ``SCENE/scene_*.json`` lists images, LiDAR sweeps, their poses and calibrations.

True depth is made when a frame is read: the sweep of the same sample, moved by both poses into the image's camera.
Intrinsics are in OpenCV's pixel convention.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from m3d_cli.bounded_files import LIST_BYTES, MOST_LISTED_VALUES, read_json, reading
from m3d_cli.camera import Camera
from m3d_cli.datasets.depth_files import read_numpy
from m3d_cli.datasets.frame import Frame, Pinhole, read_picture, stem_below
from m3d_cli.datasets.lidar import pose_matrix, project_points
from m3d_cli.errors import DatasetError

_HINT = "needs SCENE/scene_*.json with the files it names and SCENE/calibration/*.json"
RULE = "depth: the sweep's points along the camera's axis, the nearest in a pixel"
SPLITS = {"0": "train", "1": "val", "2": "test", "train": "train", "val": "val", "test": "test"}


def find_ddad(root: Path) -> tuple[Frame, ...]:
    """Frames of every camera of every scene below ``root``, with the split that ``ddad.json`` gives their scene."""
    scenes = sorted(root.rglob("scene_*.json"))
    splits = read_splits(root)
    return tuple(frame for scene in scenes for frame in _scene(root, scene, splits))


def _scene(root: Path, file: Path, splits: Mapping[str, str]) -> Iterator[Frame]:
    with reading(file, "the scene of DDAD", DatasetError, _HINT):
        scene = read_json(file, MOST_LISTED_VALUES, LIST_BYTES)
        data = {datum["key"]: datum for datum in scene["data"]}
        split = splits.get(f"{file.parent.name}/{file.name}", "")
        for sample in scene["samples"]:
            calibration = _calibration(file.parent / "calibration" / f"{sample['calibration_key']}.json")
            picked = [data[key] for key in sample["datum_keys"]]
            yield from _sample(root, file.parent, picked, calibration, split)


def _sample(
    root: Path, folder: Path, data: list[Mapping[str, Any]], calibration: Mapping[str, Pinhole], split: str
) -> Iterator[Frame]:
    """The frames of one moment: all its images with its LiDAR sweep."""
    sweeps = [datum["datum"]["point_cloud"] for datum in data if "point_cloud" in datum["datum"]]
    if not sweeps:
        return
    cloud = folder / sweeps[0]["filename"]
    for datum in data:
        if "image" not in datum["datum"]:
            continue
        picture = datum["datum"]["image"]
        image = folder / picture["filename"]
        pinhole = calibration[datum["id"]["name"]]
        camera_from_lidar = np.linalg.inv(_pose(picture["pose"])) @ _pose(sweeps[0]["pose"])
        read_depth = partial(_depth, image, cloud, pinhole, camera_from_lidar)
        name = stem_below(root, image)
        read_image = partial(read_picture, image)
        frame = Frame(name, "ddad", image, cloud, pinhole, True, read_image, read_depth)
        yield dataclasses.replace(frame, split=split, scene=folder.name, rule=RULE)


def _depth(image: Path, cloud: Path, pinhole: Pinhole, camera_from_lidar: NDArray[np.float64]) -> NDArray[np.float32]:
    sweep = read_numpy(cloud, "data")
    if sweep.ndim != 2 or sweep.shape[1] < 3 or sweep.dtype.kind != "f":
        raise DatasetError(f"{cloud}: not a LiDAR sweep but {sweep.dtype} {sweep.shape}", hint="restore the file")
    points = sweep[:, :3].astype(np.float64)
    height, width = read_picture(image).shape[:2]
    camera: Camera = pinhole.camera(image, width, height)
    # What a damaged pose moves beyond all numbers falls into no pixel.
    with np.errstate(over="ignore", invalid="ignore"):
        return project_points(points @ camera_from_lidar[:3, :3].T + camera_from_lidar[:3, 3], camera)


def _pose(pose: Mapping[str, Any]) -> NDArray[np.float64]:
    rotation, translation = pose["rotation"], pose["translation"]
    quaternion = np.array([rotation[name] for name in ("qw", "qx", "qy", "qz")], dtype=np.float64)
    return pose_matrix(quaternion, np.array([translation[name] for name in "xyz"], dtype=np.float64))


def _calibration(file: Path) -> dict[str, Pinhole]:
    content = read_json(file, MOST_LISTED_VALUES, LIST_BYTES)
    pairs = zip(content["names"], content["intrinsics"], strict=True)
    # Sensors that are no cameras have a focal length of 0.
    return {
        name: Pinhole.opencv(float(k[word]) for word in ("fx", "fy", "cx", "cy")) for name, k in pairs if k["fx"] > 0
    }


def read_splits(root: Path) -> dict[str, str]:
    """Split by ``SCENE/scene_*.json``, from ``ddad.json`` above the scenes; empty without it."""
    files = sorted(root.rglob("ddad.json"))
    if not files:
        return {}
    with reading(files[0], "the list of DDAD's scenes", DatasetError, _HINT):
        content = read_json(files[0], MOST_LISTED_VALUES, LIST_BYTES)["scene_splits"]
        pairs = [(SPLITS.get(str(key), ""), name) for key, entry in content.items() for name in entry["filenames"]]
        return {"/".join(Path(name).parts[-2:]): split for split, name in pairs}
