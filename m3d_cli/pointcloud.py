"""Points in metres with their colours, made from a depth map, filtered and turned into other axes.

Axes are x right, y down, z forward (OpenCV) unless a cloud says otherwise.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from m3d_cli.depthmap import DepthMap, facing
from m3d_cli.errors import UsageError
from m3d_cli.open3d_import import load_open3d

# A step of more than this share of the depth between neighbours, where the surface is not flat, is an edge.
EDGE_JUMP = 0.04
# Inverse depth of a plane is linear in the image; bent by more than this share a step, a surface is not flat.
EDGE_BEND = 0.015


class Axes(str, Enum):
    """Coordinate systems of exports: OpenCV's camera, OpenGL's camera (y up, z back), or z up with y forward."""

    OPENCV = "opencv"
    OPENGL = "opengl"
    Z_UP = "zup"

    def __str__(self) -> str:
        return self.value


# Rows turn a vector of OpenCV's axes (x right, y down, z forward) into the named ones.
_TURNS: Mapping[Axes, NDArray[np.float32]] = MappingProxyType(
    {
        Axes.OPENCV: np.eye(3, dtype=np.float32),
        Axes.OPENGL: np.diag([1, -1, -1]).astype(np.float32),
        Axes.Z_UP: np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]], dtype=np.float32),
    }
)

AXES_MEANING: Mapping[Axes, str] = MappingProxyType(
    {
        Axes.OPENCV: "x right, y down, z forward",
        Axes.OPENGL: "x right, y up, z backward",
        Axes.Z_UP: "x right, y forward, z up",
    }
)


def parse_axes(name: str) -> Axes:
    """The axes called ``name``; raises UsageError."""
    try:
        return Axes(name.lower())
    except ValueError as error:
        raise UsageError(f"--axes {name} is unknown", hint=f"one of {', '.join(Axes)}") from error


@dataclass(frozen=True, slots=True)
class CloudFilter:
    """Which pixels become points. ``max_depth`` in metres; ``stride`` keeps every n-th row and column.

    ``cell`` is how many pixels of the depth map one pixel of the network covered: edges are looked for at that grain,
    as enlarging smears them over so many pixels.
    """

    edges: bool = True
    max_depth: float | None = None
    min_confidence: float | None = None
    stride: int = 1
    cell: float = 1.0

    def __post_init__(self) -> None:
        if self.stride < 1:
            raise UsageError(f"--stride {self.stride} is not 1 or more")


@dataclass(frozen=True, slots=True, eq=False)
class PointCloud:
    """``points`` (N, 3) float32 metres in ``axes``; ``colours`` (N, 3) uint8 sRGB, ``normals`` (N, 3) float32 unit
    vectors and ``confidence`` (N,) float32 where known.
    """

    points: NDArray[np.float32]
    colours: NDArray[np.uint8] | None = None
    normals: NDArray[np.float32] | None = None
    confidence: NDArray[np.float32] | None = None
    axes: Axes = Axes.OPENCV

    def __len__(self) -> int:
        return len(self.points)

    @classmethod
    def from_depth(
        cls, depth: DepthMap, image: NDArray[np.uint8] | None = None, choice: CloudFilter | None = None
    ) -> PointCloud:
        """Every known pixel of ``depth`` that ``choice`` keeps, at X = (u - cx) Z / fx, Y = (v - cy) Z / fy.

        ``image`` (H, W, 3) is the upright photo of the same size.
        """
        choice = choice or CloudFilter()
        keep = kept_pixels(depth, choice)
        x, y = depth.camera.slopes()
        points = np.empty((*depth.depth.shape, 3), dtype=np.float32)
        np.multiply(x, depth.depth, out=points[..., 0])
        np.multiply(y, depth.depth, out=points[..., 1])
        points[..., 2] = depth.depth
        return cls(
            points[keep],
            None if image is None else image[keep],
            None if depth.normals is None else depth.normals[keep],
            None if depth.confidence is None else depth.confidence[keep],
        )

    def turned(self, axes: Axes) -> PointCloud:
        """The same cloud in other axes."""
        if axes == self.axes:
            return self
        turn = _TURNS[axes] @ _TURNS[self.axes].T
        normals = None if self.normals is None else self.normals @ turn.T
        return dataclasses.replace(self, points=self.points @ turn.T, normals=normals, axes=axes)

    def chosen(self, index: NDArray[np.intp] | NDArray[np.bool_]) -> PointCloud:
        """The points at ``index``."""
        return dataclasses.replace(
            self,
            points=self.points[index],
            colours=None if self.colours is None else self.colours[index],
            normals=None if self.normals is None else self.normals[index],
            confidence=None if self.confidence is None else self.confidence[index],
        )

    def thinned(self, voxel: float) -> PointCloud:
        """One point a cube of ``voxel`` metres: the average of those in it."""
        if not (math.isfinite(voxel) and voxel > 0):
            raise UsageError(f"--voxel {voxel} is not a positive number of metres")
        if not len(self):
            return self
        thin = _to_open3d(self).voxel_down_sample(voxel)
        values = {name: thin.point[name].numpy() for name in thin.point}
        normals = values.get("normals")
        if normals is not None:
            normals = normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-6)
        colours = values.get("colors")
        confidence = values.get("confidence")
        return PointCloud(
            values["positions"].astype(np.float32),
            None if colours is None else np.rint(colours).clip(0, 255).astype(np.uint8),
            None if normals is None else normals.astype(np.float32),
            None if confidence is None else confidence[:, 0].astype(np.float32),
            self.axes,
        )

    def without_outliers(self, neighbours: int = 20, ratio: float = 2.0) -> PointCloud:
        """Without points whose mean distance to their ``neighbours`` is ``ratio`` standard deviations above usual."""
        if len(self) <= neighbours:
            return self
        _, kept = _to_open3d(self).remove_statistical_outliers(neighbours, ratio)
        return self.chosen(kept.numpy().astype(np.bool_))


def kept_pixels(depth: DepthMap, choice: CloudFilter) -> NDArray[np.bool_]:
    """Which pixels (H, W) become points."""
    keep = np.zeros(depth.depth.shape, dtype=np.bool_)
    grid = (slice(choice.stride // 2, None, choice.stride),) * 2
    keep[grid] = depth.valid[grid]
    if choice.max_depth is not None:
        keep &= depth.depth <= choice.max_depth
    if choice.min_confidence is not None:
        if depth.confidence is None:
            raise UsageError("--min-confidence needs depth with a confidence", hint="run the model, or use npz files")
        keep &= depth.confidence >= choice.min_confidence
    return keep & ~edges(depth.depth, choice.cell) if choice.edges else keep


def edges(depth: NDArray[np.float32], cell: float = 1.0) -> NDArray[np.bool_]:
    """Pixels (H, W) on a depth discontinuity: depth jumps between neighbours and the surface is not one plane.

    A plane seen at a grazing angle, such as a road far ahead, also jumps from row to row, but its inverse depth stays
    linear; between a near thing and a far one it does not.
    """
    step = max(1, round(cell))
    first = min(step // 2, min(depth.shape) - 1)
    inverse = np.reciprocal(depth[first::step, first::step])
    known = np.isfinite(inverse)
    window = np.ones((3, 3), dtype=np.uint8)
    # Unknown neighbours count as no jump: here as the nearest, there as the farthest that is known.
    highest = cv2.dilate(np.where(known, inverse, 0), window)
    lowest = cv2.erode(np.where(known, inverse, highest), window)
    jump = highest > (1 + EDGE_JUMP) * lowest
    bent = cv2.dilate((_bend(inverse, known) > EDGE_BEND * inverse).astype(np.uint8), window).astype(np.bool_)
    coarse = (jump & bent & known).astype(np.uint8)
    size = (coarse.shape[1] * step, coarse.shape[0] * step)
    full = cv2.resize(coarse, size, interpolation=cv2.INTER_NEAREST) if step > 1 else coarse
    missing = np.maximum(0, np.array(depth.shape) - full.shape)
    full = np.pad(full, [(0, missing[0]), (0, missing[1])], mode="edge")
    return full[: depth.shape[0], : depth.shape[1]].astype(np.bool_)


def with_normals(depth: DepthMap, cell: float = 1.0) -> DepthMap:
    """``depth`` with its own normals, or with those of the surface that neighbouring pixels span.

    Neighbours are taken ``cell`` pixels apart: within one pixel of the network there is no slope to be seen.
    """
    if depth.normals is not None:
        return depth
    step = max(1, round(cell))
    points = depth.camera.rays() * depth.depth[..., None]
    across = _ahead(points, step, 1) - _ahead(points, -step, 1)
    down = _ahead(points, step, 0) - _ahead(points, -step, 0)
    normals = np.cross(down, across)
    length = np.linalg.norm(normals, axis=2, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        normals = normals / length
    lost = ~np.isfinite(normals).all(axis=2)
    # Beside unknown depth the surface is taken to face the camera.
    normals[lost] = -(points[lost] / np.maximum(np.linalg.norm(points[lost], axis=1, keepdims=True), 1e-12))
    return dataclasses.replace(depth, normals=facing(normals.astype(np.float32), depth.camera))


def _ahead(points: NDArray[np.float32], step: int, axis: int) -> NDArray[np.float32]:
    """Each pixel's neighbour ``step`` pixels on along an axis; at the border the last one stands in."""
    index = np.clip(np.arange(points.shape[axis]) + step, 0, points.shape[axis] - 1)
    return np.take(points, index, axis=axis)


