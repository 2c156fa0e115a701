"""How far a run is: a live bar on a terminal, a plain line now and then elsewhere; always on standard error."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from m3d_cli.cli.console import Talk, is_talking_to_a_person, stderr_console

# A plain line comes when both have passed, so that a log of a long run stays short.
LINE_SECONDS = 30.0
LINE_SHARE = 0.05


@contextmanager
def progress(total: int, *, quiet: bool) -> Iterator[Callable[[], None]]:
    """A function to call after each photo."""
    if quiet:
        yield lambda: None
        return
    if not is_talking_to_a_person():
        yield PlainProgress(total, Talk().say).advance
        return
    with _bar(total) as advance:
        yield advance


@contextmanager
def _bar(total: int) -> Iterator[Callable[[], None]]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("photos"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=stderr_console(), transient=True) as bar:
        task = bar.add_task("photos", total=total)
        yield lambda: bar.advance(task)


class PlainProgress:
    """Says ``12 of 80 photos (15 %), 95 s left`` at most every 30 s and every 5 %."""

    def __init__(self, total: int, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self.total = total
        self.done = 0
        self._say = say
        self._clock = clock
        self._begin = self._told_at = clock()
        self._told = 0

    def advance(self) -> None:
        """One photo more is through."""
        self.done += 1
        now = self._clock()
        if now - self._told_at < LINE_SECONDS or self.done - self._told < LINE_SHARE * self.total:
            return
        self._told_at, self._told = now, self.done
        left = (now - self._begin) / self.done * (self.total - self.done)
        self._say(f"{self.done} of {self.total} photos ({100 * self.done / self.total:.0f} %), {left:.0f} s left")
