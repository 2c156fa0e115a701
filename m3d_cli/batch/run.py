"""Every photo from file to depth, in threads, with at most a few in memory; one bad photo never stops the rest."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from m3d_cli.batch.clouds import CLOUD_FORMATS
from m3d_cli.batch.journal import Failure, JournalError, Outcome, Status, sizes_and_times
from m3d_cli.batch.memory import return_large_blocks
from m3d_cli.batch.plan import Job
from m3d_cli.batch.products import Finished, Products, cloud_maker, depth_png, write_products
from m3d_cli.batch.remote_out import RemoteOut
from m3d_cli.batch.settings import Settings
from m3d_cli.batch.stages import Stages
from m3d_cli.batch.stored import read_back
from m3d_cli.batch.tasks import Task, at_hand, focal_of
from m3d_cli.camera import Camera
from m3d_cli.depthmap import LARGEST_STEP
from m3d_cli.errors import DeviceError, M3dError, OutputError, PhotoError, WeightsError
from m3d_cli.files.focal_picture import told_by_picture
from m3d_cli.files.load import LoadedPhoto, load
from m3d_cli.files.undistort import straightened
from m3d_cli.inference.photo import (
    CanonicalPhoto,
    Engine,
    available_cores,
    canonical_transform,
    to_canonical,
)
from m3d_cli.models.spec import ModelSpec

logger = logging.getLogger(__name__)

# What ends the run rather than one photo.
FATAL = (DeviceError, WeightsError, JournalError)

# Outcomes that wait for a slower photo before them; they are small, and photos are not held with them.
WAITING_OUTCOMES = 64

# Threads come one by one as photos do; what bounds them is the engine's ``in_flight``, which follows the batch size.
MOST_THREADS = 1024


class Stopped(Exception):
    """The run was told to stop before this photo was written."""


class SharedEngine:
    """The engine, made when the first photo needs it: a run that finds everything done never loads a network.

    One that cannot be made is not tried again: the first ``failure`` is everybody's.
    """

    def __init__(self, create: Callable[[], Engine]) -> None:
        self._create = create
        self._cores = available_cores()
        self._guard = threading.Lock()
        self._engine: Engine | None = None
        self.failure: M3dError | None = None

    def get(self) -> Engine:
        """The one engine of the run; raises the M3dError that keeps it from starting."""
        with self._guard:
            if self.failure is not None:
                raise self.failure
            if self._engine is None:
                self._engine = self._created()
                logger.info("ready: %s", self._engine.description)
            return self._engine

    def _created(self) -> Engine:
        try:
            return self._create()
        except M3dError as error:
            self.failure = error
            raise
        except Exception as error:
            self.failure = DeviceError(
                f"the network cannot be started: {type(error).__name__}: {error}",
                hint="see m3d doctor; --device cpu always works",
            )
            raise self.failure from error

    @property
    def in_flight(self) -> int:
        """How many photos to work on at once, as far as is known yet."""
        return self._engine.in_flight if self._engine is not None else self._cores

    def close(self) -> None:
        """Free what the engine holds."""
        if self._engine is not None:
            self._engine.close()


class Ledger(Protocol):
    """What a run needs of its `journal.Journal`."""

    @property
    def folder(self) -> Path:
        """The run's folder."""

    def names(self, outputs: Sequence[Path]) -> tuple[str, ...]:
        """Outputs as the journal calls them."""

    def is_foreign(self, output: Path) -> bool:
        """Whether ``output`` is there and no run wrote it."""

    def started(self, path: str, key: str, outputs: Sequence[Path], *, is_urgent: bool = True) -> None:
        """Say that ``outputs`` are about to be written; on the disk at once, or with the next `sync`."""

    def sync(self) -> None:
        """Bring what was written to the disk."""

    def write(self, outcome: Outcome) -> None:
        """Note how a photo ended."""


