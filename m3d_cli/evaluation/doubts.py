"""What the reader of a score must know before believing it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from m3d_cli.camera import FocalSource
from m3d_cli.datasets.frame import LOST_MASK
from m3d_cli.evaluation.results import Run

# Failures told one by one; the result file names them all.
TOLD = 5
UNSURE = (FocalSource.ESTIMATED, FocalSource.ASSUMED)


def doubts(run: Run) -> Iterator[str]:
    """Lines for people: what was left out or failed, and what the data set does not really know."""
    yield from run.selection.notes
    yield from _failed(run)
    skipped = sum(not image.by_alignment and not image.error for image in run.images)
    if skipped:
        yield f"{skipped} of {len(run.images)} images have no pixel that counts and are left out"
    empty = [source.source for source in run.sources if not source.images]
    if empty:
        yield f"no image of {', '.join(empty)} has scores: the mean is over the other sources"
    yield from _unsure(run)


def _failed(run: Run) -> Iterator[str]:
    failed = [image for image in run.images if image.error]
    yield from (f"{image.name}: {image.error}" for image in failed[:TOLD])
    if failed:
        yield f"{len(failed)} of {len(run.images)} images could not be scored and are left out"


def _unsure(run: Run) -> Iterator[str]:
    frames = run.selection.frames
    for source, count in Counter(frame.pinhole.focal_source for frame in frames).items():
        if source in UNSURE:
            yield f"the intrinsics of {count} of {len(frames)} frames are {source}: their metric scores mean little"
    lost = sum(LOST_MASK in frame.rule for frame in frames)
    if lost:
        yield f"{lost} of {len(frames)} frames lack a mask of the data set: pixels count that papers leave out"
