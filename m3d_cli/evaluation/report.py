"""The files of a run: ``scores.json``, ``scores.jsonl`` (a line an image), tables, and the page of worst images.

They hold no time and no machine, so that the same run writes the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from m3d_cli.atomic import write_bytes
from m3d_cli.datasets.frame import Frame
from m3d_cli.evaluation.page import worst_page
from m3d_cli.evaluation.published import published_rows
from m3d_cli.evaluation.results import Run, image_line, run_object
from m3d_cli.evaluation.scoring import Predict
from m3d_cli.evaluation.tables import aligned, csv_table, markdown, markdown_table, protocol_lines, text_table


def write_report(run: Run, frames: Sequence[Frame], predict: Predict, folder: Path, worst: int) -> None:
    """Write every file of the run into ``folder``; without ``worst`` there is no page."""
    how = protocol_lines(run.protocol.preset, run.protocol.alignments)
    files = {
        "scores.json": json.dumps(run_object(run), indent=2, allow_nan=False),
        "scores.jsonl": "\n".join(image_line(run, image) for image in run.images),
        "scores.txt": "\n".join([text_table(run), "", *how]),
        "scores.md": "\n".join([markdown_table(run), "", *(f"* {line}" for line in how)]),
        "scores.csv": csv_table(run).rstrip("\n"),
    }
    if worst:
        files["worst.html"] = worst_page(run, frames, predict, worst).rstrip("\n")
    else:
        # A page of an earlier run would show other scores.
        (folder / "worst.html").unlink(missing_ok=True)
    for name, content in files.items():
        write_bytes(folder / name, f"{content}\n".encode("utf-8", "surrogateescape"))


def published_table(run: Run, *, in_markdown: bool = False) -> str:
    """Our scores beside what papers print for the same data set; empty where no paper does."""
    ours = [(run.name, alignment, run.mean(alignment)) for alignment in run.protocol.alignments]
    rows = published_rows(run.layout, ours)
    if not rows:
        return ""
    return markdown(rows) if in_markdown else aligned(rows)
