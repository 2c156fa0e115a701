"""Runs over photos, for every command that makes files from them: what to do, how to tell of it, how to end."""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from m3d_cli.cli.console import Talk, is_a_terminal, write_bytes, write_line
from m3d_cli.cli.progress import progress
from m3d_cli.cli.tally import Tally
from m3d_cli.errors import UsageError

if TYPE_CHECKING:
    from m3d_cli.batch.crew import WorkerRecipe
    from m3d_cli.batch.journal import Journal, Outcome
    from m3d_cli.batch.plan import Job
    from m3d_cli.batch.ray_engine import RayChoice
    from m3d_cli.batch.remote_out import RemoteOut
    from m3d_cli.batch.run import Run, SharedEngine
    from m3d_cli.batch.settings import Settings
    from m3d_cli.batch.shard import Shard
    from m3d_cli.batch.tasks import Shared, Task
    from m3d_cli.inference.photo import Engine, EngineOptions

STDOUT = "-"
AUTO = "auto"
LOCAL = "local"
ENGINES = (LOCAL, "ray")

# From so many photos on the start of processes that help is repaid.
MANY_PHOTOS = 500

# What can go into a pipe.
_PIPED = ("png", "ply", "pcd", "xyz", "glb")


@dataclass(frozen=True, slots=True)
class Order:
    """What was asked for, checked; ``most_failures`` ends the run, None never does.

    ``jobs`` are those of ``shard``, a part of the ``planned`` photos.
    """

    jobs: Sequence[Job]
    settings: Settings
    engine: EngineChoice
    same_camera: bool
    overwrite: bool
    most_failures: int | None
    exit_zero: bool
    as_json: bool
    ray: RayChoice | None = None
    remote: RemoteOut | None = None
    shard: Shard | None = None
    planned: int = 0

    @property
    def whole(self) -> int:
        """Photos of all parts: one of them is computed as the whole would be, to the last bit."""
        return self.planned or len(self.jobs)

    def part(self, text: str | None) -> Order:
        """The same for one part of the jobs, as ``--shard`` says it."""
        from m3d_cli.batch.shard import parse_shard

        if text is None:
            return self
        if self.same_camera:
            raise UsageError("--same-camera looks at all photos, --shard at some", hint="give --focal or --intrinsics")
        shard = parse_shard(text)
        return replace(self, jobs=shard.of(self.jobs), shard=shard, planned=len(self.jobs))


@dataclass(frozen=True, slots=True)
class EngineChoice:
    """Device, precision, batch size and backend as given; torch is not loaded yet. ``devices`` share the photos."""

    device: str
    precision: str
    batch_size: str | None
    backend: str
    devices: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _photos_a_batch(self.batch_size)

    @classmethod
    def among(
        cls, devices: str | None, device: str, precision: str, batch_size: str | None, backend: str
    ) -> EngineChoice:
        """One device, or several named as ``--devices`` does."""
        if devices is None:
            return cls(device, precision, batch_size, backend)
        from m3d_cli.inference.device_list import parse_devices

        if device != AUTO:
            raise UsageError("--device and --devices contradict each other", hint="give one of them")
        return cls(device, precision, batch_size, backend, parse_devices(devices))

    @property
    def options(self) -> EngineOptions:
        """The same for the engine."""
        return self.options_on(self.device)

    def options_on(self, device: str) -> EngineOptions:
        """The same for the engine on one of several devices."""
        from m3d_cli.inference.photo import EngineOptions

        return EngineOptions(device, self.precision, _photos_a_batch(self.batch_size), self.backend)


def _photos_a_batch(text: str | None) -> int | None:
    """``--batch-size`` for the engine: 0 for ``auto``; raises UsageError."""
    if text is None:
        return None
    if text == AUTO:
        return 0
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise UsageError(f"--batch-size {text} is neither a number from 1 on nor {AUTO}", hint="for example 8")
    return int(text)


def remote_out(out: str) -> RemoteOut | None:
    """What stands for ``--out`` where that is a URL."""
    from m3d_cli.files.remote import is_url

    if not is_url(out):
        return None
    from m3d_cli.batch.remote_out import RemoteOut

    return RemoteOut.at(out)


def refuse_remote(order: Order, *, dry_run: bool) -> None:
    """Raise UsageError for what would need all remote photos here at once."""
    if order.remote is not None:
        order.remote.check(order.jobs)
    if not (order.same_camera or dry_run):
        return
    if order.remote is not None or any(job.photo.source is not None for job in order.jobs):
        flag = "--dry-run" if dry_run else "--same-camera"
        raise UsageError(f"{flag} reads headers, which URLs do not give alone", hint="fetch the photos first")


def run_into_folder(order: Order, out: Path, talk: Talk) -> None:
    """Work on every photo that is not done yet, tell how it went, and end with the exit code of the run."""
    code = work_into_folder(order, out, talk)
    if code and not order.exit_zero:
        raise typer.Exit(code)


def work_into_folder(order: Order, out: Path, talk: Talk) -> int:
    """Work on every photo that is not done yet and tell how it went; the exit code that it deserves."""
    from m3d_cli.batch.journal import Journal, journal_of

    tally = Tally(len(order.jobs))
    sizes = order.remote.begin() if order.remote is not None else None
    try:
        with Journal(out, order.shard, sizes) as journal, closing(_outcomes(order, journal, tally)) as outcomes:
            _consume(order, outcomes, tally, talk)
    finally:
        # Told first: what was done stays true when the journal cannot be uploaded.
        tally.tell(talk)
        if order.remote is not None:
            order.remote.upload_journal(journal_of(out, order.shard))
    return tally.exit_code


