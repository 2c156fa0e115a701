"""What a network returns for a batch of canonical images."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

# Focal length / diagonal of the first and of the last bin: from 127 to 7 degrees across the diagonal.
FOCAL_RANGE = (0.25, 8.0)


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """Canonical depth (B, 1, H, W) in canonical metres and the raw confidence (B, 1, H, W), higher is better.

    ``normals`` (B, 3, H, W) and their concentration ``normal_kappa`` (B, 1, H, W) are None for networks without them.
    ``focal_logits`` (B, bins) are over ln(focal length / diagonal of the network's input), `FOCAL_RANGE` wide; None for
    networks that do not tell it.
    """

    depth: Tensor
    confidence: Tensor
    normals: Tensor | None = None
    normal_kappa: Tensor | None = None
    focal_logits: Tensor | None = None

    @classmethod
    def named(cls, outputs: Mapping[str, Tensor]) -> Prediction:
        """From the outputs of an exported graph, called as the fields here; a network may lack normals."""
        return cls(outputs["depth"], outputs["confidence"], outputs.get("normals"), outputs.get("normal_kappa"))

    @classmethod
    def joined(cls, pieces: Sequence[Prediction]) -> Prediction:
        """Predictions of one network, one batch after the other."""
        return cls(
            depth=torch.cat([piece.depth for piece in pieces]),
            confidence=torch.cat([piece.confidence for piece in pieces]),
            normals=_joined([piece.normals for piece in pieces]),
            normal_kappa=_joined([piece.normal_kappa for piece in pieces]),
            focal_logits=_joined([piece.focal_logits for piece in pieces]),
        )

    def mapped(self, change: Callable[[Tensor], Tensor]) -> Prediction:
        """With every tensor changed in the same way."""
        extras = (self.normals, self.normal_kappa, self.focal_logits)
        return Prediction(
            change(self.depth), change(self.confidence), *(None if one is None else change(one) for one in extras)
        )


def _joined(maps: Sequence[Tensor | None]) -> Tensor | None:
    known = [one for one in maps if one is not None]
    return torch.cat(known) if known else None
