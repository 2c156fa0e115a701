"""The decoder of Metric3D v2 (arXiv 2404.15506, section 3.3): ViT tokens to depth, confidence and surface normals.

A DPT-style fusion gives a first estimate at 1/4 of the input, which recurrent units at 1/4, 1/7 and 1/14 then refine
together, RAFT-like. The estimate, here the *geometry*, is float32 whatever the network computes in: its six channels
are (depth - 200) / 100, depth confidence, the normal's x, y, z, and the normal's concentration kappa.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from m3d_cli.models.encoders import PREFIX, Tokens
from m3d_cli.models.hourglass import bin_expectation

MIN_DEPTH, MAX_DEPTH = 0.1, 200.0
BINS = 256
# Depth in the geometry is (depth - FAR) / SPAN.
FAR, SPAN = 200.0, 100.0
GEOMETRY = 6
NORMAL_CHANNELS = 128
# Sub-pixels a side and taps of the convex upsampling; the softmax's logits are damped.
UP = 4
TAPS = 9
MASK_DAMPING = 0.25
# Kappa of the angular distribution stays above this (Bae et al. 2021).
LEAST_KAPPA = 0.01
TINY = 1e-10
LEAST_SQUARE = 1e-30


@dataclass(frozen=True, slots=True)
class RaftShape:
    """Widths of the decoder.

    ``width`` is the encoder's. ``readouts`` are the channels read at 1/4 and 1/7 (``width`` at 1/14), ``fusion`` those
    of the fused maps at 1/14 before and at 1/7, 1/4 after each step up, ``hidden`` the recurrent units'.
    """

    width: int
    readouts: tuple[int, int]
    fusion: tuple[int, int, int]
    hidden: int
    iterations: int


class Readouts(NamedTuple):
    """Encoder features as maps, finest first."""

    quarter: Tensor
    seventh: Tensor
    fourteenth: Tensor
    deepest: Tensor


class Hidden(NamedTuple):
    """States of the recurrent units at 1/4, 1/7 and 1/14."""

    quarter: Tensor
    seventh: Tensor
    fourteenth: Tensor


class Estimate(NamedTuple):
    """The geometry (B, 6, H/4, W/4), float32, and the finest hidden state, which tells how to bring it to full size."""

    geometry: Tensor
    hidden: Tensor


class Geometry(NamedTuple):
    """Full-size output, float32: depth, confidence, kappa (B, 1, H, W) and unit normals (B, 3, H, W)."""

    depth: Tensor
    confidence: Tensor
    normals: Tensor
    kappa: Tensor


class Readout(nn.Module):
    """Each patch token together with the prefix tokens, which see the whole image."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.patch = nn.Linear(width, width)
        self.summary = nn.Linear(PREFIX * width, width, bias=False)

    def forward(self, tokens: Tensor, rows: int, columns: int) -> Tensor:
        prefix, patches = tokens[:, :PREFIX], tokens[:, PREFIX:]
        mixed = F.gelu(self.patch(patches) + self.summary(prefix.flatten(1))[:, None])
        return mixed.transpose(1, 2).reshape(mixed.shape[0], -1, rows, columns)


