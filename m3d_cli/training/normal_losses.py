"""Losses of directions: the points that depth stands for, the normals they span, and the normals a network predicts.

Depth (B, 1, H, W) is canonical metres, ``lens`` the camera at the network's input. Normals (B, 3, H, W) face the
camera: x right, y down, z forward, so what lies square to the axis has (0, 0, -1).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from m3d_cli.training.losses import mean_of_pictures, safe, sequence_weights

# Triplets of VNL (arXiv 1907.12209): sides closer to parallel than this cosine span no plane, nor do points closer
# than this along every axis (metres). The easiest quarter teaches nothing.
PARALLEL = 0.867
CLOSE = 0.005
EASIEST = 0.25
NEAREST = 1e-5

# Planes of PWN: how many pixels a plane must have, and how many triplets are drawn from it.
PLANE_PIXELS = 9000
PLANE_TRIPLETS = 5000

# Beyond this cosine the arc cosine's slope is taken as unbounded.
STEEP = 0.999

# Depth-normal consistency looks at the share of pixels with the best confidence that is at least LEAST_CONFIDENCE.
TRUSTED = 0.7
LEAST_CONFIDENCE = 0.5

EPSILON = 1e-6


class Lens(NamedTuple):
    """Focal length and principal point (B,) in pixels of the network's input, pixel centres at +0.5."""

    focal: Tensor
    cx: Tensor
    cy: Tensor


def back_projected(depth: Tensor, lens: Lens) -> Tensor:
    """Points (B, 3, H, W): what lies at ``depth`` along the axis behind each pixel."""
    rows, columns = depth.shape[-2:]
    u = torch.arange(columns, device=depth.device)[None, None, None, :] + 0.5
    v = torch.arange(rows, device=depth.device)[None, None, :, None] + 0.5
    focal, cx, cy = (x[:, None, None, None] for x in lens)
    return torch.cat([(u - cx) / focal * depth, (v - cy) / focal * depth, depth], dim=1)


def virtual_normal(
    prediction: Tensor, target: Tensor, mask: Tensor, lens: Lens, generator: torch.Generator, share: float = 0.2
) -> Tensor:
    """VNL: normals of planes through three far-apart points, of prediction and of truth (arXiv 1907.12209).

    ``share`` of the image's pixels triplets an image. Every image has its own principal point; the published code
    goes on using the first batch's.
    """
    triplets = _triplets(mask.flatten(1), max(1, int(share * mask[0].numel())), generator)
    true = _gathered(back_projected(safe(target, mask), lens), triplets)
    seen = _gathered(back_projected(torch.where(mask, prediction, 1.0), lens), triplets)
    spans = _spans_a_plane(true) & (true[..., 2].amin(dim=2) > NEAREST) & mask.flatten(1).any(dim=1)[:, None]
    difference = (_plane_normals(seen) - _plane_normals(true)).abs().sum(dim=-1)
    return _hardest(difference[spans])


def plane_normal(
    prediction: Tensor, planes: Tensor, mask: Tensor, lens: Lens, generator: torch.Generator, least: int = PLANE_PIXELS
) -> Tensor:
    """PWN: the normals of triplets on one plane agree with their mean (PWNPlanes of the published training).

    ``planes`` (B, 1, H, W) numbers the planes of each image from 1; a plane of fewer than ``least`` known pixels is
    left out. Points are back-projected with x to the right; the published code swaps rows and columns.
    """
    points = back_projected(torch.where(mask, prediction, 1.0), lens)
    disagreements = []
    for picture in range(len(planes)):
        numbers = torch.where(mask[picture], planes[picture], 0)
        for number in torch.unique(numbers).tolist():
            member = (numbers == number).flatten(1)
            if number > 0 and int(member.sum()) >= least:
                corners = _gathered(points[picture : picture + 1], _triplets(member, PLANE_TRIPLETS, generator))
                disagreements.append(_disagreement(corners))
    return torch.cat(disagreements).mean() if disagreements else prediction.sum() * 0


def normal_nll(normals: Sequence[Tensor], kappas: Sequence[Tensor], target: Tensor, mask: Tensor) -> Tensor:
    """Negative log likelihood of the true normals under the angular distribution about the predicted ones (Bae et al.,
    arXiv 2109.09881, equation 3), summed over successive estimates as `sequence_weights` says.

    ``target`` (B, 3, H, W) unit normals, ``mask`` (B, 1, H, W) where they are known.
    """
    total = target.new_zeros(())
    for weight, normal, kappa in zip(sequence_weights(len(normals)), normals, kappas, strict=True):
        cosine = (normal * torch.where(mask, target, 0.0)).sum(dim=1, keepdim=True)
        valid = mask & (cosine.abs() < STEEP)
        angle = torch.where(valid, cosine, 0.0).acos()
        value = -(kappa.square() + 1).log() + kappa * angle + (1 + (-kappa * math.pi).exp()).log()
        total = total + weight * mean_of_pictures(value, valid)
    return total


