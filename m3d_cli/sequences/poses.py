"""Which pose belongs to which frame: by the photo's name, by time, or by order where counts agree."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

import numpy as np
from numpy.typing import NDArray

from m3d_cli.bounded_files import read_text, reading
from m3d_cli.errors import PoseError
from m3d_cli.formats.trajectory_tables import seconds
from m3d_cli.photo_names import NameIndex
from m3d_cli.sequences.frames import SequenceFrame
from m3d_cli.trajectory import TIME_TOLERANCE, Keys, Trajectory

# Lists of times beside the photos that are found by themselves: ours, and TUM's in the folder above.
TIME_LISTS = ("times.txt", "../rgb.txt")
# Digits of the nanoseconds since 1970 of any date from 1973 to 2286.
NANOSECOND_DIGITS = (18, 19)
# TUM separates by blanks, EuRoC by commas.
_TIME_AND_NAME = re.compile(r"[\s,]+")


@dataclass(frozen=True, slots=True, eq=False)
class PosedFrames:
    """``frames`` and the trajectory of exactly these; ``rule`` says how they met.

    ``without`` counts frames that have no pose, ``damaged`` those that have one and cannot be read.
    """

    frames: tuple[SequenceFrame, ...]
    trajectory: Trajectory
    rule: str
    without: int
    damaged: int = 0

    def chosen(self, places: Sequence[int]) -> PosedFrames:
        """The frames at ``places``, the others counted as damaged."""
        return dataclasses.replace(
            self,
            frames=tuple(self.frames[place] for place in places),
            trajectory=self.trajectory.chosen(np.array(places, dtype=np.intp)),
            damaged=self.damaged + len(self.frames) - len(places),
        )


def with_times(frames: Sequence[SequenceFrame], file: Path | None = None) -> tuple[SequenceFrame, ...]:
    """Frames with times of a list (lines ``time name``), of one lying beside the photos, or of names that are times.

    Raises PoseError for a list that is damaged or lacks a frame.
    """
    file = file or _found_list(frames)
    if file is not None:
        return _listed(frames, file)
    times = [_time_of(frame.name) for frame in frames]
    if any(time is None for time in times):
        return tuple(frames)
    return tuple(dataclasses.replace(frame, time=time) for frame, time in zip(frames, times, strict=True))


def match(frames: Sequence[SequenceFrame], trajectory: Trajectory, tolerance: float = TIME_TOLERANCE) -> PosedFrames:
    """Each frame with its pose, frames without one left out; raises PoseError where they cannot belong together."""
    can_meet_in_time = trajectory.timed and all(frame.time is not None for frame in frames)
    if trajectory.names is not None:
        index = NameIndex(trajectory.names)
        places = [_place(index, frame) for frame in frames]
        if any(place is not None for place in places) or not can_meet_in_time:
            return _matched(frames, trajectory, places, "by name")
    if can_meet_in_time:
        times = np.array([frame.time for frame in frames], dtype=np.float64)
        return _matched(frames, trajectory, _by_time(times, trajectory, tolerance), f"by time, within {tolerance:g} s")
    if len(frames) != len(trajectory):
        fewer = "fewer poses than frames" if len(trajectory) < len(frames) else "more poses than frames"
        raise PoseError(
            f"{fewer}: {len(trajectory)} poses, {len(frames)} frames, and neither names nor times tell which are whose",
            hint="--times FILE lists `time name` for poses with times; else give exactly one pose a frame",
        )
    return _matched(frames, trajectory, list(range(len(frames))), "by order")


def frame_keys(frames: Sequence[SequenceFrame]) -> tuple[NDArray[np.float64], Keys]:
    """Seconds of every frame; their numbers in the sequence where not all times are known."""
    if any(frame.time is None for frame in frames):
        numbers = [place if frame.number is None else frame.number for place, frame in enumerate(frames)]
        return np.array(numbers, dtype=np.float64), Keys.INDICES
    return np.array([frame.time for frame in frames], dtype=np.float64), Keys.TIMES


def _matched(
    frames: Sequence[SequenceFrame], trajectory: Trajectory, places: Sequence[int | None], rule: str
) -> PosedFrames:
    pairs = [(frame, place) for frame, place in zip(frames, places, strict=True) if place is not None]
    if not pairs:
        raise PoseError(f"no frame has a pose ({rule})", hint=_hint(frames, trajectory))
    # Frames go in the order of their poses: a trajectory has one direction of time.
    pairs.sort(key=lambda pair: pair[1])
    index = np.array([place for _, place in pairs], dtype=np.intp)
    if len(np.unique(index)) < len(index):
        raise PoseError(f"two frames claim one pose ({rule})", hint=_hint(frames, trajectory))
    chosen = trajectory.chosen(index)
    return PosedFrames(tuple(frame for frame, _ in pairs), chosen, rule, len(frames) - len(pairs))


def _by_time(times: NDArray[np.float64], trajectory: Trajectory, tolerance: float) -> list[int | None]:
    distance = np.abs(times[:, None] - trajectory.times[_bracket(times, trajectory.times)])
    place = _bracket(times, trajectory.times)[np.arange(len(times)), distance.argmin(axis=1)]
    near = distance.min(axis=1) <= tolerance
    return [int(index) if is_near else None for index, is_near in zip(place, near, strict=True)]


def _bracket(times: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.intp]:
    """Places (N, 2) of the ``others`` before and after each time."""
    after = np.searchsorted(others, times)
    return np.clip(np.stack([after - 1, after], axis=1), 0, len(others) - 1)


def _place(index: NameIndex, frame: SequenceFrame) -> int | None:
    """The entry of a frame, by its photo's file, else by its name, which may itself hold dots."""
    named = PurePath(f"{frame.name}{frame.photo.suffix if frame.photo is not None else '.png'}")
    found = index.find(frame.photo, named) if frame.photo is not None else None
    return index.find(named, named) if found is None else found


