"""``m3d slam eval`` and ``m3d slam export``: trajectories against the truth, and posed frames for other tools."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from m3d_cli.cli.console import Messages
from m3d_cli.cli.grouping import grouped, option
from m3d_cli.cli.option_groups import Json, MessageOptions, NetworkOptions, Quiet, SharedCameraOptions
from m3d_cli.cli.sequence_options import TOLERANCE, FolderOutput, PosedInput, Tolerance, exit_with_damaged
from m3d_cli.cli.streams import write_line
from m3d_cli.errors import UsageError

if TYPE_CHECKING:
    from m3d_cli.evaluation.trajectory_scores import Alignment, TrajectoryScores
    from m3d_cli.sequences.export import ExportFormat
    from m3d_cli.trajectory import Trajectory


def evaluate(
    estimate: Annotated[Path, typer.Argument(metavar="ESTIMATE", help="Trajectory to be judged.")],
    truth: Annotated[Path, typer.Argument(metavar="TRUTH", help="Trajectory to compare with.")],
    alignment: Annotated[str, typer.Option("--align", metavar="NAME", help="none, origin, se3 or sim3.")] = "se3",
    tolerance: Tolerance = TOLERANCE,
    frames: Annotated[int, typer.Option(metavar="N", min=1, help="Frames of a motion for RPE.")] = 1,
    lengths: Annotated[
        str | None,
        typer.Option(metavar="LIST", help="Metres for t_rel and r_rel; KITTI's are 100,...,800."),
    ] = None,
    plot: Annotated[Path | None, typer.Option(metavar="FILE", help="PNG of both trajectories and the error.")] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """APE, RPE and KITTI's drift of a trajectory, with the alignment named; se3 keeps its metric scale."""
    from m3d_cli.evaluation.trajectory_scores import KITTI_LENGTHS, score_trajectory
    from m3d_cli.formats.trajectories import read_trajectory
    from m3d_cli.trajectory import associate

    way = _alignment(alignment)
    mine, theirs = associate(read_trajectory(estimate), read_trajectory(truth), tolerance)
    Messages(quiet).say(f"{len(theirs)} poses matched, alignment {way}")
    ways = KITTI_LENGTHS if lengths is None else _metres(lengths)
    scores = score_trajectory(mine, theirs, way, frames=frames, lengths=ways)
    if plot is not None:
        _plot(plot, mine, theirs, way, scores)
    write_line(json.dumps(asdict(scores)) if as_json else _text(scores))


@dataclass(frozen=True, slots=True)
class ExportOutput(FolderOutput):
    """The folder of the export and its form."""

    kind: Annotated[
        str, option("nerfstudio, colmap, colmap-binary, open3d or 7scenes.", "--format", metavar="NAME")
    ] = "nerfstudio"
    size: Annotated[int, option("Longer side of the frames.", "--size", metavar="PX", min=32)] = 1600


@grouped
def export(
    context: typer.Context,
    *,
    inputs: PosedInput,
    camera: SharedCameraOptions,
    output: ExportOutput,
    network: NetworkOptions,
    report: MessageOptions,
) -> None:
    """Write photos, metric depth and poses as a folder that nerfstudio, COLMAP or Open3D opens."""
    messages = report.start()
    folder = output.folder("m3d slam export")
    chosen = _format(output.kind)
    poses = inputs.poses_file("m3d slam export")
    sources = camera.sources(context)
    posed = inputs.open_posed(poses, folder, sources, network, messages, same_camera=camera.same_camera)
    from m3d_cli.sequences.export import export as write

    with messages.progress(len(posed.frames)) as advance:
        beyond = write(posed, chosen, folder, output.size, advance)
    if beyond:
        messages.warn(f"{beyond} pixels lie beyond what 16-bit millimetres hold, and are unknown in the depth written")
    write_line(str(folder))
    exit_with_damaged(posed.damaged)


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
