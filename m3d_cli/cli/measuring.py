"""What ``m3d measure`` does once it knows what is asked: measuring into a folder, or on standard output."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import typer

from m3d_cli.cli.console import Talk, is_a_terminal, one_line, write_line
from m3d_cli.cli.progress import progress
from m3d_cli.cli.tally import exit_code_of
from m3d_cli.errors import M3dError, PhotoError, UsageError

if TYPE_CHECKING:
    from m3d_cli.cli.running import EngineChoice
    from m3d_cli.inference.photo import Engine
    from m3d_cli.metrology.report.content import PhotoReport, Row
    from m3d_cli.metrology.request import Wish
    from m3d_cli.photos.discover import PhotoFile
    from m3d_cli.pipeline.journal import Journal, Outcome
    from m3d_cli.pipeline.measure_photo import MeasureJob
    from m3d_cli.pipeline.measure_run import Told
    from m3d_cli.pipeline.resume import Shared
    from m3d_cli.pipeline.runner import SharedEngine
    from m3d_cli.pipeline.settings import Settings

FORMATS = ("html", "json", "csv", "tsv", "md")
DEFAULT_FORMATS = ("html", "csv", "json")
LINES = "lines"


@dataclass(frozen=True, slots=True)
class MeasureOrder:
    """What was asked for, checked; ``own`` is what the flags want of the one photo.

    ``is_lone`` says that the input is one file, neither a folder nor a list.
    """

    photos: tuple[PhotoFile, ...]
    settings: Settings
    engine: EngineChoice
    own: Wish
    specs: tuple[Path, ...]
    unit: str | None
    formats: tuple[str, ...]
    out: Path | None
    same_camera: bool
    overwrite: bool
    exit_zero: bool
    allow_assumed_focal: bool
    is_lone: bool


def checked_unit(unit: str | None) -> None:
    """Raise UsageError for a unit nobody knows."""
    from m3d_cli.metrology.quantities import UNITS

    if unit is not None and unit not in UNITS:
        raise UsageError(f"--unit {unit} is unknown", hint=f"one of {', '.join(UNITS)}")


def checked_formats(text: str | None, *, is_folder: bool) -> tuple[str, ...]:
    """The formats of ``--report``; on standard output one, by default lines to read."""
    if text is None:
        return DEFAULT_FORMATS if is_folder else (LINES,)
    names = tuple(dict.fromkeys(name.strip().lower() for name in text.split(",") if name.strip()))
    unknown = [name for name in names if name not in FORMATS]
    if unknown or not names:
        raise UsageError(f"--report {text}: unknown format", hint=f"any of {', '.join(FORMATS)}")
    if len(names) > 1 and not is_folder:
        raise UsageError(f"--report {text}: standard output takes one format", hint="give --out DIR for more")
    return names


def wishes_of(order: MeasureOrder, talk: Talk) -> dict[PurePosixPath, Wish]:
    """What is wanted of each photo that anything is wanted of; raises UsageError where it is nothing at all."""
    from m3d_cli.metrology.request import check_names
    from m3d_cli.metrology.spec.measurement_file import Sheet
    from m3d_cli.metrology.spec.read import read_sheet

    if order.own.asked and len(order.photos) != 1:
        raise UsageError(
            f"flags measure on one photo, not on {len(order.photos)}",
            hint="name the measurements of many photos in a file: --spec FILE",
        )
    sheet = Sheet(tuple(entry for path in order.specs for entry in read_sheet(path, order.unit).entries))
    found = {}
    for photo in order.photos:
        listed = sheet.wish_for(photo.relative)
        if listed is None and not order.own.asked:
            continue
        wish = order.own if listed is None else order.own.joined(listed)
        check_names(wish.asked, str(photo.relative))
        found[photo.relative] = wish
    for match in sheet.unused([photo.relative for photo in order.photos]):
        talk.warn(f"no photo is {match}, which the measurement file names")
    if not any(wish.asked for wish in found.values()):
        raise UsageError(
            "nothing to measure", hint='say what: --line "812,1204 812,388", --spec FILE, or --pick to point at it'
        )
    return found


def measure_to_stdout(order: MeasureOrder, talk: Talk) -> None:
    """Measure, and print one report."""
    (kind,) = order.formats
    if kind == "html" and is_a_terminal(sys.stdout):
        raise UsageError("a page is no text for a terminal", hint="--report html > report.html, or --out DIR")
    wishes = wishes_of(order, talk)
    told = list(_measured(order, wishes, pictures=kind == "html"))
    for one in told:
        _tell(one.report, one.error, talk)
    _print(kind, told, is_list=not order.is_lone)
    _leave(order, [one.report for one in told], [one.error for one in told if one.error is not None])


def _measured(order: MeasureOrder, wishes: dict[PurePosixPath, Wish], *, pictures: bool) -> Iterator[Told]:
    from m3d_cli.pipeline.measure_run import measure_all, plan_measuring
    from m3d_cli.pipeline.resume import Task

    jobs = plan_measuring(_wanted(order, wishes), Path("/nonexistent"))
    shared = shared_focal(order, jobs)
    work = [Task(job, "", shared[index] if shared is not None else None) for index, job in enumerate(jobs)]
    with closing(shared_engine(order, len(jobs))) as engine:
        yield from measure_all(work, order.settings, engine, wishes, pictures=pictures)


def _print(kind: str, told: Sequence[Told], *, is_list: bool) -> None:
    from m3d_cli.pipeline.measure_reports import encode_reports

    reports = [one.report for one in told]
    if kind == LINES:
        for text in readable_lines(reports):
            write_line(text)
        return
    for piece in encode_reports(kind, reports, lambda: [one.illustrated for one in told], is_list=is_list):
        write_line(piece.removesuffix("\n"))


def measure_into_folder(order: MeasureOrder, out: Path, talk: Talk) -> None:
    """Measure every photo that is not done yet, and write the reports of the whole run."""
    from m3d_cli.pipeline.journal import Journal
    from m3d_cli.pipeline.measure_reports import write_reports
    from m3d_cli.pipeline.measure_run import plan_measuring, report_of

    wishes = wishes_of(order, talk)
    jobs = plan_measuring(_wanted(order, wishes), out)
    outcomes: dict[PurePosixPath, Outcome] = {}
    with Journal(out) as journal:
        _run(order, jobs, journal, wishes, outcomes, talk)
        known = [outcomes.get(job.photo.relative) for job in jobs]
        reports = [report_of(job, end, wishes[job.photo.relative]) for job, end in zip(jobs, known, strict=True)]
        ended = zip(jobs, known, reports, strict=True)
        failed = {job.report: report for job, end, report in ended if end is None or end.error is not None}
        written = write_reports(out, order.formats, failed)
    for end, report in zip(known, reports, strict=True):
        _tell(report, None if end is None or end.error is None else _error_of(end), talk)
    done = sum(row.error is None for report in reports for row in report.measurements)
    files = ", ".join(str(path) for path in written) or f"the reports in {out} stay as they are"
    talk.say(f"{_counted(len(jobs), 'photo')}, {_counted(done, 'measurement')}: {files}")
    errors = [_error_of(outcome) for outcome in outcomes.values() if outcome.error is not None]
    _leave(order, reports, errors)


def _run(
    order: MeasureOrder,
    jobs: Sequence[MeasureJob],
    journal: Journal,
    wishes: dict[PurePosixPath, Wish],
    outcomes: dict[PurePosixPath, Outcome],
    talk: Talk,
) -> None:
    from m3d_cli.pipeline.measure_run import measure_into, measure_tasks

    by_path = {str(job.photo.path): job.photo.relative for job in jobs}

    def note(outcome: Outcome) -> None:
        outcomes[by_path[outcome.path]] = outcome

    shared = shared_focal(order, jobs)
    work = measure_tasks(jobs, order.settings, journal, shared, wishes, overwrite=order.overwrite)
    engine = shared_engine(order, len(jobs))
    running = measure_into(work, order.settings, journal, engine, wishes, overwrite=order.overwrite, late=note)
    with closing(running), progress(len(jobs), quiet=talk.quiet) as advance:
        for outcome in running:
            note(outcome)
            advance(worked=str(outcome.status) != "skipped")


def shared_engine(order: MeasureOrder, photos: int) -> SharedEngine:
    """The engine of the run, made when a photo needs it."""
    from m3d_cli.pipeline.runner import SharedEngine

    def create() -> Engine:
        from m3d_cli.inference.engine import create_engine

        return create_engine(order.settings.model, order.settings.weights, order.engine.options, photos)

    return SharedEngine(create)


def shared_focal(order: MeasureOrder, jobs: Sequence[MeasureJob]) -> Sequence[Shared] | None:
    """What photos get from the others of their camera, when they are told to share it."""
    from m3d_cli.pipeline.resume import share_focal

    return share_focal(jobs, order.settings.camera) if order.same_camera else None


def _counted(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def _wanted(order: MeasureOrder, wishes: dict[PurePosixPath, Wish]) -> list[PhotoFile]:
    return [photo for photo in order.photos if photo.relative in wishes]


def _tell(report: PhotoReport, error: M3dError | None, talk: Talk) -> None:
    """Errors and warnings of one photo, on standard error."""
    if error is not None:
        talk.error(f"{report.photo}: {error}")
        return
    for row in report.failed:
        if row.error is not None:
            hint = f". hint: {row.error.hint}" if row.error.hint else ""
            talk.error(f"{report.photo}: {row.error.code}: {row.error.message}{hint}")
    for row in report.measurements:
        for warning in row.warnings:
            talk.warn(f"{report.photo}: {row.name}: {warning}")
    for note in report.notes:
        talk.detail(f"{report.photo}: {note}")


def _leave(order: MeasureOrder, reports: Sequence[PhotoReport], errors: Sequence[M3dError]) -> None:
    """End with 0, with 7 where only focal lengths lacked, or with 3."""
    codes = [error.exit_code for error in errors]
    broken = {error.message for error in errors}
    codes += [
        PhotoError.exit_code
        for report in reports
        for row in report.failed
        if row.error is not None and row.error.message not in broken
    ]
    code = exit_code_of(codes)
    if code and not order.exit_zero:
        raise typer.Exit(code)


def _error_of(outcome: Outcome) -> M3dError:
    assert outcome.error is not None  # noqa: S101 - asked of failures only
    found = M3dError(outcome.error.message, hint=outcome.error.hint, code=outcome.error.code)
    found.exit_code = outcome.error.exit_code
    return found


def readable_lines(reports: Sequence[PhotoReport]) -> Iterator[str]:
    """A line a measurement, for people: name, value, interval, trust, and what limits it."""
    from m3d_cli.metrology.advice import MEANING

    rows = [row for report in reports for row in report.measurements]
    width = min(40, max((len(row.name) for row in rows), default=0))
    for report in reports:
        if len(reports) > 1:
            yield one_line(f"{report.photo}:")
        for row in report.measurements:
            limit = MEANING.get(row.limited_by, row.limited_by)
            yield one_line(_readable(row, width, limit)).rstrip()


def _readable(row: Row, width: int, limit: str) -> str:
    from m3d_cli.metrology.report.tables import interval_text, shown_unit, value_text

    if row.error is not None:
        return f"{row.name.ljust(width)}  not measured: {row.error.message}"
    unit = shown_unit(row.unit)
    low, high = interval_text(row)
    value, interval = f"{value_text(row)} {unit}", f"{low} to {high} {unit}"
    return f"{row.name.ljust(width)}  {value:>12}  ({interval}, 95 %)  trust {row.trust}, limited by: {limit}"
