"""Camera poses over time, and the alignment of one trajectory with another.

A pose is ``world_from_camera``: a (4, 4) rigid matrix that takes points of the camera (x right, y down, z forward,
metres) into the world. Its last column is where the camera stands.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from m3d_cli.errors import PoseError

Poses = NDArray[np.float64]

# R^T R may differ from the identity by this much: files hold six digits, and trackers single precision.
RIGID_TOLERANCE = 5e-3
# The last row of a pose may differ from 0 0 0 1 by what chains of products leave.
ROUNDING = 1e-6
# Seconds between a frame and its pose beyond which they do not belong together (that of TUM's benchmark).
TIME_TOLERANCE = 0.02


class Keys(str, Enum):
    """What the numbers are that poses are ordered by: they pair up with their own kind only."""

    TIMES = "times"
    INDICES = "frame numbers"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, slots=True, eq=False)
class Trajectory:
    """``poses`` (N, 4, 4) world_from_camera at ``times`` (N,), which ascend; ``names`` of photos where known.

    ``keys`` says whether ``times`` are seconds or frame numbers counted from 0. ``remarks`` are what its reader should
    be warned of. Raises PoseError for matrices that are not rigid, and for times that repeat or go back.
    """

    times: NDArray[np.float64]
    poses: Poses
    names: tuple[str, ...] | None = None
    keys: Keys = Keys.TIMES
    remarks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        count = len(self.times)
        if self.poses.shape != (count, 4, 4) or (self.names is not None and len(self.names) != count):
            raise PoseError(f"{count} times and poses of shape {self.poses.shape} do not belong together")
        if count and not np.isfinite(self.times).all():
            raise PoseError("a time is not a number")
        back = np.flatnonzero(np.diff(self.times) <= 0)
        if back.size:
            first = int(back[0])
            raise PoseError(
                f"times must ascend: pose {first + 2} is at {self.times[first + 1]:.6f} s, the one before at "
                f"{self.times[first]:.6f} s",
                hint="sort the poses and keep one for each time",
            )
        object.__setattr__(self, "poses", rigid(self.poses))

    @classmethod
    def counted(cls, poses: Poses, names: Sequence[str] | None = None) -> Trajectory:
        """Poses without times."""
        numbers = np.arange(len(poses), dtype=np.float64)
        return cls(numbers, poses, None if names is None else tuple(names), Keys.INDICES)

    def __len__(self) -> int:
        return len(self.times)

    @property
    def timed(self) -> bool:
        """Whether ``times`` are seconds."""
        return self.keys is Keys.TIMES

    @property
    def positions(self) -> NDArray[np.float64]:
        """Where the camera stood, (N, 3)."""
        return np.asarray(self.poses[:, :3, 3])

    @property
    def steps(self) -> NDArray[np.float64]:
        """Metres from each pose to the next, (N - 1,)."""
        return np.asarray(np.linalg.norm(np.diff(self.positions, axis=0), axis=1))

    @property
    def length(self) -> float:
        """Metres along the way."""
        return float(self.steps.sum())

    def chosen(self, index: NDArray[np.intp] | NDArray[np.bool_]) -> Trajectory:
        """The poses at ``index``."""
        names = None if self.names is None else tuple(np.array(self.names, dtype=object)[index].tolist())
        return dataclasses.replace(self, times=self.times[index], poses=self.poses[index], names=names)

    def moved(self, similarity: Similarity) -> Trajectory:
        """The same cameras in another world."""
        poses = self.poses.copy()
        poses[:, :3, :3] = similarity.rotation @ self.poses[:, :3, :3]
        poses[:, :3, 3] = similarity.apply(self.positions)
        return dataclasses.replace(self, poses=poses)

    def with_positions(self, positions: NDArray[np.float64]) -> Trajectory:
        """The same rotations at other places, (N, 3)."""
        poses = self.poses.copy()
        poses[:, :3, 3] = positions
        return dataclasses.replace(self, poses=poses)


@dataclass(frozen=True, slots=True, eq=False)
class Similarity:
    """x -> scale R x + t; with scale 1 a rigid motion."""

    rotation: NDArray[np.float64]
    translation: NDArray[np.float64]
    scale: float = 1.0

    def apply(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Points (N, 3) moved."""
        return np.asarray(self.scale * points @ self.rotation.T + self.translation)


def rigid(poses: Poses) -> Poses:
    """``poses`` (N, 4, 4) with rotations made exactly orthogonal; raises PoseError where one is no rigid motion."""
    poses = np.array(poses, dtype=np.float64)
    turns = poses[:, :3, :3]
    gram = np.swapaxes(turns, 1, 2) @ turns
    with np.errstate(invalid="ignore"):
        is_rotation = (np.abs(gram - np.eye(3)).max(axis=(1, 2)) <= RIGID_TOLERANCE) & (np.linalg.det(turns) > 0)
        has_last_row = (np.abs(poses[:, 3] - (0, 0, 0, 1)) <= ROUNDING).all(axis=1)
    is_rigid = is_rotation & np.isfinite(poses).all(axis=(1, 2)) & has_last_row
    if not is_rigid.all():
        wrong = int(np.flatnonzero(~is_rigid)[0])
        raise PoseError(
            f"pose {wrong + 1} of {len(poses)} is no rigid motion (a rotation, a translation and the row 0 0 0 1)",
            hint="leave out poses of lost tracking; a scale belongs into the translations",
        )
    if len(poses):
        u, _, vt = np.linalg.svd(turns)
        poses[:, :3, :3] = u @ vt
        poses[:, 3] = (0, 0, 0, 1)
    return poses


