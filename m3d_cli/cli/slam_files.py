"""``m3d slam eval`` and ``m3d slam export``: trajectories against the truth, and posed frames for other tools."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer

from m3d_cli.cli.console import Messages
from m3d_cli.cli.grouping import grouped, option
from m3d_cli.cli.option_groups import Json, MessageOptions, NetworkOptions, Quiet, SharedCameraOptions
from m3d_cli.cli.sequence_options import TOLERANCE, FolderOutput, PosedInput, Tolerance, exit_with_damaged
from m3d_cli.cli.streams import write_line


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
    from m3d_cli.evaluation.trajectory_scores import (
        parse_alignment,
        parse_lengths,
        score_trajectory,
        scores_text,
    )
    from m3d_cli.sequences.track_pairs import paired

    chosen = parse_alignment(alignment)
    mine, theirs = paired(estimate, truth, tolerance, Messages(quiet))
    scores = score_trajectory(mine, theirs, chosen, frames=frames, lengths=parse_lengths(lengths))
    if plot is not None:
        from m3d_cli.sequences.trajectory_plots import write_plot

        write_plot(plot, mine, theirs, chosen, scores)
    write_line(json.dumps(asdict(scores)) if as_json else scores_text(scores))


@dataclass(frozen=True, slots=True)
class ExportOutput(FolderOutput):
    """The folder of the export and its form."""

    kind: Annotated[
        str, option("nerfstudio, colmap, colmap-binary, open3d or 7scenes.", "--format", metavar="NAME")
    ] = "nerfstudio"
    size: Annotated[int, option("Longer side of the frames.", metavar="PX", min=32)] = 1600


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
    from m3d_cli.sequences.export import export as write
    from m3d_cli.sequences.export import parse_format
    from m3d_cli.sequences.open_sequence import open_posed

    chosen = parse_format(output.kind)
    poses = inputs.poses_file("m3d slam export")
    sources = camera.sources(context)
    source = inputs.source(folder, sources, same_camera=camera.same_camera)
    posed = open_posed(source, poses, inputs.tolerance, inputs.network(network, messages), messages)
    with messages.progress(len(posed.frames)) as advance:
        beyond = write(posed, chosen, folder, output.size, advance)
    if beyond:
        messages.warn(f"{beyond} pixels lie beyond what 16-bit millimetres hold, and are unknown in the depth written")
    write_line(str(folder))
    exit_with_damaged(posed.damaged)
