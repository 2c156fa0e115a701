"""Lists of photos that the user gives, and the folder that relative names in them start from."""

from __future__ import annotations

import codecs
import os
import sys
from pathlib import Path

from m3d_cli.bounded_files import MEGABYTE
from m3d_cli.errors import UsageError

# Millions of paths.
MOST_BYTES = 500 * MEGABYTE


def read_list(source: str | Path, *, null_separated: bool = False) -> list[str]:
    """Paths in a file, or on standard input for ``-``; one per line, or separated by NUL bytes. Raises UsageError."""
    data = _standard_input() if str(source) == "-" else _bytes_of(Path(source))
    if len(data) > MOST_BYTES:
        raise UsageError(
            f"{source}: a list of more than {MOST_BYTES / MEGABYTE:g} MB", hint="give it in parts, or name the folder"
        )
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        data = data.decode("utf-16", "replace").encode("utf-8", "surrogateescape")
    data = data.removeprefix(codecs.BOM_UTF8)
    if null_separated:
        return [os.fsdecode(part) for part in data.split(b"\0") if part]
    if b"\0" in data:
        raise UsageError(f"{source}: the list holds NUL bytes", hint="-0 reads lists whose names end in NUL bytes")
    lines = (line.rstrip(b"\r") for line in data.split(b"\n"))
    return [os.fsdecode(line) for line in lines if line]


def current_folder() -> str:
    """The current folder without links; raises UsageError where it was deleted."""
    try:
        return os.path.realpath(Path.cwd())
    except FileNotFoundError as error:
        raise UsageError("the current folder was deleted", hint="cd to a folder that exists") from error


def _standard_input() -> bytes:
    # Python has no stream where the process was started with it closed.
    if sys.stdin is None or sys.stdin.closed:
        raise UsageError("-: standard input is closed", hint="pipe the list into m3d, or give a file")
    try:
        return sys.stdin.buffer.read(MOST_BYTES + 1)
    except OSError as error:
        raise UsageError(f"-: standard input cannot be read: {error.strerror}") from error


def _bytes_of(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MOST_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{path}: the list of files cannot be read: {error.strerror}") from error
