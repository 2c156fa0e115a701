"""Measuring many photos: in memory for a pipe, or into a folder that a later run goes on with."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from m3d_cli.errors import M3dError, PhotoError, UsageError
from m3d_cli.metrology.report.content import PhotoReport, decode_report, refused_report
from m3d_cli.metrology.report.drawing import annotated, jpeg_of
from m3d_cli.metrology.report.html import Illustrated
from m3d_cli.metrology.request import Wish, check_names
from m3d_cli.metrology.spec.measurement_file import Sheet
from m3d_cli.metrology.spec.read import read_sheet
from m3d_cli.photos.discover import PhotoFile
from m3d_cli.pipeline.journal import Failure, Journal, Outcome, Status
from m3d_cli.pipeline.measure_photo import MeasureJob, MeasureWork, look, render_depth, wish_key
from m3d_cli.pipeline.measure_reports import write_reports
from m3d_cli.pipeline.plan import plan
from m3d_cli.pipeline.resume import Shared, Task, share_focal, tasks
from m3d_cli.pipeline.run_context import FATAL, RunContext
from m3d_cli.pipeline.runner import run
from m3d_cli.pipeline.settings import Settings
from m3d_cli.pipeline.shared_engine import SharedEngine
from m3d_cli.pipeline.worker_processes import WorkerRecipe
from m3d_cli.pipeline.workers import Workers, threads

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


@dataclass(frozen=True, slots=True)
class MeasurePlan:
    """Photos to measure on, and what is wanted of each; ``wishes`` by relative name."""

    photos: Sequence[PhotoFile]
    settings: Settings
    workers: Workers
    wishes: Wishes
    same_camera: bool = False
    overwrite: bool = False

    def engine(self) -> SharedEngine:
        """The engine of the run, created when a photo needs it."""
        return SharedEngine(WorkerRecipe(self.settings, self.workers.options, len(self.photos), Path()).engine)

    def in_memory(self, *, pictures: bool) -> Iterator[Told]:
        """Each photo measured in turn, nothing written; raises what ends a run."""
        camera = self.settings.camera
        shared = share_focal(self.photos, camera) if self.same_camera else [None] * len(self.photos)
        with closing(self.engine()) as engine:
            for photo, from_others in zip(self.photos, shared, strict=True):
                yield self._told(photo, from_others, engine, pictures=pictures)

    def _told(self, photo: PhotoFile, shared: Shared | None, engine: SharedEngine, *, pictures: bool) -> Told:
        wish = self.wishes[photo.relative]
        try:
            sight = look(photo, shared, self.settings, engine)
        except FATAL:
            raise
        except M3dError as error:
            if error is engine.failure:
                raise
            return Told(photo.path, refused_report(str(photo.relative), wish, error), error=error)
        measured = sight.measured(wish)
        if not pictures:
            return Told(photo.path, measured.report, error=measured.error)
        camera = sight.finished.camera
        picture = annotated(sight.image, (camera.width, camera.height), measured.report)
        return Told(photo.path, measured.report, picture, jpeg_of(render_depth(sight.finished)), measured.error)

    def into(self, out: Path, formats: Sequence[str], progress: Callable[[Outcome], object]) -> MeasuredFolder:
        """Measure every photo that is not done yet, and write the reports of the whole folder.

        ``progress`` gets each outcome as it comes.
        """
        jobs = plan_measuring(self.photos, out)
        names = {str(job.photo.path): job.photo.relative for job in jobs}
        outcomes: dict[PurePosixPath, Outcome] = {}

        def note(outcome: Outcome) -> None:
            outcomes[names[outcome.path]] = outcome

        with Journal(out) as journal:
            with closing(self._outcomes(jobs, journal, note)) as running:
                for outcome in running:
                    note(outcome)
                    progress(outcome)
            ended = [outcomes.get(job.photo.relative) for job in jobs]
            reports = [
                report_of(job, end, self.wishes[job.photo.relative]) for job, end in zip(jobs, ended, strict=True)
            ]
            ends = zip(jobs, ended, reports, strict=True)
            failed = {job.report: report for job, end, report in ends if end is None or end.error is not None}
            written = write_reports(out, formats, failed)
        errors = [None if end is None or end.error is None else _error_of(end.error) for end in ended]
        return MeasuredFolder(tuple(reports), tuple(errors), tuple(written))

    def _outcomes(
        self, jobs: Sequence[MeasureJob], journal: Journal, late: Callable[[Outcome], object]
    ) -> Generator[Outcome]:
        shared = share_focal(self.photos, self.settings.camera) if self.same_camera else None
        todo = measure_tasks(jobs, self.settings, journal, shared, self.wishes, overwrite=self.overwrite)
        engine = self.engine()
        work = MeasureWork(self.settings, engine, journal, self.wishes)
        context = RunContext(work, journal, engine, self.overwrite, threading.Event(), late)
        return run(todo, context, lambda: threads(context))


@dataclass(frozen=True, slots=True, eq=False)
class MeasuredFolder:
    """Reports of all photos, the errors that kept photos from being measured at all, and the files written."""

    reports: tuple[PhotoReport, ...]
    errors: tuple[M3dError | None, ...]
    written: tuple[Path, ...]


def _error_of(failure: Failure) -> M3dError:
    found = M3dError(failure.message, hint=failure.hint, code=failure.code)
    found.exit_code = failure.exit_code
    return found


def measure_tasks(
    jobs: Sequence[MeasureJob],
    settings: Settings,
    journal: Journal,
    shared: Sequence[Shared] | None,
    wishes: Wishes,
    *,
    overwrite: bool,
) -> Iterator[Task]:
    """A task per photo, under a key that also covers what is wanted of it."""
    errors = repr(settings.model.errors)
    for task in tasks(jobs, settings, journal, shared, overwrite=True):
        key = wish_key(task.key + errors, wishes[task.job.photo.relative])[:32]
        earlier = None if overwrite else journal.finished(key, task.job.photo.name)
        yield dataclasses.replace(task, key=key, earlier=earlier)


def requested(
    photos: Sequence[PhotoFile], own: Wish, specs: Sequence[Path], unit: str | None
) -> tuple[dict[PurePosixPath, Wish], tuple[str, ...]]:
    """What is wanted of each photo that anything is wanted of, and the entries of ``specs`` that match no photo.

    ``own`` is what the command line asks of the one photo. Raises UsageError where nothing is to be measured at all.
    """
    if own.asked and len(photos) != 1:
        raise UsageError(
            f"flags measure on one photo, not on {len(photos)}",
            hint="name the measurements of many photos in a file: --spec FILE",
        )
    sheet = Sheet(tuple(entry for path in specs for entry in read_sheet(path, unit).entries))
    found = {}
    for photo in photos:
        listed = sheet.wish_for(photo.relative)
        if listed is None and not own.asked:
            continue
        wish = own if listed is None else own.joined(listed)
        check_names(wish.asked, str(photo.relative))
        found[photo.relative] = wish
    if not any(wish.asked for wish in found.values()):
        raise UsageError(
            "nothing to measure", hint='say what: --line "812,1204 812,388", --spec FILE, or --pick to point at it'
        )
    return found, tuple(sheet.unused([photo.relative for photo in photos]))


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
