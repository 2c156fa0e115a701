"""Seconds and memory to load a network: from its published checkpoint, and from the safetensors made of it.

    python bench/load.py --model vit-large --repeat 5

The weights are random, in the published format. Every load is a program of its own, with the files in the page cache;
``build`` makes the network, ``load`` fills it. A network that is mapped has no memory of its own until it is used, so
``touch`` reads every tensor once. Results go to bench/results/ as JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path

import torch
from depth import RESULTS, ROOT, commit
from torch import nn

from m3d_cli.models import create_model, load_weights
from m3d_cli.models.convert import to_official
from m3d_cli.models.install import import_checkpoint
from m3d_cli.models.metric3d import build_network
from m3d_cli.models.registry import PUBLISHED

STEPS = ("build", "load", "touch")
WAYS = ("checkpoint", "safetensors", "safetensors mapped")
# ru_maxrss counts in these on Linux.
KIBIBYTE = 1024


def time_load(model: str, way: str, file: Path) -> dict[str, float]:
    """Load ``file`` in this process."""
    steps = [now()]
    network = build(model, is_empty=way == WAYS[2])
    steps.append(now())
    load_weights(network, file)
    steps.append(now())
    with torch.inference_mode():
        assert all(torch.isfinite(value.sum()) for value in network.state_dict().values())
    steps.append(now())
    result = {"peak_gigabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KIBIBYTE / 1e9}
    for name, (before, after) in zip(STEPS, pairwise(steps), strict=True):
        result |= {f"{name}_seconds": after[0] - before[0], f"{name}_cpu_seconds": after[1] - before[1]}
    return result


def now() -> tuple[float, float]:
    """Seconds on the wall, and of this process on the processor, which a busy machine stretches less."""
    return time.perf_counter(), time.process_time()


def build(model: str, *, is_empty: bool) -> nn.Module:
    """The network as a file of one's own is loaded into it, or as installed weights are."""
    if not is_empty:
        return create_model(model)
    with torch.device("meta"):
        return build_network(model).eval()


def run(model: str, way: str, file: Path) -> dict[str, float]:
    """`time_load` in a fresh process."""
    command = [sys.executable, __file__, "--model", model, "--way", way, "--file", str(file)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    result: dict[str, float] = json.loads(done.stdout)
    return result


def files_of(model: str, folder: Path) -> dict[str, Path]:
    """A checkpoint of random weights as published, and what an import makes of it, by way."""
    os.environ["M3D_CACHE"] = str(folder)
    checkpoint = folder / PUBLISHED[model].file
    torch.save({"model_state_dict": to_official(model, build_network(model).state_dict())}, checkpoint)
    installed = import_checkpoint(checkpoint, model, lambda _: None)
    return dict(zip(WAYS, (checkpoint, installed.path, installed.path), strict=True))


def measure(model: str, repeat: int) -> dict[str, object]:
    """What is printed and kept."""
    with tempfile.TemporaryDirectory() as folder:
        files = files_of(model, Path(folder))
        size = files[WAYS[0]].stat().st_size
        runs: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
        for _ in range(repeat):
            for way in WAYS:
                runs[way].append(run(model, way, files[way]))
    return {
        "model": model,
        "bytes": size,
        "device": "cpu",
        "repeat": repeat,
        "median": {
            way: {key: statistics.median(each[key] for each in found) for key in found[0]}
            for way, found in runs.items()
        },
        "runs": runs,
        "cores": len(os.sched_getaffinity(0)),
        "load_after": os.getloadavg()[0],
        "commit": commit(),
        "versions": {name: version(name) for name in ("torch", "safetensors", "timm")},
        "python": platform.python_version(),
        "machine": platform.platform(),
    }


def main() -> None:
    """Time the ways to load, print and keep the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="vit-large")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.way:
        return print(json.dumps(time_load(chosen.model, chosen.way, chosen.file)))
    result = measure(chosen.model, chosen.repeat)
    print(json.dumps(result, indent=2))
    RESULTS.mkdir(exist_ok=True)
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    (RESULTS / f"load-{chosen.model}-{stamp}.json").write_text(json.dumps(result, indent=2) + "\n")
    return None


if __name__ == "__main__":
    main()
