"""Networks by name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from m3d_cli.errors import WeightsError
from m3d_cli.models.lite import Lite, LiteConfig
from m3d_cli.models.own_weights import choose_network
from m3d_cli.models.registry import ChosenWeights
from m3d_cli.models.spec import LITE, TEST_LITE, ModelSpec, model_spec
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
_LITES = {LITE.name: LiteConfig(), TEST_LITE.name: TEST_CONFIG}


def create_model(name: str) -> nn.Module:
    """The network called ``name`` in eval mode, without trained weights (the test networks have seeded ones)."""
    spec = model_spec(name)
    if name == LITE.name:
        return Lite().eval()
    if spec.hidden:
        return _seeded(name).eval()
    return _blank(name).eval()


def _lite_of_size(spec: ModelSpec, path: Path) -> Lite:
    shape, height, width = _LITES[spec.name], spec.canonical.height, spec.canonical.width
    if height % shape.patch or width % shape.patch:
        raise WeightsError(f"{path}: states an input of {width} x {height} pixels, not multiples of {shape.patch}")
    return Lite(replace(shape, height=height, width=width)).eval()


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
    spec, chosen = choose_network(name, weights)
    chosen.check()
    return open_model(spec, chosen)


def open_model(spec: ModelSpec, chosen: ChosenWeights) -> nn.Module:
    """A network with the weights chosen for it, of the input size of its canonical camera.

    Installed ones stay on the disk until they are used, since nothing there is ever written over.
    """
    if chosen.path is None:
        return create_model(spec.name)
    if spec.name in _LITES and spec.canonical != model_spec(spec.name).canonical:
        return load_weights(_lite_of_size(spec, chosen.path), chosen.path)
    if not isinstance(chosen.vouched, Installed):
        return load_weights(create_model(spec.name), chosen.path)
    with torch.device("meta"):
        network = _built(spec.name).eval()
    return load_weights(network, chosen.path)
