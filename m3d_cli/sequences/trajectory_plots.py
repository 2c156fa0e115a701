"""Trajectories and their errors drawn with OpenCV: seen from above, and over time."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from m3d_cli.atomic import write_bytes
from m3d_cli.errors import OutputError
from m3d_cli.evaluation.trajectory_scores import Alignment, TrajectoryScores, align, position_errors
from m3d_cli.trajectory import Trajectory

PAPER = (250, 250, 250)
INK = (60, 60, 60)
TRUE = (150, 150, 150)
FOUND = (30, 90, 220)
SIDE, TALL = 900, 320
MARGIN = 70


def encode_plot(estimate: Trajectory, truth: Trajectory, errors: NDArray[np.float64], title: str) -> bytes:
    """A PNG: both ways in the plane of their largest extents, and the errors (N,) in metres below."""
    canvas = np.full((SIDE + TALL, SIDE, 3), PAPER, dtype=np.uint8)
    _draw_way(canvas[:SIDE], estimate, truth)
    _draw_errors(canvas[SIDE:], truth.times - truth.times[0], errors, "s" if truth.timed else "frames")
    _text(canvas, title, (MARGIN, 34))
    done, data = cv2.imencode(".png", np.ascontiguousarray(canvas[..., ::-1]))
    if not done:
        raise OutputError("the PNG encoder refused the plot")
    return data.tobytes()


def _draw_way(canvas: NDArray[np.uint8], estimate: Trajectory, truth: Trajectory) -> None:
    both = np.concatenate([truth.positions, estimate.positions])
    wide = np.sort(np.argsort(np.ptp(both, axis=0))[1:])
    low, high = both[:, wide].min(axis=0), both[:, wide].max(axis=0)
    scale = (SIDE - 2 * MARGIN) / max(float((high - low).max()), 1e-6)
    for trajectory, colour in ((truth, TRUE), (estimate, FOUND)):
        places = MARGIN + scale * (trajectory.positions[:, wide] - low)
        _line(canvas, places, colour)
    names = [f"{'xyz'[axis]} {high[i] - low[i]:.2f} m" for i, axis in enumerate(wide)]
    _text(canvas, f"{names[0]} across, {names[1]} down; grey: truth", (MARGIN, SIDE - 24))


def _draw_errors(canvas: NDArray[np.uint8], times: NDArray[np.float64], errors: NDArray[np.float64], unit: str) -> None:
    top = max(float(errors.max()), 1e-9)
    across = MARGIN + (SIDE - 2 * MARGIN) * times / max(float(times[-1]), 1e-9)
    down = TALL - MARGIN - (TALL - 2 * MARGIN) * errors / top
    cv2.line(canvas, (MARGIN, TALL - MARGIN), (SIDE - MARGIN, TALL - MARGIN), INK, 1)
    _line(canvas, np.stack([across, down], axis=1), FOUND)
    _text(canvas, f"error up to {top:.3g} m over {times[-1]:.3g} {unit}", (MARGIN, TALL - 24))


def _line(canvas: NDArray[np.uint8], places: NDArray[np.float64], colour: tuple[int, int, int]) -> None:
    points = np.rint(places).astype(np.int32)[:, None]
    cv2.polylines(canvas, [points], False, colour, 2, cv2.LINE_AA)


def _text(canvas: NDArray[np.uint8], text: str, place: tuple[int, int]) -> None:
    cv2.putText(canvas, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.55, INK, 1, cv2.LINE_AA)


def write_plot(
    path: Path, estimate: Trajectory, truth: Trajectory, alignment: Alignment, scores: TrajectoryScores
) -> None:
    """A PNG of both trajectories and the error after alignment."""
    aligned = align(estimate, truth, alignment)
    title = f"alignment {alignment}: APE rmse {scores.ape.rmse:.4g} m over {scores.true_length:.4g} m"
    write_bytes(path, encode_plot(aligned, truth, position_errors(aligned, truth), title))
