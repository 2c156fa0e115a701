"""Learning rates over the run and over the network's depth."""

from __future__ import annotations

import re

from torch import nn
from torch.optim import AdamW

from m3d_cli.errors import UsageError
from m3d_cli.training.config import OptimiserSection


def rate_factor(step: int, settings: OptimiserSection) -> float:
    """Linear warm-up from the first step on, then (1 - t/T)^power down to ``least_rate`` of the full rate.

    The published schedule begins its warm-up after a first step at the full rate; this one does not.
    """
    if step < settings.warmup_steps:
        return (step + 1) / settings.warmup_steps
    progress = (step - settings.warmup_steps) / max(1, settings.steps - settings.warmup_steps)
    decayed = float((1 - min(1.0, progress)) ** settings.power)
    return settings.least_rate + (1 - settings.least_rate) * decayed


def make_optimiser(model: nn.Module, settings: OptimiserSection, fused: bool | None = None) -> AdamW:
    """AdamW in groups: the encoder's blocks at decaying rates, the decoder at the full one; vectors without decay.

    Groups are formed by module, from parameters' full names: the published code looks for "encoder" anywhere in a name
    and so trains the decoder's context encoder at the encoder's rate.
    """
    blocks = 1 + max((int(m[1]) for m in map(_BLOCK.match, dict(model.named_parameters())) if m), default=-1)
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        rate = _rate(name, blocks, settings)
        parameter.requires_grad_(rate > 0)
        if rate > 0:
            decay = _decay(name, settings) if parameter.ndim > 1 else 0.0
            groups.setdefault((rate, decay), []).append(parameter)
    if not groups:
        raise UsageError(f"optimiser.only = {settings.only}: the network has no such part that learns")
    return AdamW(
        [{"params": p, "lr": rate, "base_lr": rate, "weight_decay": decay} for (rate, decay), p in groups.items()],
        eps=settings.epsilon,
        fused=fused,
    )


def _decay(name: str, settings: OptimiserSection) -> float:
    if name.startswith("encoder.") and settings.encoder_weight_decay is not None:
        return settings.encoder_weight_decay
    return settings.weight_decay


_BLOCK = re.compile(r"encoder\.blocks\.(\d+)\.")


def _rate(name: str, blocks: int, settings: OptimiserSection) -> float:
    if settings.only is not None and not name.startswith(f"{settings.only}."):
        return 0.0
    if not name.startswith("encoder."):
        return settings.learning_rate
    match = _BLOCK.match(name)
    depth = int(match[1]) + 1 if match else 0
    if depth <= settings.frozen_blocks and settings.frozen_blocks > 0:
        return 0.0
    return settings.encoder_learning_rate * settings.layer_decay ** (blocks - depth)
