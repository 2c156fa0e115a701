"""Scores as files and lines for scripts: one JSON object for a run, one JSON line an image."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from m3d_cli.bounded_files import LIST_BYTES, read_text, reading
from m3d_cli.datasets.selection import Selection
from m3d_cli.errors import DatasetError
from m3d_cli.evaluation.alignment import Alignment
from m3d_cli.evaluation.extras import RULES
from m3d_cli.evaluation.metrics import DepthScores, MeanScores
from m3d_cli.evaluation.scoring import (
    ImageScores,
    Protocol,
    SourceScores,
    by_source,
    mean_over_sources,
    summary,
    worst,
)

# How many of the worst images a result names.
WORST = 10
# The layout whose sources weigh the same each; elsewhere every image does, as in papers.
BY_SOURCE = "rgbd"
SPREAD_RULE = "ln_scale_std: over images; where sources weigh the same, of images drawn from every source alike"


@dataclass(frozen=True, slots=True)
class Run:
    """What was scored and how: ``predictor`` is ``model`` or ``pred``, with the name of either."""

    layout: str
    predictor: str
    name: str
    protocol: Protocol
    images: tuple[ImageScores, ...]
    weights_sha256: str | None = None
    input_size: tuple[int, int] | None = None
    selection: Selection = field(default_factory=Selection)

    @property
    def sources(self) -> list[SourceScores]:
        """Mean scores of each source."""
        return by_source(self.images, self.protocol.alignments)

    def mean(self, alignment: Alignment) -> MeanScores:
        """The scores of the whole run."""
        if self.layout == BY_SOURCE and any(image.by_alignment for image in self.images):
            return mean_over_sources(self.sources, alignment)
        return summary(self.images, self.protocol.alignments).scores(alignment)


def run_object(run: Run) -> dict[str, Any]:
    """The whole result: scores by alignment, the same by source, the protocol in full, and the worst images."""
    alignments, sources = run.protocol.alignments, run.sources
    content: dict[str, Any] = {
        "layout": run.layout,
        "preset": run.protocol.preset.name or None,
        run.predictor: run.name,
        "images": sum(source.images for source in sources),
        "mean_over": "sources" if run.layout == BY_SOURCE else "images",
        "align": {str(a): asdict(run.mean(a)) for a in alignments},
        "sources": {s.source: _source_object(s) for s in sources},
        "skipped": sum(source.skipped for source in sources),
        "failed": sum(source.failed for source in sources),
        "failures": {image.name: image.error for image in run.images if image.error},
        "selection": run.selection.describe(),
        "focal_source": focal_sources(run),
        "pixels": sum(image.pixels for image in run.images),
        "coverage": _rounded_mean([image.coverage for image in run.images if image.pixels]),
        "protocol": protocol_object(run),
        "input_size": run.input_size,
        "weights_sha256": run.weights_sha256,
        "worst": [image.name for image in worst(run.images, WORST, alignments[0])],
    }
    return content | ({"also": extras_mean(run.images)} if run.protocol.extras else {})


def focal_sources(run: Run) -> dict[str, int]:
    """How many frames have intrinsics of each kind."""
    return dict(Counter(str(frame.pinhole.focal_source) for frame in run.selection.frames))


def protocol_object(run: Run) -> dict[str, Any]:
    """Everything that decides a score: the preset, how depth files are read, by how many frames, and further rules."""
    depth_rules = Counter(frame.rule for frame in run.selection.frames)
    further = {str(extra): RULES[extra] for extra in run.protocol.extras}
    rules = {"depth_files": dict(depth_rules), "spread": SPREAD_RULE, "also": further}
    return _finite(run.protocol.preset.describe()) | rules


def extras_mean(images: Sequence[ImageScores]) -> dict[str, dict[str, float]]:
    """Mean of every further measure over the images that have it, and how many do."""
    values: dict[str, list[float]] = {}
    for image in images:
        for name, value in image.extras:
            values.setdefault(name, []).append(value)
    return {name: {"mean": float(np.mean(found)), "images": len(found)} for name, found in values.items()}


def json_line(run: Run) -> str:
    """``run_object`` on one line."""
    return json.dumps(run_object(run), allow_nan=False)


def image_line(run: Run, image: ImageScores) -> str:
    """One image as a JSON line, with what must agree between runs that are compared."""
    row: dict[str, Any] = {
        "name": image.name,
        "source": image.source,
        "cluster": image.cluster or image.source,
        "layout": run.layout,
        "preset": run.protocol.preset.name or None,
        "pixels": image.pixels,
        "coverage": round(image.coverage, 6),
        "align": {str(a): _depth_object(scores) for a, scores in image.by_alignment},
    }
    also = {"also": dict(image.extras)} if image.extras else {}
    error = {"error": image.error} if image.error else {}
    return json.dumps(row | also | error, allow_nan=False)


def read_image_lines(path: Path) -> list[dict[str, Any]]:
    """The rows of a per-image file, or of ``scores.jsonl`` in a folder; raises DatasetError for anything else."""
    file = path / "scores.jsonl" if path.is_dir() else path
    with reading(file, "the scores of images", DatasetError, "m3d eval ... --out DIR writes them"):
        rows = [json.loads(line) for line in read_text(file, LIST_BYTES).splitlines() if line.strip()]
    if not rows or not all(isinstance(row, dict) and {"name", "align"} <= row.keys() for row in rows):
        raise DatasetError(f"{file}: no scores of images", hint="m3d eval ... --out DIR writes scores.jsonl")
    return rows


def _source_object(source: SourceScores) -> dict[str, Any]:
    align = {str(a): asdict(scores) for a, scores in source.by_alignment}
    return {"images": source.images, "skipped": source.skipped, "failed": source.failed, "align": align}


def _depth_object(scores: DepthScores) -> dict[str, float]:
    return {name: value for name, value in asdict(scores).items() if name != "pixels"}


def _rounded_mean(values: Sequence[float]) -> float:
    return round(float(np.mean(values)), 6) if values else 0.0


def _finite(content: dict[str, Any]) -> dict[str, Any]:
    """JSON has no infinity: no cap is null."""
    return {key: None if value == float("inf") else value for key, value in content.items()}