@dataclass(frozen=True, slots=True)
class Run:
    """What every photo of a run has in common."""

    settings: Settings
    journal: Ledger
    engine: SharedEngine
    overwrite: bool
    stop: threading.Event
    # Told of what ended after the reader of the outcomes had left.
    late: Callable[[Outcome], object] = field(default=lambda outcome: None)
    # Where outputs go when they are written, if not to stay.
    remote: RemoteOut | None = None

    def outcome_of(self, task: Task) -> Outcome:
        """Work on one photo, note its end in the journal; raises `Stopped` and what ends the run."""
        if task.earlier is not None:
            return task.earlier
        stages = Stages()
        try:
            outcome = self._work(task, stages)
        except (*FATAL, Stopped):
            raise
        except M3dError as error:
            if error is self.engine.failure:
                raise
            outcome = _failed(task, stages, error)
        except MemoryError:
            outcome = _failed(task, stages, PhotoError(f"{task.job.photo.name}: not enough memory"))
        except Exception as error:  # one bad photo never stops the rest, whatever it raises
            logger.debug("unexpected", exc_info=True)
            message = f"{task.job.photo.name}: {type(error).__name__}: {error}"
            outcome = _failed(task, stages, PhotoError(message, hint="report this photo", code="UNEXPECTED"))
        self.journal.write(outcome)
        return outcome

    def begun(self, task: Task, *, is_urgent: bool = True) -> Outcome | None:
        """The outcome of a photo that needs no work; else None, and the journal says that it is begun.

        For who hands photos to workers, which keep no journal.
        """
        if task.earlier is not None:
            return task.earlier
        try:
            self._refuse_foreign_outputs(task.job)
        except M3dError as error:
            outcome = self.failed(task, error)
            self.journal.write(outcome)
            return outcome
        self.journal.started(task.job.photo.name, task.key, task.job.outputs, is_urgent=is_urgent)
        return None

    def failed(self, task: Task, error: M3dError) -> Outcome:
        """The outcome of a photo that nobody worked on to the end."""
        return _failed(task, Stages(), error)

    def _work(self, task: Task, stages: Stages) -> Outcome:
        self._refuse_foreign_outputs(task.job)
        self._check_stop()
        with at_hand(task, self.settings) as present:
            return self._made(present, stages)

    def _made(self, task: Task, stages: Stages) -> Outcome:
        finished = self._computed(task, stages) if self.settings.stored is None else read_back(task, self.settings)
        self.journal.started(task.job.photo.name, task.key, task.job.outputs)
        products = write_products(task.job, self.settings, finished, stages)
        outcome = self._done(task, finished, products, stages)
        if self.remote is not None:
            self.remote.deliver(task.job.outputs)
        return outcome

    def _computed(self, task: Task, stages: Stages) -> Finished:
        with stages.measured("decode"):
            photo = read_photo(task, self.settings)
        self._check_stop()
        with stages.measured("network"):
            photo, canonical = prepared(photo, task, self.settings, self.engine)
        computed = self.engine.get().compute(canonical, self.settings.wanted_by_files)
        stages.add("network", computed.network_seconds)
        stages.add("upsample", computed.upsample_seconds)
        return Finished.computed(str(task.job.photo.relative), self.settings, photo, canonical, computed)

    def _done(self, task: Task, finished: Finished, products: Products, stages: Stages) -> Outcome:
        camera = finished.camera
        sizes, times = sizes_and_times(task.job.outputs)
        return Outcome(
            path=task.job.photo.name,
            status=Status.DONE,
            key=task.key,
            outputs=self.journal.names(task.job.outputs),
            sizes=sizes,
            mtimes_ns=times,
            digests=products.digests,
            width=camera.width,
            height=camera.height,
            focal_px=camera.focal_px,
            focal_source=camera.focal_source,
            focal_rel_sigma=camera.focal_rel_sigma,
            scale_trust=camera.scale_trust,
            median_m=products.record.median_m,
            model=finished.model.name,
            points=products.points,
            warnings=(
                *camera.warnings,
                *_clipped(products.record.clipped_pixels, self.settings),
                *_emptied(products.points),
            ),
            at=time.time(),
            seconds=stages.seconds,
        )

    def _refuse_foreign_outputs(self, job: Job) -> None:
        if self.overwrite:
            return
        for output in job.outputs:
            if self.journal.is_foreign(output):
                place = output if self.remote is None else self.remote.place(output)
                raise OutputError(
                    f"{place} is there already and the journal does not know it",
                    hint="use --overwrite or another --out",
                    code="OUTPUT_EXISTS",
                )

    def _check_stop(self) -> None:
        if self.stop.is_set():
            raise Stopped


def read_photo(task: Task, settings: Settings) -> LoadedPhoto:
    """A photo, decoded no larger than the network needs unless its colours are wanted."""
    path, relative = task.job.photo.path, task.job.photo.relative
    estimate = focal_of(task, settings.camera)
    at_least = None if settings.wants_clouds else _needed_size(estimate.camera, settings.model)
    return load(path, settings.camera, relative=relative, estimate=estimate, at_least=at_least)


def prepared(
    photo: LoadedPhoto, task: Task, settings: Settings, engine: SharedEngine
) -> tuple[LoadedPhoto, CanonicalPhoto]:
    """The photo with the focal length that its picture tells, where that is asked, and as the network takes it."""
    estimate = photo.estimate
    if settings.asks_picture(estimate, is_shared=task.shared is not None):
        estimate = told_by_picture(estimate, engine.get().focal(photo.image, estimate.width, estimate.height))
        photo = replace(photo, camera=estimate.camera, estimate=estimate)
    return photo, to_canonical(photo.image, photo.camera, settings.model)


