"""The paper's claim on a small scale: metric depth from unseen cameras with and without the canonical transform
(arXiv 2307.10984, table 7), and with and without random proposal normalisation (table 8).

    python bench/ablation.py --rgbd DIR --out bench/ablation/results.json

One small network, the same steps and images for all; only the transform, RPNL and the seed differ. ``shapes`` are
rendered solids: trained on angles of view from 50 to 80 degrees, tested on other scenes through such cameras (seen) and
through narrower and wider ones (unseen). ``rgbd`` are the frames of DIR: trained on some sources, tested on frames of
theirs that were left out (seen) and on the sources of wider cameras (unseen). Finished rows are kept when the command
is started again.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib.metadata import version
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from m3d_cli.datasets.rgbd import open_rgbd_tree
from m3d_cli.datasets.sample import Sample
from m3d_cli.errors import DatasetError
from m3d_cli.evaluation.metrics import score
from m3d_cli.synthesis.scenes.shapes import render_shapes
from m3d_cli.training.config import TrainConfig
from m3d_cli.training.dataset import FrameStore, build_store, open_store, source_weights
from m3d_cli.training.gather import TrainingData
from m3d_cli.training.loop import Run, train
from m3d_cli.training.start import initial_model, spec_of
from m3d_cli.training.team import Team
from m3d_cli.training.validation import predict
from m3d_cli.version import __version__

ROOT = Path(__file__).parent.parent
CPU = torch.device("cpu")

# Transform and RPNL of every row: table 7, and table 8 with the label transform.
VARIANTS = (("none", True), ("image", True), ("label", True), ("label", False))
SEEDS = (0, 1, 2)
STEPS = {"shapes": 400, "rgbd": 300}
BATCH = 16
LEARNING_RATE = 2e-3

# Network input and the canonical focal length, in pixels. Images are stored larger, for the image transform to
# enlarge.
HEIGHT, WIDTH, FOCAL = 70, 98, 80.0
CANVAS = (140, 100)

# Ground and things of true size: a network trained for minutes cannot tell how far the bare wall of a room is.
SHAPES = {"yard": 1.0}
SEEN_ANGLES = (50.0, 80.0)
UNSEEN_ANGLES = ((34.0, 40.0), (96.0, 106.0))
TRAIN_SHAPES, TEST_SHAPES = 3000, 96

# Sources with cameras wider (focal length below 0.57 widths) than any that is trained on.
UNSEEN_SOURCES = ("replica_office0", "ddad_dgp", "driving_misc")
LEFT_OUT = 5  # every fifth frame of a trained source is for testing

# Truth between these metres counts.
SCORED = (0.1, 80.0)
SCORE_BATCH = 16


@dataclass(frozen=True, slots=True)
class Row:
    """One trained network on one kind of test; errors are metric, without any alignment,
    means of the sources' (or kinds of scenes') means over images. ``abs_rel_by_source`` is of the unseen cameras."""

    data: str
    transform: str
    rpnl: bool
    seed: int
    steps: int
    abs_rel_seen: float
    abs_rel_unseen: float
    delta1_seen: float
    delta1_unseen: float
    silog_seen: float
    silog_unseen: float
    abs_rel_by_source: dict[str, float]
    seconds: float


@dataclass(frozen=True, slots=True)
class Job:
    """One training, and the folder where its frames are stored."""

    data: str
    transform: str
    rpnl: bool
    seed: int
    stores: Path


def config_of(job: Job) -> TrainConfig:
    return TrainConfig.model_validate(
        {
            "model": "m3d-test-lite",
            "seed": job.seed,
            "autocast": False,
            "checkpoint_every": STEPS[job.data],
            "input": {"height": HEIGHT, "width": WIDTH, "focal": FOCAL},
            # The frames come from stores of this file's own; the group only stands for them.
            "data": {"groups": [{"kind": "shapes", "weight": 1, "count": TRAIN_SHAPES}]},
            # No random resize: it would teach the transforms more cameras than the network without one is shown.
            "augment": {"transform": job.transform, "zoom_low": 1, "zoom_high": 1, "resize_low": 1, "resize_high": 1},
            "loss": {
                "rpnl": 1.0 if job.rpnl else 0.0,
                "rpnl_crops": 16,
                "gradient": 0.0,
                "confidence": 0.0,
                "sky": 0.0,
            },
            "optimiser": {
                "steps": STEPS[job.data],
                "batch_size": BATCH,
                "learning_rate": LEARNING_RATE,
                "encoder_learning_rate": LEARNING_RATE,
                "layer_decay": 1.0,
                "warmup_steps": 30,
                "ema_decay": 0.98,
            },
        }
    )


def shape_stores(folder: Path) -> None:
    """Training images and tests of the rendered solids; every image has a seed of its own."""

    def keep(name: str, samples: Iterator[Sample], count: int) -> None:
        build_store(((0, sample) for sample in samples), count, CANVAS, folder / name)

    keep("train", render_shapes(range(TRAIN_SHAPES), *CANVAS, SHAPES, SEEN_ANGLES), TRAIN_SHAPES)
    keep("seen", render_shapes(range(10**6, 10**6 + TEST_SHAPES), *CANVAS, SHAPES, SEEN_ANGLES), TEST_SHAPES)
    half = TEST_SHAPES // 2
    starts = range(2 * 10**6, 4 * 10**6, 10**6)
    unseen = (
        replace(sample, source=f"{angles[0]:.0f} to {angles[1]:.0f} degrees")
        for start, angles in zip(starts, UNSEEN_ANGLES, strict=True)
        for sample in render_shapes(range(start, start + half), *CANVAS, SHAPES, angles)
    )
    keep("unseen", unseen, TEST_SHAPES)


def rgbd_stores(root: Path, folder: Path) -> None:
    """Training frames and tests of the RGB-D sources."""
    kinds: dict[str, list[Sample]] = {"train": [], "seen": [], "unseen": []}
    for source in open_rgbd_tree(root):
        for index in range(len(source)):
            kind = "unseen" if source.root.name in UNSEEN_SOURCES else "train" if index % LEFT_OUT else "seen"
            kinds[kind].append(source.read(index))
    for name, samples in kinds.items():
        build_store(((0, sample) for sample in samples), 4 * len(samples), CANVAS, folder / name)


def run(job: Job) -> Row:
    """Train one network and score it."""
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    begin = time.monotonic()
    config, folder = config_of(job), job.stores / job.data
    store = open_store(folder / "train")
    data = TrainingData(store, source_weights(store, [1.0]))
    with tempfile.TemporaryDirectory() as scratch:
        trainer = Run(config, spec_of(config), data, Path(scratch), Team(CPU), lambda progress: None)
        network = train(trainer, initial_model(config))
    seconds = round(time.monotonic() - begin, 1)
    seen, unseen = (scores_of(network, config, open_store(folder / name)) for name in ("seen", "unseen"))
    means = (np.mean(list(found.values()), axis=0) for found in (seen, unseen))
    pairs = (round(float(value), 4) for pair in zip(*means, strict=True) for value in pair)
    sources = {name: round(float(values[0]), 4) for name, values in unseen.items()}
    return Row(job.data, job.transform, job.rpnl, job.seed, STEPS[job.data], *pairs, sources, seconds)


def scores_of(network: nn.Module, config: TrainConfig, store: FrameStore) -> dict[str, np.ndarray]:
    """AbsRel, d1 and SILog (3,) of each source, means over its images."""
    rows: dict[str, list[tuple[float, float, float]]] = {}
    for chosen in torch.split(torch.arange(len(store)), SCORE_BATCH):
        batch, metres = predict(network, store.take(chosen, CPU), spec_of(config), config.augment)
        for place, index in enumerate(chosen.tolist()):
            truth, said = (each[place, 0].double().numpy() for each in (batch.depth, metres))
            known = (truth > SCORED[0]) & (truth < SCORED[1])
            if known.any():
                found = score(said[known], truth[known])
                name = store.names[store.source[index]]
                rows.setdefault(name, []).append((found.abs_rel, found.delta1, found.silog))
    return {name: np.mean(values, axis=0) for name, values in rows.items()}


def header() -> dict[str, object]:
    """What the rows were made by."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=ROOT)
    return {
        "command": "python bench/ablation.py --rgbd DIR --out bench/ablation/results.json",
        "settings": settings(),
        "m3d": __version__,
        "commit": commit.stdout.strip(),
        "versions": {name: version(name) for name in ("torch", "timm", "numpy", "opencv-python")},
        "python": platform.python_version(),
        "machine": platform.platform(),
        "device": f"cpu, {os.cpu_count()} cores",
    }


