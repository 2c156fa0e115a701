"""The metric scale of a trajectory that has none, from metric depth: one robust factor, or one that drifts.

A *log ratio* is log(metric depth / depth in the trajectory's own unit) of one point in one frame. Depth of a network
scatters and has outliers on one side, so every average here is Tukey's: what lies far off counts nothing.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from m3d_cli.errors import PoseError
from m3d_cli.trajectory import Trajectory

Values = NDArray[np.float64]

# Points a frame needs before its scale counts, and frames a trajectory needs.
FEWEST_POINTS = 8
FEWEST_FRAMES = 3
# Tukey's biweight gives 95 % efficiency on Gaussian noise at this many standard deviations.
TUKEY = 4.685
# The median of |x| of a Gaussian times this is its standard deviation.
MAD_TO_SIGMA = 1.4826
ITERATIONS = 30
# A jump is a step of the log scale of at least this many of its standard errors, and of at least this much.
JUMP_SIGMAS = 6.0
SMALLEST_JUMP = 0.05


@dataclass(frozen=True, slots=True)
class Average:
    """A robust mean, the standard deviation of its inliers, and how many those are."""

    value: float
    sigma: float
    count: int


@dataclass(frozen=True, slots=True, eq=False)
class FrameScales:
    """Log scale of each frame (N,), NaN where too few points were seen, with its standard error and points."""

    log_scale: Values
    error: Values
    points: NDArray[np.int64]

    @property
    def known(self) -> NDArray[np.bool_]:
        """Frames whose scale is known."""
        return np.isfinite(self.log_scale)


@dataclass(frozen=True, slots=True, eq=False)
class TrackScale:
    """Metres a unit of the trajectory: ``log_scale`` (N,) at every frame.

    ``spread`` is the relative standard deviation of single frames about it, ``error`` the relative standard error of
    the whole; ``jumps`` are the frames at which a new scale begins, ``frames`` how many had points.
    """

    log_scale: Values
    spread: float
    error: float
    frames: int
    jumps: tuple[int, ...] = ()

    @property
    def scale(self) -> Values:
        """Metres a unit, (N,)."""
        return np.asarray(np.exp(self.log_scale))

    @property
    def middle(self) -> float:
        """The geometric mean over all frames."""
        return math.exp(float(self.log_scale.mean()))


def robust_mean(values: Values) -> Average:
    """Tukey's M-estimate of location, begun at the median; raises nothing for one value or more."""
    middle = float(np.median(values))
    spread = max(MAD_TO_SIGMA * float(np.median(np.abs(values - middle))), 1e-9)
    for _ in range(ITERATIONS):
        weight = _biweight((values - middle) / spread)
        moved = float((weight * values).sum() / weight.sum())
        if abs(moved - middle) < 1e-9:
            break
        middle = moved
    inliers = values[np.abs(values - middle) < TUKEY * spread]
    return Average(middle, float(inliers.std()) if inliers.size > 1 else 0.0, int(inliers.size))


def frame_scales(ratios: Sequence[Values]) -> FrameScales:
    """One robust log scale a frame, of its log ratios; raises PoseError where hardly a frame has enough of them."""
    count = len(ratios)
    scales = FrameScales(np.full(count, np.nan), np.full(count, np.nan), np.zeros(count, dtype=np.int64))
    for frame, values in enumerate(ratios):
        finite = values[np.isfinite(values)]
        scales.points[frame] = finite.size
        if finite.size >= FEWEST_POINTS:
            average = robust_mean(finite)
            scales.log_scale[frame] = average.value
            scales.error[frame] = average.sigma / math.sqrt(max(1, average.count))
    if scales.known.sum() < FEWEST_FRAMES:
        raise PoseError(
            f"only {int(scales.known.sum())} of {count} frames have {FEWEST_POINTS} points with depth to compare",
            hint="the camera must move sideways, and depth must cover the points",
        )
    return scales


def constant_scale(frames: FrameScales) -> TrackScale:
    """One scale for all frames."""
    average = robust_mean(frames.log_scale[frames.known])
    error = average.sigma / math.sqrt(max(1, average.count))
    return TrackScale(np.full(len(frames.log_scale), average.value), average.sigma, error, int(frames.known.sum()))


def drifting_scale(frames: FrameScales, reach: int) -> TrackScale:
    """A scale that changes along the track: smooth over about ``reach`` frames either side, but for its jumps."""
    jumps = find_jumps(frames, reach)
    smooth = np.empty_like(frames.log_scale)
    borders = (0, *jumps, len(smooth))
    for start, end in itertools.pairwise(borders):
        smooth[start:end] = _smoothed(frames.log_scale[start:end], reach)
    rest = (frames.log_scale - smooth)[frames.known]
    average = robust_mean(rest)
    # A local line over the reach uses about so many frames.
    used = max(1.0, min(reach, frames.known.sum() / len(borders)))
    return TrackScale(smooth, average.sigma, average.sigma * 2 / math.sqrt(used), int(frames.known.sum()), jumps)


