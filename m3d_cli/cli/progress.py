"""Progress of a run on standard error: a live bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from m3d_cli.cli.streams import is_talking_to_a_person, stderr_console, write_message
from m3d_cli.pipeline.pace import Pace, PlainProgress
from m3d_cli.reporter import Advance, Silent


@contextmanager
def progress(total: int, waits_for: str, *, quiet: bool) -> Iterator[Advance]:
    """A function to call after each photo."""
    if quiet:
        with Silent().progress(total) as ignore:
            yield ignore
    elif is_talking_to_a_person():
        with _bar(total, waits_for) as advance:
            yield advance
    else:
        yield PlainProgress(total, write_message).advance


@contextmanager
def _bar(total: int, waits_for: str) -> Iterator[Advance]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (TextColumn("photos"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[pace]}"))
    pace = Pace(total, waits_for=waits_for)
    with Progress(*columns, console=stderr_console(), transient=True) as bar:
        task = bar.add_task("photos", total=total, pace=str(pace))

        def advance(*, worked: bool = True) -> None:
            pace.advance(worked=worked)
            bar.update(task, completed=pace.through, total=pace.total, pace=str(pace))

        yield advance
