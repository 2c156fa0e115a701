"""Trajectories as files of other tools: TUM, KITTI, nerfstudio, 7-Scenes, Open3D; their conventions stand in them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from m3d_cli.camera import Camera
from m3d_cli.trajectory import Poses, Trajectory, quaternions

CONVENTION = "world_from_camera, metres; camera x right, y down, z forward"
# Ours to OpenGL's camera, which is x right, y up, z backward.
_OPENGL = np.diag([1.0, -1.0, -1.0, 1.0])


@dataclass(frozen=True, slots=True)
class ExportedFrame:
    """Files of one frame, relative to the folder of the export; ``depth`` is a PNG."""

    picture: str
    depth: str | None
    camera: Camera


def encode_tum(trajectory: Trajectory, comments: Sequence[str] = ()) -> bytes:
    """Lines ``time tx ty tz qx qy qz qw``."""
    head = [f"# {text}" for text in (CONVENTION, *comments, "time tx ty tz qx qy qz qw")]
    table = np.concatenate([trajectory.times[:, None], trajectory.positions, quaternions(trajectory.poses)], axis=1)
    rows = ["{:.6f} {:.7f} {:.7f} {:.7f} {:.8f} {:.8f} {:.8f} {:.8f}".format(*row) for row in table]
    return ("\n".join([*head, *rows]) + "\n").encode()


def encode_kitti(trajectory: Trajectory) -> bytes:
    """A line of twelve numbers a pose; KITTI's tools take no comments."""
    rows = trajectory.poses[:, :3].reshape(-1, 12)
    return "".join(" ".join(f"{value:.9e}" for value in row) + "\n" for row in rows).encode()


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
        "transform_matrix": (pose @ _OPENGL).tolist(),
    }
    return entry if frame.depth is None else {**entry, "depth_file_path": frame.depth}


def _rows(pose: NDArray[np.float64]) -> str:
    return "".join(" ".join(f"{value:.9e}" for value in row) + "\n" for row in pose)
