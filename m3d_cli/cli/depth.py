"""``m3d depth``: photos in, a metric depth map and a sidecar for each out."""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from m3d_cli.cli import options
from m3d_cli.cli.console import Talk, is_a_terminal, show_log, write_bytes, write_line
from m3d_cli.cli.dry_run import show_plan
from m3d_cli.cli.progress import progress
from m3d_cli.cli.tally import Tally
from m3d_cli.errors import UsageError

if TYPE_CHECKING:
    from m3d_cli.batch.journal import Journal, Outcome
    from m3d_cli.batch.plan import Job
    from m3d_cli.batch.run import SharedEngine
    from m3d_cli.batch.settings import Settings
    from m3d_cli.batch.tasks import Shared
    from m3d_cli.inference.engine import EngineOptions
    from m3d_cli.inference.photo import Engine

STDOUT = "-"


@dataclass(frozen=True, slots=True)
class _Order:
    """What was asked for, checked; ``most_failures`` ends the run, None never does."""

    jobs: Sequence[Job]
    settings: Settings
    engine: EngineChoice
    same_camera: bool
    overwrite: bool
    most_failures: int | None
    exit_zero: bool
    as_json: bool


@dataclass(frozen=True, slots=True)
class EngineChoice:
    """Device, precision and batch size as given; torch is not loaded yet."""

    device: str
    precision: str
    batch_size: int | None

    @property
    def options(self) -> EngineOptions:
        """The same for the engine."""
        from m3d_cli.inference.engine import EngineOptions

        return EngineOptions(self.device, self.precision, self.batch_size)


