"""What a network says while it is trained: every successive estimate, at the resolution where it is made."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from m3d_cli.errors import UsageError
from m3d_cli.models.lite import Lite
from m3d_cli.models.metric3d import Metric3DConvNext, Metric3DVit

# Canonical metres below which a depth is held: a network without a clamp may say 0 or less, which has no logarithm.
LEAST_DEPTH = 1e-3


class Estimates(NamedTuple):
    """Successive estimates, the last one final: depth (B, 1, h, w) canonical metres and confidence (B, 1, h, w).

    Where the network has them, also unit normals (B, 3, h, w) with their concentration, and logits (B, bins) of the
    focal length.
    """

    depths: list[Tensor]
    confidences: list[Tensor]
    normals: list[Tensor]
    kappas: list[Tensor]
    focal_logits: Tensor | None


class Trainee(nn.Module):
    """A network of any kind with the outputs that losses ask for."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        if not isinstance(network, Lite | Metric3DConvNext | Metric3DVit):
            raise UsageError(f"{type(network).__name__} is not a network that m3d trains")
        self.network = network

    def forward(self, pictures: Tensor) -> Estimates:
        """Estimates for normalised images (B, 3, H, W)."""
        if isinstance(self.network, Lite):
            return _of_lite(self.network, pictures)
        if isinstance(self.network, Metric3DVit):
            return _of_vit(self.network, pictures)
        prediction = self.network(pictures)
        depth = prediction.depth.float().clamp(min=LEAST_DEPTH)
        return Estimates([depth], [prediction.confidence.float()], [], [], None)


def _of_lite(network: Lite, pictures: Tensor) -> Estimates:
    # The losses stand at the decoder's own resolution: the last upsampling has nothing to learn.
    raw = network.raw(pictures)
    return Estimates([raw.log_depth.exp()], [raw.confidence_logit.sigmoid()], [], [], raw.focal_logits)


def _of_vit(network: Metric3DVit, pictures: Tensor) -> Estimates:
    steps = [network.decoder.full_size(one) for one in network.decoder.estimates(network.encoder(pictures))]
    depths, confidences, normals, kappas = zip(*steps, strict=True)
    return Estimates(list(depths), list(confidences), list(normals), list(kappas), None)
