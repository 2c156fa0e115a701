"""The frames a run learns from, gathered by the groups of its config."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pydantic import BaseModel
from torch import Tensor

from m3d_cli.datasets.frame import Frame
from m3d_cli.datasets.layouts import find_layout
from m3d_cli.datasets.rgbd import RgbdFolder, open_rgbd_tree
from m3d_cli.datasets.sample import Sample
from m3d_cli.errors import DatasetError, M3dError
from m3d_cli.synthesis.assets import load_assets
from m3d_cli.synthesis.generate import MIXTURE, Recipe, render_many
from m3d_cli.synthesis.scenes.shapes import SHAPE_MIXTURE, render_shapes
from m3d_cli.training.config import DataSection, Group, LayoutGroup, RgbdGroup, ShapesGroup, SyntheticGroup
from m3d_cli.training.dataset import FrameStore, build_store, source_weights

logger = logging.getLogger(__name__)

# The most entries one RGB-D frame takes in the store: itself and three tiles.
ENTRIES_PER_FRAME = 4


@dataclass(frozen=True, slots=True, eq=False)
class TrainingData:
    """Stored frames and how often each is drawn."""

    store: FrameStore
    probability: Tensor


def gather(data: DataSection, folder: Path, workers: int) -> TrainingData:
    """Read or render every group into a store below ``folder``."""
    canvas = (data.canvas_width, data.canvas_height)
    capacity = sum(_capacity(group) for group in data.groups)
    samples = (
        (number, sample) for number, group in enumerate(data.groups) for sample in _samples(group, canvas, workers)
    )
    store = build_store(samples, capacity, canvas, folder, digest_of(data))
    return TrainingData(store, source_weights(store, [group.weight for group in data.groups], data.proportions))


def digest_of(settings: BaseModel) -> str:
    """Hash of a part of the config: equal settings make equal data and equal runs."""
    return hashlib.sha256(settings.model_dump_json().encode()).hexdigest()[:16]


def _capacity(group: Group) -> int:
    if isinstance(group, SyntheticGroup | ShapesGroup):
        return group.count
    if isinstance(group, LayoutGroup):
        return ENTRIES_PER_FRAME * len(_frames(group))
    return ENTRIES_PER_FRAME * sum(len(folder) for folder in _folders(group))


def _samples(group: Group, canvas: tuple[int, int], workers: int) -> Iterator[Sample]:
    if isinstance(group, SyntheticGroup):
        seeds = range(group.seed, group.seed + group.count)
        recipe = Recipe(group.scenes or dict(MIXTURE), group.rich_light, group.field_of_view)
        yield from render_many(load_assets(group.assets), seeds, *canvas, workers, recipe)
        return
    if isinstance(group, ShapesGroup):
        seeds = range(group.seed, group.seed + group.count)
        mixture = SHAPE_MIXTURE if group.scenes is None else group.scenes
        yield from render_shapes(seeds, *canvas, mixture, group.field_of_view, workers)
        return
    yield from readable(_readers(group))


def readable(readers: Iterable[Callable[[], Sample]]) -> Iterator[Sample]:
    """What can be read; the rest is named, left out and counted. Raises DatasetError when nothing is left."""
    read, failed = 0, 0
    for reader in readers:
        try:
            sample = reader()
        except M3dError as error:
            failed += 1
            logger.warning("left out: %s", error.message)
            continue
        read += 1
        yield sample
    if failed:
        logger.warning("%d of %d frames could not be read and were left out", failed, read + failed)
    if failed and not read:
        raise DatasetError("none of a group's frames can be read", hint="m3d datasets check tells what is wrong")


def _readers(group: RgbdGroup | LayoutGroup) -> list[Callable[[], Sample]]:
    if isinstance(group, LayoutGroup):
        return [frame.read for frame in _frames(group)]
    return [
        partial(folder.read, index)
        for folder in _folders(group)
        for index, frame in enumerate(folder.frames)
        if frame.split != "val"
    ]


def _frames(group: LayoutGroup) -> tuple[Frame, ...]:
    frames = find_layout(group.layout).find(group.root)
    chosen = tuple(frame for frame in frames if not group.split or frame.split == group.split)
    if not chosen:
        splits = ", ".join(sorted({frame.split for frame in frames if frame.split})) or "none"
        raise DatasetError(f"{group.root}: no frame of split {group.split or 'any'}", hint=f"its splits: {splits}")
    return chosen


def _folders(group: RgbdGroup) -> tuple[RgbdFolder, ...]:
    folders = open_rgbd_tree(group.root)
    known = {folder.source for folder in folders}
    unknown = (set(group.sources) | set(group.exclude)) - known
    if unknown:
        raise DatasetError(f"{group.root}: no source named {', '.join(sorted(unknown))}")
    chosen = set(group.sources or known) - set(group.exclude)
    return tuple(folder for folder in folders if folder.source in chosen)
