"""The table of `m3d exif` on a terminal: one line per photo, whatever its width."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence

# What is left out, from the least telling on, as long as a line does not fit: the camera, then the size.
_LEFT_OUT = (1, 0)
_LEAST_PATH = 12
_GAP = 2
# Columns of the end of a line below which it says nothing.
_LEAST_END = 12
MORE = "\N{HORIZONTAL ELLIPSIS}"


def terminal_columns() -> int | None:
    """Columns of the terminal that shows standard output; None for a file or program, whose lines have any length."""
    is_terminal = sys.stdout is not None and sys.stdout.isatty()
    return shutil.get_terminal_size().columns if is_terminal else None


def fitted(path: str, cells: Sequence[tuple[str, int]], last: str, width: int, columns: int) -> str:
    """A line of at most ``columns``: ``path``, padded to ``width``, ``cells`` with their widths, and ``last``."""
    kept = list(range(len(cells)))

    def used() -> int:
        return sum(cells[index][1] + _GAP for index in kept)

    for index in _LEFT_OUT:
        if min(width, 2 * _LEAST_PATH) + used() + _LEAST_END + _GAP > columns and index in kept:
            kept.remove(index)
    room = max(_LEAST_PATH, min(width, columns - used()))
    shown = path if len(path) <= room else MORE + path[len(path) - room + 1 :]
    words = [shown.ljust(room), *(cells[index][0].ljust(cells[index][1]) for index in kept)]
    left = columns - room - used() - _GAP
    if left >= _LEAST_END:
        words.append(last if len(last) <= left else last[: left - 1] + MORE)
    return "  ".join(words).rstrip()[:columns]
