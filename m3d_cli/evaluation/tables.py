"""Scores as tables for people: text, Markdown and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict

from m3d_cli.evaluation.alignment import Alignment
from m3d_cli.evaluation.metrics import MeanScores
from m3d_cli.evaluation.presets import Preset
from m3d_cli.evaluation.results import BY_SOURCE, Run, extras_mean
from m3d_cli.evaluation.scoring import SourceScores

Row = tuple[str, ...]


def text_table(run: Run) -> str:
    """A row a source and their mean: AbsRel and d1 by alignment, error of the scale; below, what else is measured."""
    further = [f"{name} {found['mean']:.4f} ({found['images']} images)" for name, found in _further(run)]
    return "\n".join([aligned(_rows(run)), *further])


def markdown_table(run: Run) -> str:
    """The same as a table in Markdown."""
    return markdown(_rows(run))


def csv_table(run: Run) -> str:
    """Every score: a line a source and alignment, and ``all`` for the whole run."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    total = sum(source.images for source in run.sources)
    for place, alignment in enumerate(run.protocol.alignments):
        rows = [(source.source, source.images, source.scores(alignment)) for source in run.sources if source.images]
        for name, images, scores in [*rows, ("all", total, run.mean(alignment))]:
            values = asdict(scores)
            if place == 0 and buffer.tell() == 0:
                writer.writerow(["source", "images", "align", *values])
            writer.writerow([name, images, str(alignment), *(f"{value:.9g}" for value in values.values())])
    return buffer.getvalue()


def protocol_lines(preset: Preset, alignments: Sequence[Alignment]) -> list[str]:
    """How the scores were made, in words."""
    crop = "none"
    if preset.crop is not None:
        unit = "pixels" if preset.crop.size is not None else "of height and width"
        c = preset.crop
        crop = f"rows {c.top:g} to {c.bottom:g}, columns {c.left:g} to {c.right:g} ({unit})"
    limit = f" and below {preset.farthest:g} m" if preset.farthest < float("inf") else ""
    cap = f"true depth above {preset.nearest:g} m{limit}"
    return [
        f"preset: {preset.name or 'none'} ({preset.source})",
        f"crop: {crop}; counted: {cap}",
        f"alignment: {', '.join(map(str, alignments))}; {preset.fallback}",
        f"resize: {preset.resize}; {preset.unknown}; {preset.clip}",
    ]


def aligned(rows: Sequence[Row]) -> str:
    """Rows of one length with columns side by side."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)


def markdown(rows: Sequence[Row]) -> str:
    """Rows of one length, the first a title, in Markdown."""
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])


def _further(run: Run) -> list[tuple[str, dict[str, float]]]:
    """What was measured besides, over the images that have it."""
    return list(extras_mean(run.images).items())


def _rows(run: Run) -> list[Row]:
    sources, alignments = run.sources, run.protocol.alignments
    return [_header(alignments), *(_row(source, alignments) for source in sources), _mean_row(run, sources)]


def _header(alignments: Sequence[Alignment]) -> Row:
    columns = [f"{name}{_suffix(a)}" for a in alignments for name in ("AbsRel", "d1")]
    return ("source", "images", *columns, "ln scale mean", "std")


def _suffix(alignment: Alignment) -> str:
    return "" if alignment is Alignment.NONE else f" ({alignment})"


def _row(source: SourceScores, alignments: Sequence[Alignment]) -> Row:
    if not source.images:
        return (source.source, "0", *("-" for _ in _header(alignments)[2:]))
    means = [scores for _, scores in source.by_alignment]
    spread = f"{means[0].ln_scale_mean:+.3f}", f"{means[0].ln_scale_std:.3f}"
    return (source.source, str(source.images), *_cells(means), *spread)


def _mean_row(run: Run, sources: Sequence[SourceScores]) -> Row:
    means = [run.mean(alignment) for alignment in run.protocol.alignments]
    images = str(sum(source.images for source in sources))
    if run.layout != BY_SOURCE:
        return ("all", images, *_cells(means), f"{means[0].ln_scale_mean:+.3f}", f"{means[0].ln_scale_std:.3f}")
    worst = max((source.by_alignment[0][1].ln_scale_mean for source in sources if source.images), key=abs)
    return ("mean of sources", images, *_cells(means), f"{worst:+.3f} (worst)", f"{means[0].ln_scale_std:.3f}")


def _cells(means: Sequence[MeanScores]) -> list[str]:
    return [f"{value:.3f}" for scores in means for value in (scores.abs_rel, scores.delta1)]
