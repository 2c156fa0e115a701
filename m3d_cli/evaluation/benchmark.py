"""Score a network on annotated frames it was never trained on, source by source."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from m3d_cli.datasets.rgbd import RgbdFolder, open_rgbd_tree
from m3d_cli.datasets.sample import Sample
from m3d_cli.errors import DatasetError
from m3d_cli.evaluation.alignment import Alignment, align
from m3d_cli.evaluation.metrics import DepthScores, MeanScores, mean_scores, score
from m3d_cli.inference.predictor import Predictor, to_canonical

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


@dataclass(frozen=True, slots=True)
class SourceChoice:
    """A source to score: all of its frames, or those of one split."""

    name: str
    split: str | None = None

    @classmethod
    def parse(cls, text: str) -> SourceChoice:
        """``name`` or ``name:split``."""
        name, _, split = text.strip().partition(":")
        return cls(name, split or None)


def choose_frames(root: Path, choices: Sequence[SourceChoice]) -> list[tuple[RgbdFolder, list[int]]]:
    """Folders below ``root`` and the frames of each that ``choices`` name; every folder whole where it names none."""
    folders = {folder.source: folder for folder in open_rgbd_tree(root)}
    chosen = choices or [SourceChoice(name) for name in folders]
    unknown = sorted({choice.name for choice in chosen} - folders.keys())
    if unknown:
        raise DatasetError(f"{root}: no source named {', '.join(unknown)}", hint=f"there are {', '.join(folders)}")
    pairs = []
    for choice in chosen:
        folder = folders[choice.name]
        frames = [i for i, frame in enumerate(folder.frames) if choice.split in (None, frame.split)]
        if not frames:
            raise DatasetError(f"{root / choice.name}: no frame of split {choice.split}")
        pairs.append((folder, frames))
    return pairs


def predicting(predictor: Predictor) -> Callable[[Sample], NDArray[np.float32]]:
    """The network as a function from an annotated frame to metric depth (H, W) in metres."""

    def predict(sample: Sample) -> NDArray[np.float32]:
        photo = to_canonical(sample.photo.image, sample.photo.camera, predictor.spec)
        return predictor.predict([photo])[0].depth

    return predict


def mean_over_sources(scores: Sequence[SourceScores], alignment: Alignment) -> MeanScores:
    """Every source weighs the same, however many pictures it has."""
    rows = [asdict(source.scores(alignment)) for source in scores]
    return MeanScores(**{name: float(np.mean([row[name] for row in rows])) for name in rows[0]})
