"""A whole training run: data, network, loop, and the weights file at its end."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import torch

from m3d_cli.models.spec import model_spec
from m3d_cli.models.weights import save_weights
from m3d_cli.training.config import TrainConfig
from m3d_cli.training.loop import Progress, train
from m3d_cli.training.start import gather, initial_model

logger = logging.getLogger(__name__)


def run_training(
    config: TrainConfig, out: Path, device: torch.device, workers: int, report: Callable[[Progress], None]
) -> Path:
    """Train into ``out`` (store, checkpoint, log) and write ``out/<model>.safetensors``; goes on where it stopped."""
    out.mkdir(parents=True, exist_ok=True)
    data = gather(config.data, out / "store", workers)
    for index, name in enumerate(data.store.names):
        logger.info("%s: %d frames", name, int((data.store.source == index).sum()))
    network = train(config, model_spec(config.model), initial_model(config), data, out, device, report)
    path = out / f"{config.model}.safetensors"
    save_weights(network, path)
    return path
