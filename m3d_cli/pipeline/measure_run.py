"""Measuring many photos: in memory for a pipe, or into a folder in which a later run continues."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from m3d_cli.errors import M3dError, PhotoError, UsageError
from m3d_cli.metrology.report.content import PhotoReport, decode_report, photo_report
from m3d_cli.metrology.report.html import Illustrated
from m3d_cli.metrology.request import Request, check_names
from m3d_cli.metrology.solve import Solution
from m3d_cli.metrology.spec.measurement_file import Sheet
from m3d_cli.metrology.spec.read import read_sheet
from m3d_cli.photos.discover import PhotoFile
from m3d_cli.pipeline.journal import Failure, Journal, Outcome, Status
from m3d_cli.pipeline.measure_photo import MeasureJob, MeasureWork, load_measurable, request_key
from m3d_cli.pipeline.measure_reports import write_reports
from m3d_cli.pipeline.plan import plan
from m3d_cli.pipeline.resume import Shared, Task, share_focal, tasks
from m3d_cli.pipeline.run_context import FATAL, RunContext
from m3d_cli.pipeline.runner import run
from m3d_cli.pipeline.settings import Settings
from m3d_cli.pipeline.shared_engine import SharedEngine
from m3d_cli.pipeline.worker_processes import WorkerRecipe
from m3d_cli.pipeline.workers import Workers, threads

# By the relative name of a photo.
Requests = Mapping[PurePosixPath, Request]


def plan_measuring(photos: Iterable[PhotoFile], out: Path) -> tuple[MeasureJob, ...]:
    """One job per photo; raises CollisionError where two photos share a name."""
    jobs = plan(photos, out, ())
    return tuple(MeasureJob(job.photo, job.out, job.name, job.formats) for job in jobs)


@dataclass(frozen=True, slots=True)
class MeasurePlan:
    """Photos to measure on, and the request for each."""

    photos: Sequence[PhotoFile]
    settings: Settings
    workers: Workers
    requests: Requests
    same_camera: bool = False
    overwrite: bool = False

    def engine(self) -> SharedEngine:
        """The engine of the run, created on first use."""
        return SharedEngine(WorkerRecipe(self.settings, self.workers.options, len(self.photos), Path()).engine)

    def in_memory(self, *, images: bool) -> Iterator[tuple[Illustrated, M3dError | None]]:
        """Each photo measured in turn, with the error that kept all of it from being measured; nothing is written.

        Raises what ends a run.
        """
        camera = self.settings.camera
        shared = share_focal(self.photos, camera) if self.same_camera else [None] * len(self.photos)
        with closing(self.engine()) as engine:
            for photo, from_others in zip(self.photos, shared, strict=True):
                yield self._measured(photo, from_others, engine, images=images)

    def _measured(
        self, photo: PhotoFile, shared: Shared | None, engine: SharedEngine, *, images: bool
    ) -> tuple[Illustrated, M3dError | None]:
        request = self.requests[photo.relative]
        try:
            loaded = load_measurable(photo, shared, self.settings, engine, full_size=request.needs_image)
        except FATAL:
            raise
        except M3dError as error:
            if error is engine.failure:
                raise
            return Illustrated(_refused_report(photo, request, error)), error
        measured = loaded.measured(request)
        if not images:
            return Illustrated(measured.report), measured.error
        annotated = loaded.annotated_jpeg(measured.report)
        return Illustrated(measured.report, annotated, loaded.depth_jpeg()), measured.error

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
                _report_of(job, end, self.requests[job.photo.relative]) for job, end in zip(jobs, ended, strict=True)
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
        todo = measure_tasks(jobs, self.settings, journal, shared, self.requests, overwrite=self.overwrite)
        engine = self.engine()
        work = MeasureWork(self.settings, engine, journal, self.requests)
        context = RunContext(work, journal, engine, self.overwrite, threading.Event(), late)
        return run(todo, context, lambda: threads(context))


@dataclass(frozen=True, slots=True, eq=False)
class MeasuredFolder:
    """Reports of all photos, the errors that kept whole photos from being measured, and the files written."""

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
    requests: Requests,
    *,
    overwrite: bool,
) -> Iterator[Task]:
    """A task per photo, under a key that also covers its request."""
    errors = repr(settings.model.errors)
    for task in tasks(jobs, settings, journal, shared, overwrite=True):
        key = request_key(task.key + errors, requests[task.job.photo.relative])[:32]
        earlier = None if overwrite else journal.finished(key, task.job.photo.name)
        yield dataclasses.replace(task, key=key, earlier=earlier)


def requests_for(
    photos: Sequence[PhotoFile], own: Request, specs: Sequence[Path], unit: str | None
) -> tuple[dict[PurePosixPath, Request], tuple[str, ...]]:
    """The request for each photo that has one, and the entries of ``specs`` that match no photo.

    ``own`` is the request of the command line, for one photo. Raises UsageError where nothing at all is to be measured.
    """
    if own.items and len(photos) != 1:
        raise UsageError(
            f"flags measure on one photo, not on {len(photos)}",
            hint="name the measurements of many photos in a file: --spec FILE",
        )
    sheet = Sheet(tuple(entry for path in specs for entry in read_sheet(path, unit).entries))
    found = {}
    for photo in photos:
        listed = sheet.request_for(photo.relative)
        if listed is None and not own.items:
            continue
        request = own if listed is None else own.joined(listed)
        check_names(request.items, str(photo.relative))
        found[photo.relative] = request
    if not any(request.items for request in found.values()):
        raise UsageError("nothing to measure", hint='add --line "812,1204 812,388", --spec FILE, or --pick')
    return found, tuple(sheet.unused([photo.relative for photo in photos]))


def _report_of(job: MeasureJob, outcome: Outcome | None, request: Request) -> PhotoReport:
    """The report that stands in the folder, or that of a failure."""
    if outcome is None or (outcome.status is Status.FAILED and outcome.error is None):
        return _refused_report(job.photo, request, PhotoError(f"{job.photo.path}: not measured yet", hint="run again"))
    if outcome.status is Status.FAILED and outcome.error is not None:
        return _refused_report(job.photo, request, _error_of(outcome.error))
    try:
        return decode_report(job.report.read_bytes(), str(job.report))
    except OSError as error:
        why = PhotoError(f"{job.report}: cannot be read ({error.strerror})")
        return _refused_report(job.photo, request, why)


def _refused_report(photo: PhotoFile, request: Request, error: M3dError) -> PhotoReport:
    return photo_report(str(photo.relative), Solution.refused(request, error))
