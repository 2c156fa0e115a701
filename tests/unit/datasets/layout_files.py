"""Small files of public layouts, for tests that build a miniature tree of each."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import h5py
import numpy as np
from numpy.typing import NDArray


def picture(path: Path, width: int, height: int, shade: int = 120) -> Path:
    """A plain image of one shade of red, so that colour order shows."""
    return encoded(path, np.full((height, width, 3), (0, 0, shade), dtype=np.uint8))


def png16(path: Path, metres: NDArray[np.float64] | float, scale: float, size: tuple[int, int]) -> Path:
    """Depth of ``size`` (width, height) as 16-bit PNG; not a number becomes 0."""
    values = np.nan_to_num(np.broadcast_to(np.asarray(metres, dtype=np.float64), size[::-1]) * scale)
    return encoded(path, np.rint(values).astype(np.uint16))


def encoded(path: Path, values: NDArray[np.generic]) -> Path:
    """Any image OpenCV can write, whatever the case of its ending."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _, data = cv2.imencode(path.suffix.lower(), values)
    path.write_bytes(data.tobytes())
    return path


def text(path: Path, content: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")
    return path


def as_json(path: Path, content: object) -> Path:
    return text(path, json.dumps(content))


def npy(path: Path, values: NDArray[np.generic]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, values)
    return path


def hdf5(path: Path, **arrays: NDArray[np.generic]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            file[name] = values
    return path
