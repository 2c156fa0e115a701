"""COLMAP's sparse models, text or binary: cameras, images with the points they see, and the points.

Only ``cameras``, ``images`` and ``points3D`` are read; rigs and frames of newer versions repeat what stands in them.
"""

from __future__ import annotations

import struct
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from m3d_cli.atomic import write_bytes
from m3d_cli.bounded_files import MEGABYTE, read_bytes, read_text, reading
from m3d_cli.errors import PoseError
from m3d_cli.photo_names import natural_key
from m3d_cli.trajectory import matrices, quaternions

# COLMAP's number, name and count of parameters of each camera model.
CAMERA_MODELS = (
    (0, "SIMPLE_PINHOLE", 3),
    (1, "PINHOLE", 4),
    (2, "SIMPLE_RADIAL", 4),
    (3, "RADIAL", 5),
    (4, "OPENCV", 8),
    (5, "OPENCV_FISHEYE", 8),
    (6, "FULL_OPENCV", 12),
    (7, "FOV", 5),
    (8, "SIMPLE_RADIAL_FISHEYE", 4),
    (9, "RADIAL_FISHEYE", 5),
    (10, "THIN_PRISM_FISHEYE", 12),
)
NO_POINT = -1
# A model is no side file: thousands of images with their points are read.
BINARY_BYTES = 2048 * MEGABYTE
TEXT_BYTES = 256 * MEGABYTE
_MODEL_NUMBERS = {name: number for number, name, _ in CAMERA_MODELS}
_NOTE = "# written by m3d: metres; camera_from_world with x right, y down, z forward; pixel centres at +0.5\n"
Part = TypeVar("Part")
_HINT = "a model is a folder with cameras, images and points3D, all .bin or all .txt"


@dataclass(frozen=True, slots=True)
class ColmapCamera:
    """A camera by COLMAP's name and parameters; pixel centres at +0.5."""

    number: int
    model: str
    width: int
    height: int
    parameters: tuple[float, ...]


@dataclass(frozen=True, slots=True, eq=False)
class ColmapImage:
    """An image: ``pixels`` (K, 2) that were detected, ``point_numbers`` (K,) of what each shows, -1 for nothing."""

    number: int
    name: str
    camera: int
    camera_from_world: NDArray[np.float64]
    pixels: NDArray[np.float64]
    point_numbers: NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class ColmapPoints:
    """``positions`` (P, 3) of points by ``numbers`` (P,), ``colours`` (P, 3) uint8, mean reprojection ``errors``."""

    numbers: NDArray[np.int64]
    positions: NDArray[np.float64]
    colours: NDArray[np.uint8]
    errors: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class ColmapModel:
    """A sparse model; images in the natural order of their names."""

    cameras: tuple[ColmapCamera, ...]
    images: tuple[ColmapImage, ...]
    points: ColmapPoints

    def seen_by(self, image: ColmapImage) -> NDArray[np.intp]:
        """Rows of ``points`` that an image shows."""
        seen = image.point_numbers[image.point_numbers != NO_POINT]
        order = np.argsort(self.points.numbers)
        place = np.searchsorted(self.points.numbers, seen, sorter=order)
        place = order[np.minimum(place, len(order) - 1)] if len(order) else np.zeros(0, dtype=np.intp)
        return np.unique(place[self.points.numbers[place] == seen[: len(place)]])


def is_colmap(path: Path) -> bool:
    """Whether ``path`` is the folder of a model, or its images file."""
    return path.name in ("images.txt", "images.bin") or any(
        (path / f"images.{ending}").is_file() for ending in ("bin", "txt")
    )


def read_colmap_model(path: Path) -> ColmapModel:
    """The model in a folder; raises PoseError naming the file that is missing or damaged."""
    folder = path if path.is_dir() else path.parent
    is_binary = (folder / "images.bin").is_file() and path.suffix != ".txt"
    if is_binary:
        cameras = _part(_binary_cameras, folder / "cameras.bin")
        images = _part(_binary_images, folder / "images.bin")
        points = _part(_binary_points, folder / "points3D.bin")
    else:
        cameras = _part(_text_cameras, folder / "cameras.txt")
        images = _part(_text_images, folder / "images.txt")
        points = _part(_text_points, folder / "points3D.txt")
    if lost := {image.camera for image in images} - {camera.number for camera in cameras}:
        raise PoseError(f"{folder}: images have camera {min(lost)}, which the model does not list", hint=_HINT)
    return ColmapModel(cameras, tuple(sorted(images, key=lambda image: natural_key(image.name))), points)


