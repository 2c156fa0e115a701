"""Training frames of all sources in one store on disk, read by random access and kept on the device where they fit.

Every image lies in the top-left corner of a canvas of fixed size. Wide images are stored whole and again as
tiles, so that a zoom into them does not run out of pixels.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from m3d_cli.atomic import write_bytes
from m3d_cli.camera import Camera
from m3d_cli.datasets.sample import Sample
from m3d_cli.errors import DatasetError, UsageError

logger = logging.getLogger(__name__)

# An image wider (or higher) than this many times the canvas's aspect is stored in tiles as well.
TILE_ASPECT = 1.3

INDEX = "index.json"

# Columns of the geometry table.
GEOMETRY = ("width", "height", "focal", "cx", "cy")


@dataclass(frozen=True, slots=True, eq=False)
class Frames:
    """Stored frames: image (B, 3, H, W) uint8, depth (B, H, W) float16 metres (NaN unknown, inf sky), and (B,)
    cameras.
    """

    image: Tensor
    depth: Tensor
    width: Tensor
    height: Tensor
    focal: Tensor
    cx: Tensor
    cy: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class FrameStore:
    """All frames of a run; ``source`` indexes ``names`` and says which data set a frame came from, ``group`` which
    group of the config it belongs to, ``paths`` what file it is.
    """

    image: Tensor
    depth: Tensor
    geometry: Tensor
    source: NDArray[np.int64]
    names: tuple[str, ...]
    group: NDArray[np.int64]
    paths: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.source)

    def take(self, indices: Tensor, device: torch.device) -> Frames:
        """Frames at ``indices`` (B,), on ``device``."""
        here = indices.to(self.image.device)
        geometry = self.geometry[here].to(device, non_blocking=True)
        image, depth = self.image[here], self.depth[here]
        return Frames(image.to(device, non_blocking=True), depth.to(device, non_blocking=True), *geometry.unbind(1))

    def moved(self, device: torch.device) -> FrameStore:
        """The store with its arrays on ``device``."""
        return replace(
            self, image=self.image.to(device), depth=self.depth.to(device), geometry=self.geometry.to(device)
        )


def build_store(
    samples: Iterable[tuple[int, Sample]], capacity: int, canvas: tuple[int, int], folder: Path, digest: str = ""
) -> FrameStore:
    """Write ``samples``, each with its group's number, into ``folder`` (canvas = width, height) and open the result;
    a finished store is opened as is.

    ``capacity`` bounds the number of stored frames. A sample without any known depth is skipped, counted and logged.
    ``digest`` names what the samples were made from: a store of another digest is refused.
    """
    index = folder / INDEX
    if not index.exists():
        _write_store(samples, capacity, canvas, folder, digest)
    elif json.loads(index.read_text(encoding="utf-8")).get("digest", "") != digest:
        raise UsageError(
            f"{folder}: its frames were gathered with other data settings", hint="delete the folder or choose another"
        )
    return open_store(folder)


def open_store(folder: Path) -> FrameStore:
    """A store written by `build_store`; its arrays are memory-mapped."""
    index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    count = int(index["count"])
    image = np.load(folder / "image.npy", mmap_mode="c")[:count]
    depth = np.load(folder / "depth.npy", mmap_mode="c")[:count]
    geometry = torch.tensor(index["geometry"], dtype=torch.float32)
    source = np.asarray(index["source"], dtype=np.int64)
    group = np.asarray(index["group"], dtype=np.int64)
    names, paths = tuple(index["names"]), tuple(index["paths"])
    return FrameStore(torch.from_numpy(image), torch.from_numpy(depth), geometry, source, names, group, paths)


def _write_store(
    samples: Iterable[tuple[int, Sample]], capacity: int, canvas: tuple[int, int], folder: Path, digest: str
) -> None:
    width, height = canvas
    folder.mkdir(parents=True, exist_ok=True)
    shape = (capacity, 3, height, width)
    image = np.lib.format.open_memmap(folder / "image.npy", mode="w+", dtype=np.uint8, shape=shape)
    depth = np.lib.format.open_memmap(
        folder / "depth.npy", mode="w+", dtype=np.float16, shape=(capacity, height, width)
    )
    geometry: list[list[float]] = []
    source: list[int] = []
    groups: list[int] = []
    names: dict[str, int] = {}
    paths: list[str] = []
    skipped = 0
    for group, sample in samples:
        if not np.isfinite(sample.truth.depth).any():
            skipped += 1
            continue
        for pixels, metres, camera in views(sample, canvas):
            if len(source) == capacity:
                raise DatasetError(f"{folder}: more than {capacity} frames", hint="raise the capacity of the store")
            image[len(source), :, : camera.height, : camera.width] = pixels.transpose(2, 0, 1)
            depth[len(source)] = np.nan
            depth[len(source), : camera.height, : camera.width] = metres
            geometry.append([camera.width, camera.height, camera.focal, camera.cx, camera.cy])
            source.append(names.setdefault(sample.source, len(names)))
            groups.append(group)
            paths.append(str(sample.photo.path))
    if skipped:
        logger.warning("%d frames without any known depth were left out", skipped)
    image.flush()
    depth.flush()
    index = {
        "digest": digest,
        "count": len(source),
        "geometry": geometry,
        "columns": GEOMETRY,
        "source": source,
        "names": list(names),
        "group": groups,
        "paths": paths,
    }
    # The index makes a store complete, so it comes last and whole.
    write_bytes(folder / INDEX, json.dumps(index).encode())


def views(sample: Sample, canvas: tuple[int, int]) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.float16], Camera]]:
    """The whole frame and, for long ones, three overlapping tiles, each fitted to the canvas."""
    yield fit_to_canvas(sample.photo.image, sample.truth.depth, sample.photo.camera, canvas, sample.sparse)
    camera = sample.photo.camera
    tile_width = min(camera.width, round(camera.height * canvas[0] / canvas[1]))
    if camera.width < TILE_ASPECT * tile_width:
        return
    for part in (0.0, 0.5, 1.0):
        left = round(part * (camera.width - tile_width))
        columns = slice(left, left + tile_width)
        crop = camera.cropped(left, 0, tile_width, camera.height)
        yield fit_to_canvas(sample.photo.image[:, columns], sample.truth.depth[:, columns], crop, canvas, sample.sparse)


def fit_to_canvas(
    image: NDArray[np.uint8], depth: NDArray[np.float32], camera: Camera, canvas: tuple[int, int], sparse: bool
) -> tuple[NDArray[np.uint8], NDArray[np.float16], Camera]:
    """Image and depth shrunk (never enlarged) to fit ``canvas`` = (width, height), pixels made square."""
    square = camera.square_pixelled()
    scale = min(1.0, canvas[0] / square.width, canvas[1] / square.height)
    target = square.resized(max(1, round(square.width * scale)), max(1, round(square.height * scale)))
    if (target.width, target.height) == (camera.width, camera.height):
        return image, depth.astype(np.float16), target
    pixels = cv2.resize(image, (target.width, target.height), interpolation=cv2.INTER_AREA)
    return np.asarray(pixels, dtype=np.uint8), _resized_depth(depth, target, sparse).astype(np.float16), target


def _resized_depth(depth: NDArray[np.float32], target: Camera, sparse: bool) -> NDArray[np.float32]:
    if not sparse:
        # "Exact" samples at pixel centres; plain INTER_NEAREST samples at corners, half a pixel off the image.
        size = (target.width, target.height)
        return np.asarray(cv2.resize(depth, size, interpolation=cv2.INTER_NEAREST_EXACT), dtype=np.float32)
    # Sparse labels are moved one by one: a resize would drop most of them. The nearest of a pixel's points stays.
    rows, columns = np.nonzero(np.isfinite(depth))
    order = np.argsort(-depth[rows, columns])
    rows, columns = rows[order], columns[order]
    out = np.full((target.height, target.width), np.nan, dtype=np.float32)
    to_row = ((rows + 0.5) * target.height / depth.shape[0]).astype(np.int64)
    to_column = ((columns + 0.5) * target.width / depth.shape[1]).astype(np.int64)
    out[to_row, to_column] = depth[rows, columns]
    return out


def source_weights(store: FrameStore, weights: Sequence[float], proportions: str = "root") -> Tensor:
    """Probability of each frame (N,): groups by ``weights``, sources inside by the square root of their counts or, with
    ``natural`` proportions, by their counts.
    """
    probability = np.zeros(len(store))
    for group, weight in enumerate(weights):
        members = store.group == group
        if not members.any():
            raise DatasetError(f"group {group + 1} of the training data has no usable frame")
        counts = np.bincount(store.source[members], minlength=len(store.names))
        share = counts.astype(float) if proportions == "natural" else np.sqrt(counts)
        per_frame = share / np.maximum(counts, 1) / share.sum()
        probability[members] = weight * per_frame[store.source[members]]
    return torch.from_numpy(probability)
