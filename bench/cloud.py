"""Speed of writing a point cloud: 12 million points with colours to PLY.

    python bench/cloud.py

Depth and image are made up; the file goes to a temporary folder. Results go to bench/results/ as JSON.
"""

from __future__ import annotations

import json
import platform
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from m3d_cli.atomic import write_bytes
from m3d_cli.camera import Camera
from m3d_cli.depthmap import DepthMap
from m3d_cli.formats.ply import encode_ply
from m3d_cli.pointcloud import CloudFilter, PointCloud

WIDTH, HEIGHT = 4000, 3000
ROUNDS = 5
RESULTS = Path(__file__).parent / "results"


def clock() -> NDArray[np.float64]:
    """Wall and CPU seconds."""
    return np.array([time.monotonic(), time.process_time()])


def main() -> None:
    rng = np.random.default_rng(0)
    depth = DepthMap(rng.uniform(1, 5, (HEIGHT, WIDTH)).astype(np.float32), Camera.centred(WIDTH, HEIGHT, 3000.0))
    image = rng.integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(ROUNDS):
            begin = clock()
            cloud = PointCloud.from_depth(depth, image, CloudFilter(edges=False))
            middle = clock()
            write_bytes(Path(folder) / "cloud.ply", *encode_ply(cloud))
            rows.append(np.concatenate([middle - begin, clock() - middle]))
    names = ("cloud_seconds", "cloud_cpu_seconds", "ply_seconds", "ply_cpu_seconds")
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()
    found = {
        "commit": commit,
        "machine": platform.platform(),
        "numpy": np.__version__,
        "points": WIDTH * HEIGHT,
        "rounds": ROUNDS,
        **dict(zip(names, np.median(rows, axis=0).tolist(), strict=True)),
    }
    text = json.dumps(found, indent=2)
    (RESULTS / "cloud.json").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