def normals_of_depth(depth: Tensor, lens: Lens, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Unit normals (B, 3, H, W) of the surface that ``depth`` describes, and where they are known (B, 1, H, W).

    The mean of the two crosses of neighbours at one and at two pixels' distance; known where all eight are.
    """
    points = back_projected(torch.where(mask, depth, 1.0), lens)
    total = sum((_cross_normal(points, distance) for distance in (1, 2)), torch.zeros_like(points))
    known = mask.clone()
    for distance in (1, 2):
        for shifted in _shifts(mask.float(), distance):
            known &= shifted > 0
    return _facing(F.normalize(total, dim=1), points), known


def depth_normal_consistency(
    depth: Tensor, normals: Tensor, kappa: Tensor, confidence: Tensor, mask: Tensor, lens: Lens
) -> Tensor:
    """1 - cos between predicted normals and those of the predicted depth, where both are trusted (arXiv 2404.15506,
    equation 8); ``depth`` may come detached, as in the published training from scratch.

    The mean of the trusted pixels; the published code also counts 1 for every other pixel.
    """
    implied, known = normals_of_depth(depth, lens, mask)
    trusted = known & _best(kappa, TRUSTED) & _best(confidence, TRUSTED) & (confidence > LEAST_CONFIDENCE)
    cosine = (implied * normals).sum(dim=1, keepdim=True)
    return mean_of_pictures(1 - cosine, trusted)


def _triplets(mask: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """(B, count, 3) positions of true entries of ``mask`` (B, N), drawn with replacement; 0 where there is none."""
    reached = mask.cumsum(dim=1)
    draws = torch.rand((len(mask), 3 * count), generator=generator).to(mask.device)
    rank = (draws * reached[:, -1:]).floor() + 1
    place = torch.searchsorted(reached.float(), rank.clamp(max=reached[:, -1:].float()))
    return place.clamp(max=mask.shape[1] - 1).reshape(len(mask), count, 3)


def _gathered(points: Tensor, triplets: Tensor) -> Tensor:
    """(B, T, 3 corners, 3 coordinates) of ``points`` (B, 3, H, W)."""
    index = triplets.flatten(1)[:, None].expand(-1, 3, -1)
    return points.flatten(2).gather(2, index).transpose(1, 2).reshape(*triplets.shape, 3)


def _sides(corners: Tensor) -> Tensor:
    return corners[..., (1, 2, 2), :] - corners[..., (0, 0, 1), :]


def _spans_a_plane(corners: Tensor) -> Tensor:
    sides = _sides(corners)
    unit = F.normalize(sides, dim=-1, eps=EPSILON)
    cosines = (unit[..., (0, 0, 1), :] * unit[..., (1, 2, 2), :]).sum(dim=-1)
    close = (sides.abs() < CLOSE).any(dim=-2).all(dim=-1)
    return (cosines.abs() <= PARALLEL).all(dim=-1) & ~close


def _plane_normals(corners: Tensor) -> Tensor:
    sides = _sides(corners)
    return F.normalize(torch.linalg.cross(sides[..., 0, :], sides[..., 1, :]), dim=-1, eps=EPSILON)


def _hardest(values: Tensor) -> Tensor:
    """Mean without the lowest EASIEST of them."""
    if values.numel() == 0:
        return values.sum()
    return values.sort().values[int(EASIEST * len(values)) :].mean()


def _disagreement(corners: Tensor) -> Tensor:
    """1 - cos (T,) between the normals of triplets (1, T, 3, 3) and their mean; those that span no plane left out."""
    kept = corners[_spans_a_plane(corners.detach())]
    normals = _plane_normals(kept)
    outward = (normals * kept.mean(dim=1)).sum(dim=1, keepdim=True) > 0
    normals = torch.where(outward, -normals, normals)
    mean = F.normalize(normals.mean(dim=0, keepdim=True), dim=1, eps=EPSILON)
    return 1 - (normals * mean).sum(dim=1)


def _shifts(x: Tensor, distance: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """``x`` as its left, right, upper and lower neighbours see it, zero beyond the border."""
    rows, columns = x.shape[-2:]
    padded = F.pad(x, (distance,) * 4)
    across = padded[..., distance : distance + rows, :]
    down = padded[..., distance : distance + columns]
    return across[..., :columns], across[..., 2 * distance :], down[..., :rows, :], down[..., 2 * distance :, :]


def _cross_normal(points: Tensor, distance: int) -> Tensor:
    left, right, top, bottom = _shifts(points, distance)
    normal = torch.linalg.cross(left - right, top - bottom, dim=1)
    return _facing(F.normalize(normal, dim=1, eps=EPSILON), points)


def _facing(normals: Tensor, points: Tensor) -> Tensor:
    away = (normals * points).sum(dim=1, keepdim=True) > 0
    return torch.where(away, -normals, normals)


def _best(value: Tensor, share: float) -> Tensor:
    """(B, 1, H, W): the ``share`` of each image's pixels with the highest value."""
    bound = value.detach().flatten(1).quantile(1 - share, dim=1)
    return value >= bound[:, None, None, None]
