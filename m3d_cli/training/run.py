"""A whole training run: data, network, loop, and the weights file at its end."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import torch

from m3d_cli.models.own_weights import metadata_for
from m3d_cli.models.spec import ModelSpec
from m3d_cli.models.weights import save_weights
from m3d_cli.training.checkpoint import RunState
from m3d_cli.training.config import TrainConfig
from m3d_cli.training.gather import TrainingData, gather
from m3d_cli.training.loop import Progress, Run, train
from m3d_cli.training.start import initial_model, spec_of
from m3d_cli.training.team import Team
from m3d_cli.training.validation import make_judge

logger = logging.getLogger(__name__)


def run_training(
    config: TrainConfig, out: Path, device: torch.device, workers: int, report: Callable[[Progress], None]
) -> Path:
    """Train into ``out`` (store, checkpoint, logs) and write ``out/<model>.safetensors``; continues where it stopped.

    Started by `torchrun`, every process trains on its share of each batch and the first one writes.
    """
    out.mkdir(parents=True, exist_ok=True)
    team = Team(device)
    spec = spec_of(config)
    data = _gathered(config, out, team, workers)
    judge = _judge(config, spec, out) if team.leads else _silent
    network = train(Run(config, spec, data, out, team, report, judge), initial_model(config))
    path = out / f"{config.model}.safetensors"
    if team.leads:
        save_weights(network, path, compact=config.compact, metadata=metadata_for(config.model, spec.canonical))
    team.wait()
    return path


def _gathered(config: TrainConfig, out: Path, team: Team, workers: int) -> TrainingData:
    """The first process gathers, the others open what it wrote."""
    if not team.leads:
        team.wait()
    data = gather(config.data, out / "store", workers)
    if team.leads:
        team.wait()
        for index, name in enumerate(data.store.names):
            logger.info("%s: %d frames", name, int((data.store.source == index).sum()))
    return data


def _judge(config: TrainConfig, spec: ModelSpec, out: Path) -> Callable[[int, RunState], None]:
    if config.validation is None:
        return _silent
    return make_judge(config, config.validation, spec, out)


def _silent(step: int, state: RunState) -> None:
    """No validation was asked for."""
