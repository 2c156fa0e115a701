"""Speed of the networks alone: our forward against the same modules computing the straightforward way.

    python bench/forward.py                 # vit-small on this machine's CPU, two threads
    python bench/forward.py --device cuda   # photos per second by network, way to run it and batch

*Straightforward* means two choices switched back: attention as written, with its matrix in memory, and every iteration
brought to full size. Both ways run in turn, so that what else the machine does falls on both; CPU seconds are kept
beside the wall clock for the same reason. Weights are random. Results go to bench/results/ as JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import timm
import torch
from torch import Tensor, nn

from m3d_cli.camera import Camera
from m3d_cli.errors import DeviceError
from m3d_cli.inference.cuda_predictor import CudaPredictor
from m3d_cli.inference.device import choose_compute
from m3d_cli.inference.photo import to_canonical
from m3d_cli.models.create import load_model
from m3d_cli.models.metric3d import Metric3DVit, build_network
from m3d_cli.models.prediction import Prediction
from m3d_cli.models.spec import model_spec

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results"
AIM = 0.55
GPU_NETWORKS = ("lite", "convnext-tiny", "vit-small", "convnext-large", "vit-large")
GPU_WAYS = ("fp32 recorded", "bf16 call by call", "bf16 recorded", "bf16 recorded, channels last")
GPU_BATCHES = (1, 8, 32)
GPU_SECONDS = 1.0
GIBIBYTE = 2**30

Forward = Callable[[], Prediction]


def network(name: str) -> nn.Module:
    """The network on seeded random weights."""
    torch.manual_seed(0)
    return build_network(name).eval()


def pictures(name: str, count: int) -> Tensor:
    """Normalised noise of the network's own input size."""
    canonical = model_spec(name).canonical
    return torch.randn(count, 3, canonical.height, canonical.width, generator=torch.Generator().manual_seed(1))


@contextmanager
def attention_in_memory(model: Metric3DVit) -> Iterator[None]:
    """timm's plain attention: the whole matrix, its softmax, and the product."""
    attentions = [block.attn for block in model.encoder.blocks]
    for attention in attentions:
        attention.fused_attn = False
    try:
        yield
    finally:
        for attention in attentions:
            attention.fused_attn = True


def straightforward(model: Metric3DVit, x: Tensor) -> Prediction:
    """The same output with the two choices switched back."""
    with attention_in_memory(model):
        estimates = iter(model.decoder.estimates(model.encoder(x)))
        next(estimates)
        *_, last = [model.decoder.full_size(estimate) for estimate in estimates]
    return Prediction(last.depth, last.confidence, last.normals, last.kappa)


def in_turn(ways: dict[str, Forward], rounds: int) -> dict[str, dict[str, float]]:
    """Median and least wall seconds and median CPU seconds of each way, after one round to warm up."""
    walls: dict[str, list[float]] = {name: [] for name in ways}
    cpus: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, forward in ways.items():
            wall, cpu = time.perf_counter(), time.process_time()
            forward()
            if number:
                walls[name].append(time.perf_counter() - wall)
                cpus[name].append(time.process_time() - cpu)
    return {
        name: {
            "seconds": statistics.median(walls[name]),
            "least_seconds": min(walls[name]),
            "cpu_seconds": statistics.median(cpus[name]),
        }
        for name in ways
    }


def relative_difference(found: Prediction, wanted: Prediction) -> dict[str, float]:
    """How far the depth of two predictions is apart."""
    apart = (found.depth - wanted.depth).abs() / wanted.depth.abs()
    return {"largest": float(apart.max()), "mean": float(apart.mean())}


def on_cpu(name: str, rounds: int, threads: int) -> dict[str, object]:
    """Our forward, the straightforward one, and ours in bf16 and with channels last, batch 1."""
    torch.set_num_threads(threads)
    model, half, last = network(name), network(name).bfloat16(), network(name).to(memory_format=torch.channels_last)
    assert isinstance(model, Metric3DVit)
    x = pictures(name, 1)
    x_half, x_last = x.bfloat16(), x.contiguous(memory_format=torch.channels_last)
    ways: dict[str, Forward] = {
        "ours": lambda: model(x),
        "straightforward": lambda: straightforward(model, x),
        "bf16": lambda: half(x_half),
        "channels_last": lambda: last(x_last),
    }
    wanted = straightforward(model, x)
    apart = {way: relative_difference(forward(), wanted) for way, forward in ways.items()}
    times = in_turn(ways, rounds)
    ours, plain = times["ours"], times["straightforward"]
    return {
        "model": name,
        "input": list(x.shape),
        "threads": threads,
        "rounds": rounds,
        "times": times,
        "depth_relative_difference": apart,
        "ratio_median": ours["seconds"] / plain["seconds"],
        "ratio_least": ours["least_seconds"] / plain["least_seconds"],
        "ratio_cpu_seconds": ours["cpu_seconds"] / plain["cpu_seconds"],
        "aim": AIM,
    }


