"""How many photos a batch: found by trying on the device, and remembered for it."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch

from m3d_cli.atomic import write_bytes
from m3d_cli.camera import Camera
from m3d_cli.errors import DeviceError, OutputError
from m3d_cli.inference.photo import to_canonical
from m3d_cli.inference.predictor import Predictor
from m3d_cli.models.store import cache_folder

logger = logging.getLogger(__name__)

# A larger batch has to be this much faster a photo to be worth its memory and its wait.
GAIN = 1.05
LARGEST = 64
ROUNDS = 3


def best_batch(seconds: Callable[[int], float], largest: int = LARGEST) -> int:
    """The size from which on doubling gains less than `GAIN`; ``seconds`` of a batch raises MemoryError for none."""
    best, least = 1, seconds(1)
    while 2 * best <= largest:
        try:
            each = seconds(2 * best) / (2 * best)
        except MemoryError:
            break
        if each * GAIN > least:
            break
        best, least = 2 * best, each
    return best


def tuned_batch(predictor: Predictor) -> int:
    """The best size for this device, network and number format: from an earlier run, or tried now."""
    path, key = cache_folder() / "batch-sizes.json", _key(predictor)
    known = _known(path)
    if key not in known:
        known[key] = best_batch(lambda size: _seconds(predictor, size))
        logger.info("batches of %d are best on %s", known[key], key)
        # Without a cache, or where two runs write at once, a later run tries again.
        with suppress(OutputError):
            write_bytes(path, json.dumps(known, indent=2).encode())
    return known[key]


def _seconds(predictor: Predictor, size: int) -> float:
    """The least of some times of one batch, the first of which warms up."""
    photo = to_canonical(np.zeros((480, 640, 3), np.uint8), Camera.centred(640, 480, 600.0), predictor.spec)
    before = predictor.batch_size
    predictor.batch_size = size
    times = []
    try:
        for _ in range(ROUNDS):
            begin = time.perf_counter()
            predictor.canonical([photo] * size).depth.sum().item()
            times.append(time.perf_counter() - begin)
        is_halved = predictor.batch_size < size
    except DeviceError as error:
        raise MemoryError(error.message) from error
    finally:
        predictor.batch_size = before
    if is_halved:
        raise MemoryError(f"no room for {size} photos")
    return min(times[1:])


def _key(predictor: Predictor) -> str:
    device = predictor.compute.device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return (
        f"{name}, {predictor.spec.name}, {predictor.compute.precision}, {predictor.backend}, torch {torch.__version__}"
    )


def _known(path: Path) -> dict[str, int]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {str(key): int(size) for key, size in content.items() if 1 <= int(size) <= LARGEST}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
