"""Rendered frames from worker processes to the trainer, through one ring of shared memory a worker.

The ring is a folder of memory-mapped arrays (in /dev/shm or on a disk), so renderer and trainer are programs of their
own and either may be started first. Every worker writes its own slots and its own counters, the trainer writes how many
frames it took: no locks. A worker whose slots are full waits.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import time
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from m3d_cli.datasets.sample import Sample
from m3d_cli.errors import DatasetError
from m3d_cli.synthesis.assets import load_assets
from m3d_cli.synthesis.generate import VIEWS_PER_SCENE, Recipe, render_many

# Rows of the counters: frames written, frames taken, and the scene that a worker renders next.
WRITTEN, TAKEN, SCENE = range(3)
FRAME_BYTES_PER_PIXEL = 5  # three of colour, two of depth
META = "ring.json"


@dataclass(frozen=True, slots=True, eq=False)
class Ring:
    """Slots of all workers: worker w owns those from ``w * slots`` on."""

    folder: Path
    workers: int
    slots: int
    image: NDArray[np.uint8]
    depth: NDArray[np.float16]
    geometry: NDArray[np.float32]
    counters: NDArray[np.int64]

    @classmethod
    def create(cls, folder: Path, canvas: tuple[int, int], workers: int, slots: int, first_scene: int) -> None:
        """Make an empty ring; ``folder`` may hold an old one, which goes."""
        needed = workers * slots * canvas[0] * canvas[1] * FRAME_BYTES_PER_PIXEL
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        free = shutil.disk_usage(folder).free
        if needed > 0.9 * free:
            raise SystemExit(f"{folder}: the ring takes {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free")
        for name, (dtype, shape) in _arrays(canvas, workers, slots).items():
            np.lib.format.open_memmap(folder / f"{name}.npy", mode="w+", dtype=dtype, shape=shape)
        counters = np.load(folder / "counters.npy", mmap_mode="r+")
        counters[SCENE] = first_scene + np.arange(workers)
        part = folder / f"{META}.part"
        part.write_text(json.dumps({"canvas": canvas, "workers": workers, "slots": slots}), encoding="utf-8")
        part.replace(folder / META)

    @classmethod
    def open(cls, folder: Path) -> Ring:
        """The ring in ``folder``."""
        meta = json.loads((folder / META).read_text(encoding="utf-8"))
        names = _arrays(tuple(meta["canvas"]), meta["workers"], meta["slots"])
        arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r+") for name in names}
        return cls(folder, meta["workers"], meta["slots"], **arrays)

    @property
    def next_scene(self) -> int:
        """A scene from which on none was begun."""
        return int(self.counters[SCENE].max()) + self.workers

    def is_full(self, worker: int) -> bool:
        """Whether the trainer has not taken the oldest frame of ``worker`` yet, and there is no other slot."""
        return bool(self.counters[WRITTEN, worker] - self.counters[TAKEN, worker] >= self.slots)

    def put(self, worker: int, sample: Sample) -> None:
        """Add a frame of a worker whose ring is not full."""
        slot = worker * self.slots + int(self.counters[WRITTEN, worker]) % self.slots
        camera = sample.photo.camera
        self.image[slot] = sample.photo.image.transpose(2, 0, 1)
        self.depth[slot] = sample.truth.depth
        self.geometry[slot] = (camera.width, camera.height, camera.focal, camera.cx, camera.cy)
        self.counters[WRITTEN, worker] += 1  # last: the frame is there from now on

    def fresh(self) -> NDArray[np.int64]:
        """Slots of the frames not taken yet; they stay as they are until `release`."""
        slots = [
            worker * self.slots + np.arange(self.counters[TAKEN, worker], self.counters[WRITTEN, worker]) % self.slots
            for worker in range(self.workers)
        ]
        return np.concatenate(slots)

    def release(self, slots: NDArray[np.int64]) -> None:
        """Give slots that `fresh` named back to their workers."""
        self.counters[TAKEN] += np.bincount(slots // self.slots, minlength=self.workers)


def _arrays(canvas: tuple[int, int], workers: int, slots: int) -> dict[str, tuple[type, tuple[int, ...]]]:
    width, height = canvas
    total = workers * slots
    return {
        "image": (np.uint8, (total, 3, height, width)),
        "depth": (np.float16, (total, height, width)),
        "geometry": (np.float32, (total, 5)),
        "counters": (np.int64, (3, workers)),
    }


def render(folder: Path, assets: Path, recipe: Recipe) -> None:
    """Fill the ring in ``folder`` until this process is ended."""
    workers = Ring.open(folder).workers
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_work, args=(folder, number, assets, recipe)) for number in range(workers)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()


def _work(folder: Path, worker: int, assets: Path, recipe: Recipe) -> None:
    # A core each, from the last one down: Embree sizes its thread pool by the cores a process may use, and the trainer
    # has the first ones.
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[-1 - worker % len(cores)]})
    cv2.setNumThreads(1)
    ring, library, parent = Ring.open(folder), load_assets(assets), os.getppid()
    height, width = ring.depth.shape[1:]
    for scene in count(int(ring.counters[SCENE, worker]), ring.workers):
        ring.counters[SCENE, worker] = scene
        seeds = range(VIEWS_PER_SCENE * scene, VIEWS_PER_SCENE * (scene + 1))
        try:
            samples = list(render_many(library, seeds, width, height, 1, recipe))
        except DatasetError as error:
            print(error.message, flush=True)
            continue
        for sample in samples:
            while ring.is_full(worker) and os.getppid() == parent:
                time.sleep(0.05)
            if os.getppid() != parent:
                return
            ring.put(worker, sample)
