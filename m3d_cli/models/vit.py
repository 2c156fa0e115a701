"""The vision transformer of ``lite`` in one file: DINOv2's ViT (arXiv 2304.07193) for one image size.

Parameters have the names of timm's ``vit_*_patch14_dinov2``, and the numbers are timm's; importing timm takes longer
than a photo does. The published networks use timm's own blocks (`encoders`).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_EPSILON = 1e-6  # of the layer norms
_FIRST_SCALE = 1e-5  # of a residual branch, before training
_WIDENING = 4  # of a block's hidden layer


class PatchEmbed(nn.Module):
    """Images (B, 3, H, W) to one token (B, N, C) per patch, row by row."""

    def __init__(self, patch: int, dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, dim, patch, stride=patch)

    def forward(self, x: Tensor) -> Tensor:
        tokens: Tensor = self.proj(x)
        return tokens.flatten(2).transpose(1, 2)


class Attention(nn.Module):
    """Self-attention of ``heads`` heads over all tokens."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        batch, count, dim = x.shape
        query, key, value = self.qkv(x).reshape(batch, count, 3, self.heads, dim // self.heads).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(query, key, value)
        projected: Tensor = self.proj(mixed.transpose(1, 2).reshape(batch, count, dim))
        return projected


class Mlp(nn.Module):
    """Two layers for every token by itself."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, _WIDENING * dim)
        self.fc2 = nn.Linear(_WIDENING * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.fc2(F.gelu(self.fc1(x)))
        return y


class LayerScale(nn.Module):
    """A learned factor per channel of a residual branch (arXiv 2103.17239)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(_FIRST_SCALE * torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma


class Block(nn.Module):
    """A transformer block, normalised before each branch."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=_EPSILON)
        self.attn = Attention(dim, heads)
        self.ls1 = LayerScale(dim)
        self.norm2 = nn.LayerNorm(dim, eps=_EPSILON)
        self.mlp = Mlp(dim)
        self.ls2 = LayerScale(dim)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.ls1(self.attn(self.norm1(x)))
        y: Tensor = x + self.ls2(self.mlp(self.norm2(x)))
        return y


class VisionTransformer(nn.Module):
    """Images (B, 3, rows * patch, columns * patch) to tokens after some of ``depth`` blocks, without a last norm."""

    def __init__(self, rows: int, columns: int, patch: int, dim: int, heads: int, depth: int) -> None:
        super().__init__()
        self.patch_embed = PatchEmbed(patch, dim)
        self.cls_token = nn.Parameter(torch.empty(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.empty(1, 1 + rows * columns, dim))
        self.blocks = nn.ModuleList(Block(dim, heads) for _ in range(depth))
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        nn.init.normal_(self.cls_token, std=_EPSILON)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor, taps: tuple[int, ...]) -> list[tuple[Tensor, Tensor]]:
        """Tokens (B, N, C) and class token (B, C) after each of the blocks ``taps``, counted from 1."""
        tokens = self.patch_embed(x)
        x = torch.cat([self.cls_token.expand(tokens.shape[0], -1, -1), tokens], dim=1) + self.pos_embed
        features = []
        for number, block in enumerate(self.blocks, 1):
            x = block(x)
            if number in taps:
                features.append((x[:, 1:], x[:, 0]))
        return features
