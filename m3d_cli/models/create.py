"""Networks by name."""

from __future__ import annotations

import torch
from torch import nn

from m3d_cli.models.lite import Lite, LiteConfig
from m3d_cli.models.spec import LITE, TEST_LITE, model_spec

TEST_CONFIG = LiteConfig(
    height=TEST_LITE.canonical.height,
    width=TEST_LITE.canonical.width,
    embed_dim=48,
    heads=3,
    taps=(1, 2, 3, 4),
    channels=16,
    fine_channels=8,
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
