"""Seconds of a whole process for one photo with lite, beside those of `import torch` and of the network itself.

    python bench/cold_start.py --repeat 7

The three take turns, files are in the page cache, and medians are compared: ``over_floor`` is the time of
``m3d depth one.jpg`` divided by that of importing torch plus one forward pass in a warm process. Results go to
bench/results/ as JSON.
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

import torch
from depth import RESULTS, ROOT, commit, environment

from m3d_cli.models.create import load_model

PHOTO = ROOT / "tests" / "data" / "photos" / "palace.jpg"


def process_seconds(command: list[str]) -> float:
    """Wall time of a program from its start to its end."""
    begin = time.perf_counter()
    subprocess.run(command, check=True, env=environment())
    return time.perf_counter() - begin


def forward_seconds(network: torch.nn.Module, image: torch.Tensor) -> float:
    """Wall time of one pass."""
    begin = time.perf_counter()
    with torch.inference_mode():
        network(image)
    return time.perf_counter() - begin


def main() -> None:
    """Measure, print and keep the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=7)
    repeat = parser.parse_args().repeat
    network = load_model("lite").eval()
    image = torch.zeros(1, 3, 252, 336)
    torch_import, photo, forward = [], [], []
    for _ in range(repeat + 1):
        torch_import.append(process_seconds([sys.executable, "-c", "import torch"]))
        with tempfile.TemporaryDirectory() as out:
            photo.append(process_seconds([sys.executable, "-m", "m3d_cli", "depth", str(PHOTO), "--out", out, "-q"]))
        forward.append(forward_seconds(network, image))
    # The first round warms the page cache.
    medians = {
        name: statistics.median(times[1:])
        for name, times in (("import_torch", torch_import), ("depth_of_one_photo", photo), ("forward", forward))
    }
    result = {
        "seconds": medians,
        "over_floor": medians["depth_of_one_photo"] / (medians["import_torch"] + medians["forward"]),
        "repeat": repeat,
        "commit": commit(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "machine": platform.platform(),
    }
    print(json.dumps(result, indent=2))
    (RESULTS / "cold-start.json").write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
