"""Images per second of the rendered solids, 320 x 240 with depth and normals, on one core.

    OPENBLAS_NUM_THREADS=1 python bench/shapes.py

Without that variable BLAS's threads wait in loops on other cores, which counts as CPU time.
Each image is rendered several times and its fastest CPU time counts, so that other programs on the machine matter
little. The result goes to bench/results/shapes.json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import time
from importlib.metadata import version
from pathlib import Path

import cv2
import numpy as np

from m3d_cli.synthesis.scenes.shapes import SHAPE_SCENES, render_shapes

SIZE = (320, 240)
RESULT = Path(__file__).parent / "results" / "shapes.json"


def fastest(scene: str, seeds: int, rounds: int) -> list[float]:
    """CPU seconds of each seed's image of one kind of scene."""
    times = np.full((seeds, rounds), np.inf)
    for turn in range(rounds):
        for seed in range(seeds):
            begin = time.process_time()
            next(render_shapes([seed], *SIZE, {scene: 1.0}))
            times[seed, turn] = time.process_time() - begin
    return [float(value) for value in times.min(axis=1)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=40, help="images of each kind of scene")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    next(render_shapes([0], *SIZE))  # draws the textures
    seconds = {scene: float(np.mean(fastest(scene, options.seeds, options.rounds))) for scene in SHAPE_SCENES}
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    found = {
        "size": SIZE,
        "images_per_second": {scene: round(1 / value, 1) for scene, value in seconds.items()},
        "images_per_second_mean": round(1 / float(np.mean(list(seconds.values()))), 1),
        "seeds": options.seeds,
        "rounds": options.rounds,
        "threads": 1,
        "load": os.getloadavg()[0],
        "commit": commit.stdout.strip(),
        "versions": {name: version(name) for name in ("numpy", "opencv-python", "open3d")},
        "python": platform.python_version(),
        "machine": platform.platform(),
    }
    RESULT.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
