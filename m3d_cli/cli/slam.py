"""``m3d slam``: metric trajectories. Here odometry and scale; evaluation and exports are in `slam_files`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from m3d_cli.cli import options, sequences, slam_files
from m3d_cli.cli.camera_flags import camera_options
from m3d_cli.cli.console import Talk, show_log, write_line
from m3d_cli.cli.progress import progress
from m3d_cli.cli.running import EngineChoice
from m3d_cli.errors import UsageError

if TYPE_CHECKING:
    from m3d_cli.sequences.frames import SequenceFrame
    from m3d_cli.sequences.fusion import FusionOptions
    from m3d_cli.sequences.odometry import Odometry
    from m3d_cli.sequences.poses import PosedFrames
    from m3d_cli.sequences.scale import TrackScale

# Tracking was lost on the way.
LOST_EXIT = 3
# A scale that ends this much off where it began drifts.
TOLD_DRIFT = 0.1

slam = typer.Typer(help="Metric trajectories from photos with depth.", no_args_is_help=True)


@slam.callback()
def _group() -> None:
    """Metric trajectories from photos with depth."""


@slam.command("odometry")
def odometry(
    context: typer.Context,
    paths: options.Paths = None,
    recursive: options.Recursive = False,
    depth: sequences.Depth = None,
    depth_scale: sequences.DepthScale = 1000.0,
    layout: sequences.LayoutName = None,
    times: sequences.Times = None,
    size: sequences.Size = 320,
    focal: options.Focal = None,
    focal_35mm: options.Focal35 = None,
    fov: options.Fov = None,
    intrinsics: options.IntrinsicsFile = None,
    same_camera: options.SameCamera = False,
    out: sequences.Out = None,
    max_depth: Annotated[float, typer.Option(metavar="M", help="Depth beyond M metres is not used.")] = 5.0,
    no_loops: Annotated[bool, typer.Option("--no-loops", help="Do not look for places seen before.")] = False,
    fused_map: Annotated[bool, typer.Option("--map", help="Also map.ply, the longest segment fused.")] = False,
    voxel: Annotated[float, typer.Option(metavar="M", help="Side of a voxel of the map.")] = 0.03,
    model: options.Model = None,
    weights: options.Weights = None,
    device: options.Device = "auto",
    precision: options.Precision = "auto",
    batch_size: options.BatchSize = None,
    backend: options.Backend = "auto",
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Find the camera's way from photos and their depth: TUM and KITTI files, one a segment where tracking was lost."""
    talk = Talk(quiet, verbose)
    show_log(verbose=verbose)
    target = sequences.required_out(out, "m3d slam odometry")
    camera = camera_options(context, focal=focal, focal_35mm=focal_35mm, fov=fov, intrinsics=intrinsics)
    choice = sequences.FrameChoice(paths, recursive, depth, depth_scale, layout, times, target)
    network = sequences.NetworkChoice(model, weights, EngineChoice(device, precision, batch_size, backend))
    frames = sequences.find_frames(choice, camera, network, same_camera=same_camera, talk=talk)
    from m3d_cli.sequences.fusion import FusionOptions
    from m3d_cli.sequences.odometry import OdometryOptions, track

    fusion, wishes = FusionOptions(voxel, max_depth=max_depth), OdometryOptions(size, max_depth, loops=not no_loops)
    listed, frames = len(frames), sequences.readable(frames, talk)
    with progress(len(frames), quiet=quiet) as advance:
        found = track(frames, wishes, advance)
    if not found.segments:
        raise UsageError("no two frames could be brought together", hint="check depth, camera and the frames' order")
    _write_segments(found, target)
    if fused_map:
        _write_map(frames, found, target, fusion, size)
    _tell_segments(found, len(frames), target, as_json=as_json, talk=talk)
    sequences.end_with_damaged(listed - len(frames))


