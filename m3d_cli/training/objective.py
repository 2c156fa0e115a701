"""The weighted sum of losses that a run descends."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from m3d_cli.errors import UsageError
from m3d_cli.models.spec import ModelSpec
from m3d_cli.training import losses, normal_losses, relative_losses
from m3d_cli.training.augment import Batch
from m3d_cli.training.config import TrainConfig
from m3d_cli.training.estimates import Estimates
from m3d_cli.training.normal_losses import Lens


@dataclass(frozen=True, slots=True, eq=False)
class LossTerms:
    """The terms of one step, unweighted, and their weighted sum."""

    terms: dict[str, Tensor]
    total: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class _Case:
    """Everything a loss may ask for, at the resolution of the estimates. Depth is what the network predicts: canonical
    metres, or metres without a canonical transform."""

    said: Estimates
    target: Tensor
    mask: Tensor
    is_sky: Tensor
    lens: Lens
    far: float
    focal_ratio: Tensor
    crops: int
    generator: torch.Generator

    @property
    def depth(self) -> Tensor:
        return self.said.depths[-1]


def objective(
    said: Estimates, batch: Batch, config: TrainConfig, spec: ModelSpec, generator: torch.Generator
) -> LossTerms:
    """Losses of a batch by the weights of the config; those of weight 0 are not computed.

    Raises UsageError for a loss that the network has no output for.
    """
    case = _case(said, batch, config, spec, generator)
    weights = {name: weight for name, weight in config.loss.weights().items() if weight > 0}
    terms = {name: _TERMS[name](case) for name in weights}
    total = torch.stack([weights[name] * value for name, value in terms.items()]).sum()
    return LossTerms(terms, total)


def _case(said: Estimates, batch: Batch, config: TrainConfig, spec: ModelSpec, generator: torch.Generator) -> _Case:
    target = _picked(batch.depth / batch.depth_factor(spec, config.augment.transform), said.depths[-1].shape[-2:])
    near, far = spec.depth_range
    coarser = target.shape[-1] / batch.depth.shape[-1]
    diagonal = math.hypot(*batch.depth.shape[-2:])
    return _Case(
        said=said,
        target=target,
        mask=(target > near) & (target < far),
        is_sky=torch.isposinf(target),
        lens=Lens(batch.focal * coarser, batch.cx * coarser, batch.cy * coarser),
        far=far,
        focal_ratio=batch.focal / diagonal,
        crops=config.loss.rpnl_crops,
        generator=generator,
    )


def _picked(target: Tensor, size: torch.Size) -> Tensor:
    """The target (B, 1, H, W) at the centres of a coarser grid: nearest, as depth must not be blended."""
    rows, columns = ((torch.arange(n) + 0.5) * full / n for n, full in zip(size, target.shape[-2:], strict=True))
    picked: Tensor = target[:, :, rows.long()[:, None], columns.long()[None, :]]
    return picked


def _normal(case: _Case) -> Tensor:
    if not case.said.normals:
        raise UsageError("loss.normal needs a network that predicts normals", hint="set it to 0")
    true, known = normal_losses.normals_of_depth(losses.safe(case.target, case.mask), case.lens, case.mask)
    return normal_losses.normal_nll(case.said.normals, case.said.kappas, true, known)


def _consistency(case: _Case) -> Tensor:
    if not case.said.normals:
        raise UsageError("loss.consistency needs a network that predicts normals", hint="set it to 0")
    everywhere = torch.ones_like(case.mask)
    normals, kappa = case.said.normals[-1], case.said.kappas[-1]
    confidence = case.said.confidences[-1].detach()
    return normal_losses.depth_normal_consistency(
        case.depth.detach(), normals, kappa.detach(), confidence, everywhere, case.lens
    )


def _sky_regularisation(case: _Case) -> Tensor:
    normals = case.said.normals[-1] if case.said.normals else None
    return losses.sky_regularisation(case.depth, normals, case.is_sky)


def _focal(case: _Case) -> Tensor:
    if case.said.focal_logits is None:
        raise UsageError("loss.focal needs a network with a head for the focal length", hint="set it to 0")
    return losses.focal_cross_entropy(case.said.focal_logits, case.focal_ratio)


# By the names of `LossSection`.
_TERMS: dict[str, Callable[[_Case], Tensor]] = {
    "log_l1": lambda c: losses.log_l1(c.depth, c.target, c.mask),
    "scale_invariant_log": lambda c: losses.scale_invariant_log(c.depth, c.target, c.mask),
    "l1_sequence": lambda c: losses.l1_sequence(c.said.depths, c.said.confidences, c.target, c.mask),
    "rpnl": lambda c: relative_losses.random_proposal_normalisation(c.depth, c.target, c.mask, c.generator, c.crops),
    "hdn": lambda c: relative_losses.hierarchical_depth_normalisation(c.depth, c.target, c.mask, c.generator),
    "virtual_normal": lambda c: normal_losses.virtual_normal(c.depth, c.target, c.mask, c.lens, c.generator),
    "normal": _normal,
    "consistency": _consistency,
    "gradient": lambda c: losses.gradient(c.depth, c.target, c.mask),
    "confidence": lambda c: losses.confidence_l1(c.said.confidences[-1], c.depth, c.target, c.mask),
    "sky": lambda c: losses.sky(c.depth, c.far, c.is_sky),
    "sky_regularisation": _sky_regularisation,
    "focal": _focal,
}
