"""The motion between two views with depth: corners and guesses to start from, open3d's hybrid odometry (Park 2017) to
make it exact, and whether to believe it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from m3d_cli.camera import Camera
from m3d_cli.errors import PoseError, UsageError
from m3d_cli.open3d_import import load_open3d
from m3d_cli.sequences.corners import Corners, SharedCorners, find_corners, shared_corners
from m3d_cli.sequences.frames import View
from m3d_cli.trajectory import rigid

Motion = NDArray[np.float64]

# Metres, and share of the depth, by which depth of two views may differ and be of one surface.
DEPTH_STEP = 0.05
DEPTH_SHARE = 0.05
# Least share of the first view that the second shows again, least share of it with equal depth, and least correlation
# of brightness there, for a motion to be believed.
OVERLAP = 0.2
AGREEMENT = 0.5
CORRELATION = 0.5
# Standard deviation of brightness (of 0 to 1) below which a view has too little pattern for a correlation.
FLAT = 0.01
# Shares and correlations that differ by less are alike; overlap lost beyond SLID means that a view slid away.
NOTICEABLE = 0.01
# Every such row and column is judged.
GRID = 2
# Metres in front of a camera before which nothing is seen.
NEAREST = 0.01
SLID = 0.1
# Share of the corners that a start explains which it must still explain when it was made exact: surfaces that are bent,
# or of another scale, as a network's are, pull a motion off what the images show.
CORNERS_KEPT = 0.95
# Corners explained that make a motion believed whatever depth says: images of different places share a few by chance.
ENOUGH_CORNERS = 20


@dataclass(frozen=True, slots=True)
class _Way:
    """A method of open3d, and its iterations from the coarsest scale to the finest."""

    method: str
    iterations: tuple[int, ...]


_HYBRID = _Way("Hybrid", (20, 10, 6))
_SURFACES = _Way("PointToPlane", (10, 10))


@dataclass(frozen=True, slots=True, eq=False)
class RgbdView:
    """A view as the odometry takes it: brightness (H, W) in 0..1, depth (H, W) with 0 unknown, its camera, corners."""

    brightness: NDArray[np.float32]
    depth: NDArray[np.float32]
    camera: Camera
    corners: Corners


@dataclass(frozen=True, slots=True, eq=False)
class Match:
    """``motion`` takes points of the second view's camera into the first's; the rest tells how well they then agree.

    Shares and correlation are of dense depth and brightness; ``corners`` counts those that the motion explains.
    """

    motion: Motion
    overlap: float
    agreement: float
    correlation: float
    corners: int = 0

    @property
    def is_believed(self) -> bool:
        """Whether both views show one scene after this motion."""
        is_dense = self.agreement >= AGREEMENT and self.correlation >= CORRELATION
        return self.overlap >= OVERLAP and (is_dense or self.corners >= ENOUGH_CORNERS)

    @property
    def likeness(self) -> float:
        """Share of the second view that the first shows with equal depth, times how alike its brightness is."""
        return self.overlap * self.agreement * max(0.0, self.correlation)

    def is_worse_than(self, other: Match) -> bool:
        """Whether the views agree noticeably less after this motion: surfaces alone let a camera slide along walls."""
        slid = self.correlation < other.correlation - NOTICEABLE
        return slid or self.agreement < other.agreement - NOTICEABLE or self.overlap < other.overlap - SLID


def prepared(view: View, max_depth: float) -> RgbdView:
    """A view for the odometry; raises UsageError for depth without a photo."""
    if view.image is None:
        raise UsageError("odometry needs photos beside the depth", hint="name the photos: m3d slam odometry PHOTOS")
    grey = np.asarray(cv2.cvtColor(view.image, cv2.COLOR_RGB2GRAY), dtype=np.uint8)
    with np.errstate(invalid="ignore"):
        known = (view.depth.depth > 0) & (view.depth.depth <= max_depth)
    return RgbdView(
        (grey / np.float32(255)).astype(np.float32),
        np.where(known, view.depth.depth, 0).astype(np.float32),
        view.depth.camera,
        find_corners(grey),
    )


def matches(first: RgbdView, second: RgbdView, guesses: Sequence[Motion], max_depth: float) -> list[Match]:
    """Believed motions of the second view in the first, the best first; none where the two cannot be brought together.

    They are begun at the motion of shared corners; where those are few, at the guesses too.
    """
    if first.camera != second.camera:
        raise UsageError("frames of one sequence must share one camera", hint="--same-camera, --focal or --intrinsics")
    if min(np.count_nonzero(first.depth), np.count_nonzero(second.depth)) < first.depth.size // 50:
        return []
    shared = shared_corners(first.corners, second.corners, first.depth, first.camera)
    by_corners = shared.motion()
    found: list[Match] = []
    for start in guesses if by_corners is None else (by_corners, *guesses):
        found.append(_exact(first, second, judged(first, second, start), shared, max_depth))
        if found[0].corners >= ENOUGH_CORNERS:
            break
    return sorted((one for one in found if one.is_believed), key=lambda one: -one.likeness)


def _exact(first: RgbdView, second: RgbdView, start: Match, shared: SharedCorners, max_depth: float) -> Match:
    """The start made exact, as far as the views and their corners then agree no less.

    Brightness finds the motion along walls, surfaces alone then make it exact where they hold it.
    """
    best = _counted(start, shared)
    for way in (_HYBRID, _SURFACES):
        found = _motion(first, second, best.motion, max_depth, way)
        if found is None or found.is_worse_than(best):
            continue
        found = _counted(found, shared)
        if found.corners >= CORNERS_KEPT * best.corners:
            best = found
    return best


def _counted(one: Match, shared: SharedCorners) -> Match:
    return dataclasses.replace(one, corners=shared.explained(one.motion))


def _motion(first: RgbdView, second: RgbdView, guess: Motion, max_depth: float, way: _Way) -> Match | None:
    o3d = load_open3d()
    odometry = o3d.t.pipelines.odometry
    step = _step(float(np.median(second.depth[second.depth > 0])))
    try:
        found = odometry.rgbd_odometry_multi_scale(
            _image(second),
            _image(first),
            o3d.core.Tensor(first.camera.opencv_matrix),
            o3d.core.Tensor(guess),
            1.0,
            max_depth,
            [odometry.OdometryConvergenceCriteria(count) for count in way.iterations],
            getattr(odometry.Method, way.method),
            odometry.OdometryLossParams(depth_outlier_trunc=step, depth_huber_delta=step / 2),
        )
        # Products of rotations leave orthogonality a little each time, and a chain of them would run away.
        motion = rigid(found.transformation.numpy()[None])[0]
    except (RuntimeError, PoseError):  # a singular system: nothing in common
        return None
    return judged(first, second, motion)


def information(first: RgbdView, second: RgbdView, motion: Motion) -> NDArray[np.float64]:
    """How firmly the points that both views show hold the motion, (6, 6), for the pose graph (Choi 2015).

    The sum of G^T G over them, G = [-[q]x | I] with q in the first camera, in metres. Whether depth agrees there does
    not count: networks differ from image to image, and that would make the edges between some firmer.
    """
    shown = _shown(first, second, motion)
    x, y, z = shown.points.T.astype(np.float64)
    zero, one = np.zeros_like(x), np.ones_like(x)
    rows = ([zero, z, -y, one, zero, zero], [-z, zero, x, zero, one, zero], [y, -x, zero, zero, zero, one])
    g = np.concatenate([np.stack(row, axis=1) for row in rows])
    return np.asarray(GRID**2 * g.T @ g)


def judged(first: RgbdView, second: RgbdView, motion: Motion) -> Match:
    """The motion with what every second row and column of the second view says of it."""
    shown = _shown(first, second, motion)
    z = shown.points[:, 2]
    equal = np.abs(shown.depth - z) < np.maximum(DEPTH_STEP, DEPTH_SHARE * shown.depth)
    agreement = float(equal.mean()) if equal.size else 0.0
    return Match(motion, shown.share, agreement, _correlation(shown.brightness[equal], shown.own_brightness[equal]))


@dataclass(frozen=True, slots=True, eq=False)
class _Shown:
    """Points (K, 3) of the second view in the first camera where the first has depth, with its ``depth`` and both
    brightnesses there (K,); they are the ``share`` of the second's points.
    """

    points: NDArray[np.float64]
    depth: NDArray[np.float32]
    brightness: NDArray[np.float32]
    own_brightness: NDArray[np.float32]
    share: float


def _shown(first: RgbdView, second: RgbdView, motion: Motion) -> _Shown:
    camera = first.camera
    grid = (slice(None, None, GRID),) * 2
    depth = second.depth[grid].ravel()
    known = depth > 0
    points = (camera.rays()[grid].reshape(-1, 3) * depth[:, None])[known]
    seen = points @ motion[:3, :3].T + motion[:3, 3]
    ahead = seen[:, 2] > NEAREST
    seen, own = seen[ahead], second.brightness[grid].ravel()[known][ahead]
    pixel = np.floor(camera.project(seen)).astype(np.intp)
    inside = ((pixel >= 0) & (pixel < (camera.width, camera.height))).all(axis=1)
    column, row = pixel[inside].T
    there = first.depth[row, column]
    met = there > 0
    share = float(met.sum() / max(1, known.sum()))
    return _Shown(seen[inside][met], there[met], first.brightness[row, column][met], own[inside][met], share)


def _correlation(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """Of two brightnesses; 1 where there is no pattern to correlate, 0 where there are no pixels."""
    if first.size < 50:
        return 0.0
    if min(first.std(), second.std()) < FLAT:
        return 1.0
    return float(np.corrcoef(first, second)[0, 1])


def _step(depth: float) -> float:
    return max(DEPTH_STEP, DEPTH_SHARE * depth)


def _image(view: RgbdView) -> Any:
    image = load_open3d().t.geometry.Image
    colour = np.repeat(view.brightness[..., None], 3, axis=2)
    return load_open3d().t.geometry.RGBDImage(image(np.ascontiguousarray(colour)), image(view.depth))
