"""What runs a network fastest on a CPU: torch, onnxruntime, OpenVINO, in fp32 and bf16.

    python bench/backends.py lite convnext-tiny vit-small

A stream a core with a thread each, as ``m3d depth`` runs; all ways in turn, so that what else the machine does falls on
all. *Start* is what a way takes before its first image beyond building the network: the export of the graph, a
compilation. *Apart* is the mean relative difference of its depth from torch's in fp32. Published networks run on random
weights, whose last bits wander more than trained ones'. Results go to bench/results/backends.json.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import platform
import statistics
import tempfile
import threading
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import cv2
import numpy as np
import torch
from depth import RESULTS, commit
from torch import nn

from m3d_cli.camera import Camera
from m3d_cli.inference.device import choose_compute
from m3d_cli.inference.onnx_predictor import OnnxPredictor
from m3d_cli.inference.openvino_predictor import OpenVinoPredictor
from m3d_cli.inference.photo import CanonicalPhoto, to_canonical
from m3d_cli.inference.predictor import Predictor
from m3d_cli.models.create import load_model
from m3d_cli.models.metric3d import build_network
from m3d_cli.models.onnx_export import export_onnx
from m3d_cli.models.spec import ModelSpec, model_spec

FP32, BF16 = choose_compute("cpu", "fp32"), choose_compute("cpu", "bf16")
PICTURES = {"lite": 12}
FEW_PICTURES = 3


@dataclass(slots=True)
class Way:
    """A way to run the network, what its start took, and what was measured."""

    predictor: Predictor
    start: float
    seconds: list[float] = field(default_factory=list)
    apart: float = 0.0


class ChannelsLast(Predictor):
    """The network with its channels innermost in memory."""

    def __init__(self, model: nn.Module, spec: ModelSpec) -> None:
        super().__init__(model.to(memory_format=torch.channels_last), spec, FP32)


def ways_of(name: str, cores: int, folder: Path) -> dict[str, Way]:
    """Every way that works for the network."""
    spec = model_spec(name)
    torch.manual_seed(0)
    model = (load_model(name) if name == "lite" else build_network(name)).eval()
    graph = folder / f"{name}.onnx"
    torch.set_num_threads(cores)
    begin = time.monotonic()
    export_onnx(copy.deepcopy(model), spec, "0", graph)
    export = time.monotonic() - begin
    torch.set_num_threads(1)

    def way(make: Callable[[], Predictor], extra: float = 0.0) -> Way:
        begin = time.monotonic()
        predictor = make()
        predictor.canonical([picture(spec)])
        return Way(predictor, time.monotonic() - begin + extra)

    return {
        "torch fp32": way(lambda: Predictor(copy.deepcopy(model), spec, FP32)),
        "torch fp32, channels last": way(lambda: ChannelsLast(copy.deepcopy(model), spec)),
        "torch fp32, compiled": way(lambda: Predictor(torch.compile(copy.deepcopy(model)), spec, FP32)),  # type: ignore[arg-type]
        "onnxruntime fp32": way(lambda: OnnxPredictor(graph, spec, FP32), export),
        "openvino fp32": way(lambda: OpenVinoPredictor(graph, spec, FP32, 1, cores, 1), export),
        "torch bf16": way(lambda: Predictor(copy.deepcopy(model), spec, BF16)),
        "openvino bf16": way(lambda: OpenVinoPredictor(graph, spec, BF16, 1, cores, 1), export),
    }


def picture(spec: ModelSpec) -> CanonicalPhoto:
    """A smooth random image."""
    rng = np.random.default_rng(0)
    image = cv2.resize(rng.integers(0, 255, (12, 16, 3), dtype=np.uint8), (640, 480), interpolation=cv2.INTER_CUBIC)
    return to_canonical(image, Camera.centred(640, 480, 600.0), spec)


def seconds_a_picture(predictor: Predictor, photo: CanonicalPhoto, pictures: int, streams: int) -> float:
    """Wall seconds an image with a stream a core."""

    def work() -> None:
        torch.set_num_threads(1)
        for _ in range(pictures):
            predictor.canonical([photo])

    threads = [threading.Thread(target=work) for _ in range(streams)]
    begin = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return (time.monotonic() - begin) / (pictures * streams)


def measured(name: str, rounds: int, cores: int) -> list[dict[str, object]]:
    """A row a way."""
    photo = picture(model_spec(name))
    with tempfile.TemporaryDirectory() as folder:
        ways = ways_of(name, cores, Path(folder))
        wanted = ways["torch fp32"].predictor.canonical([photo]).depth.float()
        for way in ways.values():
            found = way.predictor.canonical([photo]).depth.float()
            way.apart = float(((found - wanted).abs() / wanted.abs()).mean())
        for _ in range(rounds):
            for way in ways.values():
                pictures = PICTURES.get(name, FEW_PICTURES)
                way.seconds.append(seconds_a_picture(way.predictor, photo, pictures, cores))
    return [
        {
            "model": name,
            "way": text,
            "seconds_a_picture": statistics.median(way.seconds),
            "least_seconds": min(way.seconds),
            "start_seconds": way.start,
            "apart": way.apart,
        }
        for text, way in ways.items()
    ]


def main() -> None:
    """Measure, print and keep the result."""
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    rows = []
    for name in chosen.models:
        for row in measured(name, chosen.rounds, cores):
            rows.append(row)
            print(
                f"{name:14}{row['way']:28}{row['seconds_a_picture']:8.3f} s{row['start_seconds']:8.1f} s to start"
                f"{row['apart']:10.1e} apart",
                flush=True,
            )
    result = {
        "rows": rows,
        "cores": cores,
        "commit": commit(),
        "versions": {package: version(package) for package in ("torch", "onnxruntime", "openvino", "numpy")},
        "cpu": platform.processor() or platform.machine(),
        "flags": sorted(flag for flag in cpu_flags() if flag.startswith(("avx", "amx"))),
        "python": platform.python_version(),
        "machine": platform.platform(),
    }
    (RESULTS / "backends.json").write_text(json.dumps(result, indent=2) + "\n")


def cpu_flags() -> list[str]:
    """What the processor can do, where the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return []
    return next((line.partition(":")[2].split() for line in lines if line.startswith("flags")), [])


if __name__ == "__main__":
    main()
