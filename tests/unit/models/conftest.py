"""Deterministic weights under the published names, and what the published code computes with them.

The rule gives every tensor normal numbers seeded by its name, scaled so that activations stay in a sane range through
the whole network.
"""

from __future__ import annotations

import json
import lzma
import math
import re
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

GOLDEN = Path(__file__).parents[2] / "data" / "golden"

# Standard deviation and mean of a kind of tensor, by the end of its name.
KINDS: tuple[tuple[tuple[str, ...], float, float], ...] = (
    (("running_mean",), 0.1, 0.0),
    (("running_var",), 0.2, 0.8),
    (("gamma",), 0.1, 0.4),
    (("pos_embed", "cls_token", "register_tokens", "mask_token"), 0.3, 0.0),
    (("update_block.flow_head.conv2d.bias",), 0.02, 0.05),
    (("bias",), 0.02, 0.0),
)
# Gain of weights whose outputs need another size than their neighbours'.
GAINS = (
    ("depth_regressor.2.weight", 0.3),
    ("depth_regressor_2.3.weight", 0.4),
    ("flow_head.conv2d.weight", 0.05),
    ("flow_head.conv2n.weight", 0.3),
    ("update_block.mask.2.weight", 4.0),
    ("context_zqr_convs.0.weight", 0.5),
    ("context_zqr_convs.1.weight", 0.5),
    ("context_zqr_convs.2.weight", 0.5),
    ("conv_up_2.0.weight", 0.5),
    ("conv_up_2.7.weight", 0.5),
)


@dataclass(frozen=True, slots=True)
class Manifest:
    """Tensor names and shapes of a published checkpoint, names it may lack, and pairs of names of one tensor."""

    shapes: Mapping[str, tuple[int, ...]]
    optional: tuple[str, ...]
    tied: tuple[tuple[str, str], ...]


def seeded_normal(name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    generator = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode())))
    return generator.standard_normal(shape, dtype=np.float32)


def seeded_tensor(name: str, shape: tuple[int, ...]) -> NDArray[Any]:
    """The deterministic value of the published tensor ``name``."""
    name = name.replace(".norm3.", ".downsample.1.")
    if name.endswith("num_batches_tracked"):
        return np.zeros(shape, dtype=np.int64)
    normal = seeded_normal(name, shape)
    if name.endswith("running_var"):
        normal = np.abs(normal)
    for ends, spread, mean in KINDS:
        if name.endswith(ends):
            return normal * np.float32(spread) + np.float32(mean)
    if len(shape) == 1:
        return normal * np.float32(0.05) + np.float32(1)
    return normal * np.float32(_gain(name, shape) / math.sqrt(_fan_in(name, shape)))


def _gain(name: str, shape: tuple[int, ...]) -> float:
    listed = [gain for end, gain in GAINS if name.endswith(end)]
    if listed:
        return listed[0]
    return math.sqrt(2.0) if ".decoder." in name and len(shape) == 4 else 1.0


def _fan_in(name: str, shape: tuple[int, ...]) -> float:
    if name.endswith("read_1.sample.weight"):
        return float(shape[0])
    if re.search(r"deconv_\d\.0\.weight$", name):
        return shape[0] * 9 / 4
    return float(math.prod(shape[1:]))


@cache
def _manifests() -> dict[str, Manifest]:
    content = json.loads(lzma.decompress((GOLDEN / "manifests.json.xz").read_bytes()))
    return {
        name: Manifest(
            {key: tuple(shape) for key, shape in one["shapes"].items()},
            tuple(one["optional"]),
            tuple((first, second) for first, second in one["tied"]),
        )
        for name, one in content.items()
    }


@pytest.fixture(scope="session")
def manifests() -> dict[str, Manifest]:
    return _manifests()


@pytest.fixture(scope="session")
def official_state() -> Callable[[str], dict[str, torch.Tensor]]:
    """The deterministic checkpoint of a network, whole."""

    def state(name: str) -> dict[str, torch.Tensor]:
        shapes = _manifests()[name].shapes
        return {key: torch.from_numpy(np.asarray(seeded_tensor(key, shape))) for key, shape in shapes.items()}

    return state


@pytest.fixture(scope="session")
def golden_input() -> Callable[[str], torch.Tensor]:
    """The seeded input tensor of the golden outputs."""

    def tensor(name: str) -> torch.Tensor:
        if name.startswith("vit"):
            return torch.from_numpy(seeded_normal("input.vit.tensor", (2, 3, 168, 224)))
        return torch.from_numpy(seeded_normal("input.convnext.tensor", (2, 3, 192, 256)))

    return tensor


@pytest.fixture(scope="session")
def golden() -> Callable[[str, str], dict[str, Any]]:
    """Golden outputs of a network for ``tensor`` or ``nyu``; ``meta`` says how they were made."""

    def read(name: str, case: str) -> dict[str, Any]:
        with np.load(GOLDEN / f"{name}-{case}.npz") as file:
            arrays: dict[str, Any] = {key: file[key] for key in file.files}
        return arrays | {"meta": json.loads(str(arrays["meta"]))}

    return read


@pytest.fixture(scope="session")
def nyu_photo() -> Path:
    return GOLDEN / "nyu_rgb_00000.jpg"
