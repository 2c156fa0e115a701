"""Networks by name."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from m3d_cli.models.lite import Lite, LiteConfig
from m3d_cli.models.registry import choose_weights
from m3d_cli.models.spec import LITE, TEST_LITE, model_spec
from m3d_cli.models.weights import load_weights

TEST_CONFIG = LiteConfig(
    height=TEST_LITE.canonical.height,
    width=TEST_LITE.canonical.width,
    embed_dim=48,
    heads=3,
    taps=(1, 2, 3, 4),
    channels=(32, 16, 16, 8),
    bins=24,
)


def create_model(name: str) -> nn.Module:
    """The network called ``name`` in eval mode, without trained weights (the test network has seeded ones)."""
    model_spec(name)
    if name == LITE.name:
        return Lite().eval()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Lite(TEST_CONFIG).eval()


def load_model(name: str, weights: Path | None = None) -> nn.Module:
    """The network called ``name`` with its bundled weights, their checksum verified, or those of the file
    ``weights``.
    """
    chosen = choose_weights(model_spec(name), weights)
    chosen.check()
    model = create_model(name)
    return model if chosen.path is None else load_weights(model, chosen.path)