def on_gpu(names: list[str], *, compiles: bool) -> dict[str, object]:
    """Photos a second, peak memory and start by network, way and batch, uploads included; None for no memory."""
    rows: list[dict[str, object]] = []
    for name in names:
        for way in GPU_WAYS + (("bf16 compiled",) if compiles else ()):
            for batch in GPU_BATCHES if way.startswith("bf16 recorded") else GPU_BATCHES[1:2]:
                rows.append({"model": name, "way": way, "batch": batch, **gpu_speed(name, way, batch)})
                print(json.dumps(rows[-1]), flush=True)
    return {"device": torch.cuda.get_device_name(), "gpu": rows}


def gpu_predictor(name: str, way: str, batch: int) -> CudaPredictor:
    """The network as ``way`` says: *recorded* is how ``m3d depth`` runs it."""
    model = load_model(name) if name == "lite" else network(name)
    if way.endswith("channels last"):
        model = model.to(memory_format=torch.channels_last)
    compute = choose_compute("cuda", way.split()[0])
    predictor = CudaPredictor(model, model_spec(name), compute, batch, records="recorded" in way)
    if way.endswith("compiled"):
        predictor.model = torch.compile(predictor.model)
    return predictor


def gpu_speed(name: str, way: str, batch: int) -> dict[str, float | None]:
    """Photos a second over `GPU_SECONDS`, the most memory held meanwhile, and the seconds of the first two batches."""
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    predictor = gpu_predictor(name, way, batch)
    spec = model_spec(name)
    image = np.random.default_rng(0).integers(0, 255, (480, 640, 3), dtype=np.uint8)
    photos = [to_canonical(image, Camera.centred(640, 480, 600.0), spec)] * batch
    try:
        begin = time.perf_counter()
        predictor.canonical(photos)
        predictor.canonical(photos)
        start = time.perf_counter() - begin
        running, count, begin = predictor.begin(photos), batch, time.perf_counter()
        while time.perf_counter() - begin < GPU_SECONDS:
            following = predictor.begin(photos)
            running.result()
            running, count = following, count + batch
        running.result()
        rate = count / (time.perf_counter() - begin)
    except DeviceError:
        return {"photos_per_second": None, "peak_gib": None, "start_seconds": None}
    if predictor.batch_size != batch:
        return {"photos_per_second": None, "peak_gib": None, "start_seconds": None}
    peak = torch.cuda.max_memory_allocated() / GIBIBYTE
    return {"photos_per_second": rate, "peak_gib": peak, "start_seconds": start}


def circumstances() -> dict[str, object]:
    """What the numbers belong to: commit, versions, machine."""
    found = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return {
        "load_before": os.getloadavg()[0],
        "cores": len(os.sched_getaffinity(0)),
        "commit": found.stdout.strip(),
        "versions": {"torch": torch.__version__, "timm": timm.__version__, "numpy": np.__version__},
        "python": platform.python_version(),
        "machine": platform.platform(),
    }


def main() -> None:
    """Measure on the chosen device, print and keep the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--model", default="vit-small", help="a ViT network, for --device cpu")
    parser.add_argument("--networks", nargs="+", default=list(GPU_NETWORKS), help="for --device cuda")
    parser.add_argument("--compile", action="store_true", help="also compiled, which takes a minute each")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    chosen = parser.parse_args()
    result = circumstances()
    with torch.inference_mode():
        if chosen.device == "cuda":
            result |= on_gpu(chosen.networks, compiles=chosen.compile)
        else:
            result |= on_cpu(chosen.model, chosen.rounds, chosen.threads)
    print(json.dumps(result, indent=2))
    RESULTS.mkdir(exist_ok=True)
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    (RESULTS / f"forward-{chosen.device}-{stamp}.json").write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