def _hint(frames: Sequence[SequenceFrame], trajectory: Trajectory) -> str:
    if trajectory.names is not None and not trajectory.timed:
        return f"poses are of names like {trajectory.names[0]}, frames like {frames[0].name}"
    span = f"poses from {trajectory.times[0]:.3f} to {trajectory.times[-1]:.3f} s"
    return f"{span}, frames from {frames[0].time:.3f} to {frames[-1].time:.3f} s; --tolerance widens the search"


def _found_list(frames: Sequence[SequenceFrame]) -> Path | None:
    photo = frames[0].photo if frames else None
    if photo is None:
        return None
    return next((photo.parent / name for name in TIME_LISTS if (photo.parent / name).is_file()), None)


def _listed(frames: Sequence[SequenceFrame], file: Path) -> tuple[SequenceFrame, ...]:
    with reading(file, "the list of times and names", PoseError, "lines are `time name`"):
        lines = [line.strip() for line in read_text(file).splitlines()]
        rows = [_TIME_AND_NAME.split(line, maxsplit=1) for line in lines if line and not line.startswith("#")]
        times, _ = seconds(np.array([float(row[0]) for row in rows]))
        pairs = [(float(time), row[1].strip()) for time, row in zip(times, rows, strict=True)]
    index = NameIndex([name for _, name in pairs])
    timed = []
    for frame in frames:
        place = _place(index, frame)
        if place is None:
            raise PoseError(f"{file}: no time of {frame.name}", hint="leave the frame out or add its time")
        timed.append(dataclasses.replace(frame, time=pairs[place][0]))
    return tuple(timed)


def _time_of(name: str) -> float | None:
    """Seconds that a name like 1305031102.175304 states; whole numbers are counts, but for EuRoC's nanoseconds."""
    last = name.rsplit("/", 1)[-1]
    if len(last) in NANOSECOND_DIGITS and last.isdecimal():
        return int(last) / 1e9
    whole, point, rest = last.partition(".")
    return float(last) if point and whole.isdecimal() and rest.isdecimal() else None
