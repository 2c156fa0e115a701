"""RPNL as training computes it, 32 crops in one tensor operation, against a loop that cuts every crop out.

    python bench/rpnl.py

Forward and backward on 8 x 512 x 960 on the CPU, the fastest of several rounds. ``lattice`` is the loss of training,
which reads each crop on 24 x 24 pixels; ``loop`` does the same crop by crop and image by image, ``full_loop`` with
all pixels of each crop, as published. The result goes to bench/results/rpnl.json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import torch
from torch import Tensor

from m3d_cli.training.relative_losses import (
    EPSILON,
    FLAT,
    LEAST_PIXELS,
    RPNL_LATTICE,
    RPNL_SIDES,
    random_proposal_normalisation,
)

SHAPE = (8, 1, 512, 960)
CROPS = 32
RESULT = Path(__file__).parent / "results" / "rpnl.json"
Loss = Callable[[Tensor, Tensor, Tensor], Tensor]


def normalised(x: Tensor) -> Tensor:
    """(x - median) / mean deviation of known pixels (N,)."""
    median = x.median()
    centred = x - median
    return centred / (centred.abs().mean() + FLAT * median.abs() + EPSILON)


def looped(prediction: Tensor, target: Tensor, mask: Tensor, lattice: bool) -> Tensor:
    """Crop by crop, image by image; the crops are drawn as in training."""
    low, high = RPNL_SIDES
    draws = torch.rand((4, CROPS), generator=torch.Generator().manual_seed(0))
    height, width = prediction.shape[-2:]
    steps = (torch.arange(RPNL_LATTICE) + 0.5) / RPNL_LATTICE
    values = []
    for crop in range(CROPS):
        places = []
        for axis, size in enumerate((height, width)):
            side = low + (high - low) * draws[axis, crop]
            start = draws[2 + axis, crop] * (1 - side)
            pixels = (start + side * steps) * size if lattice else torch.arange(start * size, (start + side) * size)
            places.append(pixels.long().clamp(max=size - 1))
        for picture in range(len(prediction)):
            known = mask[picture, 0][places[0][:, None], places[1]]
            if known.sum() < LEAST_PIXELS:
                continue
            p, t = (x[picture, 0][places[0][:, None], places[1]][known] for x in (prediction, target))
            values.append((normalised(p) - normalised(t)).abs().mean())
    return torch.stack(values).mean()


def lattice_loss(prediction: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    return random_proposal_normalisation(prediction, target, mask, torch.Generator().manual_seed(0), CROPS)


def seconds(loss: Loss, rounds: int) -> tuple[float, float]:
    """Fastest forward and backward pass, and the loss."""
    generator = torch.Generator().manual_seed(1)
    target = 1 + 9 * torch.rand(SHAPE, generator=generator)
    prediction = (target + torch.randn(SHAPE, generator=generator).abs()).requires_grad_()
    mask = torch.rand(SHAPE, generator=generator) < 0.9
    best, value = float("inf"), 0.0
    for _ in range(rounds):
        begin = time.process_time()
        found = loss(prediction, target, mask)
        found.backward()
        best, value = min(best, time.process_time() - begin), float(found.detach())
    return best, value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    losses: dict[str, Loss] = {
        "lattice": lattice_loss,
        "loop": lambda p, t, m: looped(p, t, m, lattice=True),
        "full_loop": lambda p, t, m: looped(p, t, m, lattice=False),
    }
    found = {name: seconds(loss, options.rounds) for name, loss in losses.items()}
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    result = {
        "shape": SHAPE,
        "crops": CROPS,
        "cpu_seconds": {name: round(pair[0], 4) for name, pair in found.items()},
        "loss": {name: round(pair[1], 6) for name, pair in found.items()},
        "loop_over_lattice": round(found["loop"][0] / found["lattice"][0], 1),
        "full_loop_over_lattice": round(found["full_loop"][0] / found["lattice"][0], 1),
        "threads": 1,
        "load": os.getloadavg()[0],
        "commit": commit.stdout.strip(),
        "versions": {"torch": version("torch")},
        "python": platform.python_version(),
        "machine": platform.platform(),
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