def _part(read: Callable[[Path], Part], file: Path) -> Part:
    """A part of the model; errors name its file."""
    if not file.is_file():
        raise PoseError(f"{file} is missing", hint=_HINT)
    with reading(file, "the COLMAP model", PoseError, _HINT):
        return read(file)


def _pose(numbers: tuple[float, ...] | list[float]) -> NDArray[np.float64]:
    """camera_from_world (4, 4) of qw qx qy qz tx ty tz."""
    row = np.array(numbers, dtype=np.float64)
    return np.asarray(matrices(row[None, 4:7], row[None, [1, 2, 3, 0]])[0])


def _lines(path: Path) -> list[str]:
    return [line for line in read_text(path, TEXT_BYTES).splitlines() if not line.startswith("#")]


def _text_cameras(path: Path) -> tuple[ColmapCamera, ...]:
    rows = [line.split() for line in _lines(path) if line.strip()]
    return tuple(ColmapCamera(int(r[0]), r[1], int(r[2]), int(r[3]), tuple(map(float, r[4:]))) for r in rows)


def _text_images(path: Path) -> tuple[ColmapImage, ...]:
    """Two lines an image; the second, its pixels, may be empty."""
    lines = _lines(path)
    heads = lines[::2]
    tails = [*lines[1::2], ""][: len(heads)]
    return tuple(_text_image(head, tail) for head, tail in zip(heads, tails, strict=True) if head.strip())


def _text_image(head: str, tail: str) -> ColmapImage:
    words = head.split(maxsplit=9)
    points = np.array(tail.split(), dtype=np.float64).reshape(-1, 3)
    pose = _pose([float(word) for word in words[1:8]])
    return ColmapImage(int(words[0]), words[9], int(words[8]), pose, points[:, :2], points[:, 2].astype(np.int64))


def _text_points(path: Path) -> ColmapPoints:
    rows = [line.split()[:8] for line in _lines(path) if line.strip()]
    return _points(np.array(rows, dtype=np.float64).reshape(-1, 8))


def _points(table: NDArray[np.float64]) -> ColmapPoints:
    """Of rows: number, x, y, z, red, green, blue, error."""
    numbers = table[:, 0].astype(np.int64)
    return ColmapPoints(numbers, table[:, 1:4], table[:, 4:7].astype(np.uint8), table[:, 7])


class _Bytes:
    """A file read from front to back."""

    def __init__(self, path: Path) -> None:
        self.data = read_bytes(path, BINARY_BYTES)
        self.place = 0

    def take(self, layout: str) -> tuple[int | float, ...]:
        values = struct.unpack_from("<" + layout, self.data, self.place)
        self.place += struct.calcsize("<" + layout)
        return values

    def count(self, least: int) -> int:
        """A number of parts of at least ``least`` bytes each, all of which must still be to come."""
        count = int(self.take("Q")[0])
        if count * least > len(self.data) - self.place:
            raise ValueError(f"{count} parts are announced, which the rest of the file cannot hold")
        return count

    def text(self) -> str:
        end = self.data.index(b"\0", self.place)
        text = self.data[self.place : end].decode("utf-8")
        self.place = end + 1
        return text

    def table(self, rows: int, dtype: np.dtype[np.void]) -> NDArray[np.void]:
        found = np.frombuffer(self.data, dtype, rows, self.place)
        self.place += rows * dtype.itemsize
        return found


# The least bytes of a camera, an image (with its empty name and no pixels) and a point (with an empty track).
_CAMERA_BYTES, _IMAGE_BYTES, _POINT_BYTES = 24, 73, 51
_PIXELS = np.dtype([("at", "<f8", 2), ("point", "<i8")])


def _binary_cameras(path: Path) -> tuple[ColmapCamera, ...]:
    models = {number: (name, count) for number, name, count in CAMERA_MODELS}
    file = _Bytes(path)
    cameras = []
    for _ in range(file.count(_CAMERA_BYTES)):
        number, model, width, height = (int(value) for value in file.take("iiQQ"))
        if model not in models:
            raise ValueError(f"camera model {model} is not known")
        name, count = models[model]
        cameras.append(ColmapCamera(number, name, width, height, tuple(map(float, file.take(f"{count}d")))))
    return tuple(cameras)


def _binary_images(path: Path) -> tuple[ColmapImage, ...]:
    file = _Bytes(path)
    return tuple(_binary_image(file) for _ in range(file.count(_IMAGE_BYTES)))


