"""Long runs: how much memory they take, and how long a run of 100,000 photos takes to find that all is done.

    python bench/resume.py                        # tiny photos and the test network: about ten minutes
    python bench/resume.py --memory               # 200 and 2,000 photos of 12 megapixels with lite: about ten minutes

Peak resident size is what the system says of the whole process. Results go to bench/results/ as JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
from depth import commit, environment, make_photo

RESULTS = Path(__file__).parent / "results"
LINKS = 30_000  # file systems bound the names of one file
MEGABYTE = 1e6


@dataclass(frozen=True, slots=True)
class Run:
    """One run of ``m3d depth``: what it took."""

    photos: int
    seconds: float
    peak_megabytes: float


def photo_bytes(is_large: bool) -> bytes:
    """A JPEG of 12 megapixels, or a tiny one."""
    picture = make_photo(0) if is_large else np.full((24, 32, 3), 99, np.uint8)
    return cv2.imencode(".jpg", picture)[1].tobytes()


def link_photos(folder: Path, picture: bytes, count: int) -> None:
    """``count`` names of few equal files, in folders of a thousand."""
    for index in range(count):
        place = folder / f"{index // 1000:04}"
        if index % LINKS == 0:
            original = folder / f".original{index}"
            folder.mkdir(exist_ok=True)
            original.write_bytes(picture)
        if index % 1000 == 0:
            place.mkdir()
        (place / f"IMG_{index:06}.jpg").hardlink_to(original)


def run(photos: Path, out: Path, count: int, model: str) -> Run:
    """Run ``m3d depth`` and watch its memory."""
    command = [sys.executable, "-m", "m3d_cli", "depth", "-r", photos, "--out", out, "--model", model]
    command += ["--device", "cpu", "--focal-35mm", "26", "-q"]
    begin = time.monotonic()
    process = subprocess.Popen(list(map(str, command)), env=environment())
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"m3d depth ended with {os.waitstatus_to_exitcode(status)}")
    return Run(count, time.monotonic() - begin, usage.ru_maxrss * 1024 / MEGABYTE)


def measured(picture: bytes, counts: tuple[int, int], model: str, folder: Path) -> dict[str, object]:
    """A small and a large run, and the large one again."""
    few, many = counts
    rows = {}
    for name, count in (("few", few), ("many", many)):
        link_photos(folder / name, picture, count)
        rows[name] = run(folder / name, folder / f"{name} out", count, model)
    rows["many again"] = run(folder / "many", folder / "many out", many, model)
    return {
        "model": model,
        "runs": {name: asdict(row) for name, row in rows.items()},
        "memory_of_many_over_few": rows["many"].peak_megabytes / rows["few"].peak_megabytes,
        "commit": commit(),
        "python": platform.python_version(),
        "machine": platform.platform(),
    }


def main() -> None:
    """Measure, print and keep the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--memory", action="store_true", help="few large photos instead of many tiny ones")
    parser.add_argument("--folder", type=Path, default=None, help="where to work; 200 MB, with --memory 8 GB")
    chosen = parser.parse_args()
    # In a process of its own: the system counts what this one held to the peak of those it starts.
    with ProcessPoolExecutor(1) as pool:
        encoded = pool.submit(photo_bytes, chosen.memory).result()
    with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
        if chosen.memory:
            result = measured(encoded, (200, 2000), "lite", Path(folder))
        else:
            result = measured(encoded, (1000, 100_000), "m3d-test-lite", Path(folder))
    print(json.dumps(result, indent=2))
    name = "memory-lite" if chosen.memory else "resume"
    (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
