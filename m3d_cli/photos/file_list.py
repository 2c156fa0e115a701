"""Lists of photos that the user gives, and the folder that relative names in them start from."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from m3d_cli.errors import UsageError


def read_list(source: str | Path, *, null_separated: bool = False) -> list[str]:
    """Paths in a file, or on standard input for ``-``; one per line, or separated by NUL bytes. Raises UsageError."""
    data = _standard_input() if str(source) == "-" else _bytes_of(Path(source))
    parts = data.split(b"\0") if null_separated else [line.rstrip(b"\r") for line in data.split(b"\n")]
    return [os.fsdecode(part) for part in parts if part]


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
        return sys.stdin.buffer.read()
    except OSError as error:
        raise UsageError(f"-: standard input cannot be read: {error.strerror}") from error


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: the list of files cannot be read: {error.strerror}") from error
