"""The published Metric3D networks, whole: normalised images in canonical space to a `Prediction`.

v1 (arXiv 2307.10984) is ConvNeXt with an hourglass decoder, v2 (arXiv 2404.15506) DINOv2 with a RAFT-like one. Both
take any size that their grids divide, in batches of any size.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from m3d_cli.errors import UsageError
from m3d_cli.models.encoders import ConvNextEncoder, ConvNextShape, VitEncoder, VitShape
from m3d_cli.models.hourglass import Hourglass, HourglassShape
from m3d_cli.models.prediction import Prediction
from m3d_cli.models.raft_dpt import RaftDpt, RaftShape

CONVNEXT_STEP = 32
# Patches of 14 in pairs: the decoder's maps at 1/7 and 1/4 are 2 and 3.5 times the patch grid.
VIT_STEP = 28


@dataclass(frozen=True, slots=True)
class ConvNextArchitecture:
    """Encoder and decoder of a v1 network."""

    encoder: ConvNextShape
    pyramid: tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class VitArchitecture:
    """Encoder and decoder of a v2 network."""

    encoder: VitShape
    decoder: RaftShape


ARCHITECTURES: dict[str, ConvNextArchitecture | VitArchitecture] = {
    "convnext-tiny": ConvNextArchitecture(ConvNextShape((3, 3, 9, 3), (96, 192, 384, 768)), (64, 128, 256)),
    "convnext-large": ConvNextArchitecture(ConvNextShape((3, 3, 27, 3), (192, 384, 768, 1536)), (128, 256, 512)),
    "vit-small": VitArchitecture(
        VitShape(blocks=12, width=384, heads=6, hidden=1536),
        RaftShape(width=384, readouts=(96, 192), fusion=(384, 192, 96), hidden=48, iterations=4),
    ),
    "vit-large": VitArchitecture(
        VitShape(blocks=24, width=1024, heads=16, hidden=4096),
        RaftShape(width=1024, readouts=(256, 512), fusion=(1024, 512, 256), hidden=128, iterations=8),
    ),
    "vit-giant2": VitArchitecture(
        VitShape(blocks=40, width=1536, heads=24, hidden=4096, gated=True, taps=(10, 20, 30, 40)),
        RaftShape(width=1536, readouts=(384, 768), fusion=(1536, 768, 384), hidden=192, iterations=8),
    ),
    "m3d-test-convnext": ConvNextArchitecture(ConvNextShape((1, 1, 2, 1), (8, 16, 24, 32)), (8, 12, 16)),
    "m3d-test-vit": VitArchitecture(
        VitShape(blocks=2, width=48, heads=3, hidden=96),
        RaftShape(width=48, readouts=(16, 24), fusion=(48, 24, 16), hidden=16, iterations=2),
    ),
}


class Metric3DConvNext(nn.Module):
    """Metric3D v1: no normals, depth unclamped."""

    def __init__(self, name: str, architecture: ConvNextArchitecture) -> None:
        super().__init__()
        self.name = name
        self.encoder = ConvNextEncoder(architecture.encoder)
        self.decoder = Hourglass(HourglassShape(architecture.encoder.widths, architecture.pyramid))

    def forward(self, x: Tensor) -> Prediction:
        check_input(self.name, x, CONVNEXT_STEP)
        depth, confidence = self.decoder(self.encoder(x))
        return Prediction(depth, confidence)


class Metric3DVit(nn.Module):
    """Metric3D v2: depth, confidence and normals after the last iteration."""

    def __init__(self, name: str, architecture: VitArchitecture) -> None:
        super().__init__()
        self.name = name
        self.encoder = VitEncoder(architecture.encoder)
        self.decoder = RaftDpt(architecture.decoder)

    def forward(self, x: Tensor) -> Prediction:
        check_input(self.name, x, VIT_STEP)
        geometry = self.decoder(self.encoder(x))
        return Prediction(geometry.depth, geometry.confidence, geometry.normals, geometry.kappa)


def build_network(name: str) -> nn.Module:
    """The network ``name``, initialised as torch does."""
    architecture = ARCHITECTURES[name]
    if isinstance(architecture, ConvNextArchitecture):
        return Metric3DConvNext(name, architecture)
    return Metric3DVit(name, architecture)


def check_input(name: str, x: Tensor, step: int) -> None:
    """Raise UsageError for what is not a batch of RGB images with sides in multiples of ``step`` pixels."""
    if x.ndim == 4 and x.shape[1] == 3 and all(side > 0 and side % step == 0 for side in x.shape[2:]):
        return
    raise UsageError(f"{name} takes (B, 3, H, W) with H and W multiples of {step}, got {tuple(x.shape)}")
