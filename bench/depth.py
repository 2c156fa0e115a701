"""Speed of ``m3d depth`` on JPEGs with the default outputs: photos per second and CPU seconds a stage.

    python bench/depth.py --photos 60 --model lite --megapixels 12

The run is a program of its own, timed from its first photo on; loading Python, torch and weights is separate. Stages
are read from the run's journal; *alone* is what all cores make of a stage's CPU seconds. A published network without
installed weights runs on random ones. Results go to bench/results/ as JSON.

    python bench/depth.py --device cuda --photos 800 --model lite vit-small --megapixels 1 12

On a GPU the network alone is measured by itself, in the batches of the run, and the run's rate is that of its last
three quarters, since libraries and recordings are set up in the first.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import PIL
import torch
from numpy.typing import NDArray

from m3d_cli.camera import Camera
from m3d_cli.inference.cuda_predictor import CudaPredictor
from m3d_cli.inference.device import choose_compute
from m3d_cli.inference.engine import GPU_BATCH
from m3d_cli.inference.photo import to_canonical
from m3d_cli.models.convert import to_official
from m3d_cli.models.create import load_model
from m3d_cli.models.metric3d import build_network
from m3d_cli.models.spec import model_spec
from m3d_cli.models.store import find_installed

SIZES = {12: (4000, 3000), 1: (1155, 866)}
NOISE = 4.0
DISTINCT = 4
ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results"
NETWORKS = ("convnext-tiny", "convnext-large", "vit-small", "vit-large")
READY = "ready:"


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds of one run: ``startup`` until the network is loaded, ``wall`` from then to the end; and photos per second
    after the first quarter of them.
    """

    startup: float
    wall: float
    rate: float
    stages: dict[str, float]
    device: str


