"""Losses of shape: depth compared after its median and spread are taken out, in parts of the image or of the depth.

RPNL (arXiv 2307.10984, equation 3) looks at random crops, HDN (arXiv 2210.09071) at random intervals of depth.
"""

from __future__ import annotations

import torch
from torch import Tensor

from m3d_cli.training.losses import EPSILON, mean_where, safe

# Fraction of the image's side that a crop of RPNL spans (arXiv 2307.10984, section 3.2).
RPNL_SIDES = (0.125, 0.5)

# A crop of RPNL is read on a lattice of this many pixels a side. A part with fewer known pixels than that is left out.
RPNL_LATTICE = 24
LEAST_PIXELS = 32

# HDN reads the image on a lattice of at most this many pixels a side.
HDN_LATTICE = 96

# An interval of HDN: where it may begin, and how long it is at least, as fractions of the image's range of depth.
HDN_START = 0.75
HDN_LENGTH = 0.1

# Relative relief below which a part counts as flat: without it a part's noise, and at the start of training the whole
# prediction's, is blown up to gradients that drown every other loss.
FLAT = 0.02


def random_proposal_normalisation(
    prediction: Tensor, target: Tensor, mask: Tensor, generator: torch.Generator, crops: int = 32
) -> Tensor:
    """RPNL (arXiv 2307.10984, equation 3): inside random crops, depth less its median over its mean deviation.

    Crops are shared by the batch and read on a lattice of RPNL_LATTICE^2 pixels, which keeps 32 crops of a large
    batch one tensor operation. A crop with fewer than LEAST_PIXELS known pixels does not count.
    """
    rows, columns = _lattice(prediction.shape[-2:], crops, generator)
    rows, columns = rows.to(prediction.device), columns.to(prediction.device)
    p, t, m = (x[:, 0, rows, columns].flatten(2) for x in (prediction, target, mask))
    difference = (_normalised(p, m) - _normalised(safe(t, m), m)).abs()
    per_crop = torch.where(m, difference, 0.0).sum(dim=2) / m.sum(dim=2).clamp(min=1)
    return mean_where(per_crop.flatten(), m.sum(dim=2).flatten() >= LEAST_PIXELS)


def hierarchical_depth_normalisation(
    prediction: Tensor, target: Tensor, mask: Tensor, generator: torch.Generator, intervals: int = 10
) -> Tensor:
    """HDN over random intervals of depth (HDNRandom of the published training), every known pixel weighing the same.

    In each interval depth less its median over its mean deviation. An interval is drawn as fractions of the image's
    range of depth throughout; the published code adds a fraction to metres when it draws the far end.
    """
    rows, columns = (_thinned(side).to(prediction.device) for side in prediction.shape[-2:])
    p, t, m = (x[:, 0, rows[:, None], columns[None, :]].flatten(1)[:, None] for x in (prediction, target, mask))
    low, high = _intervals(t, m, intervals, generator)
    inside = m & (t >= low) & (t <= high)
    inside &= inside.sum(dim=2, keepdim=True) >= LEAST_PIXELS
    p, t = p.expand_as(inside), safe(t.expand_as(inside), inside)
    difference = (_normalised(p, inside) - _normalised(t, inside)).abs()
    return mean_where(difference.flatten(), inside.flatten())


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


def _thinned(side: int) -> Tensor:
    """Positions along a side, HDN_LATTICE of them at most."""
    count = min(side, HDN_LATTICE)
    return ((torch.arange(count) + 0.5) * side / count).long()


def _intervals(target: Tensor, mask: Tensor, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Near and far ends (B, count, 1) for depths (B, 1, N)."""
    draws = torch.rand((2, len(target), count, 1), generator=generator).to(target.device)
    low = HDN_START * draws[0]
    high = low + HDN_LENGTH + (1 - low - HDN_LENGTH) * draws[1]
    nearest = torch.where(mask, target, torch.inf).amin(dim=2, keepdim=True)
    farthest = torch.where(mask, target, -torch.inf).amax(dim=2, keepdim=True)
    reach = farthest - nearest
    return nearest + low * reach, nearest + high * reach


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
    return centred / (deviation + FLAT * median.abs() + EPSILON)
