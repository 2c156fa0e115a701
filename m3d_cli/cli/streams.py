"""The two streams: data on standard output, messages on standard error.

A reader that went away (``m3d ... | head -1``) ends the program quietly with the code of SIGPIPE.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, NoReturn, TextIO

from m3d_cli.errors import OutputError
from m3d_cli.photo_names import one_line

if TYPE_CHECKING:
    from rich.console import Console

# 128 + SIGPIPE, as a shell reports a program that wrote into a closed pipe.
BROKEN_PIPE_EXIT = 141


def write_line(line: str) -> None:
    """One line of data on standard output, flushed so that the next program in the pipe can start."""
    write_text(f"{line}\n")


def write_text(text: str) -> None:
    """Text on standard output, flushed."""
    with _standard_output() as stream:
        stream.write(text)
        stream.flush()


def write_bytes(*pieces: bytes | memoryview) -> None:
    """A whole file on standard output, piece by piece."""
    with _standard_output() as stream:
        for piece in pieces:
            stream.buffer.write(piece)
        stream.buffer.flush()


@contextlib.contextmanager
def _standard_output() -> Iterator[TextIO]:
    """The stream, whose errors end the program as a reader of a pipe expects."""
    # A program started with a closed stream (``>&-``) has None in its place, whatever its type says.
    if not sys.stdout:
        leave_closed_pipe()
    try:
        yield sys.stdout
    except BrokenPipeError:
        leave_closed_pipe()
    except OSError as error:
        raise OutputError(f"standard output: {error.strerror}", hint="make room there") from error


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


def write_message(text: str, style: str = "") -> None:
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
