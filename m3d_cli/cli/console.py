"""Messages to the user on standard error, among them what the library logs."""

from __future__ import annotations

import logging
import traceback
from contextlib import AbstractContextManager
from dataclasses import dataclass

from m3d_cli.cli.progress import progress
from m3d_cli.cli.streams import write_message
from m3d_cli.reporter import Advance


def show_log(*, verbose: bool) -> None:
    """Send what the library logs to standard error: warnings always, everything when verbose."""
    handler = _MessageHandler()
    logger = logging.getLogger("m3d_cli")
    logger.handlers = [handler]
    logger.propagate = False
    logger.setLevel(logging.DEBUG if verbose else logging.WARNING)


class _MessageHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        style = "yellow" if record.levelno >= logging.WARNING else "dim"
        write_message(record.getMessage(), style)
        if record.exc_info:
            for line in "".join(traceback.format_exception(*record.exc_info)).splitlines():
                write_message(line, style)


@dataclass(frozen=True, slots=True)
class Messages:
    """Messages to the user, as a `reporter.Reporter`: only errors when quiet, more when verbose."""

    quiet: bool = False
    verbose: bool = False

    def say(self, text: str) -> None:
        """Ordinary news, such as a summary."""
        if not self.quiet:
            write_message(text)

    def detail(self, text: str) -> None:
        """News for who asked for more."""
        if self.verbose and not self.quiet:
            write_message(text, "dim")

    def warn(self, text: str) -> None:
        """Something the user should know about a result."""
        if not self.quiet:
            write_message(f"warning: {text}", "yellow")

    def error(self, text: str) -> None:
        """A failure; printed when quiet, too."""
        write_message(f"error: {text}", "red")

    def progress(self, total: int, waits_for: str = "") -> AbstractContextManager[Advance]:
        """A function to call after each of ``total`` photos, the first of which waits for something."""
        return progress(total, waits_for, quiet=self.quiet)
