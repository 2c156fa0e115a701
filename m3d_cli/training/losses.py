"""Losses of Metric3D's training, each a function of prediction, target and mask (all (B, 1, H, W)) that returns a
scalar.

Depths are canonical metres. Every loss is averaged per picture first, so that a picture with sparse LiDAR weighs as
much as a dense one; a masked pixel changes nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor

# Fraction of the picture's side that a crop of RPNL spans (arXiv 2307.10984, section 3.2).
RPNL_SIDES = (0.125, 0.5)

# A crop of RPNL is read on a lattice of this many pixels a side, and counts when this many of them are known.
RPNL_LATTICE = 24
RPNL_LEAST = 32

# Relative relief below which a crop counts as flat: without it a crop's noise, and at the start of training the whole
# prediction's, is blown up to gradients that drown every other loss.
RPNL_FLOOR = 0.02

EPSILON = 1e-6


def log_l1(prediction: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Mean absolute difference of the logarithms: the metric term, robust to wrong labels."""
    difference = torch.where(mask, prediction.log() - _safe(target, mask).log(), 0.0)
    return _mean_of_pictures(difference.abs(), mask)


def scale_invariant_log(prediction: Tensor, target: Tensor, mask: Tensor, focus: float = 0.5) -> Tensor:
    """``mean d^2 - focus (mean d)^2`` with d = ln p - ln t (Eigen et al. 2014, equation 4), square-rooted per
    picture.
    """
    difference = torch.where(mask, prediction.log() - _safe(target, mask).log(), 0.0)
    count = mask.sum(dim=(1, 2, 3)).clamp(min=1)
    mean = difference.sum(dim=(1, 2, 3)) / count
    square = difference.square().sum(dim=(1, 2, 3)) / count
    value = (square - focus * mean.square() + EPSILON).sqrt()
    return _weighted(value, mask.any(dim=3).any(dim=2).any(dim=1))


def gradient(prediction: Tensor, target: Tensor, mask: Tensor, scales: int = 4) -> Tensor:
    """Differences of neighbouring log errors at ``scales`` strides 1, 2, 4, ...: sharp edges, smooth surfaces."""
    error = torch.where(mask, prediction.log() - _safe(target, mask).log(), 0.0)
    total = error.new_zeros(())
    for level in range(scales):
        step = 2**level
        for axis in (2, 3):
            a, b = _neighbours(error[..., ::step, ::step], axis)
            mask_a, mask_b = _neighbours(mask[..., ::step, ::step], axis)
            total = total + _mean_of_pictures((a - b).abs(), mask_a & mask_b)
    return total / (2 * scales)


def random_proposal_normalisation(
    prediction: Tensor, target: Tensor, mask: Tensor, generator: torch.Generator, crops: int = 32
) -> Tensor:
    """RPNL (arXiv 2307.10984, equation 3): inside random crops, depth less its median over its mean deviation.

    Crops are shared by the batch and read on a lattice of RPNL_LATTICE^2 pixels, which keeps 32 crops of a large
    batch one tensor operation. A crop with fewer than RPNL_LEAST known pixels does not count.
    """
    rows, columns = _lattice(prediction.shape[-2:], crops, generator)
    rows, columns = rows.to(prediction.device), columns.to(prediction.device)
    p = prediction[:, 0, rows, columns].flatten(2)
    t = target[:, 0, rows, columns].flatten(2)
    m = mask[:, 0, rows, columns].flatten(2)
    known = m.sum(dim=2) >= RPNL_LEAST
    difference = (_normalised(p, m) - _normalised(_safe(t, m), m)).abs()
    per_crop = torch.where(m, difference, 0.0).sum(dim=2) / m.sum(dim=2).clamp(min=1)
    return _weighted(per_crop.flatten(), known.flatten())


def confidence_l1(confidence: Tensor, prediction: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Confidence against 1 - |p - t| / t, not below 0 (SPEC of the published training; here p gets no gradient)."""
    safe = _safe(target, mask)
    goal = (1 - (prediction.detach() - safe).abs() / safe).clamp(min=0)
    return _mean_of_pictures((confidence - goal).abs(), mask)


def sky(prediction: Tensor, far: float, is_sky: Tensor) -> Tensor:
    """Sky is pushed beyond ``far`` canonical metres: hinge on the logarithm."""
    short = (torch.log(torch.tensor(far)) - prediction.log()).clamp(min=0)
    return _mean_of_pictures(torch.where(is_sky, short, 0.0), is_sky)


def _safe(target: Tensor, mask: Tensor) -> Tensor:
    return torch.where(mask, target, 1.0)


def _mean_of_pictures(value: Tensor, mask: Tensor) -> Tensor:
    count = mask.sum(dim=(1, 2, 3))
    per_picture = torch.where(mask, value, 0.0).sum(dim=(1, 2, 3)) / count.clamp(min=1)
    return _weighted(per_picture, count > 0)


def _weighted(value: Tensor, counts: Tensor) -> Tensor:
    return torch.where(counts, value, 0.0).sum() / counts.sum().clamp(min=1)


def _neighbours(x: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    length = x.shape[axis]
    return x.narrow(axis, 1, length - 1), x.narrow(axis, 0, length - 1)


def _lattice(size: torch.Size, crops: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    low, high = RPNL_SIDES
    draws = torch.rand((4, crops, 1), generator=generator)
    steps = (torch.arange(RPNL_LATTICE) + 0.5)[None] / RPNL_LATTICE
    index = []
    for axis in (0, 1):
        side = low + (high - low) * draws[axis]
        start = draws[2 + axis] * (1 - side)
        index.append(((start + side * steps) * size[axis]).long().clamp(max=size[axis] - 1))
    return index[0][:, :, None], index[1][:, None, :]


def _normalised(x: Tensor, mask: Tensor) -> Tensor:
    """(x - median) / mean deviation over the masked entries of the last axis.

    The median carries its gradient: detached, as in the published training, adding a constant to x would look like a
    change.
    """
    filled = torch.where(mask, x, torch.inf).sort(dim=2).values
    middle = ((mask.sum(dim=2, keepdim=True) - 1) // 2).clamp(min=0)
    median = filled.gather(2, middle)
    median = torch.where(torch.isfinite(median), median, 0.0)
    centred = torch.where(mask, x - median, 0.0)
    deviation = centred.abs().sum(dim=2, keepdim=True) / mask.sum(dim=2, keepdim=True).clamp(min=1)
    return centred / (deviation + RPNL_FLOOR * median.abs() + EPSILON)