def inverse(poses: Poses) -> Poses:
    """Inverses of rigid matrices (..., 4, 4)."""
    turned = np.swapaxes(poses[..., :3, :3], -1, -2)
    result = np.zeros_like(poses)
    result[..., :3, :3] = turned
    result[..., :3, 3] = -(turned @ poses[..., :3, 3:])[..., 0]
    result[..., 3, 3] = 1
    return result


def angles(poses: Poses) -> NDArray[np.float64]:
    """Radians by which the matrices (..., 4, 4) rotate."""
    turns = poses[..., :3, :3]
    skew = turns - np.swapaxes(turns, -1, -2)
    sine = np.sqrt(skew[..., 0, 1] ** 2 + skew[..., 0, 2] ** 2 + skew[..., 1, 2] ** 2) / 2
    cosine = (np.trace(turns, axis1=-2, axis2=-1) - 1) / 2
    return np.asarray(np.arctan2(sine, cosine))


def umeyama(source: NDArray[np.float64], target: NDArray[np.float64], *, with_scale: bool) -> Similarity:
    """The motion of points (N, 3) onto ``target`` with the least squares (Umeyama 1991, eq. 40 to 42).

    Raises PoseError where the points leave it open: fewer than three, or all on one line.
    """
    if len(source) != len(target) or len(source) < 3:
        raise PoseError(f"{len(source)} and {len(target)} positions cannot be aligned", hint="three or more are needed")
    middle, goal = source.mean(axis=0), target.mean(axis=0)
    a, b = source - middle, target - goal
    u, d, vt = np.linalg.svd(b.T @ a / len(source))
    if not d[1] > 1e-9 * d[0]:
        raise PoseError("positions on one line leave the rotation open", hint="compare without alignment")
    sign = np.array([1.0, 1.0, np.sign(np.linalg.det(u) * np.linalg.det(vt))])
    rotation = (u * sign) @ vt
    scale = float((d * sign).sum() / (a**2).sum(axis=1).mean()) if with_scale else 1.0
    return Similarity(rotation, goal - scale * rotation @ middle, scale)


def quaternions(poses: Poses) -> NDArray[np.float64]:
    """Rotations of (N, 4, 4) as unit quaternions (N, 4) in the order x, y, z, w, with w not negative."""
    m = poses[:, :3, :3]
    xx, yy, zz = m[:, 0, 0], m[:, 1, 1], m[:, 2, 2]
    # Four times the products of the quaternion's parts; the row of the largest one is taken (Shepperd 1978).
    squares = np.stack([1 + xx - yy - zz, 1 - xx + yy - zz, 1 - xx - yy + zz, 1 + xx + yy + zz], axis=1)
    xy, xz, yz = m[:, 1, 0] + m[:, 0, 1], m[:, 0, 2] + m[:, 2, 0], m[:, 2, 1] + m[:, 1, 2]
    wx, wy, wz = m[:, 2, 1] - m[:, 1, 2], m[:, 0, 2] - m[:, 2, 0], m[:, 1, 0] - m[:, 0, 1]
    s = squares.T
    table = np.array([[s[0], xy, xz, wx], [xy, s[1], yz, wy], [xz, yz, s[2], wz], [wx, wy, wz, s[3]]])
    rows = table[squares.argmax(axis=1), :, np.arange(len(poses))]
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(np.where(rows[:, 3:] < 0, -rows, rows))


def matrices(positions: NDArray[np.float64], quaternion: NDArray[np.float64]) -> Poses:
    """(N, 4, 4) from positions (N, 3) and quaternions (N, 4) x, y, z, w; raises PoseError for one not of length 1."""
    length = np.linalg.norm(quaternion, axis=1)
    wrong = np.flatnonzero(~(np.abs(length - 1) < 0.01))
    if wrong.size:
        raise PoseError(
            f"the quaternion of pose {int(wrong[0]) + 1} has length {length[wrong[0]]:.4g}, not 1",
            hint="the order is qx qy qz qw",
        )
    x, y, z, w = (quaternion / length[:, None]).T
    poses = np.tile(np.eye(4), (len(positions), 1, 1))
    poses[:, 0, :3] = np.stack([1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)], axis=1)
    poses[:, 1, :3] = np.stack([2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)], axis=1)
    poses[:, 2, :3] = np.stack([2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)], axis=1)
    poses[:, :3, 3] = positions
    return poses
