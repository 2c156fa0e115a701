"""Trajectories: tables (TUM, KITTI, EuRoC), nerfstudio's transforms.json, COLMAP models, 7-Scenes, Open3D logs.

Whatever a file's own convention, poses become world_from_camera with x right, y down, z forward; worlds stay.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from m3d_cli.bounded_files import TABLE_BYTES, parse_json, read_bytes, read_text, reading
from m3d_cli.camera import Camera
from m3d_cli.errors import PoseError
from m3d_cli.formats.colmap import is_colmap, read_colmap_model
from m3d_cli.formats.trajectory_tables import (
    KITTI_COLUMNS,
    TUM_COLUMNS,
    euroc_trajectory,
    is_euroc,
    kitti_trajectory,
    read_table,
    tum_trajectory,
)
from m3d_cli.photo_names import natural_key
from m3d_cli.trajectory import Poses, Trajectory, inverse

POSE_SUFFIX = ".pose.txt"
TRANSFORMS = "transforms.json"
# OpenGL's camera (x right, y up, z backward), which nerfstudio has, seen from ours, and back.
OPENGL_CAMERA = np.diag([1.0, -1.0, -1.0, 1.0])

_FORMATS = (
    "TUM (8 numbers per line), KITTI (12), EuRoC's CSV, transforms.json, a COLMAP model, a folder of *.pose.txt, "
    "or Open3D's .log"
)


def read_trajectory(path: Path) -> Trajectory:
    """The poses in a file or folder, its format found by looking; raises PoseError naming it."""
    with reading(path, "the trajectory", PoseError, hint=f"known are {_FORMATS}"):
        return _reader(path)(path)


def read_tabular(path: Path) -> Trajectory:
    """A table of TUM, KITTI or EuRoC, by how many numbers a line has and what its comments name."""
    table = read_table(path)
    if is_euroc(table):
        return euroc_trajectory(table)
    if table.columns == KITTI_COLUMNS:
        return kitti_trajectory(table)
    if table.columns == TUM_COLUMNS:
        return tum_trajectory(table)
    raise PoseError(
        f"{path}: {table.columns} numbers per line are neither TUM's 8 nor KITTI's 12 nor EuRoC's 17", hint=_FORMATS
    )


def read_transforms(path: Path) -> Trajectory:
    """nerfstudio's transforms.json: ``transform_matrix`` of every frame, in OpenGL's camera axes."""
    frames = parse_json(read_bytes(path))["frames"]
    frames = sorted(frames, key=lambda frame: natural_key(str(frame["file_path"])))
    poses = np.array([_four_rows(frame["transform_matrix"]) for frame in frames]).reshape(-1, 4, 4) @ OPENGL_CAMERA
    names = [str(frame["file_path"]).removeprefix("./") for frame in frames]
    return Trajectory.counted(poses, names)


def read_colmap_poses(path: Path) -> Trajectory:
    """The images of a COLMAP model, text or binary, in the order of their names."""
    images = read_colmap_model(path).images
    poses = inverse(np.array([image.camera_from_world for image in images]).reshape(-1, 4, 4))
    return Trajectory.counted(poses, [image.name for image in images])


def read_pose_folder(folder: Path) -> Trajectory:
    """7-Scenes: a file ``NAME.pose.txt`` of four rows for each frame."""
    files = sorted(folder.glob(f"*{POSE_SUFFIX}"), key=lambda path: natural_key(path.name))
    poses = np.array([_four_rows(read_table(path).rows) for path in files]).reshape(-1, 4, 4)
    return Trajectory.counted(poses, [path.name.removesuffix(POSE_SUFFIX) for path in files])


def read_log(path: Path) -> Trajectory:
    """Open3D's log: a line of three numbers, then four rows of world_from_camera, for each frame."""
    lines = [line.split() for line in read_text(path, TABLE_BYTES).splitlines() if line.strip()]
    if not lines or len(lines) % 5:
        raise PoseError(f"{path}: {len(lines)} lines are no poses of five lines", hint="restore the file")
    blocks = [lines[start + 1 : start + 5] for start in range(0, len(lines), 5)]
    return Trajectory.counted(np.array(blocks, dtype=np.float64))


def _reader(path: Path) -> Callable[[Path], Trajectory]:
    if is_colmap(path):
        return read_colmap_poses
    if path.is_dir():
        return _folder_reader(path)
    if path.suffix.lower() == ".json":
        return read_transforms
    if path.suffix.lower() == ".log":
        return read_log
    return read_tabular


def _folder_reader(path: Path) -> Callable[[Path], Trajectory]:
    if (path / TRANSFORMS).is_file():
        return lambda folder: read_transforms(folder / TRANSFORMS)
    if any(path.glob(f"*{POSE_SUFFIX}")):
        return read_pose_folder
    raise PoseError(f"{path}: no poses in this folder", hint=f"known are {_FORMATS}")


def _four_rows(values: Any) -> Poses:
    """A (4, 4) matrix; three rows get the fourth."""
    matrix = np.asarray(values, dtype=np.float64)
    if matrix.shape == (3, 4):
        return np.concatenate([matrix, [[0.0, 0.0, 0.0, 1.0]]])
    if matrix.shape != (4, 4):
        raise PoseError(f"a pose of shape {matrix.shape} is no 4 x 4 matrix", hint="restore the file")
    return matrix


@dataclass(frozen=True, slots=True)
class ExportedFrame:
    """Files of one frame, relative to the folder of the export; ``depth`` is a PNG."""

    picture: str
    depth: str | None
    camera: Camera


def encode_pose(pose: NDArray[np.float64]) -> bytes:
    """One pose as 7-Scenes has it: four rows."""
    return _rows(pose).encode()


def encode_log(trajectory: Trajectory) -> bytes:
    """Open3D's log of poses, world_from_camera."""
    return "".join(f"{i} {i} {i + 1}\n{_rows(pose)}" for i, pose in enumerate(trajectory.poses)).encode()


def encode_transforms(trajectory: Trajectory, frames: Sequence[ExportedFrame], depth_unit: float) -> bytes:
    """nerfstudio's transforms.json in metres; a depth PNG's value times ``depth_unit`` is metres."""
    content = {
        "camera_model": "OPENCV",
        "orientation_override": "none",
        "m3d_convention": "transform_matrix is world_from_camera in metres; camera x right, y up, z backward (OpenGL)",
        "depth_unit_scale_factor": depth_unit,
        "frames": [_transform(pose, frame) for pose, frame in zip(trajectory.poses, frames, strict=True)],
    }
    return (json.dumps(content, indent=1) + "\n").encode()


def _transform(pose: Poses, frame: ExportedFrame) -> dict[str, object]:
    camera = frame.camera
    entry: dict[str, object] = {
        "file_path": frame.picture,
        "fl_x": camera.fx,
        "fl_y": camera.fy,
        "cx": camera.cx,
        "cy": camera.cy,
        "w": camera.width,
        "h": camera.height,
        "transform_matrix": (pose @ OPENGL_CAMERA).tolist(),
    }
    return entry if frame.depth is None else {**entry, "depth_file_path": frame.depth}


def _rows(pose: NDArray[np.float64]) -> str:
    return "".join(" ".join(f"{value:.9e}" for value in row) + "\n" for row in pose)
