"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from m3d_cli.errors import OutputError

PART = ".part"


def part_of(path: Path) -> Path:
    """Where a file is written before it takes its name."""
    return path.with_name(path.name + PART)


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A path beside ``path`` to be written in the block; it takes the name when the block ends well.

    Nothing is left when it does not. Parent folders are made. The bytes reach the disk before the name does. Raises
    OutputError where the file system refuses (full, read-only, no permission).
    """
    part = part_of(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        _sync(part)
        part.replace(path)
    except OSError as error:
        raise OutputError(
            f"{path}: cannot be written ({error.strerror or error})", hint="check space and rights"
        ) from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


@contextmanager
def atomic_write(path: Path) -> Iterator[BinaryIO]:
    """A binary file that takes the name ``path`` when the block ends well, and leaves nothing when it does not."""
    with atomic_path(path) as part, part.open("wb") as file:
        yield file


def write_bytes(path: Path, *pieces: bytes | memoryview) -> int:
    """Write ``pieces`` one after the other to ``path`` atomically; returns how many bytes they are."""
    with atomic_write(path) as file:
        return sum(file.write(piece) for piece in pieces)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
