"""Depth as public data sets store it: which number is a metre, and which numbers mean that nothing is known."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from m3d_cli.bounded_files import reading
from m3d_cli.errors import DatasetError
from m3d_cli.extras import install_hint
from m3d_cli.formats.array_bounds import check_image, check_numbers
from m3d_cli.formats.npy import read_any

_RESTORE = "restore the file or leave the frame out"
_HDF5_ENDINGS = (".hdf5", ".h5", ".mat")


@dataclass(frozen=True, slots=True)
class DepthRule:
    """``metres = raw / scale``. Unknown: 0, negative or not finite, raw above ``raw_limit``, metres not above
    ``nearest`` or beyond ``farthest``. ``sky`` is the raw value of what is beyond everything.
    """

    scale: float = 1.0
    raw_limit: float = float("inf")
    nearest: float = 0.0
    farthest: float = float("inf")
    sky: float | None = None

    def metres(self, raw: NDArray[Any]) -> NDArray[np.float32]:
        """Float32 metres (H, W), NaN unknown, +inf sky."""
        # Signalling NaN, and doubles beyond float32, become unknown below.
        with np.errstate(invalid="ignore", over="ignore"):
            depth = raw.astype(np.float32) / np.float32(self.scale)
        known = np.isfinite(depth) & (depth > self.nearest) & (depth <= self.farthest)
        if np.isfinite(self.raw_limit):
            known &= raw <= self.raw_limit
        depth[~known] = np.nan
        if self.sky is not None:
            depth[raw == self.sky] = np.inf
        return depth

    def words(self) -> str:
        """The rule for people, as a result names it."""
        parts = ["depth 0 or not a number"]
        if np.isfinite(self.raw_limit):
            parts.append(f"value above {self.raw_limit:g}")
        if self.nearest > 0:
            parts.append(f"depth up to {self.nearest:g} m")
        if np.isfinite(self.farthest):
            parts.append(f"depth beyond {self.farthest:g} m")
        sky = f"; value {self.sky:g} is sky and does not count" if self.sky is not None else ""
        return f"metres = value / {self.scale:g}; unknown: {', '.join(parts)}{sky}"

    def read(self, path: Path, mask: Path | None = None) -> NDArray[np.float32]:
        """Depth of a file in metres; where the file ``mask`` is 0 it is unknown."""
        depth = self.metres(read_raw(path))
        if mask is not None:
            held = read_raw(mask)
            if held.shape != depth.shape:
                raise DatasetError(f"{mask}: {held.shape} pixels, its depth has {depth.shape}", hint=_RESTORE)
            depth[held == 0] = np.nan
        return depth


# What the released loaders of Metric3D take as metres and as unknown, for annotation files that state no scale.
FAR = 65500.0
RULES = {
    "uasol": DepthRule(200, FAR),
    "cityscapes": DepthRule(200, FAR),
    "diml": DepthRule(200, FAR),
    "waymo": DepthRule(200, FAR),
    "ddad": DepthRule(200, FAR),
    "dsec": DepthRule(200, FAR),
    "argoverse2": DepthRule(200, FAR),
    "lyft": DepthRule(200, FAR),
    "pandaset": DepthRule(200, FAR),
    "nuscenes": DepthRule(200, FAR),
    "drivingstereo": DepthRule(256, FAR),
    "mapillary_psd": DepthRule(256, FAR),
    "virtual_kitti": DepthRule(100, farthest=150),
    "replica": DepthRule(512, 60000),
    "taskonomy": DepthRule(512, 60000),
    "hm3d": DepthRule(512, 60000),
    "blendedmvg": DepthRule(512, 60000),
    "matterport3d": DepthRule(4000, FAR),
    "hypersim": DepthRule(1, 60000),
    "scannet": DepthRule(1000, FAR),
    "nyu": DepthRule(6000, FAR),
    "kitti": DepthRule(256, FAR),
    "eth3d": DepthRule(1, farthest=100),
    "diode": DepthRule(1, nearest=0.1, farthest=150),
    "ibims": DepthRule(1000, 50000),
    "7scenes": DepthRule(1000, FAR),
}


def read_raw(path: Path) -> NDArray[Any]:
    """The numbers of a depth or mask file, (H, W): PNG and TIFF of any depth, npy, npz, HDF5."""
    suffix = path.suffix.lower()
    if suffix in (".npy", ".npz"):
        values = read_numpy(path)
    elif suffix in _HDF5_ENDINGS:
        values = read_hdf5(path, "dataset")
    else:
        values = read_image(path, cv2.IMREAD_UNCHANGED)
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[..., 0]
    if values.ndim != 2 or values.dtype.kind not in "biuf":
        raise DatasetError(
            f"{path}: depth must be one number a pixel, got {values.dtype} {values.shape}", hint=_RESTORE
        )
    return values


def read_normals(path: Path) -> NDArray[np.float32]:
    """Three numbers a pixel, (H, W, 3), from npy, npz or HDF5."""
    if path.suffix.lower() not in (".npy", ".npz", *_HDF5_ENDINGS):
        raise DatasetError(
            f"{path}: how an image stores normals is not agreed on", hint="write them as npy: three numbers per pixel"
        )
    values = read_hdf5(path, "dataset") if path.suffix.lower() in _HDF5_ENDINGS else read_numpy(path)
    if values.ndim != 3 or values.shape[2] != 3:
        raise DatasetError(f"{path}: normals must be three numbers per pixel, got {values.shape}", hint=_RESTORE)
    if values.dtype.kind not in "iuf":
        raise DatasetError(f"{path}: normals must be real numbers, got {values.dtype}", hint=_RESTORE)
    with np.errstate(invalid="ignore", over="ignore"):
        return values.astype(np.float32)


def read_hdf5(path: Path, key: str, index: int | None = None) -> NDArray[Any]:
    """The array ``key`` of an HDF5 file (a MATLAB 7.3 file is one), or its row ``index``."""
    h5py = load_h5py(path)
    with reading(path, f"{key!r} of the HDF5 file", DatasetError, _RESTORE), h5py.File(path, "r") as file:
        found = file[key]
        check_numbers(math.prod(found.shape if index is None else found.shape[1:]), found.id.get_storage_size())
        return np.asarray(found[...] if index is None else found[index])


def load_h5py(path: Path) -> Any:  # h5py is untyped
    """The module h5py, which only some data sets need."""
    try:
        import h5py
    except ImportError as error:
        raise DatasetError(f"{path}: reading HDF5 needs h5py", hint=install_hint("datasets")) from error
    return h5py


def read_numpy(path: Path, key: str = "depth") -> NDArray[Any]:
    """The array of an npy file; of an npz, the one called ``key``, else the first."""
    with reading(path, "the numpy file", DatasetError, _RESTORE):
        return read_any(path, key)


def read_image(path: Path, flags: int, hint: str = _RESTORE) -> NDArray[Any]:
    """An image as OpenCV reads it with ``flags``; raises DatasetError, also for one larger than its file can be."""
    with reading(path, "the image", DatasetError, hint):
        data = path.read_bytes()
        check_image(data)
        image = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), flags) if data else None
    if image is None:
        raise DatasetError(f"{path}: not an image", hint=hint)
    return np.asarray(image)