def make_photo(seed: int, megapixels: int = 12) -> NDArray[np.uint8]:
    """An image with structure of all sizes and a camera's noise, BGR."""
    width, height = SIZES[megapixels]
    rng = np.random.default_rng(seed)
    picture = np.zeros((height, width, 3), dtype=np.float32)
    for cells, strength in ((6, 60.0), (40, 30.0), (300, 14.0), (1200, 6.0)):
        coarse = rng.normal(0, strength, (cells * 3 // 4, cells, 3)).astype(np.float32)
        picture += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    picture += 128 + rng.normal(0, NOISE, picture.shape).astype(np.float32)
    return np.clip(picture, 0, 255).astype(np.uint8)


def make_photos(folder: Path, count: int, megapixels: int = 12) -> None:
    """``count`` JPEGs of a phone with its EXIF left out; a few distinct ones, repeated."""
    encoded = []
    for seed in range(min(DISTINCT, count)):
        _, data = cv2.imencode(".jpg", make_photo(seed, megapixels), [cv2.IMWRITE_JPEG_QUALITY, 92])
        encoded.append(data.tobytes())
    for index in range(count):
        path = folder / f"IMG_{index:04}.jpg"
        if index < len(encoded):
            path.write_bytes(encoded[index])
        else:
            path.hardlink_to(folder / f"IMG_{index % len(encoded):04}.jpg")


def time_run(photos: Path, out: Path, model: str, device: str, weights: Path | None) -> Timing:
    """Run ``m3d depth`` and read its journal."""
    command = [sys.executable, "-m", "m3d_cli", "depth", photos, "--out", out, "--model", model, "--device", device]
    command += ["--focal-35mm", "26", "-v"] + (["--weights", str(weights)] if weights else [])
    begin = time.monotonic()
    ready, described = begin, ""
    with subprocess.Popen(list(map(str, command)), stderr=subprocess.PIPE, text=True, env=environment()) as process:
        assert process.stderr
        for line in process.stderr:
            if line.startswith(READY):
                ready, described = time.monotonic(), line.removeprefix(READY).strip()
    wall = time.monotonic() - ready
    if process.returncode:
        raise SystemExit(f"m3d depth ended with {process.returncode}")
    lines = [json.loads(line) for line in (out / "m3d-run.jsonl").read_text().splitlines()]
    done = [line for line in lines if line["status"] == "done"]
    return Timing(ready - begin, wall, late_rate(done), stage_seconds(done), described)


def stage_seconds(done: list[dict[str, dict[str, float]]]) -> dict[str, float]:
    """Mean CPU seconds a photo of each stage."""
    return {stage: statistics.fmean(line["seconds"][stage] for line in done) for stage in done[0]["seconds"]}


def late_rate(done: list[dict[str, float]]) -> float:
    """Photos a second from the end of the first quarter on."""
    ends = sorted(line["at"] for line in done)
    first = len(ends) // 4
    return (len(ends) - 1 - first) / (ends[-1] - ends[first])


@cache
@torch.inference_mode()
def network_rate(model: str, weights: Path | None, seconds: float = 3.0) -> float:
    """Photos a second of the network on the GPU, uploads included, in the batches of ``m3d depth``."""
    spec = model_spec(model)
    predictor = CudaPredictor(load_model(model, weights), spec, choose_compute("cuda"), GPU_BATCH)
    image = np.random.default_rng(0).integers(0, 255, (480, 640, 3), dtype=np.uint8)
    photos = [to_canonical(image, Camera.centred(640, 480, 600.0), spec)] * GPU_BATCH
    for _ in range(4):
        running = predictor.begin(photos)
    running.result()
    count, begin = 0, time.monotonic()
    while time.monotonic() - begin < seconds:
        following = predictor.begin(photos)
        running.result()
        running = following
        count += GPU_BATCH
    running.result()
    return count / (time.monotonic() - begin)


def on_gpu(result: dict[str, object], timing: Timing, alone: float) -> dict[str, object]:
    """The result of a run on a GPU, where the network's part is not CPU seconds."""
    cores = len(os.sched_getaffinity(0))
    rest = cores / sum(timing.stages.values())
    return result | {
        "device": torch.cuda.get_device_name(),
        "run": timing.device,
        "photos_per_second": timing.rate,
        "network_alone_photos_per_second": alone,
        "other_stages_alone_photos_per_second": rest,
        "efficiency": timing.rate / min(alone, rest),
    }


def random_weights(model: str, folder: Path) -> Path | None:
    """A checkpoint of random weights for a published network that is not installed; speed is the same."""
    if model not in NETWORKS or find_installed(model) is not None:
        return None
    torch.manual_seed(0)
    path = folder / f"{model}.pth"
    if path.exists():
        return path
    torch.save({"model_state_dict": to_official(model, build_network(model).state_dict())}, path)
    return path


def report(timing: Timing, count: int, model: str, megapixels: int) -> dict[str, object]:
    """What is printed and kept."""
    cores = len(os.sched_getaffinity(0))
    total = sum(timing.stages.values())
    network = timing.stages["network"]
    return {
        "photos": count,
        "megapixels": megapixels,
        "model": model,
        "device": timing.device,
        "cores": cores,
        "photos_per_second": count / timing.wall,
        "startup_seconds": timing.startup,
        "wall_seconds": timing.wall,
        "stage_cpu_seconds_a_photo": timing.stages,
        "all_but_network_cpu_seconds_a_photo": total - network,
        "network_alone_photos_per_second": cores / network,
        "other_stages_alone_photos_per_second": cores / (total - network),
        "wall_over_cpu_share": timing.wall / (total * count / cores),
        "load_after": os.getloadavg()[0],
        "commit": commit(),
        "versions": versions(),
        "python": platform.python_version(),
        "machine": platform.platform(),
    }


def environment() -> dict[str, str]:
    """Of a run as a program of its own: this checkout comes before what else is to be found."""
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}


def versions() -> dict[str, str]:
    """Of the packages that do the work."""
    return {
        "torch": torch.__version__,
        "numpy": np.__version__,
        "opencv-python": cv2.__version__,
        "pillow": PIL.__version__,
    }


def commit() -> str:
    """The commit the numbers belong to, marked when the tree differs from it."""
    found = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return found.stdout.strip()


def measured(model: str, megapixels: int, chosen: argparse.Namespace, folder: Path) -> dict[str, object]:
    """One run, kept."""
    is_gpu = chosen.device.startswith("cuda")
    weights = chosen.weights or random_weights(model, folder)
    with tempfile.TemporaryDirectory(dir=folder) as out:
        timing = time_run(folder / f"{megapixels}", Path(out) / "depth", model, chosen.device, weights)
    result = report(timing, chosen.photos, model, megapixels)
    if is_gpu:
        result = on_gpu(result, timing, network_rate(model, weights))
    name = f"depth-{model}-{megapixels}mp{'-cuda' if is_gpu else ''}.json"
    (RESULTS / name).write_text(json.dumps(result, indent=2) + "\n")
    return result


def main() -> None:
    """Make photos, time the runs, print and keep the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=int, default=16)
    parser.add_argument("--model", nargs="+", default=["lite"])
    parser.add_argument("--megapixels", type=int, nargs="+", choices=sorted(SIZES), default=[12])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--weights", type=Path, default=None, help="a weights file of your own")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for megapixels in chosen.megapixels:
            (folder / f"{megapixels}").mkdir()
            make_photos(folder / f"{megapixels}", chosen.photos, megapixels)
        for model in chosen.model:
            for megapixels in chosen.megapixels:
                print(json.dumps(measured(model, megapixels, chosen, folder), indent=2), flush=True)


if __name__ == "__main__":
    main()
