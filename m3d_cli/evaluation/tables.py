"""Scores as text for people and as JSON for scripts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

from m3d_cli.evaluation.alignment import Alignment
from m3d_cli.evaluation.benchmark import ALIGNMENTS, SourceScores, mean_over_sources

HEADER = ("source", "images", "AbsRel", "d1", "AbsRel (median)", "d1 (median)", "ln scale mean", "std")


def text_table(scores: Sequence[SourceScores]) -> str:
    """A row a source and their mean: metric as it is, then after median scaling, then the error of the scale."""
    rows = [HEADER, *(_row(source) for source in scores), _mean_row(scores)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEADER))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)


def json_line(scores: Sequence[SourceScores], layout: str, model: str) -> str:
    """One JSON object: the mean over sources by alignment, and the same for each source."""
    content = {
        "layout": layout,
        "preset": None,
        "model": model,
        "images": sum(source.images for source in scores),
        "mean_over": "sources",
        "align": {str(a): asdict(mean_over_sources(scores, a)) for a in ALIGNMENTS},
        "sources": {
            source.source: {"images": source.images, "align": {str(a): asdict(s) for a, s in source.by_alignment}}
            for source in scores
        },
    }
    return json.dumps(content)


def _row(source: SourceScores) -> tuple[str, ...]:
    metric, median = source.scores(Alignment.NONE), source.scores(Alignment.MEDIAN)
    return (
        source.source,
        str(source.images),
        f"{metric.abs_rel:.3f}",
        f"{metric.delta1:.3f}",
        f"{median.abs_rel:.3f}",
        f"{median.delta1:.3f}",
        f"{metric.ln_scale_mean:+.3f}",
        f"{metric.ln_scale_std:.3f}",
    )


def _mean_row(scores: Sequence[SourceScores]) -> tuple[str, ...]:
    metric, median = (mean_over_sources(scores, a) for a in (Alignment.NONE, Alignment.MEDIAN))
    worst = max((s.scores(Alignment.NONE).ln_scale_mean for s in scores), key=abs)
    return (
        "mean of sources",
        str(sum(source.images for source in scores)),
        f"{metric.abs_rel:.3f}",
        f"{metric.delta1:.3f}",
        f"{median.abs_rel:.3f}",
        f"{median.delta1:.3f}",
        f"{worst:+.3f} (worst)",
        f"{metric.ln_scale_std:.3f}",
    )
