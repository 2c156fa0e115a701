"""``lite``: the small bundled network, trained by us in canonical space with the label transform.

A DINOv2 ViT-S/14 encoder and a DPT-style decoder (arXiv 2103.13413) over the features of four blocks. Depth is
the expectation over log-spaced canonical depth bins at 2/7 of the input resolution, refined with a shallow image skip
at 4/7 and brought to the input size bilinearly.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from m3d_cli.errors import UsageError
from m3d_cli.models.prediction import Prediction
from m3d_cli.models.vit import VisionTransformer


@dataclass(frozen=True, slots=True)
class LiteConfig:
    """Shape of a ``lite`` network; ``taps`` are the encoder blocks read, counted from 1.

    ``channels`` are the decoder's widths at 1/14, 1/7, 2/7 and 4/7 of the input resolution. ``focal_bins`` are those
    of the head that tells the focal length, 0 for none.
    """

    height: int = 252
    width: int = 336
    patch: int = 14
    embed_dim: int = 384
    heads: int = 6
    taps: tuple[int, int, int, int] = (3, 6, 8, 10)
    channels: tuple[int, int, int, int] = (192, 96, 48, 16)
    bins: int = 64
    min_depth: float = 0.1
    max_depth: float = 250.0
    focal_bins: int = 64


class LiteOutput(NamedTuple):
    """Log canonical depth and the confidence's logit (B, 1, 8 rows, 8 columns), and the logits (B, bins) of the focal
    length, None without that head.
    """

    log_depth: Tensor
    confidence_logit: Tensor
    focal_logits: Tensor | None


class ResidualUnit(nn.Module):
    """Two 3x3 convolutions with pre-activation and a shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        change: Tensor = self.conv2(F.relu(self.conv1(F.relu(x))))
        return x + change


class Context(nn.Module):
    """Adds what the whole image says (class token and mean token) to every place: the scene sets the scale."""

    def __init__(self, embed_dim: int, channels: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(2 * embed_dim, channels), nn.GELU(), nn.Linear(channels, channels))

    def forward(self, x: Tensor, class_token: Tensor, tokens: Tensor) -> Tensor:
        summary: Tensor = self.mlp(torch.cat([class_token, tokens.mean(dim=1)], dim=1))
        return x + summary[:, :, None, None]


class LiteDecoder(nn.Module):
    """Four feature maps at 1/14 -> log canonical depth and a confidence logit at 4/7 of the input resolution."""

    bin_centres: Tensor
    shrink_rows: Tensor
    shrink_columns: Tensor

    def __init__(self, config: LiteConfig) -> None:
        super().__init__()
        coarse, middle, detail, fine = config.channels
        self.norms = nn.ModuleList(nn.LayerNorm(config.embed_dim) for _ in config.taps)
        self.context = Context(config.embed_dim, coarse)
        self.project_coarse = nn.Conv2d(4 * config.embed_dim, coarse, 1)
        self.coarse = nn.Sequential(ResidualUnit(coarse), ResidualUnit(coarse))
        self.project_middle = nn.Conv2d(2 * config.embed_dim, middle, 1)
        self.reduce_coarse = nn.Conv2d(coarse, middle, 1)
        self.middle = ResidualUnit(middle)
        self.reduce_middle = nn.Conv2d(middle, detail, 1)
        self.stem = nn.Sequential(nn.Conv2d(3, fine, 3, padding=1), nn.ReLU(), nn.Conv2d(fine, fine, 3, padding=1))
        self.stem_down = nn.Conv2d(fine, detail, 3, stride=2, padding=1)
        self.detail = ResidualUnit(detail)
        self.bins = nn.Sequential(nn.ReLU(), nn.Conv2d(detail, config.bins, 1))
        self.reduce_detail = nn.Conv2d(detail, fine, 1)
        self.fine = nn.Sequential(ResidualUnit(fine), nn.ReLU())
        self.refine = nn.Conv2d(fine, 2, 3, padding=1)
        centres = torch.linspace(math.log(config.min_depth), math.log(config.max_depth), config.bins)
        self.register_buffer("bin_centres", centres, persistent=False)
        rows, columns = config.height // config.patch, config.width // config.patch
        self.register_buffer("shrink_rows", _shrinking(config.height, 8 * rows), persistent=False)
        self.register_buffer("shrink_columns", _shrinking(config.width, 8 * columns), persistent=False)

    def forward(self, image: Tensor, features: list[tuple[Tensor, Tensor]], grid: tuple[int, int]) -> Tensor:
        """``features``: (tokens (B, N, C), class token (B, C)) a tap; returns (B, 2, 4h, 4w) for a grid (h, w)."""
        rows, columns = grid
        tokens = [norm(t) for norm, (t, _) in zip(self.norms, features, strict=True)]
        maps = [t.transpose(1, 2).unflatten(2, grid) for t in tokens]
        coarse = self.project_coarse(torch.cat(maps, dim=1))
        coarse = self.coarse(self.context(coarse, self.norms[-1](features[-1][1]), tokens[-1]))
        middle = self.reduce_coarse(coarse) + self.project_middle(torch.cat(maps[:2], dim=1))
        middle = self.middle(_upsampled(middle, (2 * rows, 2 * columns)))

        stem = self.stem(self.shrunk(image))
        detail = _upsampled(self.reduce_middle(middle), (4 * rows, 4 * columns)) + self.stem_down(stem)
        detail = self.detail(detail)
        # Logarithms in full precision: a step of bf16 near ln 3 m is 0.8 % of the depth.
        probability = self.bins(detail).float().softmax(dim=1)
        log_depth = (probability * self.bin_centres[:, None, None]).sum(dim=1, keepdim=True)

        size = (8 * rows, 8 * columns)
        fine = self.refine(self.fine(stem + _upsampled(self.reduce_detail(detail), size))).float()
        return torch.cat([_upsampled(log_depth, size) + fine[:, :1], fine[:, 1:]], dim=1)

    def shrunk(self, image: Tensor) -> Tensor:
        """Images (B, 3, 8h, 8w) for the stem, by an antialiased bilinear resize.

        Products mean the same everywhere: of the programs that run exported graphs, some leave the antialiasing out.
        In training, where products may be computed in half precision, it is the resize itself.
        """
        if self.training:
            size = (self.shrink_rows.shape[0], self.shrink_columns.shape[0])
            return F.interpolate(image, size, mode="bilinear", align_corners=False, antialias=True)
        return self.shrink_rows @ image @ self.shrink_columns.T


