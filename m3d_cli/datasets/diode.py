"""DIODE: ``SPLIT/(indoors|outdoor)/SCENE/SCAN/NAME.png`` with ``NAME_depth.npy``, ``NAME_depth_mask.npy`` and
``NAME_normal.npy``.

One camera for all, in the published tool's ``intrinsics.txt``; its principal point is the middle of the image.
"""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from m3d_cli.datasets.depth_files import RULES, read_normals
from m3d_cli.datasets.frame import LOST_MASK, Frame, Pinhole, frame_of_files, stem_below

PINHOLE = Pinhole(886.81, 927.06, 512.0, 384.0, (1024, 768))
MASKED, UNMASKED = "mask NAME_depth_mask.npy", f"{LOST_MASK}: NAME_depth_mask.npy"
# Towards DIODE's normals from ours: y and z point the other way.
AXES = np.array([1, -1, -1], dtype=np.float32)


def find_diode(root: Path) -> tuple[Frame, ...]:
    """Frames below ``root``; indoors and outdoors are two sources, as papers score them apart."""
    return tuple(_frame(root, path) for path in sorted(root.rglob("*.png")))


def _frame(root: Path, image: Path) -> Frame:
    depth, mask, normal = (image.with_name(f"{image.stem}_{kind}.npy") for kind in ("depth", "depth_mask", "normal"))
    parts = image.relative_to(root).parts
    source = "outdoor" if any(part.startswith("outdoor") for part in (root.name, *parts)) else "indoors"
    split = next((part for part in (*parts, root.name) if part in ("train", "val", "test")), "")
    name = stem_below(root, image)
    held = mask if mask.is_file() else None
    scene = image.parent.parent.name
    frame = frame_of_files(name, source, image, depth, PINHOLE, RULES["diode"], mask=held, split=split, scene=scene)
    frame = dataclasses.replace(frame, rule=f"{frame.rule}; {MASKED if held else UNMASKED}")
    return dataclasses.replace(frame, read_normals=partial(_normals, normal)) if normal.is_file() else frame


def _normals(path: Path) -> NDArray[np.float32]:
    """Unit normals in our axes; where DIODE has none they are (0, 0, 0)."""
    return read_normals(path) * AXES
