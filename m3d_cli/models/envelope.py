"""What published checkpoints wrap their tensors in, known without building a network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import Tensor

from m3d_cli.errors import WeightsError

PREFIX = "depth_model."
ENVELOPE = "model_state_dict"
NAMED_AT_MOST = 5


def is_official(keys: Iterable[str]) -> bool:
    """Whether these are tensor names of a published checkpoint."""
    return any(key.startswith(PREFIX) for key in keys)


def unwrapped(checkpoint: object) -> dict[str, Tensor]:
    """The state dict of a loaded checkpoint, which published files wrap in a dict; raises WeightsError."""
    inner = checkpoint[ENVELOPE] if isinstance(checkpoint, Mapping) and ENVELOPE in checkpoint else checkpoint
    if not isinstance(inner, Mapping):
        raise WeightsError("not a checkpoint: no dictionary of tensors in it")
    state = {str(key): value for key, value in inner.items()}
    wrong = [key for key, value in state.items() if not isinstance(value, Tensor)]
    if wrong:
        raise WeightsError(f"not a dictionary of tensors: {listed(wrong)}")
    return state


def listed(keys: list[str]) -> str:
    """The first keys, and how many more there are."""
    more = f" and {len(keys) - NAMED_AT_MOST} more" if len(keys) > NAMED_AT_MOST else ""
    return ", ".join(keys[:NAMED_AT_MOST]) + more
