"""Weight files into networks, strictly, and back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from m3d_cli.errors import WeightsError
from m3d_cli.models.registry import BUNDLED, WeightsFile, sha256_of, verify

__all__ = ["BUNDLED", "WeightsFile", "load_weights", "save_weights", "sha256_of", "verify"]


def load_weights(model: nn.Module, source: Path | Mapping[str, Tensor]) -> nn.Module:
    """Load a safetensors file or a state dict strictly into ``model``, in the precision of the model."""
    state = _read(source) if isinstance(source, Path) else dict(source)
    own = model.state_dict()
    name = str(source) if isinstance(source, Path) else "state dict"
    _check_keys(name, own, state)
    model.load_state_dict({key: value.to(own[key].dtype) for key, value in state.items()})
    return model


def save_weights(model: nn.Module, path: Path) -> None:
    """Write the network's tensors as fp16 safetensors."""
    state = {key: value.detach().cpu().to(torch.float16).contiguous() for key, value in model.state_dict().items()}
    part = path.with_suffix(".part")
    save_file(state, part)
    part.replace(path)


def _read(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except FileNotFoundError as error:
        raise WeightsError(f"{path}: no such weights file") from error
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path}: not a readable safetensors file ({error})") from error


def _check_keys(name: str, own: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> None:
    missing, extra = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
    if missing or extra:
        parts = [f"{word}: {', '.join(keys[:5])}" for word, keys in (("missing", missing), ("extra", extra)) if keys]
        raise WeightsError(f"{name}: tensors do not fit the network ({'; '.join(parts)})")
    wrong = [key for key in sorted(own) if own[key].shape != state[key].shape]
    if wrong:
        shapes = f"{tuple(state[wrong[0]].shape)} instead of {tuple(own[wrong[0]].shape)}"
        raise WeightsError(f"{name}: {wrong[0]} has shape {shapes}")
