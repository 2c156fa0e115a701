"""The network a run starts from, and the spec of what it becomes."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import torch
from timm.layers import resample_abs_pos_embed
from torch import Tensor, nn

from m3d_cli.errors import WeightsError
from m3d_cli.models.compact import expanded
from m3d_cli.models.create import TEST_CONFIG
from m3d_cli.models.envelope import unwrapped
from m3d_cli.models.lite import Lite, LiteConfig
from m3d_cli.models.metric3d import Metric3DConvNext, Metric3DVit, build_network
from m3d_cli.models.own_weights import is_published
from m3d_cli.models.registry import choose_weights
from m3d_cli.models.spec import LITE, TEST_LITE, ModelSpec, model_spec
from m3d_cli.models.weights import load_weights, read_tensors
from m3d_cli.training.config import BlendSection, TrainConfig
from m3d_cli.training.encoder_file import read_encoder

POSITIONS = "encoder.pos_embed"


def spec_of(config: TrainConfig) -> ModelSpec:
    """The spec of the config's model, with the input of the run."""
    spec = model_spec(config.model)
    if config.input is None:
        return spec
    wanted = config.input
    return replace(
        spec, canonical=replace(spec.canonical, focal=wanted.focal, height=wanted.height, width=wanted.width)
    )


def starting_point(config: TrainConfig, checkpoint: Path) -> str:
    """What a run starts from, in words: its own checkpoint, whose weights, or random numbers."""
    begun = f"random weights of {config.model}, seed {config.seed}"
    if config.initial_encoder is not None:
        begun = f"the encoder of {config.initial_encoder}, the rest random, seed {config.seed}"
    if config.initial_weights is not None:
        begun = _described(config.model, config.initial_weights)
    if config.blend is not None:
        share = config.blend.share
        begun = f"{share:.0%} of {begun} and {1 - share:.0%} of {_described(config.model, config.blend.weights)}"
    return f"continues from {checkpoint}, begun from {begun}" if checkpoint.exists() else f"starts from {begun}"


def _described(model: str, file: Path) -> str:
    chosen = choose_weights(model_spec(model), file)
    whose = f"the published weights of {model}" if is_published(model, chosen.sha256) else "not published ones"
    return f"{file} ({whose})"


def initial_model(config: TrainConfig) -> nn.Module:
    """The network of the config, seeded, with encoder or whole weights from files where given."""
    torch.manual_seed(config.seed)
    model = _seeded(config)
    if config.initial_encoder is not None:
        _load_encoder(model, config.initial_encoder)
    if config.initial_weights is not None:
        _load_whole(model, config.initial_weights)
    if config.blend is not None:
        _blend(model, config.blend)
    return model


def _blend(model: nn.Module, blend: BlendSection) -> None:
    """Draw the weights towards those of a file; a head for the focal length that the file lacks stays."""
    other = copy.deepcopy(model)
    _load_whole(other, blend.weights)
    with torch.no_grad():
        for mine, theirs in zip(model.parameters(), other.parameters(), strict=True):
            mine.lerp_(theirs, 1 - blend.share)


def averaged_copy(model: nn.Module) -> nn.Module:
    """A copy that follows ``model`` by exponential averaging and is never trained itself."""
    return copy.deepcopy(model).requires_grad_(False).eval()


def _seeded(config: TrainConfig) -> nn.Module:
    if config.model not in (LITE.name, TEST_LITE.name):
        model_spec(config.model)
        return build_network(config.model)
    shape = LiteConfig() if config.model == LITE.name else TEST_CONFIG
    spec = spec_of(config).canonical
    bins = shape.focal_bins if config.loss.focal > 0 else 0
    return Lite(replace(shape, height=spec.height, width=spec.width, focal_bins=bins))


def _load_whole(model: nn.Module, path: Path) -> None:
    """All weights of a file. A lite of another input size gives its positions resampled; a head for the focal length
    that one of the two lacks stays as it is.
    """
    if not isinstance(model, Lite):
        load_weights(model, path)
        return
    state = expanded(unwrapped(read_tensors(path)))
    if POSITIONS not in state:
        raise WeightsError(f"{path}: not weights of lite")
    head = {key: value for key, value in model.state_dict().items() if key.startswith("focal_head.")}
    kept = {key: value.float() for key, value in state.items() if head or not key.startswith("focal_head.")}
    load_weights(model, {**head, **kept, POSITIONS: _positions(kept[POSITIONS], model)})


def _load_encoder(model: nn.Module, path: Path) -> None:
    assert isinstance(model, Lite | Metric3DConvNext | Metric3DVit)  # noqa: S101 - what `_seeded` makes
    state = read_encoder(path)
    wanted = model.encoder.state_dict()
    if isinstance(model, Metric3DVit):
        # Names of timm, and of DINOv2 itself.
        state = {key.replace("patch_embed.proj.", "patch_embed."): value for key, value in state.items()}
        # DINOv2 without registers starts them anew.
        state.setdefault("register_tokens", state.get("reg_token", wanted["register_tokens"]))
    if isinstance(model, Lite) and "pos_embed" in state:
        state["pos_embed"] = _positions(state["pos_embed"], model)
    missing = sorted(key for key in wanted if key not in state or state[key].shape != wanted[key].shape)
    if missing:
        raise WeightsError(f"{path}: not the encoder of {type(model).__name__}: {', '.join(missing[:5])}")
    model.encoder.load_state_dict({key: state[key] for key in wanted})


def _positions(table: Tensor, model: Lite) -> Tensor:
    """A position embedding for the network's grid, from one for a grid of the same shape or for a square."""
    cells = table.shape[1] - 1
    rows, columns = model.grid
    if cells == rows * columns:
        return table
    high = round((cells * rows / columns) ** 0.5)
    old = [high, cells // high] if high * (cells // high) == cells else None
    resampled: Tensor = resample_abs_pos_embed(table.float(), [rows, columns], old_size=old, num_prefix_tokens=1)
    return resampled
