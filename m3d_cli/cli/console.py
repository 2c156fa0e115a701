"""The two streams: data lines on standard output, talk on standard error.

A reader that went away (``m3d ... | head -1``) ends the program quietly with the code of SIGPIPE.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import traceback
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, NoReturn, TextIO

from m3d_cli.errors import OutputError

if TYPE_CHECKING:
    from rich.console import Console

# 128 + SIGPIPE, as a shell reports a program that wrote into a closed pipe.
BROKEN_PIPE_EXIT = 141


def write_line(line: str) -> None:
    """One line of data on standard output, flushed so that the next program in the pipe can start."""
    # A program started with a closed stream (``>&-``) has None in its place, whatever its type says.
    if not sys.stdout:
        leave_closed_pipe()
    try:
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
    except BrokenPipeError:
        leave_closed_pipe()
    except OSError as error:
        raise OutputError(f"standard output: {error.strerror}", hint="make room there") from error


def write_bytes(*pieces: bytes | memoryview) -> None:
    """A whole file on standard output, piece by piece."""
    if not sys.stdout:
        leave_closed_pipe()
    try:
        for piece in pieces:
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        leave_closed_pipe()
    except OSError as error:
        raise OutputError(f"standard output: {error.strerror}", hint="make room there") from error


def one_line(text: str) -> str:
    """``text`` with what would break a line or steer a terminal as spaces; bytes that are no text stay."""
    return "".join(
        character if character.isprintable() or "\udc80" <= character <= "\udcff" else " " for character in text
    )


def leave_closed_pipe() -> NoReturn:
    """End because nobody reads standard output any more, without a second error when Python flushes it on exit."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    raise SystemExit(BROKEN_PIPE_EXIT)


def prepare_streams() -> None:
    """File names that are no valid text leave as the same bytes they came in as."""
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="surrogateescape")


@cache
def stderr_console() -> Console:
    """Rich console on standard error; it follows NO_COLOR and FORCE_COLOR by itself."""
    from rich.console import Console

    return Console(stderr=True, soft_wrap=True, highlight=False, markup=False)


def is_talking_to_a_person() -> bool:
    """Whether standard error is a terminal, where a live progress bar makes sense."""
    return is_a_terminal(sys.stderr)


def is_a_terminal(stream: TextIO | None) -> bool:
    """Whether a person sees what is written there; a stream closed from the start is None."""
    return stream is not None and stream.isatty()


def show_log(*, verbose: bool) -> None:
    """Send what the library logs to standard error: warnings always, everything when verbose."""
    handler = _TalkHandler()
    logger = logging.getLogger("m3d_cli")
    logger.handlers = [handler]
    logger.propagate = False
    logger.setLevel(logging.DEBUG if verbose else logging.WARNING)


class _TalkHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        style = "yellow" if record.levelno >= logging.WARNING else "dim"
        _write(record.getMessage(), style)
        if record.exc_info:
            for line in "".join(traceback.format_exception(*record.exc_info)).splitlines():
                _write(line, style)


@dataclass(frozen=True, slots=True)
class Talk:
    """What the program says to the person in front of it: nothing but errors when quiet, more when verbose."""

    quiet: bool = False
    verbose: bool = False

    def say(self, text: str) -> None:
        """Ordinary news, such as a summary."""
        if not self.quiet:
            _write(text)

    def detail(self, text: str) -> None:
        """News for who asked for more."""
        if self.verbose and not self.quiet:
            _write(text, "dim")

    def warn(self, text: str) -> None:
        """Something the user should know about a result."""
        if not self.quiet:
            _write(f"warning: {text}", "yellow")

    def error(self, text: str) -> None:
        """A failure; also told when quiet."""
        _write(f"error: {text}", "red")


def _write(text: str, style: str = "") -> None:
    """One line, whatever is in the names it speaks of."""
    if not sys.stderr:
        return
    text = one_line(text)
    if is_talking_to_a_person() or os.environ.get("FORCE_COLOR"):
        stderr_console().print(text, style=style or None)
        return
    with contextlib.suppress(BrokenPipeError):
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()
