"""Weights in a quarter of their size: 8-bit whole numbers with one scale a row, made floating again when they are read.

Computation is not in 8 bits. A weight moves by at most half a step, 1/254 of the largest in its row.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

# Beside the weight it belongs to: float32, one number a row.
SCALE = ".row_scale"
STEPS = 127

# Smaller tensors are not worth it.
LEAST_NUMBERS = 4096


def compacted(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Matrices and kernels as int8 and their scales, everything else as it is."""
    packed: dict[str, Tensor] = {}
    for key, value in state.items():
        if value.ndim not in (2, 4) or value.numel() < LEAST_NUMBERS or not value.is_floating_point():
            packed[key] = value
            continue
        rows = value.float().flatten(1)
        scale = (rows.abs().amax(dim=1, keepdim=True) / STEPS).clamp(min=torch.finfo(torch.float32).tiny)
        packed[key] = (rows / scale).round().to(torch.int8).reshape(value.shape)
        packed[key + SCALE] = scale[:, 0]
    return packed


def expanded(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of `compacted`: float32 where there were 8 bits."""
    scales = {key.removesuffix(SCALE): value for key, value in state.items() if key.endswith(SCALE)}
    plain = {}
    for key, value in state.items():
        if key in scales and value.dtype == torch.int8:
            rows = value.float().flatten(1) * scales[key][:, None]
            plain[key] = rows.reshape(value.shape)
        elif not key.endswith(SCALE):
            plain[key] = value
    return plain
