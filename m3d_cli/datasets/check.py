"""What is wrong with a folder of annotated frames, found before anything is scored or trained on it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from m3d_cli.datasets.frame import Frame, same_shape
from m3d_cli.datasets.pairs import agreement, depth_edges, picture_change
from m3d_cli.errors import DatasetError

# Median true depth outside these metres is a wrong scale: nothing photographed is that near or that far throughout.
NEAREST_MEDIAN, FARTHEST_MEDIAN = 0.05, 400.0
# A principal point outside these shares of the image belongs to an image of another size.
CENTRE = (0.25, 0.75)
# Horizontal angles of view in degrees that a rectified data set may have.
VIEW = (8.0, 150.0)
# A depth map is another image's where it agrees with its own less than this, and with that one by so much more.
UNRELATED, BETTER_BY = 0.6, 0.25
# Frames before a frame in its source whose images its depth is compared with, and the other way round.
NEIGHBOURS = 12


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong: a word for scripts, the file, and what to know about it."""

    kind: str
    file: str
    message: str


@dataclass(frozen=True, slots=True, eq=False)
class _Look:
    """What is kept of a frame to compare it with others."""

    frame: Frame
    edges: NDArray[np.bool_] | None
    change: NDArray[np.float32]
    own: float


def check_frames(frames: Sequence[Frame], advance: Callable[[], None] = lambda: None) -> Iterator[Fault]:
    """Every fault of ``frames``, in their order; a frame with one goes on to the next. Memory stays flat."""
    yield from _repeated(frames)
    recent: deque[_Look] = deque(maxlen=NEIGHBOURS)
    for frame in frames:
        faults, look = _check(frame)
        yield from faults
        if look is not None:
            alike = [other for other in recent if other.frame.source == frame.source]
            yield from _swapped(look, alike)
            recent.append(look)
        advance()


def _check(frame: Frame) -> tuple[list[Fault], _Look | None]:
    for kind, file in (("missing-picture", frame.image), ("missing-depth", frame.depth)):
        if not file.is_file():
            return [Fault(kind, str(file), "the file is not there")], None
    try:
        image = frame.read_image()
        depth = frame.read_depth()
    except DatasetError as error:
        return [Fault("unreadable", _named(error, frame), error.message)], None
    faults = [*_size_faults(frame, image, depth), *_depth_faults(frame, depth), *_intrinsics_faults(frame, image)]
    return faults, None if faults or frame.sparse else _look(frame, image)


def _size_faults(frame: Frame, image: NDArray[np.uint8], depth: NDArray[np.float32]) -> Iterator[Fault]:
    height, width = image.shape[:2]
    if depth.shape == (height, width):
        return
    there = f"{depth.shape[1]} x {depth.shape[0]} pixels, its image has {width} x {height}"
    if not frame.fits_depth:
        yield Fault("size", str(frame.depth), there)
        return
    if not same_shape(depth.shape, (height, width)):
        yield Fault("size", str(frame.depth), f"{there}, which is another shape")


def _depth_faults(frame: Frame, depth: NDArray[np.float32]) -> Iterator[Fault]:
    known = depth[np.isfinite(depth)]
    if not known.size:
        yield Fault("no-depth", str(frame.depth), "no pixel is known: every value is invalid, NaN or out of range")
        return
    raw = _stored(frame.depth)
    if raw is not None and np.isnan(raw).any():
        share = float(np.isnan(raw).mean())
        yield Fault("nan", str(frame.depth), f"{100 * share:.1f} % of the values are NaN, taken as unknown")
    median = float(np.median(known))
    if not NEAREST_MEDIAN <= median <= FARTHEST_MEDIAN:
        guess = 1000.0 if median > FARTHEST_MEDIAN else 0.001
        message = f"median depth {median:.4g} m: is the scale off by 1000? it would be {median / guess:.4g} m"
        yield Fault("scale", str(frame.depth), message)


def _stored(path: Path) -> NDArray[np.floating] | None:
    """The values of a float file as they are; None for other formats, which cannot hold NaN or mean it."""
    if path.suffix.lower() != ".npy":
        return None
    values = np.load(path, mmap_mode="r", allow_pickle=False)
    return values if values.dtype.kind == "f" else None


def _intrinsics_faults(frame: Frame, image: NDArray[np.uint8]) -> Iterator[Fault]:
    height, width = image.shape[:2]
    try:
        camera = frame.pinhole.camera(frame.image, width, height)
    except DatasetError as error:
        yield Fault("intrinsics", str(frame.image), error.message.removeprefix(f"{frame.image}: "))
        return
    low, high = CENTRE
    if not (low <= camera.cx / width <= high and low <= camera.cy / height <= high):
        message = f"principal point {camera.cx:.1f}, {camera.cy:.1f} in {width} x {height} pixels: of another size?"
        yield Fault("intrinsics", str(frame.image), message)
        return
    if not VIEW[0] <= camera.horizontal_fov <= VIEW[1]:
        message = (
            f"fx {camera.fx:.4g} in {width} pixels would see {camera.horizontal_fov:.1f} degrees: of another size?"
        )
        yield Fault("intrinsics", str(frame.image), message)


def _look(frame: Frame, image: NDArray[np.uint8]) -> _Look:
    edges, change = depth_edges(frame.truth()), picture_change(image)
    own = agreement(edges, change) if edges is not None else 1.0
    return _Look(frame, edges, change, own)


def _swapped(look: _Look, others: Sequence[_Look]) -> Iterator[Fault]:
    """Depth that fits the image of an earlier frame far better than its own, or an earlier one's that fits ours."""
    for one, many in ((look, others), *((other, [look]) for other in others)):
        if one.edges is None or one.own >= UNRELATED:
            continue
        fits = [(agreement(one.edges, m.change), m) for m in many if m.change.shape == one.edges.shape]
        best, better = max(fits, key=lambda pair: pair[0], default=(0.0, look))
        if best > one.own + BETTER_BY:
            message = (
                f"depth edges fit {better.frame.image} ({best:.2f}) and not their own image "
                f"{one.frame.image.name} ({one.own:.2f}; 0.5 is chance)"
            )
            yield Fault("pair", str(one.frame.depth), message)


def _repeated(frames: Sequence[Frame]) -> Iterator[Fault]:
    seen: set[tuple[str, str]] = set()
    for frame in frames:
        key = (frame.source, frame.name)
        if key in seen:
            yield Fault("repeated", str(frame.depth), f"the name {frame.name} comes twice in {frame.source}")
        seen.add(key)


def _named(error: DatasetError, frame: Frame) -> str:
    """Which of the frame's files an error speaks of."""
    return str(frame.image) if error.message.startswith(str(frame.image)) else str(frame.depth)
