"""Train ``lite`` on a GPU machine that has no network and is there for minutes only; see bench/gpu_training.md.

python bench/gpu_training.py pack --data DIR --packages DIR --out DIR     what to carry
python bench/gpu_training.py render --assets FILE --ring DIR              frames rendered for a trainer, until ended
python bench/gpu_training.py train --packs DIR --out DIR --minutes 8      train, from where the last run in DIR stopped
python bench/gpu_training.py join DIR FILE                                weights that came back in pieces
python bench/gpu_training.py score FILE --data DIR                        old weights beside new on held-out frames
"""

from __future__ import annotations

import argparse
import atexit
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import cv2
import torch
from gpu_checkpoint import read_pieces
from gpu_frames import PackedFrame, packed, read_frames, training_samples, write_frames
from gpu_render import Ring, render
from gpu_train import FIRST_SCENE, Past, Plan, Pool, start_renderer, train

from m3d_cli.synthesis.assets_pack import pack_assets
from m3d_cli.synthesis.generate import MIXTURE, Recipe
from m3d_cli.training.config import InputSection, RgbdGroup, SyntheticGroup, TrainConfig, read_config

ROOT = Path(__file__).parent.parent
CONFIG = Path(__file__).with_suffix(".toml")

# What a transfer may hold, the working tree with it, less room for later commits.
CARRIED_BYTES = 64 * 2**20 - 2 * 2**20
PYTHON = "3.12"
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")
# What the training imports beyond torch, timm, numpy, OpenCV, safetensors, huggingface_hub and PyYAML.
WHEELS = ("embreex", "pydantic", "pydantic-core", "annotated-types", "typing-inspection", "typing-extensions")
SETUP = "setup.tar.xz"

HELD_OUT = "misc_kinect,uoc_realsense,kitti_object,ddad_dgp:val,nyuv2_val,middlebury_v3"


def pack(options: argparse.Namespace) -> None:
    """Write carry-1, carry-2, ...: wheels and assets first, then frames wherever there is room."""
    config = read_config(CONFIG)
    shutil.rmtree(options.out, ignore_errors=True)
    options.out.mkdir(parents=True)
    tree = _tree_bytes()
    rgbd = next(group for group in config.data.groups if isinstance(group, RgbdGroup))
    canvas = options.canvas or (config.data.canvas_width, config.data.canvas_height)
    samples = training_samples(options.data, rgbd.exclude)
    frames = chain.from_iterable(packed(sample, canvas) for sample in samples)
    first = options.out / "carry-1"
    first.mkdir()
    _write_setup(options.packages, first / SETUP)
    room = CARRIED_BYTES - tree - (first / SETUP).stat().st_size
    print(f"working tree {tree / 1e6:.1f} MB, {SETUP} {(first / SETUP).stat().st_size / 1e6:.1f} MB", flush=True)
    number, waiting = 1, next(frames, None)
    while waiting is not None:
        folder = options.out / f"carry-{number}"
        folder.mkdir(exist_ok=True)
        fitting = _Fitting(frames, waiting, room)
        path = folder / f"frames-{number}.tar"
        count = write_frames(fitting, canvas, path)
        waiting, room, number = fitting.left, CARRIED_BYTES - tree, number + 1
        sums = sum(file.stat().st_size for file in folder.iterdir())
        print(f"{path}: {count} frames; {folder.name} {sums / 1e6:.1f} MB, with the tree {(sums + tree) / 1e6:.1f} MB")


class _Fitting:
    """The frames, from ``first`` on, that fit ``room`` bytes; ``left`` is the first that does not."""

    def __init__(self, frames: Iterator[PackedFrame], first: PackedFrame, room: int) -> None:
        self.frames, self.left, self.room = frames, first, room

    def __iter__(self) -> Iterator[PackedFrame]:
        while self.left is not None and self.left.size <= self.room:
            frame, self.room = self.left, self.room - self.left.size
            self.left = next(self.frames, None)
            yield frame


def _tree_bytes() -> int:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.decode()
    return sum((ROOT / name).stat().st_size for name in listed.split("\0") if (ROOT / name).is_file())