def _binary_image(file: _Bytes) -> ColmapImage:
    number, *pose, camera = file.take("i7di")
    name = file.text()
    table = file.table(file.count(_PIXELS.itemsize), _PIXELS)
    points = (table["at"].astype(np.float64), table["point"].astype(np.int64))
    return ColmapImage(int(number), name, int(camera), _pose(pose), *points)


def _binary_points(path: Path) -> ColmapPoints:
    file = _Bytes(path)
    table = np.empty((file.count(_POINT_BYTES), 8), dtype=np.float64)
    for row in table:
        row[:] = file.take("Q3d3Bd")
        track = file.count(8)  # an image and a pixel, four bytes each
        file.place += 8 * track
    return _points(table)


def write_colmap_text(model: ColmapModel, folder: Path) -> None:
    """``cameras.txt``, ``images.txt`` and ``points3D.txt`` in ``folder``."""
    cameras = [
        f"{c.number} {c.model} {c.width} {c.height} {' '.join(map(repr, c.parameters))}\n" for c in model.cameras
    ]
    write_bytes(folder / "cameras.txt", (_NOTE + "".join(cameras)).encode())
    write_bytes(folder / "images.txt", (_NOTE + "".join(map(_image_lines, model.images))).encode())
    write_bytes(folder / "points3D.txt", (_NOTE + "".join(_point_lines(model))).encode())


def write_colmap_binary(model: ColmapModel, folder: Path) -> None:
    """``cameras.bin``, ``images.bin`` and ``points3D.bin`` in ``folder``."""
    cameras = [
        struct.pack(f"<iiQQ{len(c.parameters)}d", c.number, _MODEL_NUMBERS[c.model], c.width, c.height, *c.parameters)
        for c in model.cameras
    ]
    write_bytes(folder / "cameras.bin", struct.pack("<Q", len(cameras)), *cameras)
    write_bytes(folder / "images.bin", struct.pack("<Q", len(model.images)), *map(_image_bytes, model.images))
    write_bytes(folder / "points3D.bin", struct.pack("<Q", len(model.points.numbers)), *_point_bytes(model))


def _pose_numbers(image: ColmapImage) -> tuple[float, ...]:
    """qw qx qy qz tx ty tz."""
    x, y, z, w = quaternions(image.camera_from_world[None])[0].tolist()
    return (w, x, y, z, *image.camera_from_world[:3, 3].tolist())


def _image_lines(image: ColmapImage) -> str:
    pose = " ".join(map(repr, _pose_numbers(image)))
    pixels = zip(image.pixels.tolist(), image.point_numbers.tolist(), strict=True)
    seen = " ".join(f"{u!r} {v!r} {point}" for (u, v), point in pixels)
    return f"{image.number} {pose} {image.camera} {image.name}\n{seen}\n"


def _image_bytes(image: ColmapImage) -> bytes:
    head = struct.pack("<i7di", image.number, *_pose_numbers(image), image.camera)
    table = np.zeros(len(image.pixels), dtype=_PIXELS)
    table["at"], table["point"] = image.pixels, image.point_numbers
    return head + image.name.encode() + b"\0" + struct.pack("<Q", len(table)) + table.tobytes()


def _tracks(model: ColmapModel) -> dict[int, list[int]]:
    """By point: image and place among its pixels, one after the other."""
    tracks: dict[int, list[int]] = defaultdict(list)
    for image in model.images:
        for place, point in enumerate(image.point_numbers.tolist()):
            if point != NO_POINT:
                tracks[point] += [image.number, place]
    return tracks


def _point_lines(model: ColmapModel) -> list[str]:
    tracks, points = _tracks(model), model.points
    return [
        f"{number} {' '.join(map(repr, position))} {' '.join(map(str, colour))} {error!r} "
        f"{' '.join(map(str, tracks[number]))}\n"
        for number, position, colour, error in zip(
            points.numbers.tolist(),
            points.positions.tolist(),
            points.colours.tolist(),
            points.errors.tolist(),
            strict=True,
        )
    ]


def _point_bytes(model: ColmapModel) -> list[bytes]:
    tracks, points = _tracks(model), model.points
    rows = zip(points.numbers.tolist(), points.positions, points.colours.tolist(), points.errors.tolist(), strict=True)
    return [
        struct.pack("<Q3d3BdQ", number, *position, *colour, error, len(tracks[number]) // 2)
        + struct.pack(f"<{len(tracks[number])}i", *tracks[number])
        for number, position, colour, error in rows
    ]
