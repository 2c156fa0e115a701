"""Speed of ``m3d depth`` on 12-megapixel JPEGs with the default outputs: photos a second and CPU seconds a stage.

    python bench/depth.py --photos 24 --model lite

The run is a program of its own, timed from its first photo on; loading Python, torch and weights is told apart. Stages
are read from the run's journal. Results go to bench/results/ as JSON.
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
from numpy.typing import NDArray

WIDTH, HEIGHT = 4000, 3000
NOISE = 4.0
DISTINCT = 4
ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results"
READY = "ready:"


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds of one run: ``startup`` until the network is loaded, ``wall`` from then to the end."""

    startup: float
    wall: float
    stages: dict[str, float]
    device: str


def make_photo(seed: int) -> NDArray[np.uint8]:
    """A 12-megapixel picture with structure of all sizes and a camera's noise, BGR."""
    rng = np.random.default_rng(seed)
    picture = np.zeros((HEIGHT, WIDTH, 3), dtype=np.float32)
    for cells, strength in ((6, 60.0), (40, 30.0), (300, 14.0), (1200, 6.0)):
        coarse = rng.normal(0, strength, (cells * 3 // 4, cells, 3)).astype(np.float32)
        picture += cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    picture += 128 + rng.normal(0, NOISE, picture.shape).astype(np.float32)
    return np.clip(picture, 0, 255).astype(np.uint8)


def make_photos(folder: Path, count: int) -> None:
    """``count`` JPEGs of a phone with its EXIF left out; a few distinct ones, repeated."""
    encoded = []
    for seed in range(min(DISTINCT, count)):
        _, data = cv2.imencode(".jpg", make_photo(seed), [cv2.IMWRITE_JPEG_QUALITY, 92])
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


def report(timing: Timing, count: int, model: str) -> dict[str, object]:
    """What is printed and kept."""
    cores = len(os.sched_getaffinity(0))
    total = sum(timing.stages.values())
    return {
        "photos": count,
        "megapixels": WIDTH * HEIGHT / 1e6,
        "model": model,
        "device": timing.device,
        "cores": cores,
        "photos_per_second": count / timing.wall,
        "startup_seconds": timing.startup,
        "wall_seconds": timing.wall,
        "stage_cpu_seconds_a_photo": timing.stages,
        "all_but_network_cpu_seconds_a_photo": total - timing.stages["network"],
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
    parser.add_argument("--device", default="auto")
    parser.add_argument("--weights", type=Path, default=None, help="a weights file of your own")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        photos = Path(folder) / "photos"
        photos.mkdir()
        make_photos(photos, chosen.photos)
        timing = time_run(photos, Path(folder) / "depth", chosen.model, chosen.device, chosen.weights)
    result = report(timing, chosen.photos, chosen.model)
    print(json.dumps(result, indent=2))
    RESULTS.mkdir(exist_ok=True)
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    (RESULTS / f"depth-{chosen.model}-{stamp}.json").write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