def find_jumps(frames: FrameScales, reach: int) -> tuple[int, ...]:
    """Frames at which the scale jumps: lines fitted before and after do not meet, strongest first, ``reach`` apart."""
    values = frames.log_scale
    fewest = max(FEWEST_FRAMES + 1, reach // 3)
    strength = np.zeros(len(values))
    for place in range(1, len(values)):
        before, after = values[max(0, place - reach) : place], values[place : place + reach]
        if min(np.isfinite(before).sum(), np.isfinite(after).sum()) < fewest:
            continue
        (left, left_error), (right, right_error) = _end(before, len(before) - 0.5), _end(after, -0.5)
        step = abs(right - left)
        if step >= SMALLEST_JUMP:
            strength[place] = step / math.hypot(left_error, right_error, 1e-6)
    found: list[int] = []
    while strength.max(initial=0.0) >= JUMP_SIGMAS:
        place = int(strength.argmax())
        found.append(_pinned(values, place, reach))
        strength[max(0, place - reach // 2) : place + reach // 2 + 1] = 0.0
    return tuple(sorted(found))


def rescaled(trajectory: Trajectory, scale: TrackScale) -> Trajectory:
    """The trajectory in metres: each step multiplied by the scale there, begun at the first pose's place times its own.

    With a constant scale this is the trajectory times the scale.
    """
    steps = np.diff(trajectory.positions, axis=0)
    local = np.exp((scale.log_scale[:-1] + scale.log_scale[1:]) / 2)
    first = trajectory.positions[:1] * math.exp(float(scale.log_scale[0]))
    return trajectory.with_positions(first + np.concatenate([np.zeros((1, 3)), np.cumsum(steps * local[:, None], 0)]))


def _biweight(deviation: Values) -> Values:
    return np.asarray(np.clip(1 - (deviation / TUKEY) ** 2, 0, None) ** 2)


def _smoothed(values: Values, reach: int) -> Values:
    """A local robust line through (N,) values (Cleveland 1979), read where they are known; straight across gaps."""
    places = np.flatnonzero(np.isfinite(values))
    if not places.size:
        raise PoseError("no frame between two jumps of the scale is known")
    y = values[places]
    smooth = np.empty(len(places))
    for index, place in enumerate(places):
        x = (places - place).astype(np.float64)
        # Where little is known nearby, the reach grows until it holds enough.
        far = np.sort(np.abs(x))
        width = max(reach, float(far[min(len(far), FEWEST_FRAMES) - 1]) + 1)
        near = np.clip(1 - (np.abs(x) / width) ** 3, 0, None) ** 3
        smooth[index] = _line(x[near > 0], y[near > 0], near[near > 0])[0]
    return np.asarray(np.interp(np.arange(len(values)), places, smooth))


def _pinned(values: Values, place: int, reach: int) -> int:
    """Where, near ``place``, values stop following the line before it and begin to follow the line after it."""
    start, end = max(0, place - reach), min(len(values), place + reach)
    at = np.arange(start, end)
    costs = []
    for part in (slice(0, place - start), slice(place - start, None)):
        y = values[start:end][part]
        known = np.isfinite(y)
        height, slope = _line(at[part][known].astype(np.float64) - place, y[known], np.ones(int(known.sum())))
        costs.append(np.nan_to_num(np.abs(values[start:end] - height - slope * (at - place))))
    # The cost of a border before each frame: those ahead of it belong to the first line, the rest to the second.
    total = np.concatenate([[0.0], np.cumsum(costs[0] - costs[1])])
    return start + 1 + int(total[1:-1].argmin())


def _end(values: Values, at: float) -> tuple[float, float]:
    """The robust line through values, read at a place, and its standard error there."""
    known = np.isfinite(values)
    x, y = np.flatnonzero(known).astype(np.float64) - at, values[known]
    height, slope = _line(x, y, np.ones(len(x)))
    noise = MAD_TO_SIGMA * float(np.median(np.abs(y - height - slope * x)))
    leverage = 1 / len(x) + x.mean() ** 2 / max(((x - x.mean()) ** 2).sum(), 1e-12)
    return height, max(noise, 1e-6) * math.sqrt(leverage)


def _line(x: Values, y: Values, weight: Values) -> tuple[float, float]:
    """Height at 0 and slope of the weighted line that ignores outliers."""
    robust = weight
    height = slope = 0.0
    for _ in range(ITERATIONS):
        total = max(float(robust.sum()), 1e-12)
        mean_x, mean_y = float((robust * x).sum()) / total, float((robust * y).sum()) / total
        across = float((robust * (x - mean_x) ** 2).sum())
        slope = float((robust * (x - mean_x) * (y - mean_y)).sum()) / across if across > 1e-9 else 0.0
        moved = mean_y - slope * mean_x
        is_still, height = abs(moved - height) < 1e-9, moved
        if is_still:
            break
        rest = y - height - slope * x
        spread = max(MAD_TO_SIGMA * float(np.median(np.abs(rest))), 1e-9)
        robust = weight * _biweight(rest / spread)
    return height, slope
