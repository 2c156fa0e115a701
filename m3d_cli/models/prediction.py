"""What a network returns for a batch of canonical pictures."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """Canonical depth (B, 1, H, W) in canonical metres and the raw confidence (B, 1, H, W), higher is better.

    ``normals`` (B, 3, H, W) and their concentration ``normal_kappa`` (B, 1, H, W) are None for networks without them.
    """

    depth: Tensor
    confidence: Tensor
    normals: Tensor | None = None
    normal_kappa: Tensor | None = None
