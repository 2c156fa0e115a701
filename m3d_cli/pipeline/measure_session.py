"""A whole `m3d measure`: measured, reported to the user, and the exit code it deserves."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from m3d_cli.errors import M3dError, PhotoError
from m3d_cli.metrology.report.content import PhotoReport
from m3d_cli.metrology.report.tables import readable_lines
from m3d_cli.photo_names import one_line
from m3d_cli.pipeline.journal import Outcome
from m3d_cli.pipeline.measure_reports import encode_reports
from m3d_cli.pipeline.measure_run import MeasurePlan
from m3d_cli.pipeline.tally import exit_code_of
from m3d_cli.reporter import Reporter

LINES = "lines"


def measure_as_text(plan: MeasurePlan, kind: str, reporter: Reporter, *, is_list: bool) -> tuple[list[str], int]:
    """Pieces of one report of all photos, as readable lines or in another format, and the exit code."""
    found = list(plan.in_memory(images=kind == "html"))
    ended = [(photo.report, error) for photo, error in found]
    for report, error in ended:
        _report_photo(report, error, reporter)
    reports = [report for report, _ in ended]
    if kind == LINES:
        return [one_line(text) + "\n" for text in readable_lines(reports)], _exit_code(ended)
    pieces = encode_reports(kind, reports, lambda: [photo for photo, _ in found], is_list=is_list)
    return list(pieces), _exit_code(ended)


def measure_into_folder(plan: MeasurePlan, out: Path, formats: tuple[str, ...], reporter: Reporter) -> int:
    """Measure every photo that is not done yet and write the reports of the whole folder; the exit code."""
    with reporter.progress(len(plan.photos), plan.settings.waits_for) as advance:

        def note(outcome: Outcome) -> None:
            advance(worked=str(outcome.status) != "skipped")

        found = plan.into(out, formats, note)
    ended = list(zip(found.reports, found.errors, strict=True))
    for report, error in ended:
        _report_photo(report, error, reporter)
    done = sum(row.error is None for report in found.reports for row in report.measurements)
    files = ", ".join(str(path) for path in found.written) or f"the reports in {out} are unchanged"
    reporter.say(f"{_counted(len(plan.photos), 'photo')}, {_counted(done, 'measurement')}: {files}")
    return _exit_code(ended)


def _exit_code(ended: Iterable[tuple[PhotoReport, M3dError | None]]) -> int:
    codes = []
    for report, error in ended:
        codes += [PhotoError.exit_code] * len(report.failed) if error is None else [error.exit_code]
    return exit_code_of(codes)


def _counted(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def _report_photo(report: PhotoReport, error: M3dError | None, reporter: Reporter) -> None:
    """Report errors and warnings of one photo."""
    if error is not None:
        reporter.error(f"{report.photo}: {error}")
        return
    for row in report.failed:
        if row.error is not None:
            hint = f". hint: {row.error.hint}" if row.error.hint else ""
            reporter.error(f"{report.photo}: {row.error.code}: {row.error.message}{hint}")
    for row in report.measurements:
        for warning in row.warnings:
            reporter.warn(f"{report.photo}: {row.name}: {warning}")
    for note in report.notes:
        reporter.detail(f"{report.photo}: {note}")