def _write_setup(packages: Path, path: Path) -> None:
    """The wheels as they are installed, and the library of models, in one archive that Python alone can unpack."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-compile", "--only-binary=:all:"]
        pip += ["--python-version", PYTHON, "--implementation", "cp", "--target", str(folder / "site")]
        pip += [word for platform in PLATFORMS for word in ("--platform", platform)]
        subprocess.run([*pip, *_pinned()], check=True)
        pack_assets(packages, folder / "packed.npz")
        # The archive compresses plain arrays better than npz does.
        _store(folder / "packed.npz", folder / "assets.npz")
        with tarfile.open(path, "w:xz", preset=6) as archive:
            for name in ("site", "assets.npz"):
                archive.add(folder / name, name)


def _pinned() -> list[str]:
    """The wheels in the versions of this environment where it has them: pydantic and its core belong together."""
    from importlib.metadata import PackageNotFoundError, version

    pinned = []
    for name in WHEELS:
        try:
            pinned.append(f"{name}=={version(name)}")
        except PackageNotFoundError:
            pinned.append(name)
    return pinned


def _store(source: Path, target: Path) -> None:
    import numpy as np

    with np.load(source) as data, target.open("wb") as file:
        np.savez(file, **data)


def render_frames(options: argparse.Namespace) -> None:
    """Create the ring and fill it until this process is ended."""
    config = _config(options)
    canvas = (config.data.canvas_width, config.data.canvas_height)
    Ring.create(options.ring, canvas, options.workers, options.slots, options.first_scene)
    group = next(group for group in config.data.groups if isinstance(group, SyntheticGroup))
    render(options.ring, options.assets, Recipe(group.scenes or dict(MIXTURE), group.rich_light, group.field_of_view))


def run(options: argparse.Namespace) -> None:
    """Train; starts the renderer unless --workers is 0, and then uses the ring of one that runs already."""
    begin = time.monotonic()
    config, device = _config(options), torch.device(options.device)
    torch.backends.cudnn.benchmark = True
    plan = Plan(options.out, options.minutes, options.steps, options.checkpoint_seconds, device)
    if options.workers:
        _begin_rendering(options, begin)
    packs = sorted(options.packs.rglob("frames-*.tar"))
    if not packs:
        raise SystemExit(f"{options.packs}: no frames-*.tar in it")
    real = read_frames(packs)
    print(f"{len(packs)} packs decoded after {time.monotonic() - begin:.1f} s", flush=True)
    pool = None
    if (options.ring / "ring.json").exists():
        ring = Ring.open(options.ring)
        pool = Pool(ring, options.pool or (40_000 if device.type == "cuda" else 2_000), device)
        # A thread that shares its core with a renderer holds up all others at every operation.
        torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) - ring.workers))
    train(config, plan, real, pool, begin)


def _begin_rendering(options: argparse.Namespace, begin: float) -> None:
    shutil.rmtree(options.ring, ignore_errors=True)
    scene = max(options.first_scene, Past.read(options.out).next_scene)
    words = ["--assets", options.assets, "--ring", options.ring, "--workers", options.workers]
    words += ["--slots", options.slots, "--first-scene", scene, "--config", options.config]
    renderer = start_renderer(list(map(str, words)))
    atexit.register(renderer.terminate)
    while not (options.ring / "ring.json").exists():
        if renderer.poll() is not None:
            raise SystemExit("the renderer stopped, see above")
        time.sleep(0.1)
    print(f"rendering since {time.monotonic() - begin:.1f} s", flush=True)


def _config(options: argparse.Namespace) -> TrainConfig:
    config = read_config(options.config)
    update: dict[str, object] = {"initial_weights": ROOT / config.initial_weights}
    if getattr(options, "weights", None):
        update["initial_weights"] = options.weights
    if getattr(options, "input", None):
        height, width = options.input
        focal = config.input.focal * width / config.input.width
        update["input"] = InputSection(height=height, width=width, focal=focal)
    if getattr(options, "batch", None):
        update["optimiser"] = config.optimiser.model_copy(update={"batch_size": options.batch})
    if getattr(options, "log_every", None):
        update["log_every"] = options.log_every
    return config.model_copy(update=update)


def join(options: argparse.Namespace) -> None:
    """Put the newest whole set of pieces together."""
    data = read_pieces(options.folder, options.name)
    if data is None:
        raise SystemExit(f"{options.folder}: no whole set of pieces lite-{options.name}-*")
    options.file.write_bytes(data)
    print(f"{options.file}: {len(data)} bytes")


def score(options: argparse.Namespace) -> None:
    """Both weights by `m3d eval`, a row a source."""
    bundled = ROOT / "m3d_cli" / "models" / "bundled" / "lite.safetensors"
    old, new = (_scores(path, options) for path in (options.against or bundled, options.file))
    print("| source | images | AbsRel | d1 | AbsRel (median) | d1 (median) | ln scale mean | std |")
    print("|---|---|---|---|---|---|---|---|")
    for source in old["sources"]:
        print(_row(source, old["sources"][source], new["sources"][source]))
    first = [source.split(":")[0] for source in HELD_OUT.split(",")[:4]]
    for title, sources in (("mean of the first four", first), ("mean of all", list(old["sources"]))):
        if set(sources) <= old["sources"].keys():
            print(_row(title, _mean(old, sources), _mean(new, sources)))


def _scores(weights: Path, options: argparse.Namespace) -> dict:
    command = [sys.executable, "-m", "m3d_cli", "eval", "--data", options.data, "--sources", options.sources]
    command += ["--model", "lite", "--weights", weights, "--json", "--quiet"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(list(map(str, command)), env=environment, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)


def _mean(scores: dict, sources: list[str]) -> dict:
    """A row of means; of ln scale, the mean size."""
    chosen = [scores["sources"][source] for source in sources]
    align = {
        way: {
            name: sum(abs(one["align"][way][name]) for one in chosen) / len(chosen) for name in chosen[0]["align"][way]
        }
        for way in ("none", "median")
    }
    return {"images": sum(one["images"] for one in chosen), "align": align}


def _row(title: str, old: dict, new: dict) -> str:
    cells = [("none", "abs_rel"), ("none", "delta1"), ("median", "abs_rel"), ("median", "delta1")]
    cells += [("none", "ln_scale_mean"), ("none", "ln_scale_std")]
    pairs = [f"{old['align'][way][name]:.3f} -> {new['align'][way][name]:.3f}" for way, name in cells]
    return f"| {title} | {new['images']} | " + " | ".join(pairs) + " |"


def _size(text: str) -> tuple[int, int]:
    first, second = text.split("x")
    return int(first), int(second)


def main() -> None:
    """Read the command line and do what it says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("pack")
    one.set_defaults(run=pack)
    one.add_argument("--data", type=Path, required=True, help="RGB-D folders, one a source")
    one.add_argument("--packages", type=Path, required=True, help="the two Debian packages, unpacked")
    one.add_argument("--canvas", type=_size, default=None, help="WIDTHxHEIGHT of stored frames")
    one.add_argument("--out", type=Path, required=True)

    one = commands.add_parser("render")
    one.set_defaults(run=render_frames)
    two = commands.add_parser("train")
    two.set_defaults(run=run)
    for each in (one, two):
        each.add_argument("--config", type=Path, default=CONFIG)
        each.add_argument("--assets", type=Path, default=None, required=each is one)
        each.add_argument("--ring", type=Path, default=Path(tempfile.gettempdir()) / "m3d-ring")
        each.add_argument("--workers", type=int, default=14)
        each.add_argument("--slots", type=int, default=1024, help="frames of a worker that wait at most")
        each.add_argument("--first-scene", type=int, default=FIRST_SCENE)
    two.add_argument("--packs", type=Path, required=True)
    two.add_argument("--out", type=Path, required=True)
    two.add_argument("--minutes", type=float, default=8.0, help="from the start of the program to its last step")
    two.add_argument("--steps", type=int, default=10**9, help="stop earlier, after so many")
    two.add_argument("--batch", type=int, default=None)
    two.add_argument("--input", type=_size, default=None, help="HEIGHTxWIDTH of the network")
    two.add_argument("--weights", type=Path, default=None, help="start from these instead of the bundled ones")
    two.add_argument("--pool", type=int, default=None, help="rendered frames kept on the device")
    two.add_argument("--log-every", type=int, default=None)
    two.add_argument("--checkpoint-seconds", type=float, default=60.0)
    two.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")

    one = commands.add_parser("join")
    one.set_defaults(run=join)
    one.add_argument("folder", type=Path)
    one.add_argument("file", type=Path)
    one.add_argument("--name", choices=("last", "half"), default="last")

    one = commands.add_parser("score")
    one.set_defaults(run=score)
    one.add_argument("file", type=Path)
    one.add_argument("--data", type=Path, required=True)
    one.add_argument("--sources", default=HELD_OUT)
    one.add_argument("--against", type=Path, default=None, help="old weights; without it the bundled ones")
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    cv2.setNumThreads(1)
    main()