def _consume(order: Order, outcomes: Iterator[Outcome], tally: Tally, talk: Talk) -> None:
    with progress(len(order.jobs), quiet=talk.quiet) as advance:
        for outcome in outcomes:
            tally.add(outcome)
            if order.as_json:
                write_line(outcome.line())
            if outcome.error is not None:
                talk.error(f"{outcome.error.code}: {outcome.error.message}{_hint(outcome.error.hint)}")
            for warning in outcome.warnings:
                talk.detail(f"{outcome.path}: {warning}")
            advance(worked=str(outcome.status) != "skipped")
            if order.most_failures is not None and tally.failed >= order.most_failures:
                talk.warn(f"stopped after {tally.failed} failures; run again to go on")
                return


def _outcomes(order: Order, journal: Journal, tally: Tally) -> Generator[Outcome]:
    import threading

    from m3d_cli.batch.run import Run
    from m3d_cli.batch.tasks import tasks

    todo = tasks(order.jobs, order.settings, journal, shared_focal(order), overwrite=order.overwrite)
    stop = threading.Event()
    context = Run(order.settings, journal, _engine(order), order.overwrite, stop, late=tally.add, remote=order.remote)
    if order.ray is not None:
        from m3d_cli.batch.ray_engine import run_on_ray

        return run_on_ray(todo, context, _recipe(order, order.engine.device, journal.folder), order.ray)
    if order.engine.devices:
        return _among_devices(order, todo, context)
    return _where_needed(order, todo, context)


def _where_needed(order: Order, todo: Iterator[Task], context: Run) -> Generator[Outcome]:
    """On one device, which nobody asks for, nor loads torch to know of, before there is a photo to compute."""
    for task in todo:
        if task.earlier is not None:
            yield context.outcome_of(task)
            continue
        rest = chain((task,), todo)
        recipe = _recipe(order, order.engine.device, context.journal.folder)
        yield from on_one_device(rest, context, recipe, len(order.jobs))
        return


def on_one_device(todo: Iterable[Task], context: Run, recipe: WorkerRecipe, photos: int) -> Generator[Outcome]:
    """Outcomes of ``photos``, in this process or with others that decode and write for it."""
    if photos >= MANY_PHOTOS and context.engine.get().helpers:
        from m3d_cli.batch.processes import run_with_helpers

        return run_with_helpers(todo, context, recipe)
    from m3d_cli.batch.run import run

    return run(todo, context)


def _among_devices(order: Order, todo: Iterable[Task], context: Run) -> Generator[Outcome]:
    from m3d_cli.batch.crew import run_by_crew
    from m3d_cli.batch.processes import ProcessWorker

    folder = context.journal.folder
    workers = [ProcessWorker(name, _recipe(order, name, folder)) for name in order.engine.devices]
    return run_by_crew(todo, context, workers)


def _recipe(order: Order, device: str, folder: Path) -> WorkerRecipe:
    from m3d_cli.batch.crew import WorkerRecipe

    return WorkerRecipe(order.settings, order.engine.options_on(device), order.whole, folder, order.remote)


def ray_choice(
    engine: str, address: str | None, actors: int | None, device: str, devices: str | None
) -> RayChoice | None:
    """What ``--engine ray`` and its flags ask for; None for ``local``."""
    if engine not in ENGINES:
        raise UsageError(f"--engine {engine} is unknown", hint=f"one of {', '.join(ENGINES)}")
    if engine == LOCAL:
        if address is not None or actors is not None:
            raise UsageError("--ray-address and --ray-actors go with --engine ray", hint="add it")
        return None
    if devices is not None:
        raise UsageError("--devices are of one machine, --engine ray finds those of all", hint="say --ray-actors N")
    from m3d_cli.batch.ray_engine import RayChoice

    return RayChoice(address, actors, on_cpu=device == "cpu")


def _engine(order: Order) -> SharedEngine:
    from m3d_cli.batch.run import SharedEngine

    def create() -> Engine:
        from m3d_cli.inference.engine import create_engine

        return create_engine(order.settings.model, order.settings.weights, order.engine.options, order.whole)

    return SharedEngine(create)


def shared_focal(order: Order) -> Sequence[Shared] | None:
    """What photos get from the others of their camera, when they are told to share it."""
    from m3d_cli.batch.tasks import share_focal

    return share_focal(order.jobs, order.settings.camera) if order.same_camera else None


def run_to_stdout(order: Order, talk: Talk) -> None:
    """Write the one file of one photo to standard output."""
    from m3d_cli.batch.run import lone_file
    from m3d_cli.batch.tasks import Task

    if len(order.jobs) != 1:
        raise UsageError(f"--out - takes one photo, not {len(order.jobs)}", hint="give a folder to --out")
    if len(order.settings.formats) != 1 or order.settings.formats[0] not in _PIPED or order.as_json:
        raise UsageError("--out - writes one file and nothing else to stdout", hint="leave --format and --json out")
    if is_a_terminal(sys.stdout):
        raise UsageError("this is no text for a terminal", hint="write it into a file: ... --out - > FILE")
    shared = shared_focal(order)
    task = Task(order.jobs[0], "", shared[0] if shared is not None else None)
    with closing(_engine(order)) as engine:
        file = lone_file(task, order.settings, engine)
    for warning in file.warnings:
        talk.warn(f"{task.job.photo.name}: {warning}")
    write_bytes(*file.pieces)


def _hint(text: str) -> str:
    return f". hint: {text}" if text else ""
