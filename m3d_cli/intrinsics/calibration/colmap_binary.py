"""COLMAP's ``cameras.bin`` and ``images.bin`` without the points, for the intrinsics of each image alone."""

from __future__ import annotations

import struct
from pathlib import Path

from m3d_cli.bounded_files import check_entries, read_bytes
from m3d_cli.errors import CalibrationError
from m3d_cli.formats.colmap import BINARY_BYTES, CAMERA_MODELS, ColmapCamera

_COUNT, _CAMERA, _IMAGE = struct.Struct("<Q"), struct.Struct("<iiQQ"), struct.Struct("<i7di")
# A pixel of an image: x and y, and the number of its point.
_PIXEL_BYTES = 24


def read_binary_cameras(path: Path) -> tuple[ColmapCamera, ...]:
    """The cameras of ``cameras.bin``."""
    models = {number: (name, count) for number, name, count in CAMERA_MODELS}
    data = read_bytes(path)
    count, place = _count(data)
    cameras = []
    for _ in range(count):
        number, model, width, height = _CAMERA.unpack_from(data, place)
        if model not in models:
            known = ", ".join(f"{known} {name}" for known, (name, _) in models.items())
            raise CalibrationError(f"camera model {model} is not supported", hint=f"known are {known}")
        name, parameters = models[model]
        values = struct.unpack_from(f"<{parameters}d", data, place + _CAMERA.size)
        place += _CAMERA.size + 8 * parameters
        cameras.append(ColmapCamera(number, name, width, height, values))
    return tuple(cameras)


def read_binary_images(path: Path) -> tuple[tuple[str, int], ...]:
    """Name and camera of each image of ``images.bin``."""
    data = read_bytes(path, BINARY_BYTES)
    count, place = _count(data)
    images = []
    for _ in range(count):
        *_, camera = _IMAGE.unpack_from(data, place)
        place += _IMAGE.size
        end = data.index(b"\0", place)
        name = data[place:end].decode("utf-8")
        (pixels,) = _COUNT.unpack_from(data, end + 1)
        place = end + 1 + _COUNT.size + _PIXEL_BYTES * pixels
        images.append((name, camera))
    return tuple(images)


def _count(data: bytes) -> tuple[int, int]:
    """The number of parts in front, and where the first begins; more than anyone has ends in ValueError."""
    (count,) = _COUNT.unpack_from(data)
    check_entries(count)
    return count, _COUNT.size