def settings() -> dict[str, object]:
    """What must be equal for rows to share a table."""
    return {
        "steps": STEPS,
        "batch": BATCH,
        "learning_rate": LEARNING_RATE,
        "input": [WIDTH, HEIGHT, FOCAL],
        "shapes": SHAPES,
        "train_shapes": TRAIN_SHAPES,
        "seen_angles": list(SEEN_ANGLES),
        "unseen_angles": [list(angles) for angles in UNSEEN_ANGLES],
        "unseen_sources": list(UNSEEN_SOURCES),
    }


def finished(out: Path) -> dict[str, Any]:
    """The result file so far; raises DatasetError where it was made with other settings."""
    if not out.exists():
        return header() | {"rows": []}
    found: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    if found["settings"] != settings():
        raise DatasetError(f"{out}: made with other settings", hint="name another file or remove it")
    return found


def tables(rows: list[dict[str, Any]]) -> str:
    """The rows as Markdown, mean and spread (standard deviation) over seeds: all scores, then AbsRel of every unseen
    source or range of angles.
    """
    names = [(name, cameras) for name in ("abs_rel", "delta1", "silog") for cameras in ("seen", "unseen")]
    heads = {"abs_rel": "AbsRel", "delta1": "d1", "silog": "SILog"}
    blocks = [
        table(
            rows,
            ["data", *(f"{heads[name]} {cameras}" for name, cameras in names)],
            list(STEPS),
            lambda row: [row[f"{name}_{cameras}"] for name, cameras in names],
        )
    ]
    for data in STEPS:
        sources = sorted({name for row in rows if row["data"] == data for name in row["abs_rel_by_source"]})
        picked = partial(by_source, sources)
        blocks.append(table(rows, ["AbsRel", *sources], [data], picked))
    return "\n\n".join(blocks)


