"""The encoders of Metric3D: ConvNeXt (v1) and DINOv2 with registers (v2), out of timm's blocks.

Both keep one tensor for each tensor of the published checkpoints that carries information, so that weights map exactly
in both directions (`m3d_cli.models.convert`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from timm.layers import Mlp, SwiGLUPacked
from timm.models.convnext import ConvNeXt
from timm.models.vision_transformer import Block
from torch import Tensor, nn

PATCH = 14
REGISTERS = 4
# The class token and the registers, which stand before the patches.
PREFIX = 1 + REGISTERS
# DINOv2's position embedding was trained on 518 x 518 pixels.
POSITIONS = 518 // PATCH
# The published resampling of positions adds this to the grid before dividing, against truncation; it moves every
# sample a little, which the networks have learned with.
POSITION_OFFSET = 0.1
NORM_EPS = 1e-6


@dataclass(frozen=True, slots=True)
class ConvNextShape:
    """Blocks and channels of the four stages."""

    depths: tuple[int, int, int, int]
    widths: tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class VitShape:
    """A DINOv2 encoder. ``taps`` are the blocks read raw, counted from 1; without taps the normed last block is read.

    ``hidden`` is the width inside the feed-forward layers; gated ones (SwiGLU) have it twice, once for the gate.
    """

    blocks: int
    width: int
    heads: int
    hidden: int
    gated: bool = False
    taps: tuple[int, ...] = ()


class Tokens(NamedTuple):
    """What a ViT saw: four readings (B, 5 + rows * columns, C), prefix first, patches row by row."""

    readings: tuple[Tensor, Tensor, Tensor, Tensor]
    rows: int
    columns: int


class ConvNextEncoder(nn.Module):
    """Images (B, 3, H, W) to the raw outputs of the four stages at 1/4, 1/8, 1/16 and 1/32."""

    def __init__(self, shape: ConvNextShape) -> None:
        super().__init__()
        whole = ConvNeXt(depths=shape.depths, dims=shape.widths, num_classes=0, ls_init_value=1.0)
        self.stem = whole.stem
        self.stages = whole.stages

    def forward(self, x: Tensor) -> list[Tensor]:
        outputs = []
        x = self.stem(x)
        for stage in self.stages:
            x = stage(x)
            outputs.append(x)
        return outputs


class VitEncoder(nn.Module):
    """Images (B, 3, 14 rows, 14 columns) to four readings of all tokens."""

    def __init__(self, shape: VitShape) -> None:
        super().__init__()
        self.taps = shape.taps
        self.patch_embed = nn.Conv2d(3, shape.width, PATCH, stride=PATCH)
        self.cls_token = nn.Parameter(0.02 * torch.randn(1, 1, shape.width))
        self.register_tokens = nn.Parameter(0.02 * torch.randn(1, REGISTERS, shape.width))
        self.pos_embed = nn.Parameter(0.02 * torch.randn(1, 1 + POSITIONS**2, shape.width))
        self.blocks = nn.ModuleList(_block(shape) for _ in range(shape.blocks))
        self.norm = nn.Identity() if shape.taps else nn.LayerNorm(shape.width, eps=NORM_EPS)

    def forward(self, x: Tensor) -> Tokens:
        rows, columns = x.shape[-2] // PATCH, x.shape[-1] // PATCH
        x = self.embed(x)
        tapped = []
        for number, block in enumerate(self.blocks, start=1):
            x = block(x)
            if number in self.taps:
                tapped.append(x)
        first, second, third, fourth = tapped or [self.norm(x)] * 4
        return Tokens((first, second, third, fourth), rows, columns)

    def embed(self, x: Tensor) -> Tensor:
        """Patches and prefix as the first block takes them; registers have no position."""
        patches = self.patch_embed(x)
        positions = self.positions(patches.shape[-2], patches.shape[-1]).to(patches.dtype)
        patches = patches.flatten(2).transpose(1, 2) + positions
        own = self.pos_embed[:, :1].to(patches.dtype)
        prefix = torch.cat([self.cls_token.to(patches.dtype) + own, self.register_tokens.to(patches.dtype)], dim=1)
        return torch.cat([prefix.expand(patches.shape[0], -1, -1), patches], dim=1)

    def positions(self, rows: int, columns: int) -> Tensor:
        """Position embedding (1, rows * columns, C) for a grid, float32.

        Bicubic without antialiasing, on the sampling grid of the offset scale and not of the sizes, as the networks
        were trained; timm's own resampling moves depth by metres. A 37 x 37 grid would be taken as it is, but no legal
        input has one.
        """
        grid = self.pos_embed[:, 1:].float().transpose(1, 2).reshape(1, -1, POSITIONS, POSITIONS)
        scale = ((rows + POSITION_OFFSET) / POSITIONS, (columns + POSITION_OFFSET) / POSITIONS)
        resampled = F.interpolate(grid, scale_factor=scale, mode="bicubic", antialias=False)
        return resampled.flatten(2).transpose(1, 2)


def _block(shape: VitShape) -> nn.Module:
    """timm's pre-norm block, whose attention is `scaled_dot_product_attention`."""
    factor = 2 if shape.gated else 1
    block: nn.Module = Block(
        dim=shape.width,
        num_heads=shape.heads,
        mlp_ratio=factor * shape.hidden / shape.width,
        qkv_bias=True,
        init_values=1.0,
        norm_layer=partial(nn.LayerNorm, eps=NORM_EPS),
        mlp_layer=SwiGLUPacked if shape.gated else Mlp,
        act_layer=nn.SiLU if shape.gated else nn.GELU,
    )
    return block
