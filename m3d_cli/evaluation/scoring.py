"""Depth maps against annotated frames, one by one and summed up; needs no network."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from m3d_cli.datasets.frame import Frame
from m3d_cli.errors import DatasetError
from m3d_cli.evaluation.alignment import DEFAULT_ALIGNMENTS, LEAST_DEPTH, Alignment, align
from m3d_cli.evaluation.extras import Extra, extra_scores
from m3d_cli.evaluation.fitting import fitted
from m3d_cli.evaluation.metrics import DepthScores, MeanScores, mean_of_means, mean_scores, score
from m3d_cli.evaluation.presets import EVERYTHING, Preset

# Gives the metric depth (H, W) of a frame, NaN unknown.
Predict = Callable[[Frame], NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class Protocol:
    """How scores are made: which pixels count, what is forgiven, and what else is measured."""

    preset: Preset = EVERYTHING
    alignments: tuple[Alignment, ...] = DEFAULT_ALIGNMENTS
    extras: tuple[Extra, ...] = ()


@dataclass(frozen=True, slots=True)
class ImageScores:
    """Scores of one frame: true pixels that count, the share of them that was predicted, scores by alignment.

    Without a true pixel that counts there are no scores, nor where ``error`` says why the frame could not be scored.
    Frames of one ``cluster`` are alike.
    """

    name: str
    source: str
    pixels: int
    coverage: float
    by_alignment: tuple[tuple[Alignment, DepthScores], ...]
    extras: tuple[tuple[str, float], ...] = ()
    cluster: str = ""
    error: str = ""

    def scores(self, alignment: Alignment) -> DepthScores:
        """The scores under ``alignment``."""
        return dict(self.by_alignment)[alignment]


@dataclass(frozen=True, slots=True)
class SourceScores:
    """Mean scores of one source by alignment, none where no image has any; ``images`` have scores, ``skipped`` had no
    true pixel that counts, ``failed`` could not be scored.
    """

    source: str
    images: int
    by_alignment: tuple[tuple[Alignment, MeanScores], ...]
    skipped: int = 0
    failed: int = 0

    def scores(self, alignment: Alignment) -> MeanScores:
        """The scores under ``alignment``."""
        return dict(self.by_alignment)[alignment]


def counted_pixels(
    prediction: NDArray[np.float32], truth: NDArray[np.float32], preset: Preset = EVERYTHING
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Predicted and true metres (N,) where the truth counts, and the share of them that was predicted at all.

    A pixel predicted unknown (not finite, or not positive) counts as predicted at the image's largest known depth; a
    image with nothing predicted as LEAST_DEPTH all over. Leaving them out would reward a network for silence.
    """
    mask = preset.mask(truth)
    resized = fitted(prediction, truth.shape)[mask].astype(np.float64)
    known = np.isfinite(resized) & (resized > 0)
    covered = np.count_nonzero(known)
    if covered < len(resized):
        far = float(resized[known].max()) if covered else LEAST_DEPTH
        resized = np.where(known, resized, far)
    return resized, truth[mask].astype(np.float64), covered / max(1, len(resized))


def score_depth(
    prediction: NDArray[np.float32],
    truth: NDArray[np.float32],
    protocol: Protocol = Protocol(),
) -> tuple[DepthScores, ...]:
    """Scores of one depth map by alignment; raises DatasetError where no pixel counts."""
    predicted, true, _ = counted_pixels(prediction, truth, protocol.preset)
    return tuple(score(align(predicted, true, alignment), true) for alignment in protocol.alignments)


def score_frame(frame: Frame, prediction: NDArray[np.float32], protocol: Protocol) -> ImageScores:
    """Scores of a prediction of ``frame``; raises DatasetError naming the frame where its files do not fit."""
    truth = frame.truth()
    _expect_size(frame, truth)
    try:
        prediction = fitted(prediction, truth.shape)
        predicted, true, coverage = counted_pixels(prediction, truth, protocol.preset)
    except DatasetError as error:
        raise DatasetError(f"{frame.depth}: {error.message}", hint=error.hint) from error
    pairs = ((a, score(align(predicted, true, a), true)) for a in protocol.alignments) if len(true) else ()
    extras = extra_scores(frame, prediction, truth, protocol.preset, protocol.extras)
    return ImageScores(frame.name, frame.source, len(true), coverage, tuple(pairs), extras, frame.cluster)


def _expect_size(frame: Frame, truth: NDArray[np.float32]) -> None:
    """Raise DatasetError where the depth is not of the size that the frame's intrinsics belong to."""
    height, width = truth.shape
    size = frame.pinhole.size
    if size is not None and size != (width, height):
        raise DatasetError(
            f"{frame.depth}: {width} x {height} pixels, its image has {size[0]} x {size[1]}",
            hint="depth and image must share one size",
        )


def score_frames(
    frames: Iterable[Frame], predict: Predict, protocol: Protocol, workers: int = 1
) -> Iterator[ImageScores]:
    """Scores in the order of ``frames``, by threads; few frames are in memory at a time, however many there are.

    A frame whose files cannot be used is a failed one, and the next goes on.
    """

    def work(frame: Frame) -> ImageScores:
        try:
            return score_frame(frame, predict(frame), protocol)
        except DatasetError as error:
            return ImageScores(frame.name, frame.source, 0, 0.0, (), cluster=frame.cluster, error=str(error))

    if workers <= 1:
        yield from map(work, frames)
        return
    waiting: deque[Future[ImageScores]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        for frame in frames:
            waiting.append(pool.submit(work, frame))
            if len(waiting) > 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def by_source(images: Sequence[ImageScores], alignments: Sequence[Alignment]) -> list[SourceScores]:
    """Mean scores of each source, in the order in which they come; one without any has no means."""
    groups: dict[str, list[ImageScores]] = {}
    for image in images:
        groups.setdefault(image.source, []).append(image)
    return [_means(group, alignments, source) for source, group in groups.items()]


def summary(images: Sequence[ImageScores], alignments: Sequence[Alignment], name: str = "all") -> SourceScores:
    """Mean scores over images; raises DatasetError where none has any, with the first reason."""
    found = _means(images, alignments, name)
    if found.images:
        return found
    reason = next((image.error for image in images if image.error), "")
    if reason:
        raise DatasetError(f"{name}: no image could be scored, {found.failed} failed, the first with {reason}")
    raise DatasetError(f"{name}: no image has a pixel of known depth that counts", hint="m3d datasets check DIR")


def _means(images: Sequence[ImageScores], alignments: Sequence[Alignment], name: str) -> SourceScores:
    scored = [image for image in images if image.by_alignment]
    failed = sum(bool(image.error) for image in images)
    skipped = len(images) - len(scored) - failed
    if not scored:
        return SourceScores(name, 0, (), skipped, failed)
    means = tuple((a, mean_scores([image.scores(a) for image in scored])) for a in alignments)
    return SourceScores(name, len(scored), means, skipped, failed)


def mean_over_sources(scores: Sequence[SourceScores], alignment: Alignment) -> MeanScores:
    """Every source with scores weighs the same, however many images it has."""
    return mean_of_means([source.scores(alignment) for source in scores if source.images])


def worst(images: Iterable[ImageScores], count: int, alignment: Alignment) -> list[ImageScores]:
    """The ``count`` images of largest AbsRel, worst first."""
    scored = [image for image in images if image.by_alignment]
    return sorted(scored, key=lambda image: (-image.scores(alignment).abs_rel, image.name))[:count]
