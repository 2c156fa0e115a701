"""Posed frames as folders that other tools open: nerfstudio, COLMAP, Open3D, 7-Scenes; images and depth come along.

Every format is written frame by frame; the file that names the poses is written last, so a folder with it is whole.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from enum import Enum
from pathlib import Path

import cv2
import numpy as np

from m3d_cli.atomic import write_bytes
from m3d_cli.camera import Camera
from m3d_cli.errors import OutputError, UsageError
from m3d_cli.formats.colmap import (
    ColmapCamera,
    ColmapImage,
    ColmapModel,
    ColmapPoints,
    write_colmap_binary,
    write_colmap_text,
)
from m3d_cli.formats.depth_png import MILLIMETRES, encode_depth_png
from m3d_cli.formats.trajectories import ExportedFrame, encode_log, encode_pose, encode_transforms
from m3d_cli.sequences.frames import SequenceFrame, View
from m3d_cli.sequences.poses import PosedFrames
from m3d_cli.trajectory import Trajectory, inverse


class ExportFormat(str, Enum):
    """Folders of posed frames."""

    NERFSTUDIO = "nerfstudio"
    COLMAP = "colmap"
    COLMAP_BINARY = "colmap-binary"
    OPEN3D = "open3d"
    SEVEN_SCENES = "7scenes"

    def __str__(self) -> str:
        return self.value


# Files of a frame's image and depth, by format.
_FILES = {
    ExportFormat.NERFSTUDIO: ("images/{}.jpg", "depth/{}.png"),
    ExportFormat.COLMAP: ("images/{}.jpg", "depth/{}.png"),
    ExportFormat.COLMAP_BINARY: ("images/{}.jpg", "depth/{}.png"),
    ExportFormat.OPEN3D: ("color/{}.jpg", "depth/{}.png"),
    ExportFormat.SEVEN_SCENES: ("seq-01/frame-{}.color.png", "seq-01/frame-{}.depth.png"),
}


# What each format means by a pose, and the axes of its camera.
_WORLD, _OPENCV = "world_from_camera", "x right, y down, z forward"
_STATED = {
    ExportFormat.NERFSTUDIO: (_WORLD, "x right, y up, z backward"),
    ExportFormat.COLMAP: ("camera_from_world", _OPENCV),
    ExportFormat.COLMAP_BINARY: ("camera_from_world", _OPENCV),
    ExportFormat.OPEN3D: (_WORLD, _OPENCV),
    ExportFormat.SEVEN_SCENES: (_WORLD, _OPENCV),
}
STATEMENT = "m3d-export.json"


def export(posed: PosedFrames, kind: ExportFormat, out: Path, longest: int, advance: Callable[[], None]) -> int:
    """Write images, depth (16-bit millimetres) and poses of all frames below ``out``; raises OutputError.

    Returns how many pixels were too far for that and became unknown. ``m3d-export.json`` states the conventions, as
    most of the formats have no place for them.
    """
    written, beyond = [], 0
    for index, frame in enumerate(posed.frames):
        entry, clipped = _write_frame(frame, f"{index:06d}", kind, out, longest)
        written.append(entry)
        beyond += clipped
        advance()
    _write_poses(posed, kind, out, written)
    write_bytes(out / STATEMENT, _statement(kind, len(written), beyond))
    return beyond


def _write_poses(posed: PosedFrames, kind: ExportFormat, out: Path, written: list[ExportedFrame]) -> None:
    if kind is ExportFormat.NERFSTUDIO:
        write_bytes(out / "transforms.json", encode_transforms(posed.trajectory, written, 1 / MILLIMETRES))
    elif kind is ExportFormat.OPEN3D:
        _write_open3d(posed.trajectory, written, out)
    elif kind is ExportFormat.SEVEN_SCENES:
        for entry, pose in zip(written, posed.trajectory.poses, strict=True):
            write_bytes(out / entry.picture.replace(".color.png", ".pose.txt"), encode_pose(pose))
    else:
        write = write_colmap_text if kind is ExportFormat.COLMAP else write_colmap_binary
        write(colmap_of(posed.trajectory, written), out / "sparse" / "0")


def _statement(kind: ExportFormat, frames: int, beyond: int) -> bytes:
    pose, axes = _STATED[kind]
    content = {
        "format": str(kind),
        "frames": frames,
        "pose": pose,
        "camera_axes": axes,
        "unit": "metre",
        "depth": "z along the optical axis, 16-bit PNG in millimetres, 0 unknown",
        "depth_beyond_png": beyond,
    }
    return (json.dumps(content, indent=1) + "\n").encode()


def colmap_of(trajectory: Trajectory, frames: list[ExportedFrame]) -> ColmapModel:
    """A COLMAP model of the poses alone, without points; frames of equal cameras share one."""
    cameras = list(dict.fromkeys(frame.camera for frame in frames))
    nothing = (np.zeros((0, 2)), np.zeros(0, dtype=np.int64))
    images = tuple(
        ColmapImage(index + 1, Path(frame.picture).name, cameras.index(frame.camera) + 1, pose, *nothing)
        for index, (frame, pose) in enumerate(zip(frames, inverse(trajectory.poses), strict=True))
    )
    empty = np.zeros((0, 3))
    points = ColmapPoints(np.zeros(0, dtype=np.int64), empty, empty.astype(np.uint8), np.zeros(0))
    return ColmapModel(tuple(_colmap_camera(i + 1, camera) for i, camera in enumerate(cameras)), images, points)


def _colmap_camera(number: int, camera: Camera) -> ColmapCamera:
    parameters = (camera.fx, camera.fy, camera.cx, camera.cy)
    return ColmapCamera(number, "PINHOLE", camera.width, camera.height, parameters)


def _write_frame(
    frame: SequenceFrame, name: str, kind: ExportFormat, out: Path, longest: int
) -> tuple[ExportedFrame, int]:
    """The frame's files, and how many pixels its depth lost."""
    view = frame.view(longest)
    picture, depth = (file.format(name) for file in _FILES[kind])
    write_bytes(out / picture, _encoded(frame, view, Path(picture).suffix))
    data, clipped = encode_depth_png(view.depth.depth)
    write_bytes(out / depth, data)
    return ExportedFrame(picture, depth, view.depth.camera), clipped


