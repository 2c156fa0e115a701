"""Networks by name."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from m3d_cli.models.lite import Lite, LiteConfig
from m3d_cli.models.registry import ChosenWeights, choose_weights
from m3d_cli.models.spec import LITE, TEST_LITE, model_spec
from m3d_cli.models.store import Installed
from m3d_cli.models.weights import load_weights

TEST_CONFIG = LiteConfig(
    height=TEST_LITE.canonical.height,
    width=TEST_LITE.canonical.width,
    embed_dim=48,
    heads=3,
    taps=(1, 2, 3, 4),
    channels=(32, 16, 16, 8),
    bins=24,
    focal_bins=16,
)


def create_model(name: str) -> nn.Module:
    """The network called ``name`` in eval mode, without trained weights (the test networks have seeded ones)."""
    spec = model_spec(name)
    if name == LITE.name:
        return Lite().eval()
    if spec.hidden:
        return _seeded(name).eval()
    return _blank(name).eval()


def _seeded(name: str) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Lite(TEST_CONFIG) if name == TEST_LITE.name else _built(name)


def _built(name: str) -> nn.Module:
    # timm, which the published networks are made of, takes a second to import; `lite` does without.
    from m3d_cli.models.metric3d import build_network

    return build_network(name)


def _blank(name: str) -> nn.Module:
    """All tensors zero: a thousand million random numbers, about to be replaced, would take longer than loading them.

    Memory is only taken when weights come.
    """
    device = torch.get_default_device()
    with torch.device("meta"):
        network = _built(name)
    zeros = {key: torch.zeros_like(value, device=device) for key, value in network.state_dict().items()}
    network.load_state_dict(zeros, assign=True)
    return network


def load_model(name: str, weights: Path | None = None) -> nn.Module:
    """The network called ``name`` with its installed or bundled weights, checked, or those of the file
    ``weights``.
    """
    chosen = choose_weights(model_spec(name), weights)
    chosen.check()
    return open_model(name, chosen)


def open_model(name: str, chosen: ChosenWeights) -> nn.Module:
    """The network called ``name`` with the weights chosen for it.

    Installed ones stay on the disk until they are used, since nothing there is ever written over.
    """
    if chosen.path is None:
        return create_model(name)
    if not isinstance(chosen.vouched, Installed):
        return load_weights(create_model(name), chosen.path)
    with torch.device("meta"):
        network = _built(name).eval()
    return load_weights(network, chosen.path)
