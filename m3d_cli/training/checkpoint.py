"""Checkpoints that appear whole or not at all, and from which a run goes on as if it had not stopped."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from m3d_cli.atomic import atomic_write
from m3d_cli.bounded_files import reading
from m3d_cli.errors import UsageError, WeightsError


@dataclass(slots=True, eq=False)
class RunState:
    """Everything a run owns besides its data, how many steps were skipped and the best validation score among it."""

    model: nn.Module
    average: nn.Module
    optimiser: Optimizer
    skipped: int = 0
    best: float = math.inf


def save_checkpoint(path: Path, step: int, state: RunState, digest: str) -> None:
    """Write the state after ``step`` steps of the run called ``digest`` to ``path``, atomically; raises OutputError."""
    content = {
        "step": step,
        "digest": digest,
        "model": state.model.state_dict(),
        "average": state.average.state_dict(),
        "optimiser": state.optimiser.state_dict(),
        "skipped": state.skipped,
        "best": state.best,
    }
    with atomic_write(path) as file:
        torch.save(content, file)


def load_checkpoint(path: Path, state: RunState, digest: str) -> int:
    """Restore ``state`` from ``path``; returns the steps done (0 without a checkpoint).

    Raises WeightsError for a damaged file, UsageError for the checkpoint of a run with other settings.
    """
    if not path.exists():
        return 0
    with reading(path, "the checkpoint of this run", WeightsError, "delete it to start the run anew"):
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        state.model.load_state_dict(content["model"])
        state.average.load_state_dict(content["average"])
        state.optimiser.load_state_dict(content["optimiser"])
        state.skipped, state.best = int(content["skipped"]), float(content["best"])
        if content["digest"] != digest:
            raise UsageError(f"{path}: made by a run with other settings", hint="choose another --out for these")
        return int(content["step"])
