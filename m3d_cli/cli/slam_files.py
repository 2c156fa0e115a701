"""``m3d slam eval`` and ``m3d slam export``: trajectories against the truth, and posed frames for other tools."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from m3d_cli.cli import options, sequences
from m3d_cli.cli.camera_flags import camera_options
from m3d_cli.cli.console import Talk, show_log, write_line
from m3d_cli.cli.progress import progress
from m3d_cli.cli.running import EngineChoice
from m3d_cli.errors import UsageError

if TYPE_CHECKING:
    from m3d_cli.evaluation.trajectory_scores import Alignment, TrajectoryScores
    from m3d_cli.sequences.export import ExportFormat
    from m3d_cli.trajectory import Trajectory


def write_trajectory(trajectory: Trajectory, target: Path, name: str) -> None:
    """``name.txt`` as TUM has it, and ``name.kitti.txt``."""
    from m3d_cli.atomic import write_bytes
    from m3d_cli.formats.trajectories import encode_kitti, encode_tum

    comments = () if trajectory.timed else ("times count the frames",)
    write_bytes(target / f"{name}.txt", encode_tum(trajectory, comments))
    write_bytes(target / f"{name}.kitti.txt", encode_kitti(trajectory))


def evaluate(
    estimate: Annotated[Path, typer.Argument(metavar="ESTIMATE", help="Trajectory to be judged.")],
    truth: Annotated[Path, typer.Argument(metavar="TRUTH", help="Trajectory it is held against.")],
    alignment: Annotated[str, typer.Option("--align", metavar="NAME", help="none, origin, se3 or sim3.")] = "se3",
    tolerance: sequences.Tolerance = sequences.TOLERANCE,
    frames: Annotated[int, typer.Option(metavar="N", min=1, help="Frames of a motion for RPE.")] = 1,
    lengths: Annotated[
        str | None, typer.Option(metavar="LIST", help="Metres of way for t_rel and r_rel; KITTI's are 100,...,800.")
    ] = None,
    plot: Annotated[Path | None, typer.Option(metavar="FILE", help="PNG of both ways and the error.")] = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """APE, RPE and KITTI's drift of a trajectory, with the alignment named; se3 keeps its metric scale."""
    from m3d_cli.evaluation.trajectory_scores import KITTI_LENGTHS, score_trajectory
    from m3d_cli.formats.trajectories import read_trajectory
    from m3d_cli.trajectory import associate

    way = _alignment(alignment)
    mine, theirs = associate(read_trajectory(estimate), read_trajectory(truth), tolerance)
    Talk(quiet).say(f"{len(theirs)} poses matched, alignment {way}")
    ways = KITTI_LENGTHS if lengths is None else _metres(lengths)
    scores = score_trajectory(mine, theirs, way, frames=frames, lengths=ways)
    if plot is not None:
        _plot(plot, mine, theirs, way, scores)
    write_line(json.dumps(asdict(scores)) if as_json else _text(scores))