class TokenReader(nn.Module):
    """Tokens to maps at 1/4, 1/7, 1/14 and 1/14; all but the finest rectified."""

    def __init__(self, shape: RaftShape) -> None:
        super().__init__()
        self.readouts = nn.ModuleList(Readout(shape.width) for _ in range(4))
        self.to_quarter = nn.Conv2d(shape.width, shape.readouts[0], 1)
        self.to_seventh = nn.ConvTranspose2d(shape.width, shape.readouts[1], 2, stride=2)

    def forward(self, tokens: Tokens) -> Readouts:
        rows, columns = tokens.rows, tokens.columns
        first, second, third, fourth = (
            readout(reading, rows, columns) for readout, reading in zip(self.readouts, tokens.readings, strict=True)
        )
        # Nearest neighbours x 3.5; a 1x1 convolution before it does what one after it would, on 12 times fewer pixels.
        quarter = F.interpolate(self.to_quarter(first), (rows * 7 // 2, columns * 7 // 2), mode="nearest")
        seventh = self.to_seventh(second)
        # The published residual units rectify their input in place, so everyone reads these three rectified.
        return Readouts(_channels_last(quarter), F.relu(_channels_last(seventh)), F.relu(third), F.relu(fourth))


class Residual(nn.Module):
    """Two 3x3 convolutions and a shortcut past them, both from the rectified input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(x)
        change: Tensor = self.conv2(F.relu_(self.conv1(x)))
        return change.add_(x)


class Fuse(nn.Module):
    """One step of the fusion: a coarser map joined by a finer one (unless there is none), then projected."""

    def __init__(self, channels: int, outputs: int, *, joins: bool) -> None:
        super().__init__()
        self.branch = Residual(channels) if joins else None
        self.trunk = Residual(channels)
        self.project = nn.Conv2d(channels, outputs, 1)

    def forward(self, x: Tensor, finer: Tensor | None = None) -> Tensor:
        if self.branch is not None:
            x = x + self.branch(finer)
        projected: Tensor = self.project(self.trunk(x))
        return projected


class Fusion(nn.Module):
    """The three coarser maps to features at 1/4, and to the first depth confidence and normal's kappa (B, 2, h, w).

    Each step up projects before it upsamples: the two commute, and the coarse map is cheaper to project.
    """

    def __init__(self, shape: RaftShape) -> None:
        super().__init__()
        coarse, middle, fine = shape.fusion
        self.channels = fine
        self.deepest = Fuse(shape.width, coarse, joins=False)
        self.fourteenth = Fuse(coarse, middle, joins=True)
        self.seventh = Fuse(middle, fine + 2, joins=True)

    def forward(self, maps: Readouts) -> tuple[Tensor, Tensor]:
        x = self.fourteenth(self.deepest(maps.deepest), maps.fourteenth)
        x = self.seventh(_resized(x, _size(maps.seventh)), maps.seventh)
        size = _size(maps.quarter)
        return _resized(x[:, : self.channels], size), _resized(x[:, self.channels :], size)


class FirstEstimate(nn.Module):
    """Fused features to the geometry before any refinement."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depth_bins = nn.Sequential(nn.Conv2d(channels, BINS, 3, padding=1), nn.ReLU(), nn.Conv2d(BINS, BINS, 1))
        self.normal = nn.Sequential(
            nn.Conv2d(channels, NORMAL_CHANNELS, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(NORMAL_CHANNELS, NORMAL_CHANNELS, 1),
            nn.ReLU(),
            nn.Conv2d(NORMAL_CHANNELS, NORMAL_CHANNELS, 1),
            nn.ReLU(),
            nn.Conv2d(NORMAL_CHANNELS, 3, 1),
        )

    def forward(self, features: Tensor, confidences: Tensor) -> Tensor:
        confidences = confidences.float()
        depth = bin_expectation(self.depth_bins(features), MIN_DEPTH, MAX_DEPTH).clamp(MIN_DEPTH, MAX_DEPTH)
        normal, kappa = unit_normal(self.normal(features).float(), confidences[:, 1:])
        return torch.cat([(depth - FAR) / SPAN, confidences[:, :1], normal, kappa], dim=1)


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of a map."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ContextBlock(nn.Module):
    """Residual block with layer norms, then a 3x3 convolution."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, hidden, 3, padding=1)
        self.norm1 = ChannelNorm(hidden)
        self.conv2 = nn.Conv2d(hidden, hidden, 3, padding=1)
        self.norm2 = ChannelNorm(hidden)
        self.shortcut = nn.Conv2d(inputs, hidden, 1)
        self.shortcut_norm = ChannelNorm(hidden)
        self.out = nn.Conv2d(hidden, hidden, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu_(self.norm1(self.conv1(x)))
        y = F.relu_(self.norm2(self.conv2(y)))
        out: Tensor = self.out(F.relu_(self.shortcut_norm(self.shortcut(x)).add_(y)))
        return out


class Context(nn.Module):
    """A map to the first hidden state of a recurrent unit and to what is added to its gates at every step."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.state = ContextBlock(inputs, hidden)
        self.inputs = ContextBlock(inputs, hidden)
        self.gates = nn.Conv2d(hidden, 3 * hidden, 3, padding=1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.state(x).tanh(), self.gates(F.relu(self.inputs(x)))


class GruCell(nn.Module):
    """Convolutional gated recurrent unit over (hidden, inputs).

    Convolutions over concatenated maps are taken apart into sums: what the inputs drive is computed once for all three
    (update, reset, candidate), and again only when they change.
    """

    def __init__(self, hidden: int, inputs: int) -> None:
        super().__init__()
        self.hidden = hidden
        self.update = nn.Conv2d(hidden + inputs, hidden, 3, padding=1)
        self.reset = nn.Conv2d(hidden + inputs, hidden, 3, padding=1)
        self.candidate = nn.Conv2d(hidden + inputs, hidden, 3, padding=1)

    def drive(self, inputs: Tensor, context: Tensor) -> Tensor:
        """What ``inputs`` and ``context`` (B, 3 * hidden, h, w) add to update, reset and candidate."""
        weight, bias = _stacked(self.update, self.reset, self.candidate)
        return F.conv2d(inputs, weight[:, self.hidden :], bias, padding=1).add_(context)

    def forward(self, hidden: Tensor, drive: Tensor) -> Tensor:
        driven_gates, driven_candidate = drive[:, : 2 * self.hidden], drive[:, 2 * self.hidden :]
        weight, _ = _stacked(self.update, self.reset)
        gates = F.conv2d(hidden, weight[:, : self.hidden], padding=1).add_(driven_gates).sigmoid_()
        update, reset = gates.chunk(2, dim=1)
        weight = self.candidate.weight[:, : self.hidden]
        candidate = F.conv2d(reset * hidden, weight, padding=1).add_(driven_candidate).tanh_()
        return torch.lerp(hidden, candidate, update)


class Heads(nn.Module):
    """From the finest hidden state: the change of the geometry, and the weights that bring it to full size."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.depth_hidden = nn.Conv2d(hidden, hidden, 3, padding=1)
        self.depth = nn.Conv2d(hidden, 2, 3, padding=1)
        self.normal_hidden = nn.Conv2d(hidden, hidden, 3, padding=1)
        self.normal = nn.Conv2d(hidden, 4, 3, padding=1)
        self.mask = nn.Sequential(
            nn.Conv2d(hidden, hidden, 3, padding=1), nn.ReLU(), nn.Conv2d(hidden, TAPS * UP * UP, 1)
        )

    def change(self, hidden: Tensor) -> Tensor:
        """What is added to the geometry (B, 6, h, w), float32."""
        weight, bias = _stacked(self.depth_hidden, self.normal_hidden)
        depth, normal = F.relu_(F.conv2d(hidden, weight, bias, padding=1)).chunk(2, dim=1)
        return torch.cat([self.depth(depth), self.normal(normal)], dim=1).float()

    def weights(self, hidden: Tensor) -> Tensor:
        """Logits of the convex upsampling (B, 144, h, w), float32."""
        logits: Tensor = self.mask(hidden)
        return MASK_DAMPING * logits.float()


class Units(nn.Module):
    """The three recurrent units and their schedule: slow ones, on coarse maps, step more often (slow-fast)."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.quarter = GruCell(hidden, hidden + GEOMETRY)
        self.seventh = GruCell(hidden, 2 * hidden)
        self.fourteenth = GruCell(hidden, hidden)

    def forward(self, hidden: Hidden, context: Hidden, geometry: Tensor) -> Hidden:
        quarter, seventh, fourteenth = hidden
        finer = _resized(_pooled(quarter), _size(seventh))
        drive = self.fourteenth.drive(_pooled(seventh), context.fourteenth)
        fourteenth = self.fourteenth(fourteenth, drive)
        fourteenth = self.fourteenth(fourteenth, drive)
        seventh = self._seventh(seventh, finer, fourteenth, context.seventh)
        fourteenth = self.fourteenth(fourteenth, self.fourteenth.drive(_pooled(seventh), context.fourteenth))
        seventh = self._seventh(seventh, finer, fourteenth, context.seventh)
        inputs = torch.cat([geometry.to(quarter.dtype), _resized(seventh, _size(quarter))], dim=1)
        quarter = self.quarter(quarter, self.quarter.drive(inputs, context.quarter))
        return Hidden(quarter, seventh, fourteenth)

    def _seventh(self, seventh: Tensor, finer: Tensor, fourteenth: Tensor, context: Tensor) -> Tensor:
        inputs = torch.cat([finer, _resized(fourteenth, _size(seventh))], dim=1)
        new: Tensor = self.seventh(seventh, self.seventh.drive(inputs, context))
        return new


class RaftDpt(nn.Module):
    """Tokens to depth, confidence and normals at the size of the input."""

    def __init__(self, shape: RaftShape) -> None:
        super().__init__()
        self.iterations = shape.iterations
        self.reader = TokenReader(shape)
        self.fusion = Fusion(shape)
        self.first = FirstEstimate(shape.fusion[2])
        channels = (*shape.readouts, shape.width)
        self.contexts = nn.ModuleList(Context(inputs, shape.hidden) for inputs in channels)
        self.units = Units(shape.hidden)
        self.heads = Heads(shape.hidden)

    def estimates(self, tokens: Tokens) -> Iterator[Estimate]:
        """The first estimate and that of every iteration, each at 1/4 of the input; training looks at all of them."""
        maps = self.reader(tokens)
        geometry = self.first(*self.fusion(maps))
        pairs = [context(x) for context, x in zip(self.contexts, maps[:3], strict=True)]
        hidden, gates = Hidden(*(state for state, _ in pairs)), Hidden(*(gate for _, gate in pairs))
        yield Estimate(geometry, hidden.quarter)
        for _ in range(self.iterations):
            hidden = self.units(hidden, gates, geometry)
            geometry = geometry + self.heads.change(hidden.quarter)
            yield Estimate(geometry, hidden.quarter)

    def full_size(self, estimate: Estimate) -> Geometry:
        """An estimate after an iteration, upsampled by convex combination."""
        full = convex_upsampled(estimate.geometry, self.heads.weights(estimate.hidden))
        normals, kappa = unit_normal(full[:, 2:5], full[:, 5:])
        depth = (SPAN * full[:, :1] + FAR).clamp(MIN_DEPTH, MAX_DEPTH)
        return Geometry(depth, full[:, 1:2], normals, kappa)

    def forward(self, tokens: Tokens) -> Geometry:
        # One at a time: keeping all of them would hold every iteration's maps.
        for estimate in self.estimates(tokens):
            last = estimate
        return self.full_size(last)


def unit_normal(normal: Tensor, kappa: Tensor) -> tuple[Tensor, Tensor]:
    """Unit vectors, and kappa brought above its least value; the published networks do so twice on the way out."""
    # Far below TINY, so that it only keeps the gradient of the square root finite.
    length = normal.square().sum(dim=1, keepdim=True).clamp_min(LEAST_SQUARE).sqrt()
    return normal / (length + TINY), F.elu(kappa) + 1.0 + LEAST_KAPPA


def convex_upsampled(x: Tensor, logits: Tensor) -> Tensor:
    """Four-fold upsampling (RAFT, arXiv 2003.12039, section 3.3): every sub-pixel is a convex combination of 3x3.

    ``x`` (B, C, h, w), ``logits`` (B, 9 * 16, h, w) ordered tap, sub-row, sub-column. Beyond the border ``x`` is 0.
    """
    (rows, columns), channels = _size(x), x.shape[1]
    weights = logits.reshape(x.shape[0], TAPS, UP * UP, rows, columns).softmax(dim=1)
    padded = F.pad(x.contiguous(), (1, 1, 1, 1))
    # No matrix product: autocast would take it to half precision, and with it the depth.
    up = x.new_zeros(x.shape[0], channels, UP * UP, rows, columns)
    for tap in range(TAPS):
        row, column = divmod(tap, 3)
        shifted = padded[:, :, None, row : row + rows, column : column + columns]
        up = up.addcmul_(shifted, weights[:, None, tap])
    return F.pixel_shuffle(up.flatten(1, 2), UP)


def _stacked(*convolutions: nn.Conv2d) -> tuple[Tensor, Tensor]:
    """Weight and bias of several convolutions of one map, as one convolution: their outputs side by side."""
    biases = [one.bias for one in convolutions if one.bias is not None]
    return torch.cat([one.weight for one in convolutions]), torch.cat(biases)


def _channels_last(x: Tensor) -> Tensor:
    """Maps with the channels last in memory, as tokens give them and convolutions are fastest on."""
    return x.contiguous(memory_format=torch.channels_last)


def _pooled(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, 3, stride=2, padding=1)


def _resized(x: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(x, size, mode="bilinear", align_corners=True)


def _size(x: Tensor) -> tuple[int, int]:
    return x.shape[-2], x.shape[-1]
