"""Depth in steps of 16-bit files, made on the device: half the bytes travel, and the CPU need not round them."""

from __future__ import annotations

import torch
from torch import Tensor

from m3d_cli.depthmap import LARGEST_STEP


def in_steps(depth: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """Steps uint16 (H, W) of 1/scale metres from metres (H, W), NaN unknown, rounded half to even; and their
    statistics, float64 (4): pixels beyond 16 bits, known pixels, least and largest depth (infinite if none
    is known).

    The rule of `formats.depth_png.quantise`.
    """
    known = depth.isfinite()
    beyond = depth >= (LARGEST_STEP + 0.5) / scale
    # In double precision, as there: a product rounded to float32 can come to lie on the other side of a half.
    values = (depth.double() * scale).round_().clamp_(min=0).masked_fill_(beyond | ~known, 0)
    least = depth.masked_fill(~known, torch.inf).amin()
    largest = depth.masked_fill(~known, -torch.inf).amax()
    counts = torch.stack([(beyond & known).sum().double(), known.sum().double(), least.double(), largest.double()])
    # By way of int32: from floating point to uint16 not every device converts.
    return values.to(torch.int32).to(torch.uint16), counts
