"""What long work says of itself while it runs: library functions take a `Reporter`, the command line prints."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Advance(Protocol):
    """To be called after each item."""

    def __call__(self, *, worked: bool = True) -> None:
        """One more item is through; not ``worked`` on when an earlier run had done it."""


class Reporter(Protocol):
    """News for the person who started the work."""

    def say(self, text: str) -> None:
        """Ordinary news, such as a summary."""

    def detail(self, text: str) -> None:
        """News for verbose output."""

    def warn(self, text: str) -> None:
        """Something to know about a result."""

    def error(self, text: str) -> None:
        """A failure that does not end the work."""

    def progress(self, total: int, waits_for: str = "") -> AbstractContextManager[Advance]:
        """A function to call after each of ``total`` items; until the first, what it ``waits_for`` is shown."""


class Silent:
    """A reporter that prints nothing."""

    def say(self, text: str) -> None:
        """Nothing."""

    detail = warn = error = say

    @contextmanager
    def progress(self, total: int, waits_for: str = "") -> Iterator[Advance]:
        """No bar."""
        yield _ignore


def _ignore(*, worked: bool = True) -> None:
    pass
