"""The focal length from straight lines: in what people build, most edges run in three directions square to each other.

The image's line segments (OpenCV's detector) are explained by three orthogonal vanishing points of a pinhole camera
whose principal point is the image's centre: RANSAC over frames and focal lengths, then Gauss-Newton over both, whose
covariance says how sure the focal length is. Nothing is said where the lines do not carry it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# The long side lines are looked for at, and the least length of one, as a fraction of the diagonal.
LONG_SIDE = 960
LEAST_LENGTH = 0.03
MOST_LINES = 400

# Focal lengths tried, as fractions of the diagonal, and frames tried for each.
RATIOS = np.geomspace(0.4, 3.0, 28)
FRAMES = 240
SEED = 0

# A segment belongs to a vanishing point that it misses by less than this angle.
WITHIN = math.radians(1.5)

# What makes three directions believable: share of the lines' length explained, lines a direction, and the largest
# uncertainty of ln focal worth telling.
LEAST_SHARE = 0.5
LEAST_LINES = 8
MOST_SIGMA = 0.025

# Principal points off centre, lens distortion and edges that are not square to the rest, measured on images with
# known intrinsics: the formal uncertainty is multiplied and added to.
SIGMA_FACTOR = 3.0
SIGMA_FLOOR = 0.08

ROUNDS = 12
STEP = 1e-5


@dataclass(frozen=True, slots=True)
class LineFocal:
    """Focal length over the image's diagonal, the standard deviation of its logarithm, and the lines it rests on."""

    ratio: float
    sigma: float
    lines: int


@dataclass(frozen=True, slots=True, eq=False)
class _Segments:
    """Midpoints (N, 2) from the image's centre and unit directions (N, 2), in diagonals, and lengths (N,)."""

    middle: Array
    direction: Array
    length: Array


def focal_of_lines(image: NDArray[np.uint8]) -> LineFocal | None:
    """Focal length that the straight lines of an image (H, W, 3) tell, or None where they tell none."""
    segments = _segments(image)
    if len(segments.length) < 3 * LEAST_LINES:
        return None
    ratio, frame = _searched(segments)
    ratio, frame, sigma = _refined(segments, ratio, frame)
    nearest, misses = _nearest(segments, frame, ratio)
    inside = misses < WITHIN
    counts = np.bincount(nearest[inside], minlength=3)
    share = segments.length[inside].sum() / segments.length.sum()
    if counts.min() < LEAST_LINES or share < LEAST_SHARE or not sigma < MOST_SIGMA:
        return None
    return LineFocal(ratio, math.hypot(SIGMA_FACTOR * sigma, SIGMA_FLOOR), int(inside.sum()))


def _segments(image: NDArray[np.uint8]) -> _Segments:
    scale = min(1.0, LONG_SIDE / max(image.shape[:2]))
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    grey = cv2.cvtColor(cv2.resize(image, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
    found = cv2.createLineSegmentDetector().detect(grey)[0]
    diagonal = math.hypot(*size)
    # OpenCV counts from the centre of the first pixel.
    ends = np.zeros((0, 2, 2)) if found is None else found.reshape(-1, 2, 2).astype(np.float64) + 0.5
    ends = (ends - np.array(size) / 2) / diagonal
    along = ends[:, 1] - ends[:, 0]
    length = np.linalg.norm(along, axis=1)
    kept = np.flatnonzero(length > LEAST_LENGTH)
    kept = kept[np.argsort(-length[kept])][:MOST_LINES]
    return _Segments(ends[kept].mean(axis=1), along[kept] / length[kept, None], length[kept])


def _searched(segments: _Segments) -> tuple[float, Array]:
    """The focal length and frame (3, 3), a direction a row, that explain the longest lines."""
    rng = np.random.default_rng(SEED)
    share = segments.length / segments.length.sum()
    triples = rng.choice(len(share), size=(FRAMES, 3), p=share)
    best, ratio, frame = -1.0, 1.0, np.eye(3)
    for candidate in RATIOS:
        normals = _planes(segments, float(candidate))
        frames = _frames(normals[triples])
        if not len(frames):
            continue
        misses = np.stack([_misses(segments, frames[:, axis], float(candidate)) for axis in range(3)]).min(axis=0)
        scores = (np.clip(1 - (misses / WITHIN) ** 2, 0, None) * segments.length).sum(axis=1)
        place = int(scores.argmax())
        if scores[place] > best:
            best, ratio, frame = float(scores[place]), float(candidate), frames[place]
    return ratio, frame


def _planes(segments: _Segments, ratio: float) -> Array:
    """Unit normals (N, 3) of the planes through the camera and each segment."""
    ray = np.column_stack([segments.middle / ratio, np.ones(len(segments.length))])
    along = np.column_stack([segments.direction, np.zeros(len(segments.length))])
    normal = np.cross(ray, along)
    return np.asarray(normal / np.linalg.norm(normal, axis=1, keepdims=True))


def _frames(normals: Array) -> Array:
    """Orthogonal frames (F, 3, 3): the direction that the first two planes (F, 3, 3) share, and one in the third."""
    first = _unit(np.cross(normals[:, 0], normals[:, 1]))
    second = _unit(np.cross(normals[:, 2], first))
    frames = np.stack([first, second, np.cross(first, second)], axis=1)
    # Planes that coincide share no direction; what stands for it is no frame.
    return np.asarray(frames[np.abs(np.linalg.det(frames)) > 0.5])


def _unit(vectors: Array) -> Array:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12))


