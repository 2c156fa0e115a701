"""Score a network on annotated frames it was never trained on, source by source."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from m3d_cli.datasets.rgbd import RgbdFolder
from m3d_cli.datasets.sample import Sample
from m3d_cli.evaluation.alignment import Alignment, align
from m3d_cli.evaluation.metrics import DepthScores, MeanScores, mean_scores, score

ALIGNMENTS = (Alignment.NONE, Alignment.MEDIAN)


@dataclass(frozen=True, slots=True)
class SourceScores:
    """Scores of one source by alignment, in the order of ALIGNMENTS."""

    source: str
    images: int
    by_alignment: tuple[tuple[Alignment, MeanScores], ...]

    def scores(self, alignment: Alignment) -> MeanScores:
        """The scores under ``alignment``."""
        return dict(self.by_alignment)[alignment]


def score_sample(
    depth: NDArray[np.float32], sample: Sample, alignments: Iterable[Alignment] = ALIGNMENTS
) -> tuple[DepthScores, ...]:
    """Scores of one depth map; a pixel the prediction calls unknown counts as predicted at its largest known depth."""
    known = np.isfinite(sample.truth.depth) & (sample.truth.depth > 0)
    truth = sample.truth.depth[known].astype(np.float64)
    prediction = depth[known].astype(np.float64)
    far = np.nanmax(prediction) if np.isfinite(prediction).any() else 1.0
    prediction = np.where(np.isfinite(prediction), prediction, far)
    return tuple(score(align(prediction, truth, alignment), truth) for alignment in alignments)


def score_source(
    folder: RgbdFolder, frames: Iterable[int], predict: Callable[[Sample], NDArray[np.float32]]
) -> SourceScores:
    """Scores of ``frames`` of ``folder`` under every alignment of ALIGNMENTS."""
    rows = []
    for index in frames:
        sample = folder.read(index)
        rows.append(score_sample(predict(sample), sample))
    means = tuple((a, mean_scores([row[i] for row in rows])) for i, a in enumerate(ALIGNMENTS))
    return SourceScores(folder.source, len(rows), means)
