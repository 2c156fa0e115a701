"""What ``m3d measure`` prints, and the page it serves."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from m3d_cli.cli.console import Messages
from m3d_cli.cli.streams import is_a_terminal, write_line, write_text
from m3d_cli.errors import UsageError

if TYPE_CHECKING:
    from m3d_cli.pipeline.measure_run import MeasurePlan
    from m3d_cli.pipeline.pick_page import PickSession
    from m3d_cli.pipeline.workers import Workers

FORMATS = ("html", "json", "csv", "tsv", "md")
DEFAULT_FORMATS = ("html", "csv", "json")
LINES = "lines"


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


def measure_to_stdout(plan: MeasurePlan, kind: str, messages: Messages, *, is_list: bool) -> int:
    """Measure, and print one report; the exit code."""
    from m3d_cli.pipeline.measure_session import measure_as_text

    if kind == "html" and is_a_terminal(sys.stdout):
        raise UsageError("an HTML page is not readable on a terminal", hint="--report html > report.html, or --out DIR")
    pieces, code = measure_as_text(plan, kind, messages, is_list=is_list)
    for piece in pieces:
        write_text(piece)
    return code


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
