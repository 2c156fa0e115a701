"""One journal of those that the parts of a run kept."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from m3d_cli.atomic import atomic_write
from m3d_cli.errors import UsageError
from m3d_cli.pipeline.index import JOURNAL_NAME, Index, journals
from m3d_cli.pipeline.locks import JOURNAL_FLAGS, folder_lock, lock, open_journal


def merge(folder: Path) -> int:
    """One journal of those of the parts in ``folder``; returns how many photos it knows.

    Its lines are the last ones of the photos and of the outputs, in the order of the photos' paths, however many parts
    there were. Raises UsageError where there is no journal, a part still runs, or the journals cannot be replaced. What
    is interrupted leaves all journals as they were. A run that starts meanwhile waits until it is done.
    """
    if not journals(folder):
        raise UsageError(f"{folder}: no journal of a run there", hint=f"the folder that runs wrote to ({JOURNAL_NAME})")
    try:
        with folder_lock(folder), ExitStack() as stack:
            return _merged(folder, stack)
    except OSError as error:
        raise UsageError(
            f"{folder}: its journals cannot be merged ({error.strerror})",
            hint="check the permissions of the folder",
            code="NO_JOURNAL",
        ) from error


def _merged(folder: Path, stack: ExitStack) -> int:
    # Only now: what was there before the lock may have been merged by somebody else.
    paths = journals(folder)
    for path in paths:
        lock(stack.enter_context(os.fdopen(open_journal(path, JOURNAL_FLAGS), "a")), folder)
    index = Index.of(folder)
    lines = sorted(_kept(index))
    with atomic_write(folder / JOURNAL_NAME) as merged:
        merged.writelines(line.rstrip(b"\n") + b"\n" for *_, line in lines)
    for path in paths:
        if path.name != JOURNAL_NAME:
            path.unlink()
    return len(index.last)


def _kept(index: Index) -> Iterator[tuple[str, float, int, str, int, bytes]]:
    """The lines that count, behind what they are sorted by: photo, time, and place where there is no time."""
    for line in index.lines():
        content = index.content_of(line)
        if content is not None:
            yield content["path"], line.at, line.seq, line.path.name, line.begin, index.bytes_of(line)
