"""The decoder of Metric3D v1 (arXiv 2307.10984): ConvNeXt features to canonical depth and confidence.

A pyramid brings the features to 1/4 of the input, a small U-Net refines them, depth is the expectation over log-spaced
bins, and a light branch adds detail at full size. There is no clamp: depth may leave the bins' range by the detail.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

UNET_CHANNELS = (128, 64, 32, 16)
FEATURES = 256
DETAIL_CHANNELS = 16
DETAIL_STRENGTH = 0.1


@dataclass(frozen=True, slots=True)
class HourglassShape:
    """Channels of the encoder's stages and of the pyramid at 1/8, 1/16, 1/32; bins in canonical metres."""

    encoder: tuple[int, int, int, int]
    pyramid: tuple[int, int, int]
    bins: int = 512
    min_depth: float = 0.3
    max_depth: float = 150.0


class Level(nn.Module):
    """Narrow a map, double its size and join it with the encoder's map of that size."""

    def __init__(self, inputs: int, skip: int, channels: int, kernel: int) -> None:
        super().__init__()
        self.narrow = _reflecting(inputs, channels, kernel)
        self.join = _reflecting(channels + skip, channels, kernel)
        self.mix = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        x = F.elu(self.narrow(x))
        x = F.interpolate(x, scale_factor=2.0, mode="nearest")
        x = F.elu(self.join(torch.cat([x, skip], dim=1)))
        return F.elu(self.mix(x))


class Pyramid(nn.Module):
    """Features at 1/4 .. 1/32 to one map at 1/4."""

    def __init__(self, shape: HourglassShape) -> None:
        super().__init__()
        fine, middle, coarse = shape.pyramid
        self.levels = nn.ModuleList(
            [
                Level(shape.encoder[3], shape.encoder[2], coarse, kernel=1),
                Level(coarse, shape.encoder[1], middle, kernel=3),
                Level(middle, shape.encoder[0], fine, kernel=3),
            ]
        )

    def forward(self, features: list[Tensor]) -> Tensor:
        x = features[3]
        for level, skip in zip(self.levels, features[2::-1], strict=True):
            x = level(x, skip)
        return x


class ConvNormRelu(nn.Module):
    """3x3 convolution without bias, batch norm, ReLU."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.norm(self.conv(x)))


class Rise(nn.Module):
    """Double the size of a map by a transposed convolution, batch norm, ReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose2d(inputs, outputs, 3, 2, padding=1, output_padding=1, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.norm(self.conv(x)))


class UNet(nn.Module):
    """Three steps down and up again around 1/4 of the input, with additive shortcuts after the ReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        steps = list(pairwise(UNET_CHANNELS))
        self.enter = ConvNormRelu(inputs, UNET_CHANNELS[0])
        self.down = nn.ModuleList(
            nn.Sequential(ConvNormRelu(wide, narrow, stride=2), ConvNormRelu(narrow, narrow)) for wide, narrow in steps
        )
        self.up = nn.ModuleList(Rise(narrow, wide) for wide, narrow in steps)
        self.leave = nn.Conv2d(UNET_CHANNELS[0], outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        maps = [self.enter(x)]
        for down in self.down:
            maps.append(down(maps[-1]))
        x = maps.pop()
        for up, shortcut in zip(reversed(self.up), reversed(maps), strict=True):
            x = shortcut + up(x)
        out: Tensor = self.leave(x)
        return out


class Hourglass(nn.Module):
    """Features at 1/4, 1/8, 1/16, 1/32 to canonical depth and raw confidence (B, 1, H, W), float32."""

    def __init__(self, shape: HourglassShape) -> None:
        super().__init__()
        self.shape = shape
        self.pyramid = Pyramid(shape)
        self.unet = UNet(shape.pyramid[0], FEATURES + 1)
        self.bins = nn.Sequential(
            nn.Conv2d(FEATURES, shape.bins, 3, padding=1),
            nn.BatchNorm2d(shape.bins),
            nn.ReLU(),
            nn.Conv2d(shape.bins, shape.bins, 1),
        )
        # Depth, column and row beside the features.
        self.detail = nn.Sequential(
            nn.Conv2d(3 + FEATURES, DETAIL_CHANNELS, 3, padding=1),
            nn.BatchNorm2d(DETAIL_CHANNELS),
            nn.ReLU(),
            nn.Conv2d(DETAIL_CHANNELS, DETAIL_CHANNELS, 3, padding=1),
            nn.Upsample(scale_factor=4.0, mode="nearest"),
            nn.Conv2d(DETAIL_CHANNELS, DETAIL_CHANNELS, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(DETAIL_CHANNELS, 1, 1),
        )

    def forward(self, features: list[Tensor]) -> tuple[Tensor, Tensor]:
        x = self.unet(self.pyramid(features))
        feature, confidence = x[:, :FEATURES], x[:, FEATURES:]
        depth = bin_expectation(self.bins(feature), self.shape.min_depth, self.shape.max_depth)
        places = pixel_indices(depth)
        detail = self.detail(torch.cat([depth.to(feature.dtype), places.to(feature.dtype), feature], dim=1))
        return _fourfold(depth) + DETAIL_STRENGTH * detail.float(), _fourfold(confidence.float())


def bin_expectation(logits: Tensor, min_depth: float, max_depth: float) -> Tensor:
    """Expected depth (B, 1, h, w) of logits (B, bins, h, w) over log-spaced bins that include both ends, float32."""
    steps = torch.linspace(math.log(min_depth), math.log(max_depth), logits.shape[1], device=logits.device)
    # Channels last, as they lie in memory; no matrix product, which autocast would take to half precision.
    weights = logits.permute(0, 2, 3, 1).float().softmax(dim=-1)
    return (weights * steps.exp()).sum(dim=-1).unsqueeze(1)


def pixel_indices(like: Tensor) -> Tensor:
    """Column and row index (B, 2, h, w) of every pixel, counted from 0: the network was trained on raw indices."""
    rows, columns = like.shape[-2:]
    x = torch.arange(columns, device=like.device, dtype=like.dtype).expand(rows, columns)
    y = torch.arange(rows, device=like.device, dtype=like.dtype)[:, None].expand(rows, columns)
    return torch.stack([x, y]).expand(like.shape[0], -1, -1, -1)


def _reflecting(inputs: int, outputs: int, kernel: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, padding_mode="reflect" if kernel > 1 else "zeros")


def _fourfold(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=4.0, mode="nearest")
