"""Depth of many frames with known poses fused into one truncated signed distance field, and its surface.

Curless and Levoy (1996): every voxel near a seen surface keeps the weighted mean of its distances to it. Blocks of
voxels exist only near surfaces (open3d's VoxelBlockGrid), so memory follows the surface, not the number of frames.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from m3d_cli.camera import Camera
from m3d_cli.errors import M3dError, UsageError
from m3d_cli.formats.surface import Surface
from m3d_cli.open3d_import import load_open3d
from m3d_cli.pointcloud import PointCloud, edges
from m3d_cli.sequences.frames import View
from m3d_cli.trajectory import inverse

# Voxels along a side of a block.
BLOCK = 8
# Blocks beyond which the grid is refused: 512 voxels of 24 bytes each, about 5 GB.
MOST_BLOCKS = 400_000
# Depth nearer than this weighs no more than depth there, in metres.
NEAR = 1.0


@dataclass(frozen=True, slots=True)
class FusionOptions:
    """``voxel`` metres; distances beyond ``truncation`` voxels are cut; depth beyond ``max_depth`` metres is left out.

    ``fewest_views`` is how many frames must have seen a voxel; ``edges`` leaves out pixels on depth discontinuities;
    ``min_confidence`` pixels that the network doubts.
    """

    voxel: float = 0.02
    truncation: float = 4.0
    max_depth: float = 5.0
    fewest_views: int = 2
    edges: bool = True
    min_confidence: float = 0.0

    def __post_init__(self) -> None:
        for name in ("voxel", "truncation", "max_depth"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise UsageError(f"--{name.replace('_', '-')} {value} is not a positive number")


class Fusion:
    """A field that takes one view after the other."""

    def __init__(self, options: FusionOptions) -> None:
        self.options = options
        self._has_colours = False
        self._o3d: Any = load_open3d()
        core = self._o3d.core
        self._grid: Any = self._o3d.t.geometry.VoxelBlockGrid(
            attr_names=("tsdf", "weight", "color", "views"),
            attr_dtypes=(core.float32,) * 4,
            attr_channels=((1), (1), (3), (1)),
            voxel_size=options.voxel,
            block_resolution=BLOCK,
            block_count=4096,
            device=core.Device("CPU:0"),
        )

    def add(self, view: View, world_from_camera: NDArray[np.float64]) -> int:
        """Fuse one view; returns how many of its pixels counted."""
        depth, weight = self._judged(view)
        counted = int(np.count_nonzero(weight))
        if not counted:
            return 0
        camera_from_world = inverse(world_from_camera)
        blocks = self._blocks(depth, view.depth.camera, camera_from_world)
        places, index = self._grid.voxel_coordinates_and_flattened_indices(blocks)
        seen = places.numpy() @ camera_from_world[:3, :3].T.astype(np.float32) + camera_from_world[:3, 3]
        self._mix(seen, index.numpy(), (depth, weight), view)
        return counted

    def surface(self) -> Surface:
        """The zero level of the field, where enough frames saw it; may be empty."""
        weight, views = self._attribute("weight", 1), self._attribute("views", 1)
        kept = weight.copy()
        weight[views < self.options.fewest_views] = 0
        mesh = self._grid.extract_triangle_mesh(0.0)
        weight[:] = kept
        if "positions" not in mesh.vertex or not len(mesh.vertex.positions):
            return Surface(PointCloud(np.zeros((0, 3), np.float32)), np.zeros((0, 3), np.int32))
        colours = np.rint(255 * mesh.vertex.colors.numpy()).clip(0, 255).astype(np.uint8) if self._has_colours else None
        corners = PointCloud(mesh.vertex.positions.numpy(), colours, mesh.vertex.normals.numpy())
        return in_order(Surface(corners, mesh.triangle.indices.numpy().astype(np.int32)))

    def _judged(self, view: View) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Depth, 0 where it does not count, and its weight: errors of depth grow with it, so 1 / depth^2."""
        depth, confidence = view.depth.depth, view.depth.confidence
        with np.errstate(invalid="ignore"):
            counts = (depth > 0) & (depth <= self.options.max_depth)
        if self.options.edges:
            counts &= ~edges(depth, view.cell)
        if confidence is not None:
            counts &= confidence >= self.options.min_confidence
        weight = np.where(counts, (NEAR / np.maximum(np.where(counts, depth, NEAR), NEAR)) ** 2, 0)
        if confidence is not None:
            weight = weight * confidence
        return np.where(counts, depth, 0).astype(np.float32), weight.astype(np.float32)

    def _blocks(self, depth: NDArray[np.float32], camera: Camera, camera_from_world: NDArray[np.float64]) -> Any:
        """Places in the grid of all blocks near the depth's surface, made where they are new."""
        core = self._o3d.core
        near = self._grid.compute_unique_block_coordinates(
            self._o3d.t.geometry.Image(np.ascontiguousarray(depth)),
            core.Tensor(camera.opencv_matrix),
            core.Tensor(camera_from_world),
            1.0,
            self.options.max_depth,
            self.options.truncation,
        )
        table = self._grid.hashmap()
        if table.size() > MOST_BLOCKS:
            raise M3dError(
                f"the scene needs more than {MOST_BLOCKS} blocks of {BLOCK}^3 voxels of {self.options.voxel:g} m",
                hint="take a larger --voxel or a smaller --max-depth",
                code="SCENE_TOO_LARGE",
            )
        table.activate(near)
        places, found = table.find(near)
        return places[found]

    def _mix(
        self,
        seen: NDArray[np.float32],
        index: NDArray[np.int64],
        judged: tuple[NDArray[np.float32], NDArray[np.float32]],
        view: View,
    ) -> None:
        """Take the view into the voxels at ``index``, which the camera sees at ``seen`` (K, 3)."""
        pixel, inside = _pixels(seen, view.depth.camera)
        depth, weight = (values.ravel()[pixel] for values in judged)
        cut = self.options.truncation * self.options.voxel
        distance = depth - seen[:, 2]
        counts = inside & (weight > 0) & (distance > -cut)
        row, weight, pixel = index[counts], weight[counts], pixel[counts]
        tsdf, total = self._attribute("tsdf", 1), self._attribute("weight", 1)
        before = total[row]
        share = weight / (before + weight)
        tsdf[row] += share * (np.minimum(distance[counts] / cut, 1) - tsdf[row])
        total[row] = before + weight
        self._attribute("views", 1)[row] += 1
        if view.image is not None:
            self._has_colours = True
            colour = self._attribute("color", 3)
            colour[row] += share[:, None] * (view.image.reshape(-1, 3)[pixel] - colour[row])

    def _attribute(self, name: str, channels: int) -> NDArray[np.float32]:
        """The grid's own numbers, (voxels,) or (voxels, channels): writing here writes there."""
        values = self._grid.attribute(name).reshape((-1, channels)).numpy()
        return np.asarray(values[:, 0] if channels == 1 else values)


