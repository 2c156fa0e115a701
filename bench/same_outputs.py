"""Compares the outputs of two checkouts of m3d on the sample photos: depth PNG, npy, sidecars, PLY, GLB, measurements.

    python bench/same_outputs.py BEFORE AFTER

Each is the root of a checkout whose `m3d_cli` is run with this Python. Files must be equal byte for byte, JSON by
value; the version and texts (notes, warnings, derivations, hints) are left out. Exit code 1 where something differs.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

TEXTS = frozenset(("m3d_version", "derivation", "warnings", "notes", "improve", "method", "message", "hint", "licence"))
# Keys that sidecars did not have before.
ADDED = frozenset(("focal_trust", "errors_known"))
MEASURE = (
    "measure",
    "palace.jpg",
    "--line=front=120,300 420,300",
    "--height=tower=300,120 300,330",
    "--plane=ground=40,400 600,400 600,360 40,360",
    "--area=patch=40,400 600,400 600,360 40,360",
    "--ref=200,300 260,300 = 2 m",
    "--report=json",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        sides = [outputs(checkout.resolve(), Path(name) / side) for side, checkout in vars(options).items()]
    different = [key for key in sorted(sides[0].keys() | sides[1].keys()) if sides[0].get(key) != sides[1].get(key)]
    for key in different:
        print(f"differs: {key}")
    print(f"{len(sides[0])} outputs before, {len(sides[1])} after, {len(different)} differ")
    sys.exit(1 if different else 0)


def outputs(checkout: Path, folder: Path) -> dict[str, object]:
    """Everything that the commands of one checkout write for the sample photos, by name."""
    photos = checkout / "tests" / "data" / "photos"
    run(checkout, photos, "depth", "-r", ".", "--out", str(folder / "depth"), "--format", "png,npy,conf,preview")
    run(checkout, photos, "pointcloud", "-r", ".", "--out", str(folder / "clouds"), "--format", "ply,glb")
    run(checkout, photos, "pointcloud", "--depth", str(folder / "depth"), "--out", str(folder / "again"))
    found: dict[str, object] = {"measure": without_texts(json.loads(run(checkout, photos, *MEASURE)))}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix != ".jsonl":
            found[str(path.relative_to(folder))] = content(path)
    return found


def run(checkout: Path, photos: Path, *arguments: str) -> bytes:
    command = [sys.executable, "-m", "m3d_cli", *arguments, "--quiet"]
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    return subprocess.run(command, check=True, cwd=photos, env=environment, capture_output=True).stdout


def content(path: Path) -> object:
    data = path.read_bytes()
    if path.suffix == ".json":
        return without_texts(json.loads(data))
    # The header of a PLY names the version.
    return b"\n".join(line for line in data.split(b"\n") if b"made-by" not in line)


def without_texts(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: without_texts(one) for name, one in value.items() if name not in TEXTS | ADDED}
    return [without_texts(one) for one in value] if isinstance(value, list) else value


if __name__ == "__main__":
    main()
