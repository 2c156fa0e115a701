"""Speed and memory of scoring: as many NYU-sized depth maps as the Eigen split has, from disk, three alignments.

    python bench/score.py --maps 654

The run is ``m3d eval --pred`` as a program of its own, on 16-bit PNG truth and predictions; its peak memory is reported
for a third of the maps and for all, which must not differ. Results go to bench/results/ as JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import cv2
import numpy as np

WIDTH, HEIGHT = 640, 480
DISTINCT = 8
ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True, slots=True)
class Timing:
    """One run: wall and CPU seconds, and the largest memory in MiB."""

    maps: int
    wall: float
    cpu: float
    peak_mib: float


def make_data(folder: Path, count: int) -> None:
    """Exported NYU frames of rough walls and boxes with holes, and predictions a few per cent off; a few, repeated."""
    rng = np.random.default_rng(0)
    scene, pred = folder / "nyu" / "test" / "room", folder / "pred" / "test" / "room"
    scene.mkdir(parents=True)
    pred.mkdir(parents=True)
    _, picture = cv2.imencode(".jpg", np.full((HEIGHT, WIDTH, 3), 120, dtype=np.uint8))
    pairs = [_pair(rng) for _ in range(DISTINCT)]
    for index in range(count):
        truth, prediction = pairs[index % DISTINCT]
        (scene / f"rgb_{index:05}.jpg").write_bytes(picture.tobytes())
        (scene / f"sync_depth_{index:05}.png").write_bytes(truth)
        (pred / f"rgb_{index:05}.png").write_bytes(prediction)


def _pair(rng: np.random.Generator) -> tuple[bytes, bytes]:
    coarse = rng.uniform(1, 8, (6, 8)).astype(np.float32)
    depth = cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC).clip(0.5, 9.5)
    holes = cv2.resize(rng.random((60, 80)).astype(np.float32), (WIDTH, HEIGHT)) < 0.25
    prediction = depth * cv2.resize(rng.normal(1.05, 0.08, (30, 40)).astype(np.float32), (WIDTH, HEIGHT))
    values = [np.where(holes, 0, depth), prediction]
    stored = [cv2.imencode(".png", np.rint(value * 1000).clip(0, 65535).astype(np.uint16))[1] for value in values]
    return stored[0].tobytes(), stored[1].tobytes()


def time_run(folder: Path, maps: int, workers: int) -> Timing:
    """Score ``maps`` of the maps by the command line."""
    command = [sys.executable, "-m", "m3d_cli", "eval", "--data", str(folder / "nyu"), "--layout", "nyu"]
    command += ["--preset", "nyu-eigen", "--pred", str(folder / "pred"), "--pred-scale", "1000", "--quiet"]
    command += ["--align", "none,median,scale-shift", "--limit", str(maps), "--workers", str(workers)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begin = time.monotonic()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    wall = time.monotonic() - begin
    if done.returncode:
        raise SystemExit(f"m3d eval ended with {done.returncode}: {done.stderr}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Timing(maps, wall, cpu, after.ru_maxrss / 1024)


def commit() -> str:
    """The commit the numbers belong to, marked when the tree differs from it."""
    found = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return found.stdout.strip()


def main() -> None:
    """Make the maps, score a third and then all of them, print and keep the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--maps", type=int, default=654)
    parser.add_argument("--workers", type=int, default=2)
    chosen = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as name:
        make_data(Path(name), chosen.maps)
        third = time_run(Path(name), max(1, chosen.maps // 3), chosen.workers)
        whole = time_run(Path(name), chosen.maps, chosen.workers)
    result = {
        "maps": chosen.maps,
        "pixels": WIDTH * HEIGHT,
        "workers": chosen.workers,
        "wall_seconds": whole.wall,
        "cpu_seconds": whole.cpu,
        "maps_per_second": whole.maps / whole.wall,
        "peak_mib": {str(timing.maps): timing.peak_mib for timing in (third, whole)},
        "cores": len(os.sched_getaffinity(0)),
        "load_before": load,
        "commit": commit(),
        "versions": {package: version(package) for package in ("numpy", "opencv-python")},
        "python": platform.python_version(),
        "machine": platform.platform(),
    }
    print(json.dumps(result, indent=2))
    RESULTS.mkdir(exist_ok=True)
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    (RESULTS / f"score-{stamp}.json").write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
