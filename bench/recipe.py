"""``m3d depth`` against the published test-time recipe written plainly, on the same photos and weights, in one run.

    python bench/recipe.py --photos 64 --model vit-small --device cpu

The recipe: decode with OpenCV, resize, pad, forward, crop, bring to full size, write a 16-bit PNG, one photo after the
other, with all cores for each. Its network is computed as the published code does (attention with its matrix in memory,
every iteration brought to full size) and, to tell what the rest is worth, once more as m3d does. Both sides are whole
programs, timed with their start, in turns. Weights are random. Results go to bench/results/ as JSON.
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
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from depth import NETWORKS, RESULTS, ROOT, commit, environment, make_photos, random_weights, versions
from forward import straightforward

from m3d_cli.models.create import load_model
from m3d_cli.models.metric3d import Metric3DVit
from m3d_cli.models.spec import model_spec

FOCAL_PX = 2900.0
MILLIMETRES = 1000.0
WAYS = ("recipe", "recipe with m3d's network", "m3d depth")


@torch.inference_mode()
def recipe(photos: Path, out: Path, model: str, weights: Path, device: str, *, as_published: bool) -> None:
    """The plain way, one photo after the other, in fp32."""
    spec = model_spec(model)
    network = load_model(model, weights).eval().to(device)
    height, width = spec.canonical.height, spec.canonical.width
    mean, std = (255 * torch.tensor(values)[:, None, None] for values in (spec.mean, spec.std))
    out.mkdir()
    for path in sorted(photos.iterdir()):
        picture = cv2.imread(str(path))[:, :, ::-1]
        full_height, full_width = picture.shape[:2]
        scale = min(height / full_height, width / full_width)
        small = cv2.resize(picture, (int(full_width * scale), int(full_height * scale)), interpolation=cv2.INTER_LINEAR)
        down, right = height - small.shape[0], width - small.shape[1]
        top, left = down // 2, right // 2
        padded = cv2.copyMakeBorder(
            small, top, down - top, left, right - left, cv2.BORDER_CONSTANT, value=[123.675, 116.28, 103.53]
        )
        x = ((torch.from_numpy(padded.transpose(2, 0, 1)).float() - mean) / std)[None].to(device)
        is_vit = as_published and isinstance(network, Metric3DVit)
        depth = (straightforward(network, x) if is_vit else network(x)).depth[0, 0]
        depth = depth[top : top + small.shape[0], left : left + small.shape[1]]
        depth = F.interpolate(depth[None, None], (full_height, full_width), mode="bilinear")[0, 0]
        metres = (depth * FOCAL_PX * scale / spec.canonical.focal).clamp(0, 65.535)
        cv2.imwrite(str(out / f"{path.stem}.png"), (metres.cpu().numpy() * MILLIMETRES).astype(np.uint16))


def timed(way: str, photos: Path, out: Path, model: str, weights: Path, device: str) -> float:
    """Wall seconds of the whole program."""
    if way == "m3d depth":
        command = ["-m", "m3d_cli", "depth", photos, "--out", out, "--model", model, "--weights", weights]
        command += ["--focal", str(FOCAL_PX), "-q", "--device", device]
    else:
        command = [__file__, "--model", model, "--weights", weights, "--plain", photos, out, "--device", device]
        command += ["--as-published"] if way == "recipe" else []
    begin = time.monotonic()
    subprocess.run([sys.executable, *map(str, command)], check=True, env=environment(), cwd=ROOT / "bench")
    return time.monotonic() - begin


def main() -> None:
    """Time all ways, print and keep the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=int, default=64)
    parser.add_argument("--model", choices=NETWORKS, default="vit-small")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS)
    parser.add_argument("--weights", type=Path, default=None)
    parser.add_argument("--plain", type=Path, nargs=2, default=None, help=argparse.SUPPRESS)
    parser.add_argument("--as-published", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.plain:
        return recipe(*chosen.plain, chosen.model, chosen.weights, chosen.device, as_published=chosen.as_published)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "photos").mkdir()
        make_photos(folder / "photos", chosen.photos)
        weights = chosen.weights or random_weights(chosen.model, folder)
        assert weights
        seconds = {
            way: timed(way, folder / "photos", folder / way, chosen.model, weights, chosen.device)
            for way in chosen.ways
        }
        written = {way: len(list((folder / way).glob("*.png"))) for way in chosen.ways}
    assert set(written.values()) == {chosen.photos}, written
    result = {
        "photos": chosen.photos,
        "megapixels": 12,
        "model": chosen.model,
        "device": chosen.device if chosen.device == "cpu" else torch.cuda.get_device_name(chosen.device),
        "cores": len(os.sched_getaffinity(0)),
        "seconds": seconds,
        "times_faster": {way: seconds[way] / seconds["m3d depth"] for way in chosen.ways},
        "commit": commit(),
        "versions": versions(),
        "python": platform.python_version(),
        "machine": platform.platform(),
    }
    print(json.dumps(result, indent=2))
    suffix = "" if chosen.device == "cpu" else "-cuda"
    (RESULTS / f"recipe-{chosen.model}{suffix}.json").write_text(json.dumps(result, indent=2) + "\n")
    return None


if __name__ == "__main__":
    main()
