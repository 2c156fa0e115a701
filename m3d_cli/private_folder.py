"""Temporary folders: private to this user, locked while in use, and removed after runs that were killed too."""

from __future__ import annotations

import importlib.util
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

PREFIX = "m3d-copy-"


def can_lock() -> bool:
    """Whether this system locks files; Windows has no flock."""
    return importlib.util.find_spec("fcntl") is not None


@contextmanager
def private_folder() -> Iterator[Path]:
    """An empty folder that no other user may enter; it is removed with its content when the block ends.

    Raises OSError where none can be made.
    """
    root = Path(tempfile.gettempdir())
    _sweep_once(root)
    folder, lock = _locked_folder(root)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def _locked_folder(root: Path) -> tuple[Path, int | None]:
    """A new folder, and the descriptor that locks it as long as this process lives; None on systems without locks."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=root))
        if not can_lock():
            return folder, None
        lock = _opened(folder)
        # A process that sweeps may have locked it first; it is then about to be removed.
        with suppress(OSError):
            if _is_locked(lock) and os.path.samestat(os.fstat(lock), os.lstat(folder)):
                return folder, lock
        os.close(lock)


@cache
def _sweep_once(root: Path) -> None:
    """Remove the folders of processes that are gone: those that nobody locks. Once, for ``root`` may be full."""
    if not can_lock():
        return
    for folder in root.glob(f"{PREFIX}*"):
        with suppress(OSError):
            _remove_unlocked(folder)


def _remove_unlocked(folder: Path) -> None:
    import fcntl

    lock = _opened(folder)
    try:
        # Other users may leave here what they like.
        if os.fstat(lock).st_uid == os.geteuid():
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder)
    finally:
        os.close(lock)


def _opened(folder: Path) -> int:
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)


def _is_locked(lock: int) -> bool:
    import fcntl

    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks, on which nobody sweeps either
        return True
    return True
