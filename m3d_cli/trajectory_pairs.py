"""Which pose of one trajectory belongs to which of another: by time, by the photos' names, or by frame number."""

from __future__ import annotations

from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from m3d_cli.errors import PoseError
from m3d_cli.photo_names import NameIndex
from m3d_cli.trajectory import TIME_TOLERANCE, Trajectory

_WAYS_OUT = (
    "give m3d slam odometry the frames' times (--times FILE, lines `time name`), or compare trajectories that both "
    "have times or both name their photos"
)


def associate(
    estimate: Trajectory, truth: Trajectory, tolerance: float = TIME_TOLERANCE
) -> tuple[Trajectory, Trajectory]:
    """The poses of both that belong together: nearest in time within ``tolerance`` seconds, by name, or by number.

    Raises PoseError where seconds would meet frame numbers, where frame numbers do not agree, and where nothing pairs.
    """
    if estimate.timed and truth.timed:
        return _by_time(estimate, truth, tolerance)
    named = _by_name(estimate, truth)
    if named is not None:
        return named
    if estimate.keys is not truth.keys:
        raise PoseError(
            f"{_described(estimate)} and {_described(truth)} do not pair up, and no names of photos do",
            hint=_WAYS_OUT,
        )
    return _by_number(estimate, truth)


def _by_time(estimate: Trajectory, truth: Trajectory, tolerance: float) -> tuple[Trajectory, Trajectory]:
    after = np.searchsorted(truth.times, estimate.times)
    before = np.clip(after - 1, 0, len(truth) - 1)
    after = np.clip(after, 0, len(truth) - 1)
    is_before = np.abs(truth.times[before] - estimate.times) <= np.abs(truth.times[after] - estimate.times)
    nearest = np.where(is_before, before, after)
    near = np.abs(truth.times[nearest] - estimate.times) <= tolerance
    _, first = np.unique(nearest[near], return_index=True)
    index = np.flatnonzero(near)[first]
    if not index.size:
        raise PoseError(
            f"no pose lies within {tolerance:g} s of another: {_span(estimate)} against {_span(truth)}",
            hint="the clocks differ; --tolerance widens the search",
        )
    return estimate.chosen(index), truth.chosen(nearest[index])


def _by_name(estimate: Trajectory, truth: Trajectory) -> tuple[Trajectory, Trajectory] | None:
    """The poses of photos that both name; None where no name is in both."""
    if estimate.names is None or truth.names is None:
        return None
    index = NameIndex(truth.names)
    places = [_place(index, name) for name in estimate.names]
    pairs = {place: mine for mine, place in reversed(list(enumerate(places))) if place is not None}
    if not pairs:
        return None
    mine = np.array(sorted(pairs.values()), dtype=np.intp)
    theirs = np.array([places[place] for place in mine], dtype=np.intp)
    if (np.diff(theirs) < 0).any():
        raise PoseError("photos of the same names come in another order", hint="sort one of the trajectories")
    return estimate.chosen(mine), truth.chosen(theirs)


def _place(index: NameIndex, name: str) -> int | None:
    """The entry of a photo whose ending may be missing on either side; a name may itself hold dots."""
    bare, whole = PurePosixPath(f"{name}.png"), PurePosixPath(name)
    found = index.find(whole, whole)
    return index.find(bare, bare) if found is None else found


def _by_number(estimate: Trajectory, truth: Trajectory) -> tuple[Trajectory, Trajectory]:
    """Equal frame numbers. Two files that merely count their poses from 0 are of the same frames only if as long."""
    both, mine, theirs = np.intersect1d(estimate.times, truth.times, return_indices=True)
    only_count = _counts(estimate.times) and _counts(truth.times)
    if len(both) < min(len(estimate), len(truth)) or (only_count and len(estimate) != len(truth)):
        raise PoseError(
            f"{len(estimate)} poses and {len(truth)} do not pair up by frame numbers alone",
            hint=f"give the same number of poses; or {_WAYS_OUT}",
        )
    return estimate.chosen(mine), truth.chosen(theirs)


def _counts(numbers: NDArray[np.float64]) -> bool:
    return bool((numbers == np.arange(len(numbers))).all())


def _described(trajectory: Trajectory) -> str:
    if trajectory.timed:
        return f"times ({_span(trajectory)})"
    names = "" if trajectory.names is None else f" of photos like {trajectory.names[0]}"
    return f"{trajectory.keys}{names}"


def _span(trajectory: Trajectory) -> str:
    if not len(trajectory):
        return "no poses"
    return f"{trajectory.times[0]:.3f} to {trajectory.times[-1]:.3f} s"
