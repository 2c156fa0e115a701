"""What a run starts from: frames gathered by the config's groups, and a network with its initial weights."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import BaseModel
from timm.layers import resample_abs_pos_embed
from torch import Tensor

from m3d_cli.datasets.assets import load_assets
from m3d_cli.datasets.rgbd import RgbdFolder, open_rgbd_tree
from m3d_cli.datasets.sample import Sample
from m3d_cli.datasets.synthetic import MIXTURE, render_many
from m3d_cli.errors import DatasetError, UsageError, WeightsError
from m3d_cli.models import create_model, load_weights
from m3d_cli.models.lite import Lite
from m3d_cli.training.config import DataSection, Group, RgbdGroup, SyntheticGroup, TrainConfig
from m3d_cli.training.dataset import FrameStore, build_store, source_weights
from m3d_cli.training.encoder_onnx import read_encoder

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
    return TrainingData(store, source_weights(store, [group.weight for group in data.groups]))


def digest_of(settings: BaseModel) -> str:
    """Hash of a part of the config: equal settings make equal data and equal runs."""
    return hashlib.sha256(settings.model_dump_json().encode()).hexdigest()[:16]


def initial_model(config: TrainConfig) -> Lite:
    """The network of the config with seeded decoder weights, and encoder or whole weights from files where given."""
    torch.manual_seed(config.seed)
    model = create_model(config.model)
    if not isinstance(model, Lite):
        raise UsageError(f"model {config.model}: only lite networks can be trained yet")
    if config.initial_encoder is not None:
        _load_encoder(model, config.initial_encoder)
    if config.initial_weights is not None:
        load_weights(model, config.initial_weights)
    return model


def averaged_copy(model: Lite) -> Lite:
    """A copy that follows ``model`` by exponential averaging and is never trained itself."""
    return copy.deepcopy(model).requires_grad_(False).eval()


def _load_encoder(model: Lite, path: Path) -> None:
    state = read_encoder(path)
    wanted = model.encoder.state_dict()
    pos_embed = resample_abs_pos_embed(state["pos_embed"], list(model.grid), num_prefix_tokens=1)
    state["pos_embed"] = pos_embed
    missing = sorted(wanted.keys() - state.keys())
    if missing:
        raise WeightsError(f"{path}: keys missing for the encoder: {', '.join(missing[:5])}")
    model.encoder.load_state_dict({key: state[key] for key in wanted})


def _capacity(group: Group) -> int:
    if isinstance(group, SyntheticGroup):
        return group.count
    return ENTRIES_PER_FRAME * sum(len(folder) for folder in _folders(group))


def _samples(group: Group, canvas: tuple[int, int], workers: int) -> Iterator[Sample]:
    if isinstance(group, SyntheticGroup):
        seeds = range(group.seed, group.seed + group.count)
        mixture = MIXTURE if group.scenes is None else group.scenes
        yield from render_many(load_assets(group.assets), seeds, canvas[0], canvas[1], workers, mixture)
        return
    for folder in _folders(group):
        for index, frame in enumerate(folder.frames):
            if frame.split != "val":
                yield folder.read(index)


def _folders(group: RgbdGroup) -> tuple[RgbdFolder, ...]:
    folders = open_rgbd_tree(group.root)
    known = {folder.source for folder in folders}
    unknown = (set(group.sources) | set(group.exclude)) - known
    if unknown:
        raise DatasetError(f"{group.root}: no source named {', '.join(sorted(unknown))}")
    chosen = set(group.sources or known) - set(group.exclude)
    return tuple(folder for folder in folders if folder.source in chosen)
