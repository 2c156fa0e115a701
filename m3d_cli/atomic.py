"""Files that appear whole or not at all, and the digest by which one is recognised later."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from m3d_cli.errors import OutputError

PART = ".part"

DIGEST_BYTES = 16
_BLOCK_BYTES = 1 << 20

# Windows has neither; its links need a permission that few have.
NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)
NO_BLOCK = getattr(os, "O_NONBLOCK", 0)


def part_of(path: Path) -> Path:
    """Where a file is written before it takes its name."""
    return path.with_name(path.name + PART)


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """An empty file beside ``path`` to be written in the block; it takes the name when the block ends well.

    Nothing is left when it does not, and what a killed run left under that name is replaced. Parent folders are made.
    The bytes reach the disk before the name does. Raises OutputError where the file system refuses (full, read-only, no
    permission).
    """
    part = part_of(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _create(part)
        yield part
        take_name(part, path)
    except OSError as error:
        raise OutputError(
            f"{path}: cannot be written ({error.strerror or error})", hint="check space and permissions"
        ) from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


@contextmanager
def atomic_write(path: Path) -> Iterator[BinaryIO]:
    """A binary file that takes the name ``path`` when the block ends well, and leaves nothing when it does not.

    Raises OutputError as `atomic_path` does.
    """
    with atomic_path(path) as part, open(part, "wb", opener=_opened) as file:
        yield file


def write_bytes(path: Path, *pieces: bytes | memoryview) -> str:
    """Write ``pieces`` one after the other to ``path`` atomically; returns their digest, as `digest_of` the file.

    Raises OutputError as `atomic_path` does.
    """
    digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
    with atomic_write(path) as file:
        for piece in pieces:
            file.write(piece)
            digest.update(piece)
    return digest.hexdigest()


def digest_of(path: Path) -> str:
    """BLAKE2b of a file's content, in hexadecimal; raises OSError where it is no regular file or cannot be read."""
    digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
    descriptor = os.open(path, os.O_RDONLY | NO_BLOCK)
    with os.fdopen(descriptor, "rb") as file:
        # A pipe would never end.
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(0, "not a regular file", str(path))
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def _create(part: Path) -> None:
    """Make the file anew: what lies there may be a link to somewhere else, or a half of a killed run."""
    part.unlink(missing_ok=True)
    os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | NO_FOLLOW, 0o666))


def _opened(name: str, flags: int) -> int:
    return os.open(name, flags | NO_FOLLOW, 0o666)


def take_name(part: Path, path: Path) -> None:
    """Rename the finished file ``part`` to ``path`` once its bytes are on the disk; raises OSError."""
    sync(part)
    part.replace(path)


def sync(path: Path) -> None:
    """Wait until a file's bytes are on the disk; raises OSError."""
    descriptor = os.open(path, os.O_RDWR | NO_FOLLOW)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
