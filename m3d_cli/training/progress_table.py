"""CSV tables that a run writes step by step, and that one continued after a stop goes on with, each step once."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

from m3d_cli.atomic import write_bytes

STEP = "step"


def append_row(path: Path, row: Mapping[str, float]) -> None:
    """Add ``row`` to a CSV table, with a header where it is new or empty."""
    fresh = not path.exists() or not path.stat().st_size
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        if fresh:
            writer.writerow(row)
        writer.writerow(f"{value:.5f}" if isinstance(value, float) else value for value in row.values())


def drop_rows_after(path: Path, step: int) -> None:
    """Keep the rows of a table up to ``step``, the last one of the checkpoint: the run does the later ones again.

    A row or header that was being written when the run was killed goes too. Raises OutputError.
    """
    if not path.is_file():
        return
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        lines = file.readlines()
    kept = [line for line in lines[:1] if line.endswith("\n")] + [
        line for line in lines[1:] if _is_up_to(line, lines[0], step)
    ]
    if kept != lines:
        write_bytes(path, "".join(kept).encode())


def _is_up_to(line: str, header: str, step: int) -> bool:
    cells = line.rstrip("\r\n").split(",")
    is_whole = line.endswith("\n") and len(cells) == len(header.split(","))
    return is_whole and cells[0].isdecimal() and int(cells[0]) <= step
