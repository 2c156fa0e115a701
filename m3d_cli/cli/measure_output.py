"""What ``m3d measure`` prints: reports, messages and the exit code."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from m3d_cli.cli.console import Messages
from m3d_cli.cli.progress import progress
from m3d_cli.cli.streams import is_a_terminal, write_line, write_text
from m3d_cli.errors import M3dError, PhotoError, UsageError
from m3d_cli.photo_names import one_line

if TYPE_CHECKING:
    from m3d_cli.metrology.report.content import PhotoReport
    from m3d_cli.pipeline.journal import Outcome
    from m3d_cli.pipeline.measure_run import MeasurePlan
    from m3d_cli.pipeline.pick_page import PickSession
    from m3d_cli.pipeline.workers import Workers

FORMATS = ("html", "json", "csv", "tsv", "md")
DEFAULT_FORMATS = ("html", "csv", "json")
LINES = "lines"

Ended = tuple["PhotoReport", "M3dError | None"]


def checked_formats(text: str | None, *, is_folder: bool) -> tuple[str, ...]:
    """The formats of ``--report``; on standard output one, by default readable lines."""
    if text is None:
        return DEFAULT_FORMATS if is_folder else (LINES,)
    names = tuple(dict.fromkeys(name.strip().lower() for name in text.split(",") if name.strip()))
    unknown = [name for name in names if name not in FORMATS]
    if unknown or not names:
        raise UsageError(f"--report {text}: unknown format", hint=f"any of {', '.join(FORMATS)}")
    if len(names) > 1 and not is_folder:
        raise UsageError(f"--report {text}: standard output takes one format", hint="give --out DIR for more")
    return names


def measure_to_stdout(plan: MeasurePlan, kind: str, messages: Messages, *, is_list: bool) -> list[Ended]:
    """Measure, and print one report."""
    from m3d_cli.metrology.report.tables import readable_lines
    from m3d_cli.pipeline.measure_reports import encode_reports

    if kind == "html" and is_a_terminal(sys.stdout):
        raise UsageError("an HTML page is not readable on a terminal", hint="--report html > report.html, or --out DIR")
    found = list(plan.in_memory(images=kind == "html"))
    ended = [(photo.report, error) for photo, error in found]
    for report, error in ended:
        _report(report, error, messages)
    reports = [report for report, _ in ended]
    if kind == LINES:
        for text in readable_lines(reports):
            write_line(one_line(text))
    else:
        for piece in encode_reports(kind, reports, lambda: [photo for photo, _ in found], is_list=is_list):
            write_text(piece)
    return ended


def measure_into_folder(plan: MeasurePlan, out: Path, formats: tuple[str, ...], messages: Messages) -> list[Ended]:
    """Measure every photo that is not done yet, and write the reports of the whole run."""
    with progress(len(plan.photos), quiet=messages.quiet) as advance:

        def note(outcome: Outcome) -> None:
            advance(worked=str(outcome.status) != "skipped")

        found = plan.into(out, formats, note)
    for report, error in zip(found.reports, found.errors, strict=True):
        _report(report, error, messages)
    done = sum(row.error is None for report in found.reports for row in report.measurements)
    files = ", ".join(str(path) for path in found.written) or f"the reports in {out} are unchanged"
    messages.say(f"{_counted(len(plan.photos), 'photo')}, {_counted(done, 'measurement')}: {files}")
    return list(zip(found.reports, found.errors, strict=True))


def serve_page(session: PickSession, workers: Workers, messages: Messages, *, opens_browser: bool) -> None:
    """Serve the pick page until Ctrl-C; its address goes to standard output."""
    from m3d_cli.metrology.pick.server import PickServer

    name = session.job.photo.path
    for path in session.start.sources:
        messages.say(f"{name}: continues {path}")
    for one in session.start.not_shown:
        messages.warn(f"{name}: left out: {one.error.message}")
    messages.say(f"{name}: computing its depth ...")
    with PickServer(session.service(workers)) as server:
        write_line(server.address)
        messages.say(f"pick points there; Save writes into {session.job.report.parent}/; Ctrl-C ends")
        if opens_browser:
            import webbrowser

            webbrowser.open(server.address)
        with suppress(KeyboardInterrupt):
            server.serve_forever(poll_interval=0.2)


def exit_with_failures(ended: Iterable[Ended]) -> None:
    """Exit with 7 where only focal lengths were missing, with 3 for other failures."""
    from m3d_cli.pipeline.tally import exit_code_of

    codes = []
    for report, error in ended:
        if error is not None:
            codes.append(error.exit_code)
        else:
            codes += [PhotoError.exit_code] * len(report.failed)
    if code := exit_code_of(codes):
        raise typer.Exit(code)


def _counted(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def _report(report: PhotoReport, error: M3dError | None, messages: Messages) -> None:
    """Errors and warnings of one photo, on standard error."""
    if error is not None:
        messages.error(f"{report.photo}: {error}")
        return
    for row in report.failed:
        if row.error is not None:
            hint = f". hint: {row.error.hint}" if row.error.hint else ""
            messages.error(f"{report.photo}: {row.error.code}: {row.error.message}{hint}")
    for row in report.measurements:
        for warning in row.warnings:
            messages.warn(f"{report.photo}: {row.name}: {warning}")
    for note in report.notes:
        messages.detail(f"{report.photo}: {note}")
