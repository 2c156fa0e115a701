"""Weight files into networks, strictly, and back: the published checkpoints, and safetensors of our own.

What a file is, its first bytes tell, not its name. No code in a file is ever run: safetensors hold none, and a
checkpoint of torch is read with ``weights_only=True``.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from m3d_cli.atomic import atomic_path
from m3d_cli.bounded_files import reading
from m3d_cli.errors import M3dError, WeightsError
from m3d_cli.models.compact import SCALE, compacted, expanded
from m3d_cli.models.envelope import is_official, unwrapped
from m3d_cli.models.lite import Lite
from m3d_cli.models.registry import BUNDLED, WeightsFile, sha256_of, verify

__all__ = [
    "BUNDLED",
    "WeightsFile",
    "fit",
    "load_weights",
    "read_tensors",
    "save_weights",
    "sha256_of",
    "verify",
]

ZIP = b"PK\x03\x04"
# A safetensors file begins with the length of its JSON header in eight bytes, and the header.
LENGTH_BYTES = 8
SAFETENSORS = ".safetensors"

# lite may come with or without this part.
FOCAL_HEAD = "focal_head."


def load_weights(model: nn.Module, source: Path | Mapping[str, object]) -> nn.Module:
    """Load a checkpoint file or a state dict strictly into ``model``, in the precision of the model.

    Takes a published ``.pth``, a state dict with its names (alone or under ``model_state_dict``), safetensors or a
    state dict of our own. Raises WeightsError and leaves ``model`` as it was when a tensor is missing, left over or of
    another shape.

    A lite whose weights know no focal length loses that head.

    A network made on the meta device takes the tensors of the file as its own instead of copying them: those of
    safetensors in the right precision stay on the disk until they are used.
    """
    if isinstance(source, Path):
        state = fit(model, read_tensors(source), str(source))
    else:
        state = fit(model, source, "state dict")
    if isinstance(model, Lite) and _lacks_head(state):
        model.drop_focal_head()
    own = model.state_dict()
    is_empty = any(value.is_meta for value in own.values())
    model.load_state_dict({key: value.to(own[key].dtype) for key, value in state.items()}, assign=is_empty)
    return model


def fit(model: nn.Module, content: object, name: str) -> dict[str, Tensor]:
    """The tensors of a file's ``content`` under the names of ``model``; ``name`` is what an error calls it.

    Raises WeightsError unless they are exactly the tensors of ``model``, each of its shape.
    """
    try:
        state = unwrapped(content)
        state = _own_names(model, state) if is_official(state) else expanded(state)
    except M3dError as error:
        raise WeightsError(f"{name}: {error.message}", hint=error.hint) from error
    own = model.state_dict()
    if isinstance(model, Lite) and _lacks_head(state):
        own = {key: value for key, value in own.items() if not key.startswith(FOCAL_HEAD)}
    _check_keys(name, own, state)
    return state


def _own_names(model: nn.Module, official: Mapping[str, Tensor]) -> dict[str, Tensor]:
    from m3d_cli.models.convert import to_own

    return to_own(model, official)


def _lacks_head(state: Mapping[str, Tensor]) -> bool:
    return not any(key.startswith(FOCAL_HEAD) for key in state)


def save_weights(
    model: nn.Module, path: Path, *, compact: bool = False, metadata: Mapping[str, str] | None = None
) -> None:
    """Write the network's tensors as safetensors: fp16, or, ``compact``, matrices and kernels in 8 bits.

    ``metadata`` is what the file states of itself (`own_weights.metadata_for`).
    """
    own = {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}
    packed = compacted(own) if compact else own
    state = {key: value.half() if _is_halved(key, value) else value for key, value in packed.items()}
    with atomic_path(path) as part:
        save_file(state, part, None if metadata is None else dict(metadata))


def _is_halved(key: str, value: Tensor) -> bool:
    return value.is_floating_point() and not key.endswith(SCALE)


def read_tensors(path: Path, name: str = "") -> object:
    """What a weights file holds, memory-mapped: safetensors, or a checkpoint of torch.

    Raises WeightsError, which calls the file ``name``, for what cannot or must not be read.
    """
    name = name or str(path)
    with reading(name, "the weights", WeightsError, "fetch them again"):
        with path.open("rb") as file:
            head = file.read(LENGTH_BYTES + 1)
        if head.startswith(ZIP):
            return _read_checkpoint(path, name)
        if head[LENGTH_BYTES:] == b"{":
            return load_file(path)
    raise WeightsError(
        f"{name}: not a readable weights file (neither safetensors nor a checkpoint of torch 1.6 or newer)",
        hint="a bare pickle is refused because reading it can run any code; save its tensors with torch.save",
    )


def _read_checkpoint(path: Path, name: str) -> object:
    try:
        return _load(path)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"{name}: holds more than tensors and was not read, since that could run any code",
            hint="load it where you trust it and save its state dict alone",
        ) from error


def _load(path: Path) -> object:
    if path.suffix != SAFETENSORS:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    # Newer releases of torch go by that ending when they are given a path.
    with path.open("rb") as file:
        return torch.load(file, map_location="cpu", weights_only=True)


def _check_keys(name: str, own: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> None:
    missing, extra = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
    if missing or extra:
        parts = [f"{word}: {', '.join(keys[:5])}" for word, keys in (("missing", missing), ("extra", extra)) if keys]
        raise WeightsError(f"{name}: tensors do not fit the network ({'; '.join(parts)})")
    wrong = [key for key in sorted(own) if own[key].shape != state[key].shape]
    if wrong:
        shapes = f"{tuple(state[wrong[0]].shape)} instead of {tuple(own[wrong[0]].shape)}"
        raise WeightsError(f"{name}: {wrong[0]} has shape {shapes}")
    for key, value in state.items():
        is_plain = value.layout == torch.strided and not value.is_meta and not value.is_quantized
        if not is_plain or value.is_floating_point() != own[key].is_floating_point():
            raise WeightsError(f"{name}: {key} holds no plain numbers of the expected kind")
