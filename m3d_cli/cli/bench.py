"""``m3d bench``: how fast ``m3d depth`` is on the user's own photos and device, and where the time goes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from m3d_cli.cli import options
from m3d_cli.cli.console import Talk, write_line
from m3d_cli.cli.progress import progress
from m3d_cli.cli.running import EngineChoice, on_one_device
from m3d_cli.errors import PhotoError

if TYPE_CHECKING:
    from m3d_cli.pipeline.journal import Outcome
    from m3d_cli.pipeline.plan import Job
    from m3d_cli.pipeline.settings import Settings


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


def bench(
    paths: options.Paths = None,
    files_from: options.FilesFrom = None,
    recursive: options.Recursive = False,
    count: Annotated[
        int, typer.Option("--count", metavar="N", min=2, help="Photos to time, after one to warm up.")
    ] = 16,
    model: options.Model = None,
    weights: options.Weights = None,
    device: options.Device = "auto",
    precision: options.Precision = "auto",
    batch_size: options.BatchSize = None,
    backend: options.Backend = "auto",
    formats: options.Formats = "png",
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Time depth on some of your photos; what it writes is thrown away."""
    import tempfile

    from m3d_cli.models.registry import choose_weights
    from m3d_cli.models.spec import model_spec
    from m3d_cli.pipeline.plan import parse_formats, plan
    from m3d_cli.pipeline.settings import Settings

    talk = Talk(quiet)
    listing = options.find_photos(paths, files_from=files_from, recursive=recursive)
    spec = model_spec(options.choose_model(model, talk, weights))
    settings = Settings(
        model=spec,
        weights=choose_weights(spec, weights),
        formats=parse_formats(formats),
        precision=precision,
        backend=backend,
    )
    # Few photos are gone through again and again.
    photos = [listing.photos[index % len(listing.photos)] for index in range(count + 1)]
    with tempfile.TemporaryDirectory() as folder:
        jobs = [plan([photo], Path(folder) / f"{index}", settings.formats)[0] for index, photo in enumerate(photos)]
        speed = _timed(jobs, settings, EngineChoice(device, precision, batch_size, backend), Path(folder), talk)
    write_line(json.dumps(asdict(speed)) if as_json else _table(speed))


def _timed(jobs: Sequence[Job], settings: Settings, engine: EngineChoice, folder: Path, talk: Talk) -> Speed:
    """The first job alone, then the rest together, as a run does them."""
    import threading
    import time

    from m3d_cli.inference.engine import create_engine
    from m3d_cli.inference.photo import available_cores
    from m3d_cli.pipeline.journal import Journal
    from m3d_cli.pipeline.resume import Task
    from m3d_cli.pipeline.runner import Run, SharedEngine
    from m3d_cli.pipeline.worker_pool import WorkerRecipe

    shared = SharedEngine(lambda: create_engine(settings.model, settings.weights, engine.options, len(jobs)))
    tasks = [Task(job, f"{index}") for index, job in enumerate(jobs)]
    with Journal(folder) as journal, progress(len(jobs), quiet=talk.quiet) as advance:
        context = Run(settings, journal, shared, overwrite=True, stop=threading.Event())
        begin = time.monotonic()
        context.outcome_of(tasks[0])
        advance()
        device = shared.get().description
        ready = time.monotonic()
        outcomes = []
        recipe = WorkerRecipe(settings, engine.options, len(jobs), journal.folder)
        for outcome in on_one_device(tasks[1:], context, recipe, len(jobs)):
            outcomes.append(outcome)
            advance()
        wall = time.monotonic() - ready
    return _speed(outcomes, settings.model.name, device, available_cores(), ready - begin, wall)


def _speed(outcomes: Sequence[Outcome], model: str, device: str, cores: int, startup: float, wall: float) -> Speed:
    """Figures of what was done; raises PhotoError when nothing was."""
    done = [outcome for outcome in outcomes if outcome.error is None]
    if not done:
        raise PhotoError("none of the photos could be worked on", hint="m3d depth tells why")
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


def _table(speed: Speed) -> str:
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
