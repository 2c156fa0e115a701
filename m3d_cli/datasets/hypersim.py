"""Hypersim: ``scene_CAM_final_preview/frame.N.tonemap.jpg`` and ``scene_CAM_geometry_hdf5/frame.N.*.hdf5``.

``depth_meters`` is the distance from the camera's centre and becomes depth along z here. All cameras of the preview
release have a horizontal field of view of 60 degrees.
"""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from m3d_cli.datasets.depth_files import RULES, read_hdf5, read_normals
from m3d_cli.datasets.frame import Frame, Pinhole, read_picture, stem_below
from m3d_cli.depthmap import facing

SIZE = (1024, 768)
FOCAL = SIZE[0] / 2 / math.tan(math.radians(30))
PINHOLE = Pinhole(FOCAL, FOCAL, SIZE[0] / 2, SIZE[1] / 2, SIZE)
# Hypersim's camera looks along -z with y up.
AXES = np.array([1, -1, -1], dtype=np.float32)


def find_hypersim(root: Path) -> tuple[Frame, ...]:
    """Frames below ``root`` with a tone-mapped image."""
    return tuple(_frame(root, path) for path in sorted(root.rglob("*_final_preview/frame.*.tonemap.jpg")))


def _frame(root: Path, image: Path) -> Frame:
    folder = image.parent.with_name(image.parent.name.replace("_final_preview", "_geometry_hdf5"))
    start = image.name.removesuffix(".tonemap.jpg")
    depth, normal = folder / f"{start}.depth_meters.hdf5", folder / f"{start}.normal_cam.hdf5"
    return Frame(
        stem_below(root, image),
        "hypersim",
        image,
        depth,
        PINHOLE,
        False,
        partial(read_picture, image),
        partial(_depth, image, depth),
        partial(_normals, image, normal) if normal.is_file() else None,
        scene=image.parents[2].name,
        rule=f"{RULES['hypersim'].words()}; distance from the camera's centre made depth along its axis",
    )


def _depth(image: Path, path: Path) -> NDArray[np.float32]:
    """Depth along z (H, W): distance divided by the length of the pixel's ray."""
    distance = RULES["hypersim"].metres(read_hdf5(path, "dataset"))
    camera = PINHOLE.camera(image, distance.shape[1], distance.shape[0])
    return np.asarray(distance / np.linalg.norm(camera.rays(), axis=2), dtype=np.float32)


def _normals(image: Path, path: Path) -> NDArray[np.float32]:
    """Normals in our axes, turned to face the camera."""
    normals = read_normals(path) * AXES
    return facing(normals, PINHOLE.camera(image, normals.shape[1], normals.shape[0]))