def depth(
    context: typer.Context,
    paths: options.Paths = None,
    files_from: options.FilesFrom = None,
    null_separated: options.NullSeparated = False,
    recursive: options.Recursive = False,
    include: options.Include = None,
    exclude: options.Exclude = None,
    hidden: options.Hidden = False,
    focal: options.Focal = None,
    focal_mm: options.FocalMm = None,
    sensor_width: options.SensorWidth = None,
    focal_35mm: options.Focal35 = None,
    fov: options.Fov = None,
    intrinsics: options.IntrinsicsFile = None,
    exif_json: options.ExifJson = None,
    sensor_db: options.SensorDb = None,
    same_camera: options.SameCamera = False,
    require_focal: options.RequireFocal = False,
    out: options.Out = None,
    formats: options.Formats = "png",
    png_scale: options.PngScale = 1000.0,
    keep_extension: options.KeepExtension = False,
    max_depth: options.MaxDepth = None,
    vmin: options.Vmin = None,
    vmax: options.Vmax = None,
    colour_map: options.ColourMap = "turbo",
    model: options.Model = "lite",
    weights: options.Weights = None,
    device: options.Device = "auto",
    precision: options.Precision = "auto",
    batch_size: options.BatchSize = None,
    overwrite: options.Overwrite = False,
    dry_run: options.DryRun = False,
    fail_fast: options.FailFast = False,
    max_failures: options.MaxFailures = None,
    exit_zero: options.ExitZero = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Write the metric depth of each photo: a 16-bit PNG in millimetres and a JSON sidecar."""
    if out is None:
        raise UsageError("no --out given", hint="m3d depth PHOTOS --out DIR; nothing is written beside your photos")
    if out == STDOUT and dry_run:
        raise UsageError("--dry-run shows a plan and --out - writes a picture to stdout", hint="leave one out")
    talk = Talk(quiet, verbose)
    show_log(verbose=verbose)
    listing = options.find_photos(
        paths,
        files_from=files_from,
        null_separated=null_separated,
        recursive=recursive,
        include=include,
        exclude=exclude,
        hidden=hidden,
        skip_folders=() if out == STDOUT else (Path(out),),
    )
    (talk.say if listing.ignored else talk.detail)(listing.summary())
    camera = options.camera_options(
        context,
        focal=focal,
        focal_mm=focal_mm,
        sensor_width=sensor_width,
        focal_35mm=focal_35mm,
        fov=fov,
        intrinsics=intrinsics,
        exif_json=exif_json,
        sensor_db=sensor_db,
        require_focal=require_focal,
    )
    from m3d_cli.batch.plan import parse_formats, plan
    from m3d_cli.batch.settings import Settings
    from m3d_cli.models.registry import choose_weights
    from m3d_cli.models.spec import model_spec
    from m3d_cli.outputs.preview import PreviewStyle

    spec = model_spec(model)
    settings = Settings(
        model=spec,
        weights=choose_weights(spec, weights),
        formats=parse_formats(formats),
        png_scale=png_scale,
        preview=PreviewStyle(colour_map, vmin, vmax),
        max_depth=max_depth,
        precision=precision,
        camera=camera,
    )
    order = _Order(
        jobs=plan(listing.photos, Path(out), settings.formats, keep_extension),
        settings=settings,
        engine=EngineChoice(device, precision, batch_size),
        same_camera=same_camera,
        overwrite=overwrite,
        most_failures=1 if fail_fast else max_failures,
        exit_zero=exit_zero,
        as_json=as_json,
    )
    if out == STDOUT:
        return _to_stdout(order, talk)
    if dry_run:
        return show_plan(order.jobs, settings, _shared(order), overwrite=overwrite, as_json=as_json, talk=talk)
    return _to_folder(order, Path(out), talk)


def _to_folder(order: _Order, out: Path, talk: Talk) -> None:
    from m3d_cli.batch.journal import Journal

    tally = Tally(len(order.jobs))
    try:
        with Journal(out) as journal, closing(_outcomes(order, journal, tally)) as outcomes:
            _consume(order, outcomes, tally, talk)
    finally:
        tally.tell(talk)
    code = tally.exit_code
    if code and not order.exit_zero:
        raise typer.Exit(code)


def _consume(order: _Order, outcomes: Iterator[Outcome], tally: Tally, talk: Talk) -> None:
    with progress(len(order.jobs), quiet=talk.quiet) as advance:
        for outcome in outcomes:
            tally.add(outcome)
            if order.as_json:
                write_line(outcome.line())
            if outcome.error is not None:
                talk.error(f"{outcome.error.code}: {outcome.error.message}{_hint(outcome.error.hint)}")
            for warning in outcome.warnings:
                talk.detail(f"{outcome.path}: {warning}")
            advance()
            if order.most_failures is not None and tally.failed >= order.most_failures:
                talk.warn(f"stopped after {tally.failed} failures; run again to go on")
                return


def _outcomes(order: _Order, journal: Journal, tally: Tally) -> Generator[Outcome]:
    import threading

    from m3d_cli.batch.run import Run, run
    from m3d_cli.batch.tasks import tasks

    todo = tasks(order.jobs, order.settings, journal, _shared(order), overwrite=order.overwrite)
    stop = threading.Event()
    context = Run(order.settings, journal, _engine(order), order.overwrite, stop, late=tally.add)
    return run(todo, context)


def _engine(order: _Order) -> SharedEngine:
    from m3d_cli.batch.run import SharedEngine

    def create() -> Engine:
        from m3d_cli.inference.engine import create_engine

        return create_engine(order.settings.model, order.settings.weights, order.engine.options, len(order.jobs))

    return SharedEngine(create)


def _shared(order: _Order) -> Sequence[Shared] | None:
    from m3d_cli.batch.tasks import share_focal

    return share_focal(order.jobs, order.settings.camera) if order.same_camera else None


def _to_stdout(order: _Order, talk: Talk) -> None:
    from m3d_cli.batch.plan import OutputFormat
    from m3d_cli.batch.run import depth_png
    from m3d_cli.batch.tasks import Task

    if len(order.jobs) != 1:
        raise UsageError(f"--out - takes one photo, not {len(order.jobs)}", hint="give a folder to --out")
    if order.settings.formats != (OutputFormat.PNG,) or order.as_json:
        raise UsageError("--out - writes one PNG and nothing else to stdout", hint="leave --format and --json out")
    if is_a_terminal(sys.stdout):
        raise UsageError("a PNG is no text for a terminal", hint="m3d depth PHOTO --out - > depth.png")
    shared = _shared(order)
    task = Task(order.jobs[0], "", shared[0] if shared is not None else None)
    with closing(_engine(order)) as engine:
        png = depth_png(task, order.settings, engine)
    for warning in png.warnings:
        talk.warn(f"{task.job.photo.path}: {warning}")
    write_bytes(png.data)


def _hint(text: str) -> str:
    return f". hint: {text}" if text else ""
