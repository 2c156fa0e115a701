"""One journal of those that the parts of a run kept."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from m3d_cli.atomic import atomic_write
from m3d_cli.errors import UsageError
from m3d_cli.pipeline.journal import JOURNAL_NAME, journals, lock, parsed


def merge(folder: Path) -> int:
    """One journal of those of the parts in ``folder``; returns how many photos it knows.

    Its lines are the last ones of the photos, in the order of their paths, however many parts there were. Raises
    UsageError where there is no journal, or a part still runs. What is interrupted leaves all journals as they were.
    """
    paths = journals(folder)
    if not paths:
        raise UsageError(f"{folder}: no journal of a run there", hint=f"the folder that runs wrote to ({JOURNAL_NAME})")
    with ExitStack() as stack:
        for path in paths:
            lock(stack.enter_context(path.open("a", encoding="utf-8")), folder)
        last: dict[str, tuple[str, bytes]] = {}
        for path in paths:
            with path.open("rb") as file:
                for line in file:
                    if (outcome := parsed(line)) is not None:
                        last[outcome.key] = outcome.path, line.rstrip(b"\n") + b"\n"
        with atomic_write(folder / JOURNAL_NAME) as merged:
            merged.writelines(line for _, line in sorted(last.values()))
        for path in paths:
            if path.name != JOURNAL_NAME:
                path.unlink()
    return len(last)
