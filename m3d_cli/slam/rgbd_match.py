"""The motion between two views with depth: open3d's hybrid odometry (Park 2017), and whether to believe it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from m3d_cli.camera import Camera
from m3d_cli.errors import PoseError, UsageError
from m3d_cli.open3d_import import load_open3d
from m3d_cli.sequence.frames import View
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
# Metres in front of a camera before which nothing is seen.
NEAREST = 0.01
SLID = 0.1


@dataclass(frozen=True, slots=True)
class _Way:
    """A method of open3d, and its iterations from the coarsest scale to the finest."""

    method: str
    iterations: tuple[int, ...]


_HYBRID = _Way("Hybrid", (20, 10, 6))
_SURFACES = _Way("PointToPlane", (10, 10))


@dataclass(frozen=True, slots=True, eq=False)
class RgbdView:
    """A view as the odometry takes it: brightness (H, W) in 0..1, depth (H, W) with 0 unknown, its camera."""

    brightness: NDArray[np.float32]
    depth: NDArray[np.float32]
    camera: Camera


@dataclass(frozen=True, slots=True, eq=False)
class Match:
    """``motion`` takes points of the second view's camera into the first's; the rest tells how well they then agree."""

    motion: Motion
    overlap: float
    agreement: float
    correlation: float

    @property
    def is_believed(self) -> bool:
        """Whether both views show one scene after this motion."""
        return self.overlap >= OVERLAP and self.agreement >= AGREEMENT and self.correlation >= CORRELATION

    def is_worse_than(self, other: Match) -> bool:
        """Whether the views agree noticeably less after this motion: surfaces alone let a camera slide along walls."""
        slid = self.correlation < other.correlation - NOTICEABLE
        return slid or self.agreement < other.agreement - NOTICEABLE or self.overlap < other.overlap - SLID


def prepared(view: View, max_depth: float) -> RgbdView:
    """A view for the odometry; raises UsageError for depth without a photo."""
    if view.image is None:
        raise UsageError("odometry needs photos beside the depth", hint="name the photos: m3d slam odometry PHOTOS")
    brightness = cv2.cvtColor(view.image, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
    with np.errstate(invalid="ignore"):
        known = (view.depth.depth > 0) & (view.depth.depth <= max_depth)
    return RgbdView(
        np.asarray(brightness, dtype=np.float32),
        np.where(known, view.depth.depth, 0).astype(np.float32),
        view.depth.camera,
    )


def match(first: RgbdView, second: RgbdView, guess: Motion, max_depth: float) -> Match | None:
    """The motion of the second view in the first, begun at ``guess``; None where the two cannot be brought together."""
    if first.camera != second.camera:
        raise UsageError("frames of one sequence must share one camera", hint="--same-camera, --focal or --intrinsics")
    if min(np.count_nonzero(first.depth), np.count_nonzero(second.depth)) < first.depth.size // 50:
        return None
    found = _motion(first, second, guess, max_depth, _HYBRID)
    if found is None:
        return None
    # Brightness finds the motion along walls, surfaces alone then make it exact where they hold it.
    exact = _motion(first, second, found.motion, max_depth, _SURFACES)
    return found if exact is None or exact.is_worse_than(found) else exact


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


def information(first: RgbdView, second: RgbdView, motion: Motion, max_depth: float) -> NDArray[np.float64]:
    """How firmly the views hold the motion, (6, 6), for the pose graph."""
    o3d = load_open3d()
    typical = float(np.median(second.depth[second.depth > 0]))
    found: Any = o3d.t.pipelines.odometry.compute_odometry_information_matrix(
        o3d.t.geometry.Image(second.depth),
        o3d.t.geometry.Image(first.depth),
        o3d.core.Tensor(first.camera.opencv_matrix),
        o3d.core.Tensor(motion),
        _step(typical),
        1.0,
        max_depth,
    )
    return np.asarray(found.numpy(), dtype=np.float64)


def judged(first: RgbdView, second: RgbdView, motion: Motion) -> Match:
    """The motion with what every second row and column of the second view says of it."""
    camera = first.camera
    grid = (slice(None, None, 2),) * 2
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
    shown = there > 0
    equal = np.abs(there - seen[inside, 2])[shown] < np.maximum(DEPTH_STEP, DEPTH_SHARE * there[shown])
    first_bright, second_bright = first.brightness[row, column][shown][equal], own[inside][shown][equal]
    overlap = float(shown.sum() / max(1, known.sum()))
    agreement = float(equal.mean()) if equal.size else 0.0
    return Match(motion, overlap, agreement, _correlation(first_bright, second_bright))


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
