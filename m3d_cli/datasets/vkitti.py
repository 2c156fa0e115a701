"""Virtual KITTI 2: ``SceneNN/VARIATION/frames/{rgb,depth}/Camera_N/*`` and ``SceneNN/VARIATION/intrinsic.txt``.

Depth is in centimetres; 65535 is sky. Beyond 150 m depth is unknown, as Metric3D takes it. Intrinsics are in OpenCV's
pixel convention.
"""

from __future__ import annotations

from pathlib import Path

from m3d_cli.bounded_files import read_text, reading
from m3d_cli.datasets.depth_files import DepthRule
from m3d_cli.datasets.frame import Frame, Pinhole, frame_of_files, stem_below
from m3d_cli.errors import DatasetError

RULE = DepthRule(100, farthest=150.0, sky=65535)
SIZE = (1242, 375)


def find_vkitti(root: Path) -> tuple[Frame, ...]:
    """Frames of every scene, variation and camera below ``root``."""
    pictures = sorted(root.rglob("frames/rgb/Camera_*/rgb_*.jpg"))
    tables = {folder: read_intrinsics(folder) for folder in {path.parents[3] for path in pictures}}
    return tuple(_frame(root, path, tables[path.parents[3]]) for path in pictures)


def _frame(root: Path, image: Path, table: dict[tuple[int, int], Pinhole]) -> Frame:
    camera, number = image.parent.name, image.stem.removeprefix("rgb_")
    depth = image.parents[2] / "depth" / camera / f"depth_{number}.png"
    key = (int(number), int(camera.removeprefix("Camera_")))
    if key not in table:
        raise DatasetError(f"{image}: intrinsic.txt has no line for it", hint="extract the text archive of the scene")
    scene = image.parents[4].name
    return frame_of_files(stem_below(root, image), "vkitti", image, depth, table[key], RULE, scene=scene)


def read_intrinsics(folder: Path) -> dict[tuple[int, int], Pinhole]:
    """Intrinsics by frame and camera: lines ``frame camera fx fy cx cy`` below a title."""
    path = folder / "intrinsic.txt"
    with reading(path, "the table of intrinsics", DatasetError, "extract the text archive of the scene"):
        rows = [line.split() for line in read_text(path).splitlines()[1:] if line.strip()]
        return {(int(r[0]), int(r[1])): Pinhole.opencv((float(x) for x in r[2:6]), SIZE) for r in rows}