def run(tasks: Iterable[Task], context: Run) -> Generator[Outcome]:
    """Outcomes in the order of ``tasks``.

    Closing the iterator early, as an interrupt does, starts nothing more, lets what is being written end and tells
    ``context.late`` of it, and leaves the rest for the next run.
    """
    return_large_blocks()
    pool = ThreadPoolExecutor(MOST_THREADS, thread_name_prefix="m3d-photo")
    waiting: deque[Future[Outcome]] = deque()
    source = iter(tasks)
    is_more = True
    try:
        while is_more or waiting:
            while is_more and _has_room(waiting, context):
                task = next(source, None)
                is_more = task is not None
                if task is not None:
                    waiting.append(_submitted(pool, task, context))
                # What an earlier run did goes out at once: a long row of it would be counted through again and again.
                if task is not None and task.earlier is not None and len(waiting) == 1:
                    break
            while waiting and waiting[0].done():
                yield waiting.popleft().result()
            busy = [future for future in waiting if not future.done()]
            if busy and not waiting[0].done():
                wait(busy, return_when=FIRST_COMPLETED)
    finally:
        context.stop.set()
        pool.shutdown(wait=True, cancel_futures=True)
        for future in waiting:
            if not future.cancelled() and future.exception() is None:
                context.late(future.result())
        context.engine.close()


def _has_room(waiting: deque[Future[Outcome]], context: Run) -> bool:
    at_once = min(context.engine.in_flight, MOST_THREADS)
    if len(waiting) >= max(WAITING_OUTCOMES, 2 * at_once):
        return False
    return sum(not future.done() for future in waiting) < at_once


def _submitted(pool: ThreadPoolExecutor, task: Task, context: Run) -> Future[Outcome]:
    if task.earlier is None:
        return pool.submit(context.outcome_of, task)
    ready: Future[Outcome] = Future()
    ready.set_result(context.outcome_of(task))
    return ready


def _needed_size(camera: Camera, spec: ModelSpec) -> tuple[int, int]:
    """Width and height of the smallest copy of ``camera``'s picture that still fills the network's input."""
    straight = straightened(camera)
    transform = canonical_transform(straight, spec)
    # Straightening a lens enlarges the middle of the picture.
    zoom = max(1.0, straight.focal / min(camera.fx, camera.fy))
    return round(transform.inner_width * zoom), round(transform.inner_height * zoom)


def _clipped(pixels: int, settings: Settings) -> tuple[str, ...]:
    if not pixels:
        return ()
    limit = LARGEST_STEP / settings.png_scale
    return (f"{pixels} pixels are beyond the {limit:.1f} m that the PNG holds and are 0 there",)


def _emptied(points: int | None) -> tuple[str, ...]:
    if points != 0:
        return ()
    return ("no point of the cloud is left after --max-depth, --min-confidence and the filters",)


def _failed(task: Task, stages: Stages, error: M3dError) -> Outcome:
    return Outcome(
        path=task.job.photo.name,
        status=Status.FAILED,
        key=task.key,
        at=time.time(),
        seconds=stages.seconds,
        error=Failure(error.code, error.message, error.hint, error.exit_code),
    )


@dataclass(frozen=True, slots=True, eq=False)
class LoneFile:
    """A file that goes into a pipe, and what the user should know about it."""

    pieces: tuple[bytes | memoryview, ...]
    warnings: tuple[str, ...]


def lone_file(task: Task, settings: Settings, engine: SharedEngine) -> LoneFile:
    """The one product of one photo (a depth PNG or a cloud), with no file and no journal."""
    with at_hand(task, settings) as present:
        finished = read_back(present, settings) if settings.stored is not None else _lone(present, settings, engine)
    (kind,) = settings.formats
    warnings = finished.camera.warnings
    if kind in CLOUD_FORMATS:
        clouds = cloud_maker(settings, finished)
        pieces = clouds.encode(kind)
        return LoneFile(pieces, (*warnings, *_emptied(clouds.points)))
    data, clipped = depth_png(finished, settings)
    return LoneFile((data,), (*warnings, *_clipped(clipped, settings)))


def _lone(task: Task, settings: Settings, engine: SharedEngine) -> Finished:
    photo, canonical = prepared(read_photo(task, settings), task, settings, engine)
    made = engine.get().compute(canonical, settings.wanted_by_files)
    return Finished.computed(str(task.job.photo.relative), settings, photo, canonical, made)
