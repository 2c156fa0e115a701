"""The way of a camera from its images and their depth: frames tracked against key frames, loops closed.

Where tracking is lost a new segment begins, with its first frame as its world: how segments lie to each other is not
known, and nothing is invented.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from m3d_cli.errors import UsageError
from m3d_cli.sequences.frames import SequenceFrame
from m3d_cli.sequences.pose_graph import Edge, optimised
from m3d_cli.sequences.poses import frame_keys
from m3d_cli.sequences.rgbd_match import Match, Motion, RgbdView, information, matches, prepared
from m3d_cli.trajectory import Keys, Trajectory, angles, inverse

# A loop is looked for among key frames at least this many back, this near and turned this little by the estimate.
LOOP_GAP = 5
LOOP_METRES = 1.0
LOOP_RADIANS = 0.6
LOOPS_TRIED = 2

Advance = Callable[[], None]


@dataclass(frozen=True, slots=True)
class OdometryOptions:
    """The frame before becomes a key frame where the last one lies ``key_metres`` or ``key_radians`` back, or too
    little of it is seen again: of its depth, or of the corners that the frame right after it showed.

    ``step_metres`` and ``step_radians`` are what a camera cannot do from one frame to the next.
    """

    longest: int = 320
    max_depth: float = 5.0
    key_metres: float = 0.3
    key_radians: float = 0.25
    key_overlap: float = 0.65
    key_corners: float = 0.3
    step_metres: float = 0.5
    step_radians: float = 0.6
    loops: bool = True

    def __post_init__(self) -> None:
        if not (math.isfinite(self.max_depth) and self.max_depth > 0):
            raise UsageError(f"--max-depth {self.max_depth} is not a positive number of metres")


@dataclass(frozen=True, slots=True)
class Segment:
    """Frames ``first`` to ``last`` (both in it) tracked without a break, their trajectory, key frames and loops."""

    first: int
    last: int
    trajectory: Trajectory
    key_frames: int
    loops: int


@dataclass(frozen=True, slots=True)
class Odometry:
    """The segments in order, and the frames that are in none."""

    segments: tuple[Segment, ...]
    untracked: tuple[int, ...]

    @property
    def longest(self) -> Segment:
        """The segment of most frames."""
        return max(self.segments, key=lambda segment: len(segment.trajectory))


@dataclass(frozen=True, slots=True, eq=False)
class _Sequence:
    """What the frames are called: their ``times`` (N,), what these are, and the names of their photos."""

    times: NDArray[np.float64]
    keys: Keys
    names: tuple[str, ...]


@dataclass(slots=True)
class _KeyFrame:
    """A key frame: its place in the sequence, its pose by the estimate so far, and most of its corners seen again."""

    frame: int
    pose: Motion
    corners: int = 0


@dataclass(slots=True)
class _Track:
    """A segment while it grows: of each frame its key frame's place among ``keys`` and its motion from there.

    ``key_view`` is the last key frame's, ``view`` the last frame's.
    """

    first: int
    key_view: RgbdView
    view: RgbdView
    keys: list[_KeyFrame]
    frames: list[tuple[int, Motion]]
    step: Motion
    edges: list[Edge] = field(default_factory=list)

    @classmethod
    def begun(cls, frame: int, view: RgbdView) -> _Track:
        return cls(frame, view, view, [_KeyFrame(frame, np.eye(4))], [(0, np.eye(4))], np.eye(4))

    @property
    def pose(self) -> Motion:
        key, motion = self.frames[-1]
        return self.keys[key].pose @ motion


def track(frames: Sequence[SequenceFrame], options: OdometryOptions, advance: Advance = lambda: None) -> Odometry:
    """Track every frame; three views are held at a time, those of loops are read again.

    Poses are world_from_camera, in the world of each segment's first frame.
    """
    times, keys = frame_keys(frames)
    whole = _Sequence(times, keys, tuple(frame.name for frame in frames))
    segments: list[Segment] = []
    growing: _Track | None = None
    for index, frame in enumerate(frames):
        view = prepared(frame.view(options.longest), options.max_depth)
        if growing is None or not _grow(growing, index, view, frames, options):
            segments += _finished(growing, whole, options)
            growing = _Track.begun(index, view)
        advance()
    segments += _finished(growing, whole, options)
    inside = {index for segment in segments for index in range(segment.first, segment.last + 1)}
    return Odometry(tuple(segments), tuple(index for index in range(len(frames)) if index not in inside))


def _grow(
    growing: _Track, index: int, view: RgbdView, frames: Sequence[SequenceFrame], options: OdometryOptions
) -> bool:
    """Add a frame to the track; false where it is lost."""
    found = _followed(growing, view, options)
    if growing.view is not growing.key_view and (found is None or _is_far(found, growing.keys[-1], options)):
        # From the frame before, which the key frame still held well, the new one is near.
        _add_key(growing, index - 1, frames, options)
        found = _followed(growing, view, options)
    if found is None:
        return False
    before = growing.pose
    growing.frames.append((len(growing.keys) - 1, found.motion))
    growing.step = inverse(before) @ growing.pose
    growing.keys[-1].corners = max(growing.keys[-1].corners, found.corners)
    growing.view = view
    return True


def _followed(growing: _Track, view: RgbdView, options: OdometryOptions) -> Match | None:
    """The frame's motion from the last key frame; the camera is guessed to go on as it went, or to stay."""
    last = growing.frames[-1][1]
    found = matches(growing.key_view, view, (last @ growing.step, last), options.max_depth)
    return next((one for one in found if _is_possible(inverse(last) @ one.motion, options)), None)