def export(
    context: typer.Context,
    paths: options.Paths = None,
    recursive: options.Recursive = False,
    poses: sequences.Poses = None,
    depth: sequences.Depth = None,
    depth_scale: sequences.DepthScale = 1000.0,
    layout: sequences.LayoutName = None,
    times: sequences.Times = None,
    tolerance: sequences.Tolerance = sequences.TOLERANCE,
    size: sequences.Size = 1600,
    focal: options.Focal = None,
    focal_35mm: options.Focal35 = None,
    fov: options.Fov = None,
    intrinsics: options.IntrinsicsFile = None,
    same_camera: options.SameCamera = False,
    kind: Annotated[
        str, typer.Option("--format", metavar="NAME", help="nerfstudio, colmap, colmap-binary, open3d or 7scenes.")
    ] = "nerfstudio",
    out: sequences.Out = None,
    model: options.Model = None,
    weights: options.Weights = None,
    device: options.Device = "auto",
    precision: options.Precision = "auto",
    batch_size: options.BatchSize = None,
    backend: options.Backend = "auto",
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Write photos, metric depth and poses as a folder that nerfstudio, COLMAP or Open3D opens."""
    talk = Talk(quiet, verbose)
    show_log(verbose=verbose)
    target = sequences.required_out(out, "m3d slam export")
    chosen = _format(kind)
    trajectory = sequences.read_poses(poses, "m3d slam export")
    camera = camera_options(context, focal=focal, focal_35mm=focal_35mm, fov=fov, intrinsics=intrinsics)
    camera = sequences.with_pose_intrinsics(camera, poses)
    choice = sequences.FrameChoice(paths, recursive, depth, depth_scale, layout, times, target)
    network = sequences.NetworkChoice(model, weights, EngineChoice(device, precision, batch_size, backend))
    frames = sequences.find_frames(choice, camera, network, same_camera=same_camera, talk=talk)
    posed = sequences.read_posed(frames, trajectory, tolerance, talk)
    from m3d_cli.sequences.export import export as write

    with progress(len(posed.frames), quiet=quiet) as advance:
        beyond = write(posed, chosen, target, size, advance)
    if beyond:
        talk.warn(f"{beyond} pixels lie beyond what 16-bit millimetres hold, and are unknown in the depth written")
    write_line(str(target))
    sequences.end_with_damaged(posed.damaged)


def _alignment(name: str) -> Alignment:
    from m3d_cli.evaluation.trajectory_scores import Alignment

    try:
        return Alignment(name)
    except ValueError as error:
        raise UsageError(f"--align {name} is unknown", hint=f"one of {', '.join(Alignment)}") from error


def _format(name: str) -> ExportFormat:
    from m3d_cli.sequences.export import ExportFormat

    try:
        return ExportFormat(name)
    except ValueError as error:
        raise UsageError(f"--format {name} is unknown", hint=f"one of {', '.join(ExportFormat)}") from error


def _metres(text: str) -> tuple[float, ...]:
    try:
        metres = tuple(float(part) for part in text.split(",") if part.strip())
    except ValueError as error:
        raise UsageError(f"--lengths {text} are no metres", hint="--lengths 5,10,20") from error
    if not metres or not all(0 < length < float("inf") for length in metres):
        raise UsageError(f"--lengths {text} are no positive metres", hint="--lengths 5,10,20")
    return metres


def _plot(path: Path, estimate: Trajectory, truth: Trajectory, way: Alignment, scores: TrajectoryScores) -> None:
    from m3d_cli.atomic import write_bytes
    from m3d_cli.evaluation.trajectory_scores import align, position_errors
    from m3d_cli.sequences.trajectory_plots import encode_plot

    aligned = align(estimate, truth, way)
    title = f"alignment {way}: APE rmse {scores.ape.rmse:.4g} m over {scores.true_length:.4g} m"
    write_bytes(path, encode_plot(aligned, truth, position_errors(aligned, truth), title))


def _text(scores: TrajectoryScores) -> str:
    scale = "" if scores.scale is None else f"\tscale to the truth {scores.scale:.4f}"
    lines = [
        f"alignment\t{scores.alignment}\t{scores.poses} poses{scale}",
        f"length\t{scores.length:.3f} m\ttruth {scores.true_length:.3f} m",
        f"ape_rmse\t{scores.ape.rmse:.4f} m\tmedian {scores.ape.median:.4f}\tmax {scores.ape.largest:.4f}",
        f"rpe_rmse\t{scores.rpe_metres.rmse:.4f} m\t{scores.rpe_degrees.rmse:.4f} deg\tover {scores.rpe_frames} frames",
    ]
    if scores.drift is not None:
        ways = ",".join(f"{length:g}" for length in scores.drift.lengths)
        drift = scores.drift
        lines.append(
            f"t_rel\t{drift.translation_percent:.3f} %\tr_rel {drift.rotation_deg_100m:.3f} deg/100m\tways of {ways} m"
        )
    return "\n".join(lines)