def in_order(surface: Surface) -> Surface:
    """The same surface with corners and triangles sorted: threads make them in an order that changes from run to run.

    Corners that are equal to the last bit become one, and triangles that shrink to a line by that go.
    """
    points, colours, normals = surface.corners.points, surface.corners.colours, surface.corners.normals
    # As whole numbers of the same bits, NaN of a normal is equal to itself.
    parts = [np.ascontiguousarray(part, np.float32).view(np.int32) for part in (points, normals) if part is not None]
    keys = np.concatenate([*parts, *(colour.astype(np.int32) for colour in (colours,) if colour is not None)], axis=1)
    order = np.lexsort(keys.T[::-1])
    is_new = np.concatenate([[True], (np.diff(keys[order], axis=0) != 0).any(axis=1)])
    place = np.empty(len(order), dtype=np.int32)
    place[order] = np.cumsum(is_new) - 1
    triangles = place[surface.triangles]
    a, b, c = triangles.T
    triangles = triangles[(a != b) & (b != c) & (c != a)]
    # Turned until its lowest corner comes first, a triangle keeps the side it shows.
    turned = (triangles.argmin(axis=1)[:, None] + np.arange(3)) % 3
    triangles = np.take_along_axis(triangles, turned, axis=1)
    kept = order[is_new]
    corners = PointCloud(
        points[kept], None if colours is None else colours[kept], None if normals is None else normals[kept]
    )
    return Surface(corners, np.ascontiguousarray(triangles[np.lexsort(triangles.T[::-1])]))


def _pixels(seen: NDArray[np.float32], camera: Camera) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """The pixel (as one number) in which each point (K, 3) of the camera falls, and whether it falls in one."""
    with np.errstate(invalid="ignore", divide="ignore"):
        column = np.floor(seen[:, 0] / seen[:, 2] * camera.fx + camera.cx)
        row = np.floor(seen[:, 1] / seen[:, 2] * camera.fy + camera.cy)
        inside = (seen[:, 2] > 0) & (column >= 0) & (column < camera.width) & (row >= 0) & (row < camera.height)
        pixel = np.where(inside, row * camera.width + column, 0)
    return pixel.astype(np.intp), inside
