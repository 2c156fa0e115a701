"""Anybody's depth maps on disk, named like the frames of a data set: ``NAME.png``, ``NAME.npy`` or ``NAME.npz``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from m3d_cli.atomic import write_bytes
from m3d_cli.datasets.depth_files import read_numpy
from m3d_cli.datasets.frame import Frame, stem_below
from m3d_cli.errors import DatasetError, OutputError, UsageError
from m3d_cli.formats.depth_png import SCALE_KEY, read_depth_png
from m3d_cli.formats.float_images import encode_npy
from m3d_cli.formats.png16 import text_of

ENDINGS = (".npy", ".npz", ".png")
# Endings that tools put before the file type.
MARKS = (".depth", "_depth")
# Products of m3d depth that are no depth.
OTHERS = (".conf", ".normal", ".preview")
_HINT = "predictions are named like the frames: NAME.png, NAME.npy or NAME.npz, in the data set's folders or all in one"


@dataclass(frozen=True, slots=True)
class PredictionFolder:
    """The depth map of each frame; ``png_scale`` is the units a metre of PNGs that do not say so themselves."""

    root: Path
    files: Mapping[str, Path] = field(repr=False)
    png_scale: float | None = None

    def read(self, frame: Frame) -> NDArray[np.float32]:
        """Metres (H, W) of ``frame``'s prediction."""
        return read_prediction(self.files[frame.name], self.png_scale)


def open_predictions(
    root: Path, frames: Sequence[Frame], data: Path, png_scale: float | None = None
) -> PredictionFolder:
    """Find the prediction of every frame before anything is scored; raises DatasetError when one is missing.

    A frame's prediction is named by the frame's name, by its image's path below ``data``, or by its last part
    where no two frames share it.
    """
    if not root.is_dir():
        raise DatasetError(f"{root}: no such folder of predictions", hint=_HINT)
    there = _listed(root)
    files: dict[str, Path] = {}
    missing = []
    unique = _unique_ends(frames)
    for frame in frames:
        found = next((there[name] for name in _names(frame, data, unique) if name in there), None)
        if found is None:
            missing.append(frame.name)
            continue
        files[frame.name] = found
    if missing:
        raise DatasetError(f"{root}: no prediction for {len(missing)} frames, such as {missing[0]}", hint=_HINT)
    return PredictionFolder(root, files, png_scale)


def read_prediction(path: Path, scale: float | None = None) -> NDArray[np.float32]:
    """Metres (H, W) of one file, NaN unknown: a PNG by the scale inside it, else by ``scale``; npy and npz are metres,
    or whole numbers of ``scale`` a metre.
    """
    if path.suffix.lower() == ".png":
        return _read_png(path, scale)
    values = read_numpy(path)
    depth = np.squeeze(values)
    if depth.ndim != 2 or not depth.size or depth.dtype.kind not in "fiu":
        raise DatasetError(f"{path}: a prediction is one number a pixel, got {values.dtype} {values.shape}", hint=_HINT)
    if depth.dtype.kind in "iu" and scale is None:
        raise UsageError(f"{path}: whole numbers are no metres", hint="--pred-scale UNITS_A_METRE")
    metres = np.ascontiguousarray(depth, dtype=np.float32) / np.float32(scale if depth.dtype.kind in "iu" else 1)
    # Marks of the unknown must not be blended with depth when the map is resized.
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(np.isfinite(metres) & (metres > 0), metres, np.nan), dtype=np.float32)


def save_prediction(root: Path, frame: Frame, depth: NDArray[np.float32]) -> None:
    """Keep a prediction to the last bit as ``NAME.npy``."""
    write_bytes(root / f"{frame.name}.npy", *encode_npy(depth))


def _read_png(path: Path, png_scale: float | None) -> NDArray[np.float32]:
    try:
        stated = SCALE_KEY in text_of(path.read_bytes(), str(path))
        if not stated and png_scale is None:
            raise UsageError(f"{path}: the PNG does not say its depth scale", hint="--pred-scale UNITS_A_METRE")
        return read_depth_png(path, None if stated else png_scale).depth
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read ({error.strerror})", hint="restore the file") from error
    except OutputError as error:
        raise DatasetError(f"{path}: {error.message.removeprefix(f'{path}: ')}", hint=error.hint) from error


def _listed(root: Path) -> dict[str, Path]:
    """Files by name below ``root`` without endings; exact arrays win over PNGs."""
    found: dict[str, Path] = {}
    for ending in ENDINGS:
        for path in sorted(root.rglob(f"*{ending}")):
            name = stem_below(root, path)
            if not name.endswith(OTHERS):
                found.setdefault(name, path)
    return found


def _unique_ends(frames: Sequence[Frame]) -> frozenset[str]:
    """Last parts of names that no two frames share."""
    counts = Counter(_end(frame.name) for frame in frames)
    return frozenset(end for end, count in counts.items() if count == 1)


def _names(frame: Frame, data: Path, unique: frozenset[str]) -> Iterator[str]:
    names = [frame.name]
    data = data.resolve()  # as the frames are
    # One file that holds every image names none of them.
    if frame.image != frame.depth and frame.image.is_relative_to(data):
        names.append(stem_below(data, frame.image))
    if _end(frame.name) in unique:
        names.append(_end(frame.name))
    for name in names:
        yield name
        yield from (f"{name}{mark}" for mark in MARKS)


def _end(name: str) -> str:
    return name.rpartition("/")[2]
