"""Errors of a trajectory against the true one: APE and RPE (Sturm 2012, sec. IV), and KITTI's drift a metre.

Both trajectories hold the same frames (`trajectory.associate`). How they were aligned is part of the result's name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from m3d_cli.errors import PoseError, UsageError
from m3d_cli.trajectory import Similarity, Trajectory, angles, inverse, umeyama

# Metres of way over which KITTI judges drift, and every how many frames it starts one.
KITTI_LENGTHS = (100.0, 200.0, 300.0, 400.0, 500.0, 600.0, 700.0, 800.0)
KITTI_STEP = 10


class Alignment(str, Enum):
    """What is taken off before errors are measured: nothing, the first pose's motion, the best rigid one, or that and
    scale.
    """

    NONE = "none"
    ORIGIN = "origin"
    RIGID = "se3"
    SCALED = "sim3"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, slots=True)
class Errors:
    """Statistics of errors; metres, or degrees for rotations."""

    rmse: float
    mean: float
    median: float
    std: float
    smallest: float
    largest: float

    @classmethod
    def of(cls, values: NDArray[np.float64]) -> Errors:
        """Statistics of errors (N,)."""
        square = float(np.sqrt(np.mean(values**2)))
        numbers = (values.mean(), np.median(values), values.std(), values.min(), values.max())
        return cls(square, *(float(number) for number in numbers))


@dataclass(frozen=True, slots=True)
class Drift:
    """KITTI's: per cent of the way, and degrees per 100 m, over ways of ``lengths`` metres; ``ways`` were judged."""

    translation_percent: float
    rotation_deg_100m: float
    lengths: tuple[float, ...]
    ways: int


@dataclass(frozen=True, slots=True)
class TrajectoryScores:
    """All errors of one trajectory after ``alignment``.

    ``scale`` is the factor that would bring the estimate to the truth's size by Umeyama's least squares, whether or not
    it was applied; ``length`` and ``true_length`` are metres of way as they are.
    """

    alignment: Alignment
    poses: int
    length: float
    true_length: float
    scale: float | None
    ape: Errors
    rpe_metres: Errors
    rpe_degrees: Errors
    rpe_frames: int
    drift: Drift | None


def score_trajectory(
    estimate: Trajectory,
    truth: Trajectory,
    alignment: Alignment,
    *,
    frames: int = 1,
    lengths: Sequence[float] = KITTI_LENGTHS,
) -> TrajectoryScores:
    """Scores of matched trajectories; RPE over ``frames`` frames, drift over ways of ``lengths`` metres."""
    aligned = align(estimate, truth, alignment)
    metres, degrees = relative_errors(aligned, truth, frames)
    return TrajectoryScores(
        alignment=alignment,
        poses=len(truth),
        length=estimate.length,
        true_length=truth.length,
        scale=_scale(estimate, truth),
        ape=Errors.of(position_errors(aligned, truth)),
        rpe_metres=Errors.of(metres),
        rpe_degrees=Errors.of(degrees),
        rpe_frames=frames,
        drift=drift(aligned, truth, lengths),
    )


def align(estimate: Trajectory, truth: Trajectory, alignment: Alignment) -> Trajectory:
    """The estimate in the truth's world; raises PoseError where the positions leave the alignment open."""
    if alignment is Alignment.NONE:
        return estimate
    if alignment is Alignment.ORIGIN:
        motion = truth.poses[0] @ inverse(estimate.poses[0])
        return estimate.moved(Similarity(motion[:3, :3], motion[:3, 3]))
    scaled = alignment is Alignment.SCALED
    return estimate.moved(umeyama(estimate.positions, truth.positions, with_scale=scaled))


def position_errors(estimate: Trajectory, truth: Trajectory) -> NDArray[np.float64]:
    """Metres between the positions, (N,): APE of the translation."""
    return np.asarray(np.linalg.norm(estimate.positions - truth.positions, axis=1))


