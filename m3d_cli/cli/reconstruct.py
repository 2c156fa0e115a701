"""``m3d reconstruct``: frames with poses become one surface in metres."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

import typer

from m3d_cli.cli.grouping import grouped, option
from m3d_cli.cli.option_groups import NetworkOptions, ReportOptions, SharedCameraOptions
from m3d_cli.cli.sequence_options import FolderOutput, PosedInput, exit_with_damaged
from m3d_cli.cli.streams import write_line

if TYPE_CHECKING:
    from m3d_cli.sequences.fusion import FusionOptions

_FUSION = "Fusion"


@dataclass(frozen=True, slots=True)
class FusionFlags:
    """How frames are fused."""

    PANEL: ClassVar[str] = _FUSION

    size: Annotated[int, option("Longer side at which frames are processed.", metavar="PX", min=32)] = 640
    voxel: Annotated[float, option("Side of a voxel in metres.", metavar="M")] = 0.02
    max_depth: Annotated[float, option("Depth beyond M metres is not fused.", metavar="M")] = 5.0
    views: Annotated[int, option("Frames that must have seen a surface.", metavar="N", min=1)] = 2
    keep_edges: Annotated[bool, option("Fuse depth edges too.")] = False
    min_confidence: Annotated[float, option("Only depth of at least this confidence.", metavar="C")] = 0.0
    refine: Annotated[bool, option("Give each frame the scale that fits the shared surface.")] = False
    parallax: Annotated[bool, option("Give all depth the scale of tracked corners; needs poses in metres.")] = False

    def options(self) -> FusionOptions:
        """The same for the fusion."""
        from m3d_cli.sequences.fusion import FusionOptions

        return FusionOptions(
            self.voxel,
            max_depth=self.max_depth,
            fewest_views=self.views,
            edges=not self.keep_edges,
            min_confidence=self.min_confidence,
        )


@dataclass(frozen=True, slots=True)
class SceneOutput(FolderOutput):
    """Files of the scene."""

    preview: Annotated[bool, option("Also a PNG of the cloud from a raised viewpoint.")] = False


@grouped
def reconstruct(
    context: typer.Context,
    *,
    inputs: PosedInput,
    camera: SharedCameraOptions,
    output: SceneOutput,
    fusing: FusionFlags,
    network: NetworkOptions,
    report: ReportOptions,
) -> None:
    """Fuse photos, or existing depth maps, with known poses into a mesh and a cloud in metres."""
    messages = report.start()
    folder = output.folder("m3d reconstruct")
    poses = inputs.poses_file("m3d reconstruct")
    sources = camera.sources(context)
    fusion = fusing.options()
    from m3d_cli.sequences.open_sequence import open_posed
    from m3d_cli.sequences.reconstruct import reconstruct as fuse
    from m3d_cli.sequences.scene_files import parallax_scale, write_scene

    source = inputs.source(folder, sources, same_camera=camera.same_camera)
    posed = open_posed(source, poses, inputs.tolerance, inputs.network(network, messages), messages)
    factor = parallax_scale(posed, fusing.size, messages) if fusing.parallax else 1.0
    with messages.progress(len(posed.frames)) as advance:
        scene = fuse(posed, fusion, fusing.size, refine=fusing.refine, scale=factor, advance=advance)
    write_scene(folder, scene, posed, fusion, preview=output.preview)
    points, triangles = len(scene.surface.corners), len(scene.surface.triangles)
    messages.say(f"{scene.frames} frames became {points} points and {triangles} triangles")
    files = {"mesh": str(folder / "mesh.ply"), "cloud": str(folder / "cloud.ply")}
    content = {**files, "frames": scene.frames, "points": points, "triangles": triangles}
    write_line(json.dumps(content) if report.as_json else files["mesh"])
    exit_with_damaged(posed.damaged)
