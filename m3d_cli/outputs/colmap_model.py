"""COLMAP's sparse models written, text and binary, as `files.colmap_model` reads them."""

from __future__ import annotations

import struct
from collections import defaultdict
from pathlib import Path

import numpy as np

from m3d_cli.files.colmap_model import CAMERA_MODELS, NO_POINT, ColmapImage, ColmapModel
from m3d_cli.outputs.atomic import write_bytes
from m3d_cli.trajectory import quaternions

_NUMBERS = {name: number for number, name, _ in CAMERA_MODELS}
_NOTE = "# written by m3d: metres; camera_from_world with x right, y down, z forward; pixel centres at +0.5\n"


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
        struct.pack(f"<iiQQ{len(c.parameters)}d", c.number, _NUMBERS[c.model], c.width, c.height, *c.parameters)
        for c in model.cameras
    ]
    write_bytes(folder / "cameras.bin", struct.pack("<Q", len(cameras)), *cameras)
    write_bytes(folder / "images.bin", struct.pack("<Q", len(model.images)), *map(_image_bytes, model.images))
    write_bytes(folder / "points3D.bin", struct.pack("<Q", len(model.points.numbers)), *_point_bytes(model))


def _pose(image: ColmapImage) -> tuple[float, ...]:
    """qw qx qy qz tx ty tz."""
    x, y, z, w = quaternions(image.camera_from_world[None])[0].tolist()
    return (w, x, y, z, *image.camera_from_world[:3, 3].tolist())


def _image_lines(image: ColmapImage) -> str:
    pose = " ".join(map(repr, _pose(image)))
    pixels = zip(image.pixels.tolist(), image.point_numbers.tolist(), strict=True)
    seen = " ".join(f"{u!r} {v!r} {point}" for (u, v), point in pixels)
    return f"{image.number} {pose} {image.camera} {image.name}\n{seen}\n"


def _image_bytes(image: ColmapImage) -> bytes:
    head = struct.pack("<i7di", image.number, *_pose(image), image.camera)
    table = np.zeros(len(image.pixels), dtype=[("at", "<f8", 2), ("point", "<i8")])
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