def _misses(segments: _Segments, directions: Array, ratio: float) -> Array:
    """Angles (F, N) in the image between segments and the lines from their midpoints to vanishing points.

    ``directions`` (F, 3) are those of the scene that vanish there.
    """
    towards = ratio * directions[:, None, :2] - directions[:, None, 2:] * segments.middle[None]
    cross = towards[..., 0] * segments.direction[:, 1] - towards[..., 1] * segments.direction[:, 0]
    return np.asarray(np.arcsin(np.clip(np.abs(cross) / np.maximum(np.linalg.norm(towards, axis=2), 1e-12), 0, 1)))


def _nearest(segments: _Segments, frame: Array, ratio: float) -> tuple[NDArray[np.intp], Array]:
    """Which direction of the frame each segment runs in, and by how much it misses it."""
    misses = _misses(segments, frame, ratio)
    nearest = misses.argmin(axis=0)
    return nearest, misses[nearest, np.arange(len(nearest))]


def _refined(segments: _Segments, ratio: float, frame: Array) -> tuple[float, Array, float]:
    """Gauss-Newton over rotation and ln focal on the segments that belong; also the uncertainty of ln focal."""
    sigma = math.inf
    for _ in range(ROUNDS):
        nearest, misses = _nearest(segments, frame, ratio)
        inside = misses < WITHIN
        if inside.sum() < 3 * LEAST_LINES:
            return ratio, frame, math.inf
        residual = _signed(segments, frame, ratio, nearest)[inside]
        jacobian = _jacobian(segments, frame, ratio, nearest)[inside]
        normal = jacobian.T @ jacobian
        if np.linalg.cond(normal) > 1e10:
            return ratio, frame, math.inf
        covariance = np.linalg.inv(normal)
        change = -covariance @ (jacobian.T @ residual)
        sigma = math.sqrt(covariance[3, 3] * residual @ residual / max(1, len(residual) - 4))
        ratio = float(np.clip(ratio * math.exp(np.clip(change[3], -0.3, 0.3)), RATIOS[0] / 2, RATIOS[-1] * 2))
        frame = frame @ np.asarray(cv2.Rodrigues(change[:3])[0]).T
    return ratio, frame, sigma


def _signed(segments: _Segments, frame: Array, ratio: float, nearest: NDArray[np.intp]) -> Array:
    direction = frame[nearest]
    towards = ratio * direction[:, :2] - direction[:, 2:] * segments.middle
    cross = towards[:, 0] * segments.direction[:, 1] - towards[:, 1] * segments.direction[:, 0]
    dot = (towards * segments.direction).sum(axis=1)
    return np.asarray(np.arctan(cross / np.where(np.abs(dot) < 1e-12, 1e-12, dot)))


def _jacobian(segments: _Segments, frame: Array, ratio: float, nearest: NDArray[np.intp]) -> Array:
    """(N, 4): change of the signed angles with a small rotation and with ln focal."""
    base = _signed(segments, frame, ratio, nearest)
    columns = []
    for axis in range(3):
        turn = np.asarray(cv2.Rodrigues(STEP * np.eye(3)[axis])[0])
        columns.append((_signed(segments, frame @ turn.T, ratio, nearest) - base) / STEP)
    columns.append((_signed(segments, frame, ratio * math.exp(STEP), nearest) - base) / STEP)
    return np.column_stack(columns)