def by_source(sources: list[str], row: dict[str, Any]) -> list[float]:
    return [row["abs_rel_by_source"][name] for name in sources]


def table(
    rows: list[dict[str, Any]], head: list[str], kinds: list[str], pick: Callable[[dict[str, Any]], list[float]]
) -> str:
    """A line for each kind of data and variant, with the numbers that ``pick`` takes from a row."""
    lines = [f"| {' | '.join((head[0], 'transform', 'RPNL', *head[1:]))} |", "|---" * (len(head) + 2) + "|"]
    for data, (transform, rpnl) in product(kinds, VARIANTS):
        same = [pick(row) for row in rows if (row["data"], row["transform"], row["rpnl"]) == (data, transform, rpnl)]
        numbers = [f"{np.mean(column):.3f} ± {np.std(column):.3f}" for column in zip(*same, strict=True)]
        if numbers:
            lines.append(f"| {data} | {transform} | {'on' if rpnl else 'off'} | {' | '.join(numbers)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rgbd", type=Path, help="folder of RGB-D sources; without it only the rendered solids")
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "ablation" / "results.json")
    parser.add_argument("--workers", type=int, default=2, help="trainings side by side, one core each")
    parser.add_argument("--table", action="store_true", help="print the finished rows as a table and train nothing")
    options = parser.parse_args()
    result = finished(options.out)
    rows = result["rows"]
    if options.table:
        print(tables(rows))
        return
    done = {(row["data"], row["transform"], row["rpnl"], row["seed"]) for row in rows}
    with tempfile.TemporaryDirectory() as folder, ProcessPoolExecutor(options.workers, get_context("spawn")) as pool:
        stores = Path(folder)
        shape_stores(stores / "shapes")
        kinds = ["shapes"]
        if options.rgbd is not None:
            rgbd_stores(options.rgbd, stores / "rgbd")
            kinds.append("rgbd")
        jobs = [Job(kind, *variant, seed, stores) for seed in SEEDS for kind in kinds for variant in VARIANTS]
        waiting = [pool.submit(run, job) for job in jobs if (job.data, job.transform, job.rpnl, job.seed) not in done]
        for future in as_completed(waiting):
            rows.append(asdict(future.result()))
            options.out.parent.mkdir(parents=True, exist_ok=True)
            options.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
            print(rows[-1], flush=True)


if __name__ == "__main__":
    main()