class FocalHead(nn.Module):
    """What the whole image says about its focal length: logits (B, bins) over ln(focal / input diagonal).

    It reads the class tokens and mean tokens of all taps and, since lines that run together are the strongest sign, the
    tokens of the last tap weighted by where they lie.
    """

    def __init__(self, config: LiteConfig, width: int = 192, queries: int = 8) -> None:
        super().__init__()
        dim = config.embed_dim
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in config.taps)
        self.query = nn.Conv1d(dim, queries, 1)
        self.value = nn.Linear(dim, 32)
        inputs = 2 * len(config.taps) * dim + queries * (32 + 2)
        self.mlp = nn.Sequential(
            nn.Linear(inputs, width), nn.GELU(), nn.Linear(width, width), nn.GELU(), nn.Linear(width, config.focal_bins)
        )

    def forward(self, features: list[tuple[Tensor, Tensor]], grid: tuple[int, int]) -> Tensor:
        tokens = [norm(t) for norm, (t, _) in zip(self.norms, features, strict=True)]
        classes = [norm(c) for norm, (_, c) in zip(self.norms, features, strict=True)]
        weight = self.query(tokens[-1].transpose(1, 2)).float().softmax(dim=2)
        place = _places(grid, weight.device)
        pooled = torch.cat([weight @ self.value(tokens[-1]).float(), weight @ place], dim=2).flatten(1)
        summary = torch.cat([*classes, *(t.mean(dim=1) for t in tokens)], dim=1)
        logits: Tensor = self.mlp(torch.cat([summary, pooled.to(summary.dtype)], dim=1))
        return logits.float()


def _places(grid: tuple[int, int], device: torch.device) -> Tensor:
    """(N, 2): where each patch lies, the centre of the image being 0 and half its width 1."""
    rows, columns = grid
    v = (torch.arange(rows, device=device) + 0.5 - rows / 2) * 2 / columns
    u = (torch.arange(columns, device=device) + 0.5 - columns / 2) * 2 / columns
    return torch.stack(torch.meshgrid(v, u, indexing="ij"), dim=-1).flatten(0, 1)


class Lite(nn.Module):
    """Normalised images (B, 3, config.height, config.width) -> `Prediction` at the same size."""

    def __init__(self, config: LiteConfig | None = None) -> None:
        super().__init__()
        self.config = config or LiteConfig()
        self.encoder = VisionTransformer(
            *self.grid, self.config.patch, self.config.embed_dim, self.config.heads, self.config.taps[-1]
        )
        self.decoder = LiteDecoder(self.config)
        self.focal_head = FocalHead(self.config) if self.config.focal_bins else None

    def drop_focal_head(self) -> None:
        """Make it a network that tells no focal length, as weights trained without that head are for."""
        self.focal_head = None

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of patches."""
        return self.config.height // self.config.patch, self.config.width // self.config.patch

    def raw(self, x: Tensor) -> LiteOutput:
        """What the network computes before the last upsampling, which training looks at."""
        features = self._features(x)
        output = self.decoder(x, features, self.grid)
        focal = self.focal_head(features, self.grid) if self.focal_head is not None else None
        return LiteOutput(output[:, :1].float(), output[:, 1:].float(), focal)

    def focal_logits(self, x: Tensor) -> Tensor | None:
        """The head for the focal length alone, at two thirds of the cost; None for a network without it."""
        return None if self.focal_head is None else self.focal_head(self._features(x), self.grid)

    def _features(self, x: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Tokens (B, N, C) and class token (B, C) of every tap."""
        if x.shape[1:] != (3, self.config.height, self.config.width):
            raise UsageError(f"lite takes (B, 3, {self.config.height}, {self.config.width}), got {tuple(x.shape)}")
        features: list[tuple[Tensor, Tensor]] = self.encoder(x, self.config.taps)
        return features

    def forward(self, x: Tensor) -> Prediction:
        raw = self.raw(x)
        size = (self.config.height, self.config.width)
        low, high = math.log(self.config.min_depth), math.log(self.config.max_depth)
        # Clamped twice: exp(log(0.1)) rounds to just below 0.1, which would read as outside the range.
        log_depth = _upsampled(raw.log_depth, size).clamp(low, high)
        depth = log_depth.exp().clamp(self.config.min_depth, self.config.max_depth)
        confidence = _upsampled(raw.confidence_logit, size).sigmoid()
        return Prediction(depth=depth, confidence=confidence, focal_logits=raw.focal_logits)


def _shrinking(before: int, after: int) -> Tensor:
    """The antialiased bilinear resize of one side as a matrix (after, before)."""
    return F.interpolate(torch.eye(before)[None, None], (after, before), mode="bilinear", antialias=True)[0, 0]


def _upsampled(x: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(x, size, mode="bilinear", align_corners=False)
