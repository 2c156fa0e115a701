"""How fast depth is computed on given photos and devices, and where the time goes."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from m3d_cli.errors import PhotoError
from m3d_cli.inference.photo import available_cores
from m3d_cli.photos.discover import PhotoFile
from m3d_cli.pipeline.journal import Journal, Outcome
from m3d_cli.pipeline.plan import plan
from m3d_cli.pipeline.process_photo import DepthWork
from m3d_cli.pipeline.resume import Task
from m3d_cli.pipeline.run_context import RunContext
from m3d_cli.pipeline.runner import run
from m3d_cli.pipeline.settings import Settings
from m3d_cli.pipeline.shared_engine import SharedEngine
from m3d_cli.pipeline.worker_processes import WorkerRecipe
from m3d_cli.pipeline.workers import Workers
from m3d_cli.reporter import Reporter


@dataclass(frozen=True, slots=True)
class Speed:
    """What was measured over ``photos``: ``stages`` are CPU seconds a photo, the start-up ends with the first one.

    ``efficiency`` is the wall time that the stages' CPU seconds need on all cores over the wall time they took.
    """

    photos: int
    megapixels: float
    model: str
    device: str
    cores: int
    startup_seconds: float
    wall_seconds: float
    photos_per_second: float
    efficiency: float
    stages: dict[str, float]


def time_photos(
    photos: Sequence[PhotoFile], settings: Settings, workers: Workers, count: int, report: Reporter
) -> Speed:
    """Time ``count`` photos after one to warm up; few photos are used repeatedly, and what is written is removed.

    Raises PhotoError where none of them can be processed.
    """
    used = [photos[index % len(photos)] for index in range(count + 1)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        jobs = [plan([photo], folder / f"{index}", settings.formats)[0] for index, photo in enumerate(used)]
        tasks = [Task(job, f"{index}") for index, job in enumerate(jobs)]
        recipe, stop = WorkerRecipe(settings, workers.options, len(jobs), folder), threading.Event()
        engine = SharedEngine(recipe.engine)
        with Journal(folder) as journal, report.progress(len(jobs)) as advance:
            work = DepthWork(settings, engine, journal, stop)
            context = RunContext(work, journal, engine, overwrite=True, stop=stop)
            begin = time.monotonic()
            context.outcome_of(tasks[0])
            advance()
            device, ready = engine.get().description, time.monotonic()
            outcomes = []
            for outcome in run(tasks[1:], context, lambda: workers.pool(context, recipe)):
                outcomes.append(outcome)
                advance()
            wall = time.monotonic() - ready
    return _speed(outcomes, settings.model.label, device, available_cores(), ready - begin, wall)


def _speed(outcomes: Sequence[Outcome], model: str, device: str, cores: int, startup: float, wall: float) -> Speed:
    """Figures of what was done; raises PhotoError when nothing was."""
    done = [outcome for outcome in outcomes if outcome.error is None]
    if not done:
        raise PhotoError("none of the photos could be processed", hint="m3d depth tells why")
    stages = {name: _mean(dict(outcome.seconds)[name] for outcome in done) for name, _ in done[0].seconds}
    return Speed(
        photos=len(done),
        megapixels=_mean((outcome.width or 0) * (outcome.height or 0) / 1e6 for outcome in done),
        model=model,
        device=device,
        cores=cores,
        startup_seconds=startup,
        wall_seconds=wall,
        photos_per_second=len(done) / wall,
        efficiency=sum(stages.values()) * len(done) / cores / wall,
        stages=stages,
    )


def _mean(values: Iterable[float]) -> float:
    listed = list(values)
    return sum(listed) / len(listed)


def speed_table(speed: Speed) -> str:
    """The stages and their shares, for people."""
    total = sum(speed.stages.values())
    rows = [
        f"{name:10}{seconds:12.3f}{seconds / total:9.0%}{speed.cores / seconds if seconds > 0 else 0:14.1f}"
        for name, seconds in speed.stages.items()
    ]
    head = f"{'stage':10}{'CPU s/photo':>12}{'share':>9}{'alone, 1/s':>14}"
    summary = (
        f"{speed.photos} photos of {speed.megapixels:.1f} megapixels, {speed.model} on {speed.device}: "
        f"{speed.photos_per_second:.2f} photos/s, {speed.efficiency:.0%} of what {speed.cores} cores allow; "
        f"first photo after {speed.startup_seconds:.1f} s"
    )
    return "\n".join([head, *rows, summary])
