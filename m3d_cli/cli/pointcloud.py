"""``m3d pointcloud``: photos, or existing depth maps, to point clouds and meshes in metres."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import typer

from m3d_cli.cli import option_groups as groups
from m3d_cli.cli.grouping import given, grouped, option, setting
from m3d_cli.cli.running import photos_of, run_photos
from m3d_cli.errors import UsageError

if TYPE_CHECKING:
    from m3d_cli.pipeline.clouds import CloudStyle

_CLOUD = "Cloud"

ExistingDepth = Annotated[
    Path | None,
    option("Existing depth maps, a folder or a file: no network runs. Photos add colours.", "--depth", metavar="PATH"),
]


@dataclass(frozen=True, slots=True)
class CloudInputs(groups.RemoteInputOptions):
    """Photos, existing depth maps, or both."""

    depth: ExistingDepth = None


@dataclass(frozen=True, slots=True)
class CloudOutput(groups.OutputOptions):
    """Files of points."""

    formats: Annotated[
        str,
        setting(
            "Any of ply, pcd, xyz, glb (textured mesh) and those of m3d depth, separated by commas.",
            "--format",
            metavar="LIST",
            envvar="M3D_CLOUD_FORMAT",
        ),
    ] = "ply"
    preview: Annotated[bool, option("Also a PNG of the cloud from a raised viewpoint.")] = False


@dataclass(frozen=True, slots=True)
class CloudOptions:
    """Which points, and how they are written."""

    PANEL: ClassVar[str] = _CLOUD

    axes: Annotated[
        str, setting("opencv (x right, y down, z forward), opengl (y up, z back) or zup.", metavar="NAME")
    ] = "opencv"
    keep_edges: Annotated[bool, option("Keep points on depth edges, which float in the air.")] = False
    min_confidence: Annotated[
        float | None, option("Only points of at least this confidence (0 to 1).", metavar="C")
    ] = None
    stride: Annotated[int, option("Every n-th row and column of the photo.", metavar="N", min=1)] = 1
    voxel: Annotated[float | None, option("One point per cube of M metres.", metavar="M")] = None
    remove_outliers: Annotated[bool, option("Drop points far from their neighbours.")] = False
    normals: Annotated[bool, option("Normals of the network, or of the depth's surface.")] = False

    def style(self) -> CloudStyle:
        """The same for the pipeline."""
        from m3d_cli.pipeline.clouds import CloudStyle
        from m3d_cli.pointcloud import parse_axes

        return CloudStyle(
            parse_axes(self.axes),
            not self.keep_edges,
            self.min_confidence,
            self.stride,
            self.voxel,
            self.remove_outliers,
            self.normals,
        )


@grouped
def pointcloud(
    context: typer.Context,
    *,
    inputs: CloudInputs,
    camera: groups.AnyCameraOptions,
    output: CloudOutput,
    cloud: CloudOptions,
    network: groups.NetworkOptions,
    run: groups.RunOptions,
    report: groups.ReportOptions,
) -> None:
    """Write a point cloud in metres for each photo: PLY with colours, and more on request."""
    messages = report.start()
    if inputs.is_empty and inputs.depth is None:
        raise UsageError("nothing to do: no photos and no --depth", hint="m3d pointcloud PHOTOS --out DIR")
    if output.out is None:
        raise UsageError("no --out given", hint="m3d pointcloud PHOTOS --out DIR, or --out - for one PLY on stdout")
    photos = photos_of(inputs, inputs.depth, output.out, messages, takes_urls=inputs.depth is None)
    from m3d_cli.pipeline.clouds import mesh_note
    from m3d_cli.pipeline.plan import parse_formats
    from m3d_cli.pipeline.settings import check_stored_camera

    formats = parse_formats(output.formats + ",cloud-preview" if output.preview else output.formats)
    if note := mesh_note(formats, _point_options(context, cloud)):
        messages.warn(note)
    sources = camera.sources(context, require_focal=camera.require_focal)
    check_stored_camera(sources, inputs.depth)
    settings = network.settings(
        messages,
        inputs.depth,
        formats=formats,
        cloud=cloud.style(),
        max_depth=output.max_depth,
        camera=sources,
        most_download=inputs.most_download,
    )
    run_photos(photos, settings, camera, output, network, run, report, messages)


def _point_options(context: typer.Context, cloud: CloudOptions) -> tuple[str, ...]:
    """Options on the command line that a mesh does not follow."""
    names = given(context, "voxel", "remove_outliers", "normals", *(() if cloud.axes == "opengl" else ("axes",)))
    return tuple("--" + name.replace("_", "-") for name in names)
