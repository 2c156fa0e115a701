"""The random numbers of one training step."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

# Steps of one seed are this far from those of the next.
STRIDE = 1_000_003


@dataclass(frozen=True, slots=True)
class Share:
    """Which part of a step's batch a process looks at: every ``size``-th image from ``rank``."""

    rank: int = 0
    size: int = 1


class Draws:
    """Numbers that depend on the seed, the step and an image's place in the batch, and on nothing else.

    So a resumed run draws what an uninterrupted one does, and processes that share a batch see the images that one
    process alone would see.
    """

    def __init__(self, seed: int, step: int, batch: int, share: Share | None = None) -> None:
        self.batch = batch
        self.share = share or Share()
        self._generator = torch.Generator().manual_seed(seed * STRIDE + step)
        self._losses = seed * STRIDE + step + STRIDE // 2

    def uniform(self, count: int) -> Tensor:
        """(count, B) numbers in 0..1 for this process's images."""
        return torch.rand((count, self.batch), generator=self._generator)[:, self.share.rank :: self.share.size]

    def chosen(self, probability: Tensor) -> Tensor:
        """Indices (B,) of this process's images, drawn with replacement."""
        drawn = torch.multinomial(probability, self.batch, replacement=True, generator=self._generator)
        return drawn[self.share.rank :: self.share.size]

    def for_losses(self) -> torch.Generator:
        """What losses draw from, the same anew for every part of the batch."""
        return torch.Generator().manual_seed(self._losses)

    def generators(self, device: torch.device) -> list[torch.Generator]:
        """A generator an image, for numbers by the pixel."""
        seeds = torch.randint(2**31, (self.batch,), generator=self._generator)[self.share.rank :: self.share.size]
        return [torch.Generator(device=device).manual_seed(int(seed)) for seed in seeds]
