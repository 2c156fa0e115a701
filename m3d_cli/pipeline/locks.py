"""Locks that keep the runs of one folder apart: one on the folder, to open or replace journals, one on each journal."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from m3d_cli.atomic import NO_BLOCK, NO_FOLLOW
from m3d_cli.errors import UsageError
from m3d_cli.private_folder import can_lock

LOCK_NAME = ".m3d-run.lock"

# How a journal is opened to be written on.
JOURNAL_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Nobody else opens or replaces journals of ``folder`` in the block; whoever does so now is waited for.

    Its file is there only meanwhile. Raises OSError where it cannot be made.
    """
    if not can_lock():  # two runs in one folder are then the user's own risk
        yield
        return
    path = folder / LOCK_NAME
    descriptor = _held(path)
    try:
        yield
    finally:
        with suppress(OSError):
            path.unlink()
        os.close(descriptor)


def lock(file: TextIO, folder: Path) -> None:
    """Keep every other run away from the journal ``file``; raises UsageError where one is there."""
    if not can_lock():
        return
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise UsageError(
            f"{folder}: another m3d run is writing there", hint="wait for it or choose another --out"
        ) from error


def is_at(descriptor: int, path: Path) -> bool:
    """Whether an open file is still the one of that name."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.lstat(path))
    except FileNotFoundError:
        return False


def open_journal(path: Path, flags: int) -> int:
    """A descriptor of the journal ``path``; raises OSError, and UsageError where it is a link or no regular file."""
    with suppress(FileNotFoundError):
        _check_regular(path, path.lstat())
    # Should another thing take its place now: a pipe without anybody at its other end would be waited for.
    descriptor = os.open(path, flags | NO_FOLLOW | NO_BLOCK, 0o666)
    try:
        _check_regular(path, os.fstat(descriptor))
    except UsageError:
        os.close(descriptor)
        raise
    return descriptor


def _check_regular(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise UsageError(
            f"{path}: a link or no regular file, so it is no journal",
            hint="remove it or choose another --out",
            code="NO_JOURNAL",
        )


def _held(path: Path) -> int:
    import fcntl

    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            # Who had it before has removed it, and somebody else may hold a new one.
            if is_at(descriptor, path):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
