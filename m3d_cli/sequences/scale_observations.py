"""Log ratios between metric depth and the depth that a trajectory without scale gives the same points.

The points are those of a sparse model with the images that see them, or corners followed through the photos and
triangulated from the poses.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from m3d_cli.camera import Camera
from m3d_cli.depthmap import DepthMap
from m3d_cli.errors import UsageError
from m3d_cli.formats.colmap import ColmapModel
from m3d_cli.pointcloud import edges
from m3d_cli.sequences.frames import SequenceFrame, View
from m3d_cli.sequences.poses import PosedFrames
from m3d_cli.trajectory import Trajectory, inverse

Values = NDArray[np.float64]

# Corners a frame, and pixels between them.
CORNERS = 400
CORNER_GAP = 6
# Frames over which corners are followed; the more the better triangulated, the fewer the more survive.
FOLLOWED = 12
# Pixels by which a corner followed there and back may miss itself, and a triangulated point its image.
BACK_ERROR = 0.7
REPROJECTION = 1.5
# Radians between two rays that make a point.
SMALLEST_PARALLAX = 0.02


def observed(
    posed: PosedFrames, model: ColmapModel | None, longest: int, advance: Callable[[], None] = lambda: None
) -> list[Values]:
    """Log ratios of every frame: by the points of a model that has some, else by corners followed in the photos."""
    if model is not None and len(model.points.numbers):
        found = ratios_of_points(posed, model, longest)
    else:
        found = ratios_of_corners(posed.frames, posed.trajectory, longest)
    ratios = []
    for values in found:
        ratios.append(values)
        advance()
    return ratios


def log_ratios(points: Values, camera_from_world: Values, view: View) -> Values:
    """Log ratios of world points (K, 3) against a view's depth, NaN where it is unknown, on an edge or out of sight."""
    seen = points @ camera_from_world[:3, :3].T + camera_from_world[:3, 3]
    ratios = np.full(len(points), np.nan)
    ahead = seen[:, 2] > 0
    depth = _sampled(view.depth, view.depth.camera.project(seen[ahead]), view.cell)
    ratios[ahead] = np.log(depth / seen[ahead, 2])
    return ratios


def ratios_of_points(posed: PosedFrames, model: ColmapModel, longest: int) -> Iterator[Values]:
    """Log ratios of every frame, of the points that a sparse model says its image sees."""
    images = {image.name: image for image in model.images}
    poses = inverse(posed.trajectory.poses)
    for frame, name, pose in zip(posed.frames, posed.trajectory.names or (), poses, strict=True):
        points = model.points.positions[model.seen_by(images[name])]
        yield log_ratios(points, pose, frame.view(longest))


def ratios_of_corners(frames: Sequence[SequenceFrame], trajectory: Trajectory, longest: int) -> Iterator[Values]:
    """Log ratios of every frame, of corners followed into the frames after it and triangulated from the poses.

    Only ``FOLLOWED`` frames are held at a time.
    """
    window: deque[View] = deque()
    following = iter(frames)
    poses = inverse(trajectory.poses)
    for index in range(len(frames)):
        while len(window) <= FOLLOWED and (frame := next(following, None)) is not None:
            window.append(frame.view(longest))
        yield _frame_ratios(list(window), poses[index : index + len(window)])
        window.popleft()


def _frame_ratios(views: Sequence[View], camera_from_world: Values) -> Values:
    first = views[0]
    corners = _corners(first)
    depths = np.full(len(corners), np.nan)
    if len(corners) and len(views) > 1:
        _follow(views, corners, _relative(camera_from_world), depths)
    metric = _sampled(first.depth, corners.astype(np.float64) + 0.5, first.cell)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.log(metric / depths))


def _relative(camera_from_world: Values) -> Values:
    """Each camera seen from the first: camera_from_first."""
    return np.asarray(camera_from_world @ inverse(camera_from_world[0]))


def _follow(views: Sequence[View], corners: NDArray[np.float32], from_first: Values, depths: Values) -> None:
    """Fill ``depths`` of the corners by the last view to which each was followed with enough parallax."""
    places, alive = corners.copy(), np.arange(len(corners))
    for before, after, pose in zip(views[:-1], views[1:], from_first[1:], strict=True):
        places, alive = _tracked(_grey(before), _grey(after), places, alive)
        if len(alive) < FOLLOWED:
            return
        start = corners[alive].astype(np.float64) + 0.5
        found = triangulated(start, places.astype(np.float64) + 0.5, pose, views[0].depth.camera, after.depth.camera)
        good = np.isfinite(found)
        depths[alive[good]] = found[good]


def triangulated(first: Values, second: Values, pose: Values, camera: Camera, other: Camera) -> Values:
    """Depth (K,) in the first camera of pixels seen in both, NaN where parallax is small or the rays miss.

    ``pose`` is second_from_first. The depth z makes z R x + t parallel to the second ray.
    """
    x = camera.unproject(first, np.ones(len(first)))
    y = other.unproject(second, np.ones(len(second)))
    turned = x @ pose[:3, :3].T
    a, b = np.cross(y, turned), np.cross(y, pose[:3, 3])
    squares = (a * a).sum(axis=1)
    lengths = np.linalg.norm(y, axis=1) * np.linalg.norm(turned, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        depth = -(a * b).sum(axis=1) / squares
        seen = turned * depth[:, None] + pose[:3, 3]
        missed = np.linalg.norm(other.project(seen) - second, axis=1)
        good = (np.sqrt(squares) > SMALLEST_PARALLAX * lengths) & (depth > 0) & (seen[:, 2] > 0)
        return np.where(good & (missed < REPROJECTION), depth, np.nan)


def _tracked(
    before: NDArray[np.uint8], after: NDArray[np.uint8], places: NDArray[np.float32], alive: NDArray[np.intp]
) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    """Corners (K, 2) followed by Lucas and Kanade's flow, without those that do not come back."""
    ahead, found, _ = cv2.calcOpticalFlowPyrLK(before, after, places[:, None], places[:, None].copy())
    back, returned, _ = cv2.calcOpticalFlowPyrLK(after, before, ahead, places[:, None].copy())
    missed = np.linalg.norm(back[:, 0] - places, axis=1)
    kept = (found[:, 0] > 0) & (returned[:, 0] > 0) & (missed < BACK_ERROR)
    return ahead[kept, 0], alive[kept]


def _corners(view: View) -> NDArray[np.float32]:
    """Corners (K, 2) in OpenCV's pixels."""
    found = cv2.goodFeaturesToTrack(_grey(view), CORNERS, 0.01, CORNER_GAP)
    return np.zeros((0, 2), np.float32) if found is None else np.asarray(found[:, 0], dtype=np.float32)


def _grey(view: View) -> NDArray[np.uint8]:
    if view.image is None:
        raise UsageError("without points of a model, corners are followed in the photos", hint="name the photos")
    return np.asarray(cv2.cvtColor(view.image, cv2.COLOR_RGB2GRAY), dtype=np.uint8)


def _sampled(depth: DepthMap, pixels: Values, cell: float) -> Values:
    """Depth at pixel positions (K, 2) of its nearest pixel; NaN on edges, where it belongs to nothing."""
    values = np.where(edges(depth.depth, cell), np.float32(np.nan), depth.depth)
    column, row = np.floor(pixels[:, 0]), np.floor(pixels[:, 1])
    with np.errstate(invalid="ignore"):
        inside = (column >= 0) & (column < depth.camera.width) & (row >= 0) & (row < depth.camera.height)
    found = np.full(len(pixels), np.nan)
    found[inside] = values[row[inside].astype(np.intp), column[inside].astype(np.intp)]
    return found