def relative_errors(
    estimate: Trajectory, truth: Trajectory, frames: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Metres and degrees by which motions over ``frames`` frames differ: (Q_i^-1 Q_i+n)^-1 (P_i^-1 P_i+n)."""
    if not 1 <= frames < len(truth):
        raise PoseError(f"motions over {frames} frames need more than {len(truth)} poses")
    start = np.arange(len(truth) - frames)
    error = _motion_error(estimate, truth, start, start + frames)
    return np.linalg.norm(error[:, :3, 3], axis=1), np.degrees(angles(error))


def drift(estimate: Trajectory, truth: Trajectory, lengths: Sequence[float]) -> Drift | None:
    """KITTI's t_rel and r_rel; None where the true way is shorter than every length."""
    way = np.concatenate([[0.0], np.cumsum(truth.steps)])
    starts, ends, metres = [], [], []
    for length in lengths:
        for start in range(0, len(truth), KITTI_STEP):
            end = int(np.searchsorted(way, way[start] + length, side="right"))
            if end < len(truth):
                starts.append(start)
                ends.append(end)
                metres.append(length)
    if not metres:
        return None
    error = _motion_error(estimate, truth, np.array(starts), np.array(ends))
    way_metres = np.array(metres)
    translation = float((np.linalg.norm(error[:, :3, 3], axis=1) / way_metres).mean())
    rotation = float((np.degrees(angles(error)) / way_metres).mean())
    used = tuple(length for length in lengths if length in metres)
    return Drift(100 * translation, 100 * rotation, used, len(metres))


def _motion_error(
    estimate: Trajectory, truth: Trajectory, start: NDArray[np.intp], end: NDArray[np.intp]
) -> NDArray[np.float64]:
    true = inverse(truth.poses[start]) @ truth.poses[end]
    found = inverse(estimate.poses[start]) @ estimate.poses[end]
    return np.asarray(inverse(true) @ found)


def _scale(estimate: Trajectory, truth: Trajectory) -> float | None:
    try:
        return umeyama(estimate.positions, truth.positions, with_scale=True).scale
    except PoseError:
        return None


def parse_alignment(name: str) -> Alignment:
    """The alignment called ``name``; raises UsageError."""
    try:
        return Alignment(name)
    except ValueError as error:
        raise UsageError(f"--align {name} is unknown", hint=f"one of {', '.join(Alignment)}") from error


def parse_lengths(text: str | None) -> tuple[float, ...]:
    """Path lengths in metres, by default KITTI's; raises UsageError."""
    if text is None:
        return KITTI_LENGTHS
    try:
        metres = tuple(float(part) for part in text.split(",") if part.strip())
    except ValueError as error:
        raise UsageError(f"--lengths {text} are no metres", hint="--lengths 5,10,20") from error
    if not metres or not all(0 < length < float("inf") for length in metres):
        raise UsageError(f"--lengths {text} are no positive metres", hint="--lengths 5,10,20")
    return metres


def scores_text(scores: TrajectoryScores) -> str:
    """The scores as lines for people."""
    scale = "" if scores.scale is None else f"\tscale to the truth {scores.scale:.4f}"
    lines = [
        f"alignment\t{scores.alignment}\t{scores.poses} poses{scale}",
        f"length\t{scores.length:.3f} m\ttruth {scores.true_length:.3f} m",
        f"ape_rmse\t{scores.ape.rmse:.4f} m\tmedian {scores.ape.median:.4f}\tmax {scores.ape.largest:.4f}",
        f"rpe_rmse\t{scores.rpe_metres.rmse:.4f} m\t{scores.rpe_degrees.rmse:.4f} deg\tover {scores.rpe_frames} frames",
    ]
    if scores.drift is not None:
        ways = ",".join(f"{length:g}" for length in scores.drift.lengths)
        drift = scores.drift
        lines.append(
            f"t_rel\t{drift.translation_percent:.3f} %\tr_rel {drift.rotation_deg_100m:.3f} deg/100m\tways of {ways} m"
        )
    return "\n".join(lines)
