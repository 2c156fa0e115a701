"""``m3d eval``: score a network, or anybody's depth maps, on annotated frames; ``m3d eval compare``: two of them."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import typer

from m3d_cli.cli.console import Messages
from m3d_cli.cli.grouping import given, grouped, option
from m3d_cli.cli.option_groups import OUTPUT, Device, Model, NetworkFile, Precision, Quiet, Weights
from m3d_cli.cli.streams import write_line
from m3d_cli.errors import UsageError

# Some frames could not be scored.
FAILED_EXIT = 3
FORMATS = ("text", "markdown", "csv", "json")
_DATA = "Data"
_SCORES = "Scores"

evaluate = typer.Typer(help="Score depth on annotated frames.", invoke_without_command=True)


@dataclass(frozen=True, slots=True)
class DataOptions:
    """Which frames, and whose depth maps."""

    PANEL: ClassVar[str] = _DATA

    data: Annotated[Path | None, option("Folder of annotated frames.")] = None
    layout: Annotated[
        str, option("rgbd, annotations, nyu, kitti, scannet, diode, ibims, eth3d, 7scenes, nuscenes, ddad, tum, ...")
    ] = "rgbd"
    sources: Annotated[
        str,
        option("Sources to score, separated by commas; NAME:SPLIT takes one split. Default: all, or the benchmark's."),
    ] = ""
    limit: Annotated[int | None, option("First N frames only.", metavar="N", min=1)] = None
    pred: Annotated[
        Path | None, option("Folder of depth maps named like the frames (npy, npz, 16-bit PNG), instead of a network.")
    ] = None
    pred_scale: Annotated[
        float | None, option("Units per metre of predicted PNGs that do not say it themselves.", metavar="N")
    ] = None


@dataclass(frozen=True, slots=True)
class ScoreOptions:
    """What is scored, and how."""

    PANEL: ClassVar[str] = _SCORES

    preset: Annotated[
        str | None,
        option(
            "Protocol: nyu-eigen, kitti-eigen, kitti-garg, diode, eth3d, ibims, nuscenes, scannet, 7scenes.",
            metavar="NAME",
        ),
    ] = None
    align: Annotated[str, option("Any of none, median, scale-shift.")] = "none,median"
    also: Annotated[str, option("Any of boundary, normals, cloud.")] = ""
    workers: Annotated[int, option("Threads that score; 0 for one per core.", min=0)] = 0


@dataclass(frozen=True, slots=True)
class ResultOptions:
    """Where the result goes."""

    PANEL: ClassVar[str] = OUTPUT

    out: Annotated[Path | None, option("Folder for scores (JSON, JSONL, tables, page).", "--out", "-o")] = None
    save_pred: Annotated[Path | None, option("Keep the network's depth here; reused when it exists.")] = None
    worst: Annotated[int, option("Images on the page.", metavar="N", min=0)] = 10
    table: Annotated[str, option("text, markdown, csv or json.", "--format")] = "text"
    with_published: Annotated[bool, option("Also what papers print for this data.")] = False
    as_json: Annotated[bool, option("One JSON object instead of the table.", "--json")] = False

    @property
    def shape(self) -> str:
        """The form of the table."""
        return "json" if self.as_json else self.table


@evaluate.callback()
@grouped
def score(
    context: typer.Context,
    *,
    frames: DataOptions,
    scores: ScoreOptions,
    result: ResultOptions,
    model: Model = None,
    weights: Weights = None,
    device: Device = "auto",
    precision: Precision = "auto",
    quiet: Quiet = False,
) -> None:
    """Score metric depth on frames with measured depth: as it is, and after alignment; per source and in all."""
    if context.invoked_subcommand is not None:
        return
    _check(frames, result.shape, alone=not given(context, "model", "weights", "save_pred"))
    assert frames.data is not None  # noqa: S101 - checked above
    from m3d_cli.evaluation.score_run import ScoredData

    messages = Messages(quiet=quiet)
    data = ScoredData.named(
        frames.data, frames.layout, frames.sources, frames.limit, (scores.preset, scores.align, scores.also)
    )
    if frames.pred is not None:
        scored = data.score_predictions(frames.pred, frames.pred_scale, scores.workers, messages)
    else:
        name = NetworkFile(model, weights).model_name(messages)
        scored = data.score_network(name, weights, device, precision, result.save_pred, messages)
    text = scored.run_text(result.shape, messages, with_published=result.with_published)
    write_line(text)
    if result.out is not None:
        from m3d_cli.evaluation.report import write_report

        write_report(scored.run, data.selection.frames, scored.predict, result.out, result.worst)
        messages.say(f"scores: {result.out}")
    if any(image.error for image in scored.run.images):
        raise typer.Exit(FAILED_EXIT)


@evaluate.command()
def compare(
    first: Annotated[Path, typer.Argument(metavar="A", help="Folder of --out, or its scores.jsonl.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="The same of another run on the same data.")],
    metric: Annotated[str, typer.Option("--metric", help="abs_rel, rmse, delta1, ...")] = "abs_rel",
    align: Annotated[str, typer.Option("--align", help="none, median or scale-shift.")] = "none",
    resamples: Annotated[int, typer.Option("--resamples", min=100, help="Bootstrap resamples.")] = 10_000,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of words.")] = False,
) -> None:
    """Which of two runs is better on the same images: a paired bootstrap over scenes with its 95 % interval."""
    from m3d_cli.evaluation.compare import compare as bootstrap
    from m3d_cli.evaluation.pairing import pair
    from m3d_cli.evaluation.results import read_image_lines

    found = bootstrap(pair(read_image_lines(first), read_image_lines(second), metric, align), resamples)
    found.warn(Messages())
    files = [str(first), str(second)]
    write_line(
        json.dumps({**asdict(found), "files": files}) if as_json else found.text(files[0], files[1], metric, align)
    )


def _check(frames: DataOptions, shape: str, *, alone: bool) -> None:
    """Raise UsageError for options that contradict one another."""
    if frames.data is None:
        raise UsageError("no data named", hint="m3d eval --data DIR, or m3d eval compare A B")
    if shape not in FORMATS:
        raise UsageError(f"format {shape} is unknown", hint=f"one of {', '.join(FORMATS)}")
    if frames.pred is not None and not alone:
        raise UsageError("--pred scores existing depth maps", hint="leave out --model, --weights and --save-pred")
    scale = frames.pred_scale
    if frames.pred is None and scale is not None:
        raise UsageError("--pred-scale goes with --pred", hint="name the folder of predictions")
    if scale is not None and not 0 < scale < float("inf"):
        raise UsageError(f"--pred-scale {scale} is not a positive number", hint="units per metre, such as 1000")
