"""Speed of ``m3d depth`` on JPEGs with the default outputs: photos a second and CPU seconds a stage.

    python bench/depth.py --photos 60 --model lite --megapixels 12

The run is a program of its own, timed from its first photo on; loading Python, torch and weights is told apart. Stages
are read from the run's journal; *alone* is what all cores make of a stage's CPU seconds. A published network without
installed weights runs on random ones. Results go to bench/results/ as JSON.
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
from importlib.metadata import version
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from m3d_cli.models.convert import to_official
from m3d_cli.models.metric3d import build_network
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
    """Seconds of one run: ``startup`` until the network is loaded, ``wall`` from then to the end."""

    startup: float
    wall: float
    stages: dict[str, float]
    device: str


def make_photo(seed: int, megapixels: int = 12) -> NDArray[np.uint8]:
    """A picture with structure of all sizes and a camera's noise, BGR."""
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
        (folder / f"IMG_{index:04}.jpg").write_bytes(encoded[index % len(encoded)])


def time_run(photos: Path, out: Path, model: str, device: str, weights: Path | None) -> Timing:
    """Run ``m3d depth`` and read its journal."""
    command = [sys.executable, "-m", "m3d_cli", "depth", photos, "--out", out, "--model", model, "--device", device]
    command += ["--focal-35mm", "26", "-v"] + (["--weights", str(weights)] if weights else [])
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    begin = time.monotonic()
    ready, described = begin, ""
    with subprocess.Popen(list(map(str, command)), stderr=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stderr
        for line in process.stderr:
            if line.startswith(READY):
                ready, described = time.monotonic(), line.removeprefix(READY).strip()
    wall = time.monotonic() - ready
    if process.returncode:
        raise SystemExit(f"m3d depth ended with {process.returncode}")
    return Timing(ready - begin, wall, stage_seconds(out / "m3d-run.jsonl"), described)


def stage_seconds(journal: Path) -> dict[str, float]:
    """Mean CPU seconds a photo of each stage."""
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    done = [line["seconds"] for line in lines if line["status"] == "done"]
    return {stage: statistics.fmean(seconds[stage] for seconds in done) for stage in done[0]}


def random_weights(model: str, folder: Path) -> Path | None:
    """A checkpoint of random weights for a published network that is not installed; speed is the same."""
    if model not in NETWORKS or find_installed(model) is not None:
        return None
    torch.manual_seed(0)
    path = folder / f"{model}.pth"
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
        "load_before": os.getloadavg()[0],
        "commit": commit(),
        "versions": {name: version(name) for name in ("torch", "numpy", "opencv-python", "pillow")},
        "python": platform.python_version(),
        "machine": platform.platform(),
    }


def commit() -> str:
    """The commit the numbers belong to, marked when the tree differs from it."""
    found = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return found.stdout.strip()


def main() -> None:
    """Make photos, time a run, print and keep the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=int, default=16)
    parser.add_argument("--model", default="lite")
    parser.add_argument("--megapixels", type=int, choices=sorted(SIZES), default=12)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--weights", type=Path, default=None, help="a weights file of your own")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        photos = Path(folder) / "photos"
        photos.mkdir()
        make_photos(photos, chosen.photos, chosen.megapixels)
        weights = chosen.weights or random_weights(chosen.model, Path(folder))
        timing = time_run(photos, Path(folder) / "depth", chosen.model, chosen.device, weights)
    result = report(timing, chosen.photos, chosen.model, chosen.megapixels)
    print(json.dumps(result, indent=2))
    name = f"depth-{chosen.model}-{chosen.megapixels}mp.json"
    (RESULTS / name).write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
