"""``m3d slam``: metric trajectories. Here odometry, scale and sfm; evaluation and exports are in `slam_files`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import typer

from m3d_cli.cli import slam_files
from m3d_cli.cli.console import Messages
from m3d_cli.cli.grouping import grouped, option, setting
from m3d_cli.cli.option_groups import FocalOptions, NetworkOptions, ReportOptions, SharedCameraOptions
from m3d_cli.cli.sequence_options import SEQUENCE, TOLERANCE, FolderOutput, FrameInput, PosedInput, exit_with_damaged
from m3d_cli.cli.streams import write_line
from m3d_cli.errors import UsageError

if TYPE_CHECKING:
    from m3d_cli.sequences.poses import PosedFrames

# Tracking was lost on the way.
LOST_EXIT = 3

Size = Annotated[int, option("Longer side at which frames are processed.", "--size", metavar="PX", min=32)]

slam = typer.Typer(help="Metric trajectories from photos with depth.", no_args_is_help=True)


@slam.callback()
def _group() -> None:
    """Metric trajectories from photos with depth."""


@dataclass(frozen=True, slots=True)
class OdometryFlags:
    """How frames are tracked."""

    PANEL: ClassVar[str] = SEQUENCE

    size: Size = 320
    max_depth: Annotated[float, option("Depth beyond M metres is not used.", metavar="M")] = 5.0
    no_loops: Annotated[bool, option("Do not look for places seen before.")] = False
    fused_map: Annotated[bool, option("Also map.ply, the longest segment fused.", "--map")] = False
    voxel: Annotated[float, option("Side of a voxel of the map.", metavar="M")] = 0.03


@slam.command("odometry")
@grouped
def odometry(
    context: typer.Context,
    *,
    inputs: FrameInput,
    camera: SharedCameraOptions,
    output: FolderOutput,
    tracking: OdometryFlags,
    network: NetworkOptions,
    report: ReportOptions,
) -> None:
    """Estimate the trajectory from photos and their depth: TUM and KITTI files, one per segment if tracking is lost."""
    messages = report.start()
    folder = output.folder("m3d slam odometry")
    sources = camera.sources(context)
    source = inputs.source(folder, sources, same_camera=camera.same_camera)
    listed = source.open(inputs.network(network, messages), messages)
    from m3d_cli.sequences.fusion import FusionOptions
    from m3d_cli.sequences.odometry import OdometryOptions, track
    from m3d_cli.sequences.open_sequence import readable_frames
    from m3d_cli.sequences.track_files import segment_lines, write_map, write_segments

    fusion = FusionOptions(tracking.voxel, max_depth=tracking.max_depth)
    options = OdometryOptions(tracking.size, tracking.max_depth, loops=not tracking.no_loops)
    frames = readable_frames(listed, messages)
    with messages.progress(len(frames)) as advance:
        found = track(frames, options, advance)
    if not found.segments:
        raise UsageError("no two frames could be aligned", hint="check depth, camera and the frames' order")
    write_segments(found, folder)
    if tracking.fused_map:
        write_map(frames, found, folder, fusion, tracking.size)
    for line in segment_lines(found, folder, as_json=report.as_json):
        write_line(line)
    if len(found.segments) > 1 or found.untracked:
        messages.warn(
            f"tracking was lost: {len(found.segments)} segments, {len(found.untracked)} of {len(frames)} frames in "
            "none; each segment has a world of its own"
        )
        raise typer.Exit(LOST_EXIT)
    exit_with_damaged(len(listed) - len(frames))


@dataclass(frozen=True, slots=True)
class ScaleFlags:
    """How the scale may change."""

    PANEL: ClassVar[str] = SEQUENCE

    size: Size = 640
    drift: Annotated[bool, option("Let the scale change along the track.")] = False
    reach: Annotated[int, option("Frames over which it is smooth.", metavar="N", min=3)] = 30


@slam.command("scale")
@grouped
def scale(
    context: typer.Context,
    *,
    inputs: PosedInput,
    camera: SharedCameraOptions,
    output: FolderOutput,
    scaling: ScaleFlags,
    network: NetworkOptions,
    report: ReportOptions,
) -> None:
    """Bring a trajectory without scale, or a COLMAP model, to metres by the depth of its photos."""
    messages = report.start()
    folder = output.folder("m3d slam scale")
    poses = inputs.poses_file("m3d slam scale")
    sources = camera.sources(context)
    from m3d_cli.sequences.open_sequence import open_posed

    source = inputs.source(folder, sources, same_camera=camera.same_camera)
    posed = open_posed(source, poses, inputs.tolerance, inputs.network(network, messages), messages)
    _scale(poses, posed, folder, scaling, messages, as_json=report.as_json)


def _scale(
    poses: Path, posed: PosedFrames, folder: Path, scaling: ScaleFlags, messages: Messages, *, as_json: bool
) -> None:
    from m3d_cli.sequences.track_files import scale_text, scale_track

    found = scale_track(poses, posed, folder, scaling.size, scaling.reach, messages, drifts=scaling.drift)
    write_line(scale_text(found, folder, as_json=as_json))
    exit_with_damaged(posed.damaged)


@dataclass(frozen=True, slots=True)
class SfmInput:
    """Photos of one place, and their depth."""

    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Photos of one place, overlapping.")]
    recursive: Annotated[bool, setting("Also read subfolders.", "--recursive", "-r")] = False
    depth: Annotated[Path | None, option("Existing depth maps; else the network runs.", metavar="DIR")] = None
    depth_scale: Annotated[float, option("Steps per metre of a sensor's whole-number files.", metavar="N")] = 1000.0


@slam.command("sfm")
@grouped
def sfm(
    context: typer.Context,
    *,
    inputs: SfmInput,
    camera: FocalOptions,
    output: FolderOutput,
    sequential: Annotated[
        bool, typer.Option("--sequential", help="Match neighbours only, as in a video: much faster for many photos.")
    ] = False,
    drift: Annotated[bool, typer.Option("--drift", help="Let the scale change along the track.")] = False,
    network: NetworkOptions,
    report: ReportOptions,
) -> None:
    """Find the poses of photos by COLMAP and bring them to metres; a second run continues where the first stopped."""
    from m3d_cli.sequences.open_sequence import open_posed
    from m3d_cli.sequences.sfm import find_poses

    messages = report.start()
    folder = output.folder("m3d slam sfm")
    poses = find_poses(
        inputs.folder, folder, camera.sources(context), messages, inputs.recursive, sequential=sequential
    )
    posed_input = PosedInput([str(inputs.folder)], inputs.recursive, inputs.depth, inputs.depth_scale)
    # The camera is the model's, which began with what is known of it.
    source = posed_input.source(folder, FocalOptions().sources(context), same_camera=False)
    posed = open_posed(source, poses, TOLERANCE, posed_input.network(network, messages), messages)
    _scale(poses, posed, folder, ScaleFlags(drift=drift), messages, as_json=report.as_json)


slam.command("eval")(slam_files.evaluate)
slam.command("export")(slam_files.export)
