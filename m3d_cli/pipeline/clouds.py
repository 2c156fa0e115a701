"""From a depth map and its photo to the bytes of clouds, meshes and their images."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from m3d_cli.depthmap import DepthMap
from m3d_cli.errors import OutputError, UsageError
from m3d_cli.formats.cloud_preview import encode_cloud_preview
from m3d_cli.formats.glb import Mesh, encode_glb
from m3d_cli.formats.ply import encode_pcd, encode_ply, encode_xyz
from m3d_cli.pipeline.plan import OutputFormat
from m3d_cli.pointcloud import AXES_MEANING, Axes, CloudFilter, PointCloud, with_normals

CLOUD_FORMATS = (
    OutputFormat.PLY,
    OutputFormat.PCD,
    OutputFormat.XYZ,
    OutputFormat.GLB,
    OutputFormat.CLOUD_PREVIEW,
)


@dataclass(frozen=True, slots=True)
class CloudStyle:
    """How clouds are made: axes of the export, filters, thinning to ``voxel`` metres, outliers removed, normals."""

    axes: Axes = Axes.OPENCV
    edges: bool = True
    min_confidence: float | None = None
    stride: int = 1
    voxel: float | None = None
    outliers: bool = False
    normals: bool = False

    def __post_init__(self) -> None:
        if self.voxel is not None and not (math.isfinite(self.voxel) and self.voxel > 0):
            raise UsageError(f"--voxel {self.voxel} is not a positive number of metres")
        if self.min_confidence is not None and not 0 <= self.min_confidence <= 1:
            raise UsageError(f"--min-confidence {self.min_confidence} is not between 0 and 1")

    def choice(self, cell: float) -> CloudFilter:
        """Which pixels become points when one pixel of the network covers ``cell`` pixels of the photo."""
        return CloudFilter(self.edges, None, self.min_confidence, self.stride, cell)


class CloudMaker:
    """Clouds and meshes of one photo, each made once; ``image`` (H, W, 3) if there is one, ``about`` are comments."""

    def __init__(
        self, depth: DepthMap, image: NDArray[np.uint8] | None, style: CloudStyle, cell: float, about: dict[str, str]
    ) -> None:
        if image is not None and image.shape[:2] != depth.depth.shape:
            raise OutputError(
                f"the photo has {image.shape[1]} x {image.shape[0]} pixels, its depth {depth.camera.width} x "
                f"{depth.camera.height}",
                hint="give the photo that the depth was made from",
            )
        self._depth = depth
        self._image = image
        self._style = style
        self._cell = cell
        self._about = about
        self._cloud: PointCloud | None = None
        self._mesh: Mesh | None = None

    def encode(self, kind: OutputFormat) -> tuple[bytes | memoryview, ...]:
        """The bytes of one of CLOUD_FORMATS."""
        if kind is OutputFormat.GLB:
            about = self._about | {"axes": axes_note(self._style, kind), "stride": str(self.mesh.stride)}
            return (encode_glb(self.mesh, self._image, about),)
        return encode_points(kind, self.cloud, self.comments)

    @property
    def comments(self) -> tuple[str, ...]:
        """What a file of points says of photo, camera and network."""
        return tuple(f"{name} {value}" for name, value in self._about.items())

    @property
    def points(self) -> int | None:
        """How many points the cloud holds, or the mesh where that has fewer; None when neither was made."""
        made = [len(self._cloud)] if self._cloud is not None else []
        made += [self._mesh.size] if self._mesh is not None else []
        return min(made, default=None)

    @property
    def mesh(self) -> Mesh:
        """The mesh of the depth grid."""
        if self._mesh is None:
            self._mesh = Mesh.from_depth(self._depth, self._style.choice(self._cell))
        return self._mesh

    @property
    def cloud(self) -> PointCloud:
        """The finished cloud in the axes of the style."""
        if self._cloud is None:
            self._cloud = self._made()
        return self._cloud

    def _made(self) -> PointCloud:
        style = self._style
        depth = with_normals(self._depth, self._cell) if style.normals else self._depth
        return styled(PointCloud.from_depth(depth, self._image, style.choice(self._cell)), style)


def styled(cloud: PointCloud, style: CloudStyle) -> PointCloud:
    """The cloud thinned, without outliers and in other axes, as the style says."""
    if style.voxel is not None:
        cloud = cloud.thinned(style.voxel)
    if style.outliers:
        cloud = cloud.without_outliers()
    return cloud.turned(style.axes)


def encode_points(kind: OutputFormat, cloud: PointCloud, comments: tuple[str, ...]) -> tuple[bytes | memoryview, ...]:
    """The bytes of a file of points."""
    if kind is OutputFormat.PLY:
        return encode_ply(cloud, comments)
    if kind is OutputFormat.PCD:
        return encode_pcd(cloud, comments)
    if kind is OutputFormat.XYZ:
        return (encode_xyz(cloud),)
    return (encode_cloud_preview(cloud),)


def axes_note(style: CloudStyle, kind: OutputFormat) -> str:
    """The axes of a written file, in words."""
    axes = Axes.OPENGL if kind is OutputFormat.GLB else style.axes
    return f"{axes}: {AXES_MEANING[axes]}"


def mesh_note(formats: tuple[OutputFormat, ...], options: tuple[str, ...]) -> str:
    """Which ``options`` a GLB does not follow, "" for none; raises UsageError where nothing else is written."""
    if OutputFormat.GLB not in formats or not options:
        return ""
    text = f"{', '.join(options)}: a GLB is a mesh of the depth grid in glTF's own axes and does not follow this"
    if not any(kind in formats for kind in CLOUD_FORMATS if kind is not OutputFormat.GLB):
        raise UsageError(text, hint="leave it out, or write points: --format ply")
    return text