def _is_possible(step: Motion, options: OdometryOptions) -> bool:
    metres = float(np.linalg.norm(step[:3, 3]))
    return metres <= options.step_metres and float(angles(step)) <= options.step_radians


def _is_far(found: Match, key: _KeyFrame, options: OdometryOptions) -> bool:
    metres = float(np.linalg.norm(found.motion[:3, 3]))
    has_moved = metres > options.key_metres or float(angles(found.motion)) > options.key_radians
    return has_moved or found.overlap < options.key_overlap or found.corners < options.key_corners * key.corners


def _add_key(growing: _Track, index: int, frames: Sequence[SequenceFrame], options: OdometryOptions) -> None:
    """Make the last frame, which is frame ``index`` of the sequence, a key frame."""
    place, motion = len(growing.keys), growing.frames[-1][1]
    weight = information(growing.key_view, growing.view, motion)
    growing.edges.append(Edge(place, place - 1, motion, weight, is_loop=False))
    growing.keys.append(_KeyFrame(index, growing.pose))
    growing.frames[-1] = (place, np.eye(4))
    growing.key_view = growing.view
    if options.loops:
        growing.edges += _loops(growing, growing.view, frames, options)


def _loops(growing: _Track, view: RgbdView, frames: Sequence[SequenceFrame], options: OdometryOptions) -> list[Edge]:
    """Edges from the newest key frame to old ones that show the same."""
    newest = len(growing.keys) - 1
    old = growing.keys[: max(0, newest - LOOP_GAP)]
    if not old:
        return []
    motions = inverse(np.array([key.pose for key in old])) @ growing.keys[newest].pose
    distance = np.linalg.norm(motions[:, :3, 3], axis=1)
    near = np.flatnonzero((distance < LOOP_METRES) & (angles(motions) < LOOP_RADIANS))
    edges = []
    for place in near[np.argsort(distance[near])][:LOOPS_TRIED]:
        seen = prepared(frames[old[place].frame].view(options.longest), options.max_depth)
        found = next(iter(matches(seen, view, (motions[place],), options.max_depth)), None)
        # Only as near as tracking goes: seen from farther, the loop would be less exact than the way round it.
        if found is not None and not _is_far(found, old[place], options):
            weight = information(seen, view, found.motion)
            edges.append(Edge(newest, int(place), found.motion, weight, is_loop=True))
    return edges


def _finished(one: _Track | None, whole: _Sequence, options: OdometryOptions) -> list[Segment]:
    """The segment of a track that ended, its key frames brought to agree with its loops; a single frame is none."""
    if one is None or len(one.frames) < 2:
        return []
    loops = sum(edge.is_loop for edge in one.edges)
    keys = np.array([key.pose for key in one.keys])
    if loops:
        keys = optimised(keys, one.edges, options.max_depth)
    poses = np.array([keys[key] @ motion for key, motion in one.frames])
    last = one.first + len(one.frames) - 1
    inside = slice(one.first, last + 1)
    trajectory = Trajectory(whole.times[inside], poses, whole.names[inside], whole.keys)
    return [Segment(one.first, last, trajectory, len(keys), loops)]