def _bend(inverse: NDArray[np.float32], known: NDArray[np.bool_]) -> NDArray[np.float32]:
    """The largest second difference of inverse depth along rows, columns and diagonals, 0 beside unknown pixels."""
    filled = np.where(known, inverse, 0)
    worst = np.zeros_like(filled)
    middle = (slice(1, -1), slice(1, -1))
    height, width = filled.shape
    if height < 3 or width < 3:
        return worst
    for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
        ahead = (slice(1 + down, height - 1 + down), slice(1 + right, width - 1 + right))
        behind = (slice(1 - down, height - 1 - down), slice(1 - right, width - 1 - right))
        change = np.abs(filled[ahead] + filled[behind] - 2 * filled[middle])
        change *= known[ahead] & known[behind]
        worst[middle] = np.maximum(worst[middle], change)
    return worst


def _to_open3d(cloud: PointCloud) -> Any:  # open3d is untyped
    o3d = load_open3d()
    tensor = o3d.t.geometry.PointCloud(o3d.core.Tensor(np.ascontiguousarray(cloud.points)))
    if cloud.colours is not None:
        tensor.point["colors"] = o3d.core.Tensor(cloud.colours.astype(np.float32))
    if cloud.normals is not None:
        tensor.point["normals"] = o3d.core.Tensor(np.ascontiguousarray(cloud.normals))
    if cloud.confidence is not None:
        tensor.point["confidence"] = o3d.core.Tensor(np.ascontiguousarray(cloud.confidence[:, None]))
    return tensor
