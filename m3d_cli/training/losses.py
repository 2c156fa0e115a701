"""Losses of single pixels, each a function of prediction, target and mask (all (B, 1, H, W)) that returns a scalar.

Those that compare shapes are in `relative_losses` and `normal_losses`. Depths are canonical metres. Every loss is
averaged per image first, so that an image with sparse LiDAR weighs as much as a dense one; a masked pixel changes
nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from m3d_cli.models.prediction import FOCAL_RANGE

EPSILON = 1e-6

# What a step of the refinement counts, by the published rule: the last of n weighs 1, the one before g, then g^2, with
# g = GAMMA ** (SPAN / (n - 1)), so that the first weighs about a fifth whatever n is.
SEQUENCE_GAMMA = 0.9
SEQUENCE_SPAN = 15

# Where the published networks put the sky, canonical metres, and the normal they give it.
SKY_DEPTH = 200.0
SKY_NORMAL = (0.0, 0.0, -1.0)


def log_l1(prediction: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Mean absolute difference of the logarithms: the metric term, robust to wrong labels."""
    difference = torch.where(mask, prediction.log() - safe(target, mask).log(), 0.0)
    return mean_of_pictures(difference.abs(), mask)


def scale_invariant_log(prediction: Tensor, target: Tensor, mask: Tensor, focus: float = 0.5) -> Tensor:
    """``mean d^2 - focus (mean d)^2`` with d = ln p - ln t (Eigen et al. 2014, equation 4), square-rooted per
    image.
    """
    difference = torch.where(mask, prediction.log() - safe(target, mask).log(), 0.0)
    count = mask.sum(dim=(1, 2, 3)).clamp(min=1)
    mean = difference.sum(dim=(1, 2, 3)) / count
    square = difference.square().sum(dim=(1, 2, 3)) / count
    value = (square - focus * mean.square() + EPSILON).sqrt()
    return mean_where(value, mask.any(dim=3).any(dim=2).any(dim=1))


def gradient(prediction: Tensor, target: Tensor, mask: Tensor, scales: int = 4) -> Tensor:
    """Differences of neighbouring log errors at ``scales`` strides 1, 2, 4, ...: sharp edges, smooth surfaces."""
    error = torch.where(mask, prediction.log() - safe(target, mask).log(), 0.0)
    total = error.new_zeros(())
    for level in range(scales):
        step = 2**level
        for axis in (2, 3):
            a, b = _neighbours(error[..., ::step, ::step], axis)
            mask_a, mask_b = _neighbours(mask[..., ::step, ::step], axis)
            total = total + mean_of_pictures((a - b).abs(), mask_a & mask_b)
    return total / (2 * scales)


def confidence_l1(confidence: Tensor, prediction: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Confidence against 1 - |p - t| / t, not below 0 (SPEC of the published training; here p gets no gradient)."""
    known = safe(target, mask)
    goal = (1 - (prediction.detach() - known).abs() / known).clamp(min=0)
    return mean_of_pictures((confidence - goal).abs(), mask)


def sequence_weights(count: int) -> tuple[float, ...]:
    """What each of ``count`` successive estimates weighs; the last one 1."""
    step = SEQUENCE_GAMMA ** (SEQUENCE_SPAN / (count - 1)) if count > 1 else 1.0
    return tuple(step ** (count - 1 - index) for index in range(count))


def l1_sequence(predictions: Sequence[Tensor], confidences: Sequence[Tensor], target: Tensor, mask: Tensor) -> Tensor:
    """Absolute error and confidence error of every estimate, later ones weighing more (arXiv 2404.15506, section 3.3).

    The confidence is asked for where the error is below the depth itself. Its goal, 1 - |p - t| / t, gets no gradient;
    in the published training it does, and the depth is pulled towards whatever the confidence says.
    """
    total = target.new_zeros(())
    steps = zip(sequence_weights(len(predictions)), predictions, confidences, strict=True)
    for weight, prediction, confidence in steps:
        error = torch.where(mask, (prediction - safe(target, mask)).abs(), 0.0)
        near = mask & (error < safe(target, mask))
        goal = 1 - error.detach() / safe(target, mask)
        total = total + weight * (mean_of_pictures(error, mask) + mean_of_pictures((confidence - goal).abs(), near))
    return total


def sky_regularisation(prediction: Tensor, normals: Tensor | None, is_sky: Tensor) -> Tensor:
    """Sky lies SKY_DEPTH canonical metres away and faces the camera (SkyRegularization of the published training).

    ``normals`` (B, 3, H, W) unit vectors, None for networks without.
    """
    value = mean_of_pictures((prediction - SKY_DEPTH).abs(), is_sky)
    if normals is None:
        return value
    facing = torch.tensor(SKY_NORMAL, device=normals.device)[None, :, None, None]
    cosine = (normals * facing).sum(dim=1, keepdim=True)
    return value + mean_of_pictures(1 - cosine, is_sky)


def focal_cross_entropy(logits: Tensor, ratio: Tensor, width: float = 1.5) -> Tensor:
    """Cross entropy of the focal head's bins (B, bins) with a Gaussian of ``width`` bins about ln ``ratio``.

    ``ratio`` (B,): focal length over the diagonal of the network's input.
    """
    bins = logits.shape[1]
    low, high = (math.log(bound) for bound in FOCAL_RANGE)
    place = ((ratio.log() - low) / (high - low) * (bins - 1)).clamp(0, bins - 1)
    away = (torch.arange(bins, device=logits.device)[None] - place[:, None]) / width
    goal = (-0.5 * away.square()).softmax(dim=1)
    return -(goal * logits.log_softmax(dim=1)).sum(dim=1).mean()


def sky(prediction: Tensor, far: float, is_sky: Tensor) -> Tensor:
    """Sky is pushed beyond ``far`` canonical metres: hinge on the logarithm."""
    short = (torch.log(torch.tensor(far)) - prediction.log()).clamp(min=0)
    return mean_of_pictures(torch.where(is_sky, short, 0.0), is_sky)


def safe(target: Tensor, mask: Tensor) -> Tensor:
    """``target`` with ones where it is unknown, so that nothing computed there spoils a gradient."""
    return torch.where(mask, target, 1.0)


def mean_of_pictures(value: Tensor, mask: Tensor) -> Tensor:
    """Mean of ``value`` over ``mask`` in each image, then over the images that have any of it."""
    count = mask.sum(dim=(1, 2, 3))
    per_picture = torch.where(mask, value, 0.0).sum(dim=(1, 2, 3)) / count.clamp(min=1)
    return mean_where(per_picture, count > 0)


def mean_where(value: Tensor, counts: Tensor) -> Tensor:
    """Mean of the entries of ``value`` where ``counts``, 0 without any."""
    return torch.where(counts, value, 0.0).sum() / counts.sum().clamp(min=1)


def _neighbours(x: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    length = x.shape[axis]
    return x.narrow(axis, 1, length - 1), x.narrow(axis, 0, length - 1)
