"""Trajectories as tables of numbers: TUM, KITTI and EuRoC's CSV.

A line ``# keys: times`` or ``# keys: frame numbers`` says what a TUM table's first column is, and ``# frame 7 NAME``
which photo a row belongs to; other programs skip both as comments.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from m3d_cli.bounded_files import TABLE_BYTES, read_bytes
from m3d_cli.errors import PoseError
from m3d_cli.photo_names import one_line
from m3d_cli.trajectory import Keys, Trajectory, matrices, quaternions

CONVENTION = "world_from_camera, metres; camera x right, y down, z forward"
TUM_COLUMNS, KITTI_COLUMNS, EUROC_COLUMNS = 8, 12, 17
# Seconds since 1970 have ten digits: more are finer units.
_UNITS = ((1e17, 1e-9, "nanoseconds"), (1e14, 1e-6, "microseconds"), (1e11, 1e-3, "milliseconds"))
# Whole numbers this far apart are nanoseconds that began at 0: as seconds they would be days from frame to frame.
_NANOSECOND_STEP = 1e6
# Whole numbers up to this count frames: as times they would be of a clock that ticks in seconds.
_LARGEST_INDEX = 1e6
_KEYS = re.compile(r"#\s*keys:\s*(times|frame numbers)\s*$")
_NAME = re.compile(r"# frame (\d+) (.+)$")
# What versions before the line of keys wrote.
_OLD_COUNT = "# times count the frames"
_SCALAR_FIRST = re.compile(r"q_?(?:[a-z]+_)?w\b.*q_?(?:[a-z]+_)?x\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Table:
    """Rows (N, columns) of numbers, and the lines of comment around them."""

    rows: NDArray[np.float64]
    comments: tuple[str, ...]

    @property
    def columns(self) -> int:
        """How many numbers a row has."""
        return int(self.rows.shape[1])


def read_table(path: Path) -> Table:
    """Rows of numbers, separated by blanks or commas; lines that begin with # are comments. Raises PoseError."""
    lines = read_bytes(path, TABLE_BYTES).decode("utf-8-sig", "surrogateescape").splitlines()
    lines = [line.strip() for line in lines if line.strip()]
    rows = [line.replace(",", " ").split() for line in lines if not line.startswith("#")]
    if not rows:
        raise PoseError(f"{path}: no poses in it", hint="a line of numbers per pose is expected")
    odd = next((index for index, row in enumerate(rows) if len(row) != len(rows[0])), None)
    if odd is not None:
        raise PoseError(
            f"{path}: pose {odd + 1} has {len(rows[odd])} numbers, the first {len(rows[0])}",
            hint="the file may be truncated",
        )
    return Table(np.array(rows, dtype=np.float64), tuple(line for line in lines if line.startswith("#")))


def kitti_trajectory(table: Table) -> Trajectory:
    """Lines of the twelve numbers of the upper rows of world_from_camera; no times."""
    poses = np.tile(np.eye(4), (len(table.rows), 1, 1))
    poses[:, :3] = table.rows.reshape(-1, 3, 4)
    return Trajectory.counted(poses)


def is_euroc(table: Table) -> bool:
    """Whether a table has EuRoC's columns, where the quaternion's scalar comes first."""
    if table.columns == EUROC_COLUMNS:
        return True
    return table.columns == TUM_COLUMNS and any(_SCALAR_FIRST.search(line) for line in table.comments)


def euroc_trajectory(table: Table) -> Trajectory:
    """Lines ``time px py pz qw qx qy qz ...``: poses of the body that carries the cameras, times in nanoseconds."""
    rows = table.rows[:, [0, 1, 2, 3, 5, 6, 7, 4]]
    body = "poses are of the body (IMU), not of a camera: apart by the camera's place on it"
    return _timed_rows(rows, Keys.TIMES, (), (body,))


def tum_trajectory(table: Table) -> Trajectory:
    """Lines ``time tx ty tz qx qy qz qw``."""
    stated = _stated_keys(table.comments)
    looks_counted = _looks_counted(table.rows[:, 0])
    keys = stated or (Keys.INDICES if looks_counted else Keys.TIMES)
    guess = "whole numbers in place of times are taken as frame numbers; a line '# keys: times' makes them seconds"
    remarks = (guess,) if stated is None and looks_counted else ()
    found = [match for match in map(_NAME.match, table.comments) if match]
    names = tuple(match[2] for match in found) if len(found) == len(table.rows) else ()
    return _timed_rows(table.rows, keys, names, remarks)


def _timed_rows(rows: NDArray[np.float64], keys: Keys, names: tuple[str, ...], remarks: tuple[str, ...]) -> Trajectory:
    """Rows as TUM has them without those that repeat a time, of which the first is kept."""
    times, unit = (rows[:, 0], None) if keys is Keys.INDICES else seconds(rows[:, 0])
    if unit is not None:
        remarks = (*remarks, f"times are taken as {unit}")
    kept = np.concatenate([[True], np.diff(times) != 0])
    if not kept.all():
        remarks = (*remarks, f"{int((~kept).sum())} of {len(kept)} poses repeat the time before and are left out")
    poses = matrices(rows[:, 1:4], rows[:, 4:8])
    kept_names = tuple(name for name, is_kept in zip(names, kept, strict=True) if is_kept) if names else None
    return Trajectory(times[kept], poses[kept], kept_names, keys, remarks)


def seconds(times: NDArray[np.float64]) -> tuple[NDArray[np.float64], str | None]:
    """Times in seconds, and the unit they were in where it was another one."""
    largest = float(np.abs(times).max()) if len(times) else 0.0
    for smallest, factor, name in _UNITS:
        if largest >= smallest:
            return times * factor, name
    steps = np.diff(times)
    if len(steps) and (times == np.round(times)).all() and float(np.median(steps)) >= _NANOSECOND_STEP:
        return times * 1e-9, "nanoseconds"
    return times, None


def _stated_keys(comments: Sequence[str]) -> Keys | None:
    for line in comments:
        if line == _OLD_COUNT:
            return Keys.INDICES
        match = _KEYS.match(line)
        if match:
            return Keys(match[1])
    return None


def _looks_counted(times: NDArray[np.float64]) -> bool:
    return len(times) > 1 and bool((times == np.round(times)).all() and np.abs(times).max() < _LARGEST_INDEX)


def encode_tum(trajectory: Trajectory, comments: Sequence[str] = ()) -> bytes:
    """Lines ``time tx ty tz qx qy qz qw``; what the first number is and the photos' names stand in comments."""
    texts = (CONVENTION, *comments, f"keys: {trajectory.keys}", "time tx ty tz qx qy qz qw")
    names = () if trajectory.names is None else tuple(one_line(name) for name in trajectory.names)
    head = [f"# {text}" for text in (*texts, *(f"frame {index} {name}" for index, name in enumerate(names)))]
    table = np.concatenate([trajectory.times[:, None], trajectory.positions, quaternions(trajectory.poses)], axis=1)
    rows = ["{:.6f} {:.7f} {:.7f} {:.7f} {:.8f} {:.8f} {:.8f} {:.8f}".format(*row) for row in table]
    return ("\n".join([*head, *rows]) + "\n").encode(errors="surrogateescape")


def encode_kitti(trajectory: Trajectory) -> bytes:
    """A line of twelve numbers a pose; KITTI's tools take no comments."""
    rows = trajectory.poses[:, :3].reshape(-1, 12)
    return "".join(" ".join(f"{value:.9e}" for value in row) + "\n" for row in rows).encode()