def _encoded(frame: SequenceFrame, view: View, suffix: str) -> bytes:
    if view.image is None:
        raise OutputError(f"{frame.name}: no photo to export", hint="name the photos beside --depth")
    done, data = cv2.imencode(suffix, np.ascontiguousarray(view.image[..., ::-1]))
    if not done:
        raise OutputError(f"{frame.name}: the encoder refused the image")
    return data.tobytes()


def _write_open3d(trajectory: Trajectory, frames: list[ExportedFrame], out: Path) -> None:
    """``camera_intrinsic.json`` in OpenCV's pixels, column by column as Open3D has it, and ``trajectory.log``."""
    cameras = {frame.camera for frame in frames}
    if len(cameras) > 1:
        raise OutputError(f"{out}: Open3D's folders have one camera, these frames {len(cameras)}", hint="--same-camera")
    camera = frames[0].camera
    content = {
        "width": camera.width,
        "height": camera.height,
        "intrinsic_matrix": camera.opencv_matrix.T.ravel().tolist(),
    }
    write_bytes(out / "camera_intrinsic.json", (json.dumps(content, indent=1) + "\n").encode())
    write_bytes(out / "trajectory.log", encode_log(trajectory))


def parse_format(name: str) -> ExportFormat:
    """The format called ``name``; raises UsageError."""
    try:
        return ExportFormat(name)
    except ValueError as error:
        raise UsageError(f"--format {name} is unknown", hint=f"one of {', '.join(ExportFormat)}") from error
