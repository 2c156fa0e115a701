"""Folders of RGB-D frames: ``rgb/*.jpg``, ``depth/*.png`` (uint16), ``meta.json`` with one entry a frame and, for
frames whose entry says ``has_normals``, ``normal/*.png`` (uint16 RGB, coded as in `depthmap`).

Metres are ``value / depth_scale``; 0 is unknown and, where the file says so, ``sky_value`` is beyond everything. The
file's intrinsics follow the OpenCV convention (centre of the top-left pixel at 0, 0) and are moved to ours when read.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from m3d_cli.atomic import part_of
from m3d_cli.camera import OPENCV_OFFSET, Camera, FocalSource
from m3d_cli.datasets.depth_files import read_image
from m3d_cli.datasets.sample import Sample
from m3d_cli.depthmap import NORMAL_AXES, DepthMap, coded_normals, decoded_normals
from m3d_cli.errors import CalibrationError, DatasetError
from m3d_cli.formats.bounded import MOST_LISTED_VALUES, read_json, reading
from m3d_cli.photo import Photo

MILLIMETRES = 1000.0  # PNG units a metre: reaches 65.5 m
KITTI_SCALE = 256.0  # PNG units a metre: reaches 256 m
SKY_VALUE = 65535  # PNG value of a pixel beyond everything, in folders that we write
_LARGEST = SKY_VALUE - 1
_CONVENTION = "OpenCV: centre of the top-left pixel at (0, 0)"
_HINT = "see m3d_cli/datasets/rgbd.py for the layout"


@dataclass(frozen=True, slots=True)
class RgbdFrame:
    """One line of ``meta.json``: file stem, camera (our pixel convention), split, source, depth units a metre, and
    whether there are normals.
    """

    name: str
    camera: Camera
    split: str
    source: str
    depth_scale: float
    has_normals: bool = False


@dataclass(frozen=True, slots=True)
class RgbdFolder:
    """An opened folder; frames are decoded one at a time by ``read``."""

    root: Path
    source: str
    split: str
    licence: str
    sparse: bool
    sky_value: int | None
    frames: tuple[RgbdFrame, ...]

    def __len__(self) -> int:
        return len(self.frames)

    def read(self, index: int) -> Sample:
        """Decode frame ``index``; raises DatasetError naming the file that does not fit."""
        frame = self.frames[index]
        path = self.root / "rgb" / f"{frame.name}.jpg"
        image = _read_image(path, cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)
        _expect_size(path, image, frame.camera)
        depth = self._read_depth(frame)
        photo = Photo(path, image.astype(np.uint8, copy=False), frame.camera)
        normals = self.read_normals(frame) if frame.has_normals else None
        return Sample(photo, DepthMap(depth, frame.camera, None, normals), frame.source, self.sparse)

    def read_normals(self, frame: RgbdFrame) -> NDArray[np.float32]:
        """Unit normals (H, W, 3) of a frame that has them, NaN where unknown."""
        path = self.root / "normal" / f"{frame.name}.png"
        stored = _read_image(path, cv2.IMREAD_UNCHANGED)
        if stored.dtype != np.uint16 or stored.ndim != 3:
            raise DatasetError(
                f"{path}: normals must be a 16-bit RGB PNG, got {stored.dtype} {stored.shape}", hint=_HINT
            )
        _expect_size(path, stored, frame.camera)
        return decoded_normals(stored[..., ::-1])

    def _read_depth(self, frame: RgbdFrame) -> NDArray[np.float32]:
        path = self.root / "depth" / f"{frame.name}.png"
        stored = _read_image(path, cv2.IMREAD_UNCHANGED)
        if stored.dtype != np.uint16 or stored.ndim != 2:
            raise DatasetError(
                f"{path}: depth must be a 16-bit grey PNG, got {stored.dtype} {stored.shape}", hint=_HINT
            )
        _expect_size(path, stored, frame.camera)
        depth = stored.astype(np.float32) / np.float32(frame.depth_scale)
        depth[stored == 0] = np.nan
        if self.sky_value is not None:
            depth[stored == self.sky_value] = np.inf
        return depth


def open_rgbd(folder: Path) -> RgbdFolder:
    """Read ``folder/meta.json``; the images stay on disk."""
    path = folder / "meta.json"
    meta = _read_meta(path)
    try:
        with reading(path, DatasetError, "an entry is missing or wrong", _HINT):
            source, split = str(meta.get("source", folder.name)), str(meta["split"])
            return RgbdFolder(
                root=folder,
                source=source,
                split=split,
                licence=str(meta.get("licence", "none stated")),
                sparse=str(meta.get("depth_type", "dense")) == "sparse",
                sky_value=int(meta["sky_value"]) if "sky_value" in meta else None,
                frames=tuple(_frame(entry, meta, split, source) for entry in meta["frames"]),
            )
    except CalibrationError as error:
        raise DatasetError(f"{path}: {error.message}", hint=_HINT) from error


def open_rgbd_tree(root: Path) -> tuple[RgbdFolder, ...]:
    """Every folder below ``root`` that holds a ``meta.json``, in the order of names."""
    folders = tuple(open_rgbd(path.parent) for path in sorted(root.glob("*/meta.json")))
    if not folders:
        raise DatasetError(f"{root}: no folder with a meta.json in it", hint="name the folder that holds the sources")
    return folders


def write_rgbd(
    samples: Iterable[Sample],
    folder: Path,
    *,
    source: str = "synthetic",
    split: str = "train",
    licence: str = "none stated",
    jpeg_quality: int = 95,
) -> RgbdFolder:
    """Store samples in the layout that ``open_rgbd`` reads; the folder appears only when all are written.

    Depth is kept in millimetres, or in 1/256 m where a frame reaches beyond 65 m; finite depth beyond that is unknown.
    Raises DatasetError where the folder, or other files in place of its unfinished one, are there.
    """
    if folder.exists():
        raise DatasetError(f"{folder} exists already", hint="remove it or name another folder")
    part = part_of(folder)
    _remove_unfinished(part)
    for name in ("rgb", "depth"):
        (part / name).mkdir(parents=True)
    sparse: set[bool] = set()
    frames = []
    for index, sample in enumerate(samples):
        sparse.add(sample.sparse)
        frames.append(_write_frame(sample, part, f"{index:06d}", jpeg_quality))
    if len(sparse) > 1:
        raise DatasetError(f"{folder}: dense and sparse frames cannot share one folder", hint="write two folders")
    meta = {
        "source": source,
        "licence": licence,
        "split": split,
        "depth_scale": MILLIMETRES,
        "depth_type": "sparse" if True in sparse else "dense",
        "sky_value": SKY_VALUE,
        "intrinsics_convention": _CONVENTION,
        "normals": NORMAL_AXES,
        "frames": frames,
    }
    (part / "meta.json").write_text(json.dumps(meta, indent=0), encoding="utf-8")
    part.replace(folder)
    return open_rgbd(folder)


def _remove_unfinished(part: Path) -> None:
    """Remove what an interrupted writer left; raises DatasetError where anything else lies there."""
    if not part.exists():
        return
    own = ("rgb", "depth", "normal", "meta.json")
    if part.is_symlink() or not part.is_dir() or any(path.name not in own for path in part.iterdir()):
        raise DatasetError(f"{part}: holds files that m3d did not write", hint="remove it or name another folder")
    shutil.rmtree(part)


def _read_meta(path: Path) -> Mapping[str, Any]:
    if not path.exists():
        raise DatasetError(f"{path} is missing", hint=_HINT)
    with reading(path, DatasetError, "not readable as JSON", _HINT):
        meta = read_json(path, MOST_LISTED_VALUES)
    if not isinstance(meta, dict) or not isinstance(meta.get("frames"), list):
        raise DatasetError(f"{path}: needs an object with a list 'frames'", hint=_HINT)
    return meta


def _frame(entry: Mapping[str, Any], meta: Mapping[str, Any], split: str, source: str) -> RgbdFrame:
    estimated = entry.get("intrinsics") == "estimated"
    camera = Camera(
        width=int(entry["w"]),
        height=int(entry["h"]),
        fx=float(entry["fx"]),
        fy=float(entry["fy"]),
        cx=float(entry["cx"]) + OPENCV_OFFSET,
        cy=float(entry["cy"]) + OPENCV_OFFSET,
        focal_source=FocalSource.ESTIMATED if estimated else FocalSource.CALIBRATION,
        focal_rel_sigma=0.05 if estimated else 0.005,
    ).checked()
    scale = float(entry.get("depth_scale", meta["depth_scale"]))
    if not math.isfinite(scale) or scale <= 0:
        raise ValueError(f"depth_scale {scale}")
    return RgbdFrame(
        name=str(entry["id"]),
        camera=camera,
        split=str(entry.get("split", split)),
        source=str(entry.get("source", source)),
        depth_scale=scale,
        has_normals=bool(entry.get("has_normals", False)),
    )


def _read_image(path: Path, flags: int) -> NDArray[Any]:
    return read_image(path, flags, "restore the file or drop its entry in meta.json")


def _expect_size(path: Path, image: NDArray[Any], camera: Camera) -> None:
    height, width = image.shape[:2]
    if (width, height) != (camera.width, camera.height):
        raise DatasetError(
            f"{path}: {width} x {height} pixels, meta.json says {camera.width} x {camera.height}",
            hint="intrinsics belong to one size: correct w, h, fx, fy, cx, cy together",
        )


def _write_frame(sample: Sample, folder: Path, name: str, jpeg_quality: int) -> dict[str, object]:
    depth, camera = sample.truth.depth, sample.photo.camera
    known = depth[np.isfinite(depth)]
    scale = MILLIMETRES if not known.size or known.max() * MILLIMETRES < _LARGEST else KITTI_SCALE
    image = np.ascontiguousarray(sample.photo.image[..., ::-1])
    _encode(folder / "rgb" / f"{name}.jpg", image, [cv2.IMWRITE_JPEG_QUALITY, jpeg_quality])
    _encode(folder / "depth" / f"{name}.png", _to_png(depth, scale), [cv2.IMWRITE_PNG_COMPRESSION, 3])
    normals = sample.truth.normals
    if normals is not None:
        (folder / "normal").mkdir(exist_ok=True)
        coded = np.ascontiguousarray(coded_normals(normals)[..., ::-1])
        _encode(folder / "normal" / f"{name}.png", coded, [cv2.IMWRITE_PNG_COMPRESSION, 3])
    return {
        "id": name,
        "w": camera.width,
        "h": camera.height,
        "fx": camera.fx,
        "fy": camera.fy,
        "cx": camera.cx - OPENCV_OFFSET,
        "cy": camera.cy - OPENCV_OFFSET,
        "depth_scale": scale,
        "source": sample.source,
        "valid": round(float(np.isfinite(depth).mean()), 4),
        "has_normals": normals is not None,
    }


def _to_png(depth: NDArray[np.float32], scale: float) -> NDArray[np.uint16]:
    with np.errstate(invalid="ignore"):
        units = np.nan_to_num(np.rint(depth * scale), nan=0.0, posinf=0.0)
    units[units > _LARGEST] = 0
    stored: NDArray[np.uint16] = units.astype(np.uint16)
    stored[np.isposinf(depth)] = SKY_VALUE
    return stored


def _encode(path: Path, image: NDArray[Any], options: list[int]) -> None:
    done, data = cv2.imencode(path.suffix, image, options)
    if not done:
        raise DatasetError(f"{path}: cannot be encoded")
    path.write_bytes(data.tobytes())