@slam.command("scale")
def scale(
    context: typer.Context,
    paths: options.Paths = None,
    recursive: options.Recursive = False,
    poses: sequences.Poses = None,
    depth: sequences.Depth = None,
    depth_scale: sequences.DepthScale = 1000.0,
    layout: sequences.LayoutName = None,
    times: sequences.Times = None,
    tolerance: sequences.Tolerance = sequences.TOLERANCE,
    size: sequences.Size = 640,
    focal: options.Focal = None,
    focal_35mm: options.Focal35 = None,
    fov: options.Fov = None,
    intrinsics: options.IntrinsicsFile = None,
    same_camera: options.SameCamera = False,
    out: sequences.Out = None,
    drift: Annotated[bool, typer.Option("--drift", help="Let the scale change along the track.")] = False,
    reach: Annotated[int, typer.Option(metavar="N", min=3, help="Frames over which it is smooth.")] = 30,
    model: options.Model = None,
    weights: options.Weights = None,
    device: options.Device = "auto",
    precision: options.Precision = "auto",
    batch_size: options.BatchSize = None,
    backend: options.Backend = "auto",
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Bring a trajectory without scale, or a COLMAP model, to metres by the depth of its photos."""
    talk = Talk(quiet, verbose)
    show_log(verbose=verbose)
    target = sequences.required_out(out, "m3d slam scale")
    trajectory = sequences.read_poses(poses, "m3d slam scale")
    camera = camera_options(context, focal=focal, focal_35mm=focal_35mm, fov=fov, intrinsics=intrinsics)
    camera = sequences.with_pose_intrinsics(camera, poses)
    choice = sequences.FrameChoice(paths, recursive, depth, depth_scale, layout, times, target)
    network = sequences.NetworkChoice(model, weights, EngineChoice(device, precision, batch_size, backend))
    frames = sequences.find_frames(choice, camera, network, same_camera=same_camera, talk=talk)
    posed = sequences.read_posed(frames, trajectory, tolerance, talk)
    from m3d_cli.sequences.colmap_scale import model_of
    from m3d_cli.sequences.scale import constant_scale, drifting_scale, frame_scales
    from m3d_cli.sequences.scale_observations import observed

    path = sequences.required_poses(poses, "m3d slam scale")
    with progress(len(posed.frames), quiet=quiet) as advance:
        scales = frame_scales(observed(posed, model_of(path), size, advance))
    found = drifting_scale(scales, reach) if drift else constant_scale(scales)
    if not drift:
        _tell_drift(drifting_scale(scales, reach), talk)
    _write_metric(path, posed, found, target)
    _tell_scale(found, target, as_json=as_json)
    sequences.end_with_damaged(posed.damaged)


def _write_metric(poses: Path, posed: PosedFrames, found: TrackScale, target: Path) -> None:
    from m3d_cli.atomic import write_bytes
    from m3d_cli.formats.colmap import write_colmap_binary, write_colmap_text
    from m3d_cli.sequences.colmap_scale import metric_model, model_of
    from m3d_cli.sequences.scale import rescaled

    metric = rescaled(posed.trajectory, found)
    if (sparse := model_of(poses)) is not None:
        model = metric_model(sparse, posed.trajectory.names or (), metric, found)
        write_colmap_text(model, target / "sparse" / "text")
        write_colmap_binary(model, target / "sparse" / "0")
    slam_files.write_trajectory(metric, target, "trajectory")
    content = {**_summary(found), "scales": [round(float(value), 8) for value in found.scale]}
    write_bytes(target / "scale.json", (json.dumps(content) + "\n").encode())


def _summary(found: TrackScale) -> dict[str, object]:
    ends = {"first": float(found.scale[0]), "last": float(found.scale[-1])}
    rest = {"spread": found.spread, "error": found.error, "frames": found.frames, "jumps": list(found.jumps)}
    return {"scale": found.middle, **ends, **rest}


def _tell_drift(drifting: TrackScale, talk: Talk) -> None:
    ratio = float(drifting.scale[-1] / drifting.scale[0])
    if drifting.jumps or abs(ratio - 1) > max(TOLD_DRIFT, 3 * drifting.error):
        jumps = f", with {len(drifting.jumps)} jumps" if drifting.jumps else ""
        talk.warn(
            f"the scale goes from {drifting.scale[0]:.4g} to {drifting.scale[-1]:.4g}{jumps}: --drift corrects it"
        )


def _tell_scale(found: TrackScale, target: Path, *, as_json: bool) -> None:
    if as_json:
        return write_line(json.dumps({**_summary(found), "trajectory": str(target / "trajectory.txt")}))
    ends = f"{found.scale[0]:.5g} to {found.scale[-1]:.5g} " if found.scale[0] != found.scale[-1] else ""
    return write_line(
        f"{found.middle:.6g}\t{ends}metres a unit, frames spread {found.spread:.1%}, standard error {found.error:.1%}, "
        f"{found.frames} frames, {len(found.jumps)} jumps"
    )


def _names(found: Odometry) -> list[str]:
    count = len(found.segments)
    return ["trajectory"] if count == 1 else [f"trajectory-{number}" for number in range(1, count + 1)]


def _write_segments(found: Odometry, target: Path) -> None:
    for name, segment in zip(_names(found), found.segments, strict=True):
        slam_files.write_trajectory(segment.trajectory, target, name)


def _write_map(
    frames: tuple[SequenceFrame, ...], found: Odometry, target: Path, fusion: FusionOptions, size: int
) -> None:
    from m3d_cli.atomic import write_bytes
    from m3d_cli.formats.surface import encode_surface
    from m3d_cli.sequences.poses import PosedFrames
    from m3d_cli.sequences.reconstruct import reconstruct

    longest = found.longest
    posed = PosedFrames(frames[longest.first : longest.last + 1], longest.trajectory, "by odometry", 0)
    scene = reconstruct(posed, fusion, size, refine=False)
    write_bytes(target / "map.ply", *encode_surface(scene.surface, (f"odometry, {scene.frames} frames",)))


def _tell_segments(found: Odometry, count: int, target: Path, *, as_json: bool, talk: Talk) -> None:
    for name, segment in zip(_names(found), found.segments, strict=True):
        length = segment.trajectory.length
        facts = {"first": segment.first, "last": segment.last, "key_frames": segment.key_frames, "loops": segment.loops}
        file = str(target / f"{name}.txt")
        if as_json:
            write_line(json.dumps({"trajectory": file, **facts, "metres": round(length, 4)}))
        else:
            write_line(f"{file}\tframes {segment.first} to {segment.last}\t{length:.3f} m\t{segment.loops} loops")
    if len(found.segments) > 1 or found.untracked:
        talk.warn(
            f"tracking was lost: {len(found.segments)} segments, {len(found.untracked)} of {count} frames in none; "
            "segments have worlds of their own"
        )
        raise typer.Exit(LOST_EXIT)


slam.command("eval")(slam_files.evaluate)
slam.command("export")(slam_files.export)
