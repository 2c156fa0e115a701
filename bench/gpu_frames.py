"""Training frames in little room: WebP colour and depth in steps of half a per cent, many frames in one tar.

A frame is what `training.dataset.views` makes of a sample: pixels, depth and camera at the size of the training canvas.
"""

from __future__ import annotations

import functools
import io
import json
import lzma
import os
import tarfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from m3d_cli.datasets.rgbd import open_rgbd_tree
from m3d_cli.datasets.sample import Sample
from m3d_cli.training.dataset import FrameStore, views
from m3d_cli.training.gather import readable

# Levels of depth: 0 unknown, then NEAREST metres and STEP of the logarithm each; the error is at most half a step.
NEAREST = 0.05
STEP = 0.005
SKY = 65535

QUALITY = 80
INDEX = "frames.json"
# Neighbouring levels differ little, so their high bytes repeat: two bytes are one symbol.
FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 6, "lc": 1, "lp": 1, "pb": 1}]


@dataclass(frozen=True, slots=True, eq=False)
class PackedFrame:
    """One encoded frame; ``geometry`` is width, height, focal, cx, cy in pixels."""

    source: str
    path: str
    geometry: tuple[float, ...]
    colour: bytes
    depth: bytes

    @property
    def size(self) -> int:
        """Bytes in a tar: contents in blocks of 512, and a header for each of the two files."""
        return sum(512 + -(-len(data) // 512) * 512 for data in (self.colour, self.depth)) + 200


def training_samples(root: Path, exclude: Iterable[str]) -> Iterator[Sample]:
    """Frames below ``root`` that may be trained on: none of split ``val``, none of the sources ``exclude``."""
    left_out = set(exclude)
    yield from readable(
        partial(folder.read, index)
        for folder in open_rgbd_tree(root)
        if folder.source not in left_out
        for index, frame in enumerate(folder.frames)
        if frame.split != "val"
    )


def packed(sample: Sample, canvas: tuple[int, int]) -> Iterator[PackedFrame]:
    """The sample and, for long ones, its tiles, at the size of ``canvas`` = (width, height)."""
    for pixels, depth, camera in views(sample, canvas):
        if not np.isfinite(depth).any():
            continue
        _, colour = cv2.imencode(".webp", np.ascontiguousarray(pixels[..., ::-1]), [cv2.IMWRITE_WEBP_QUALITY, QUALITY])
        geometry = (camera.width, camera.height, camera.focal, camera.cx, camera.cy)
        name = f"{sample.source}/{sample.photo.path.stem}"
        yield PackedFrame(sample.source, name, geometry, colour.tobytes(), encode_depth(depth))


def encode_depth(depth: NDArray[np.float16]) -> bytes:
    """Metres (H, W), NaN unknown, inf sky, as compressed levels."""
    metres = depth.astype(np.float32)
    known = np.isfinite(metres)
    levels = np.zeros(metres.shape, dtype="<u2")
    levels[known] = 1 + np.rint(np.log(np.maximum(metres[known], NEAREST) / NEAREST) / STEP)
    levels[np.isposinf(metres)] = SKY
    return lzma.compress(levels.tobytes(), format=lzma.FORMAT_RAW, filters=FILTERS)


def decode_depth(data: bytes, height: int, width: int) -> NDArray[np.float16]:
    """The inverse of `encode_depth`."""
    levels = np.frombuffer(lzma.decompress(data, format=lzma.FORMAT_RAW, filters=FILTERS), dtype="<u2")
    return _metres()[levels].reshape(height, width)


@functools.cache
def _metres() -> NDArray[np.float16]:
    """Metres of every level."""
    farthest = np.log(float(np.finfo(np.float16).max) / NEAREST)
    metres = NEAREST * np.exp(np.minimum((np.arange(SKY + 1) - 1) * STEP, farthest))
    metres[0], metres[SKY] = np.nan, np.inf
    return metres.astype(np.float16)


def write_frames(frames: Iterable[PackedFrame], canvas: tuple[int, int], path: Path) -> int:
    """Write ``frames`` to the tar ``path``; returns how many."""
    index = []
    with tarfile.open(path, "w") as archive:
        for number, frame in enumerate(frames):
            _add(archive, f"{number}.webp", frame.colour)
            _add(archive, f"{number}.depth", frame.depth)
            index.append([frame.source, frame.path, *frame.geometry])
        _add(archive, INDEX, json.dumps({"canvas": canvas, "frames": index}).encode())
    return len(index)


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    archive.addfile(entry, io.BytesIO(data))


def read_frames(paths: Iterable[Path]) -> FrameStore:
    """All frames of the tars ``paths``, decoded on all cores, as one group."""
    contents = [_members(path) for path in paths]
    rows = [(members, number, row) for members, index in contents for number, row in enumerate(index["frames"])]
    canvases = {tuple(index["canvas"]) for _, index in contents}
    if len(canvases) != 1:
        raise SystemExit(f"frames of {len(canvases)} canvas sizes: give packs of one")
    width, height = canvases.pop()
    image = np.zeros((len(rows), 3, height, width), dtype=np.uint8)
    depth = np.full((len(rows), height, width), np.nan, dtype=np.float16)

    def decode(place: int) -> None:
        members, number, row = rows[place]
        columns, lines = int(row[2]), int(row[3])
        pixels = cv2.imdecode(np.frombuffer(members[f"{number}.webp"], np.uint8), cv2.IMREAD_COLOR)
        image[place, :, :lines, :columns] = pixels[..., ::-1].transpose(2, 0, 1)
        depth[place, :lines, :columns] = decode_depth(members[f"{number}.depth"], lines, columns)

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        list(pool.map(decode, range(len(rows))))
    names = sorted({row[0] for _, _, row in rows})
    return FrameStore(
        image=torch.from_numpy(image),
        depth=torch.from_numpy(depth),
        geometry=torch.tensor([row[2:] for _, _, row in rows], dtype=torch.float32),
        source=np.array([names.index(row[0]) for _, _, row in rows]),
        names=tuple(names),
        group=np.zeros(len(rows), dtype=np.int64),
        paths=tuple(row[1] for _, _, row in rows),
    )


def _members(path: Path) -> tuple[dict[str, bytes], dict]:
    with tarfile.open(path) as archive:
        members = {entry.name: archive.extractfile(entry).read() for entry in archive if entry.isfile()}
    return members, json.loads(members.pop(INDEX))
