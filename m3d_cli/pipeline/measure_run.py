"""Measuring many photos: in memory for a pipe, or into a folder that a later run goes on with."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from m3d_cli.errors import M3dError, PhotoError
from m3d_cli.metrology.report.content import PhotoReport, decode_report, refused_report
from m3d_cli.metrology.report.drawing import annotated, jpeg_of
from m3d_cli.metrology.report.html import Illustrated
from m3d_cli.metrology.request import Wish
from m3d_cli.photos.discover import PhotoFile
from m3d_cli.pipeline.journal import Journal, Outcome, Status
from m3d_cli.pipeline.measure_photo import MeasureJob, MeasureRun, look, render_depth, wish_key
from m3d_cli.pipeline.plan import plan
from m3d_cli.pipeline.resume import Shared, Task, tasks
from m3d_cli.pipeline.runner import FATAL, SharedEngine, run
from m3d_cli.pipeline.settings import Settings

Wishes = Mapping[PurePosixPath, Wish]


@dataclass(frozen=True, slots=True, eq=False)
class Told:
    """What became of one photo: its report, pictures where they were made, and the error that kept it from any."""

    path: Path
    report: PhotoReport
    picture: bytes | None = None
    depth: bytes | None = None
    error: M3dError | None = None

    @property
    def illustrated(self) -> Illustrated:
        """As the page takes it."""
        return Illustrated(self.report, self.picture, self.depth)


def plan_measuring(photos: Iterable[PhotoFile], out: Path) -> tuple[MeasureJob, ...]:
    """A job a photo; raises CollisionError where two photos share a name."""
    jobs = plan(photos, out, ())
    return tuple(MeasureJob(job.photo, job.out, job.name, job.formats) for job in jobs)


def measure_all(
    work: Iterable[Task], settings: Settings, engine: SharedEngine, wishes: Wishes, *, pictures: bool
) -> Iterator[Told]:
    """Each photo measured in turn, nothing written; raises what ends a run."""
    for task in work:
        photo = task.job.photo
        wish = wishes[photo.relative]
        try:
            sight = look(task, settings, engine)
        except FATAL:
            raise
        except M3dError as error:
            if error is engine.failure:
                raise
            yield Told(photo.path, refused_report(str(photo.relative), wish, error), error=error)
            continue
        measured = sight.measured(wish)
        if not pictures:
            yield Told(photo.path, measured.report, error=measured.error)
            continue
        camera = sight.finished.camera
        picture = annotated(sight.image, (camera.width, camera.height), measured.report)
        yield Told(photo.path, measured.report, picture, jpeg_of(render_depth(sight.finished)), measured.error)


def measure_tasks(
    jobs: Sequence[MeasureJob],
    settings: Settings,
    journal: Journal,
    shared: Sequence[Shared] | None,
    wishes: Wishes,
    *,
    overwrite: bool,
) -> Iterator[Task]:
    """A task a photo, under a key that also says what is wanted of it."""
    errors = repr(settings.model.errors)
    for task in tasks(jobs, settings, journal, shared, overwrite=True):
        key = wish_key(task.key + errors, wishes[task.job.photo.relative])[:32]
        yield dataclasses.replace(
            task, key=key, earlier=None if overwrite else journal.finished(key, task.job.photo.name)
        )


def measure_into(
    work: Iterable[Task],
    settings: Settings,
    journal: Journal,
    engine: SharedEngine,
    wishes: Wishes,
    *,
    overwrite: bool,
    late: Callable[[Outcome], object],
) -> Generator[Outcome]:
    """Outcomes of a run that writes a report and pictures for every photo."""
    context = MeasureRun(settings, journal, engine, overwrite, threading.Event(), late, wishes=wishes)
    return run(work, context)


def report_of(job: MeasureJob, outcome: Outcome | None, wish: Wish) -> PhotoReport:
    """The report that stands in the folder, or that of a failure."""
    name = str(job.photo.relative)
    if outcome is not None and outcome.status is not Status.FAILED:
        try:
            return decode_report(job.report.read_bytes(), str(job.report))
        except OSError as error:
            return refused_report(name, wish, PhotoError(f"{job.report}: cannot be read ({error.strerror})"))
    if outcome is None or outcome.error is None:
        return refused_report(name, wish, PhotoError(f"{job.photo.path}: not measured yet", hint="run again"))
    failure = outcome.error
    return refused_report(name, wish, PhotoError(failure.message, hint=failure.hint, code=failure.code))
