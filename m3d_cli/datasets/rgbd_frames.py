"""m3d's own RGB-D folders, one a source, as frames of the layout ``rgbd``."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from m3d_cli.datasets.depth_files import DepthRule
from m3d_cli.datasets.frame import Frame, Pinhole, frame_of_files
from m3d_cli.datasets.rgbd import RgbdFolder, RgbdFrame, open_rgbd, open_rgbd_tree


def find_rgbd(root: Path) -> tuple[Frame, ...]:
    """Frames of the folder ``root``, or of every folder in it that holds a ``meta.json``."""
    folders = (open_rgbd(root),) if (root / "meta.json").is_file() else open_rgbd_tree(root)
    return tuple(_frame(folder, entry) for folder in folders for entry in folder.frames)


def _frame(folder: RgbdFolder, entry: RgbdFrame) -> Frame:
    camera = entry.camera
    pinhole = Pinhole(
        camera.fx,
        camera.fy,
        camera.cx,
        camera.cy,
        (camera.width, camera.height),
        camera.focal_source,
        camera.focal_rel_sigma,
    )
    frame = frame_of_files(
        f"{folder.root.name}/{entry.name}",
        folder.source,
        folder.root / "rgb" / f"{entry.name}.jpg",
        folder.root / "depth" / f"{entry.name}.png",
        pinhole,
        DepthRule(entry.depth_scale, sky=folder.sky_value),
        sparse=folder.sparse,
        split=entry.split,
    )
    return replace(frame, read_normals=partial(folder.read_normals, entry)) if entry.has_normals else frame
