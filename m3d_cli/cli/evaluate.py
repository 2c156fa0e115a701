"""``m3d eval``: score a network, or anybody's depth maps, on annotated frames; ``m3d eval compare``: two of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from m3d_cli.cli import options
from m3d_cli.cli.console import Talk, write_line
from m3d_cli.cli.progress import progress
from m3d_cli.errors import UsageError

if TYPE_CHECKING:
    from m3d_cli.datasets.frame import Frame
    from m3d_cli.datasets.selection import Selection
    from m3d_cli.evaluation.benchmark import Network
    from m3d_cli.evaluation.compare import Comparison
    from m3d_cli.evaluation.results import Run
    from m3d_cli.evaluation.scoring import ImageScores, Predict, Protocol

# Some frames could not be scored.
FAILED_EXIT = 3
FORMATS = ("text", "markdown", "csv", "json")
_DATA = "Data"
_SCORES = "Scores"
_RESULT = "Result"

evaluate = typer.Typer(help="Score depth on annotated frames.", invoke_without_command=True)


@evaluate.callback()
def score(
    context: typer.Context,
    data: Annotated[
        Path | None, typer.Option("--data", help="Folder of annotated frames.", rich_help_panel=_DATA)
    ] = None,
    layout: Annotated[
        str,
        typer.Option(
            "--layout",
            help="rgbd, annotations, nyu, kitti, scannet, diode, ibims, eth3d, 7scenes, nuscenes, ddad, tum, hypersim, "
            "vkitti.",
            rich_help_panel=_DATA,
        ),
    ] = "rgbd",
    sources: Annotated[
        str,
        typer.Option(
            "--sources",
            help="Sources to score, by commas; NAME:SPLIT takes one split. Without it all, or the benchmark's split.",
            rich_help_panel=_DATA,
        ),
    ] = "",
    limit: Annotated[
        int | None, typer.Option("--limit", metavar="N", min=1, help="First N frames only.", rich_help_panel=_DATA)
    ] = None,
    pred: Annotated[
        Path | None,
        typer.Option(
            "--pred",
            help="Folder of depth maps named like the frames (npy, npz, 16-bit PNG), instead of a network.",
            rich_help_panel=_DATA,
        ),
    ] = None,
    pred_scale: Annotated[
        float | None,
        typer.Option(
            "--pred-scale",
            metavar="N",
            help="Units a metre of predicted PNGs that do not say it themselves.",
            rich_help_panel=_DATA,
        ),
    ] = None,
    model: options.Model = None,
    weights: options.Weights = None,
    device: options.Device = "auto",
    precision: options.Precision = "auto",
    preset: Annotated[
        str | None,
        typer.Option(
            "--preset",
            metavar="NAME",
            help="Protocol: nyu-eigen, kitti-eigen, kitti-garg, diode, eth3d, ibims, nuscenes, scannet, 7scenes.",
            rich_help_panel=_SCORES,
        ),
    ] = None,
    align: Annotated[
        str, typer.Option("--align", help="Any of none, median, scale-shift.", rich_help_panel=_SCORES)
    ] = "none,median",
    also: Annotated[str, typer.Option("--also", help="Any of boundary, normals, cloud.", rich_help_panel=_SCORES)] = "",
    workers: Annotated[
        int, typer.Option("--workers", min=0, help="Threads that score; 0 for one a core.", rich_help_panel=_SCORES)
    ] = 0,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder for scores (JSON, JSONL, tables, page).", rich_help_panel=_RESULT),
    ] = None,
    save_pred: Annotated[
        Path | None,
        typer.Option("--save-pred", help="Keep the network's depth here; found again, used.", rich_help_panel=_RESULT),
    ] = None,
    worst: Annotated[
        int, typer.Option("--worst", metavar="N", min=0, help="Pictures on the page.", rich_help_panel=_RESULT)
    ] = 10,
    table: Annotated[
        str, typer.Option("--format", help="text, markdown, csv or json.", rich_help_panel=_RESULT)
    ] = "text",
    with_published: Annotated[
        bool, typer.Option("--with-published", help="Also what papers print for this data.", rich_help_panel=_RESULT)
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object instead of the table.", rich_help_panel=_RESULT)
    ] = False,
    quiet: options.Quiet = False,
) -> None:
    """Score metric depth on frames with measured depth: as it is, and after alignment; per source and in all."""
    if context.invoked_subcommand is not None:
        return
    shape = "json" if as_json else table
    _check(data, pred, shape, alone=not _said(context, "model", "weights", "save_pred"), pred_scale=pred_scale)
    assert data is not None  # noqa: S101 - checked above
    from m3d_cli.evaluation.predictions import open_predictions
    from m3d_cli.evaluation.results import Run
    from m3d_cli.inference.photo import available_cores

    talk = Talk(quiet=quiet)
    protocol = _protocol(preset, align, also)
    selection = _selection(data, layout, sources, limit)
    frames = selection.frames
    predict: Predict
    if pred is not None:
        predict = open_predictions(pred, frames, data, pred_scale).read
        images = _score(frames, predict, protocol, workers or available_cores(), quiet=quiet)
        run = Run(layout, "pred", str(pred), protocol, images, selection=selection)
    else:
        from m3d_cli.evaluation.benchmark import kept_in

        network = _network(options.choose_model(model, talk), weights, device, precision)
        predict = network.load() if save_pred is None else kept_in(save_pred, network, layout, data)
        images = _score(frames, predict, protocol, 1, quiet=quiet)
        sha256, size = network.weights.sha256, network.input_size
        run = Run(layout, "model", network.spec.name, protocol, images, sha256, size, selection)
    _show(run, shape, with_published, talk)
    if out is not None:
        from m3d_cli.evaluation.report import write_report

        write_report(run, frames, predict, out, worst)
        talk.say(f"scores: {out}")
    if any(image.error for image in images):
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
    """Which of two runs is better on the same pictures: a paired bootstrap over scenes with its 95 % interval."""
    from m3d_cli.evaluation.compare import compare as bootstrap
    from m3d_cli.evaluation.pairing import pair
    from m3d_cli.evaluation.results import read_image_lines

    found = bootstrap(pair(read_image_lines(first), read_image_lines(second), metric, align), resamples)
    _warn_of_comparison(found)
    if as_json:
        write_line(json.dumps({**asdict(found), "files": [str(first), str(second)]}))
        return
    write_line(f"A  {first}  {metric} {found.a:.4f}")
    write_line(f"B  {second}  {metric} {found.b:.4f}")
    interval = f"{100 * found.confidence:.0f} % interval {found.low:+.4f} to {found.high:+.4f}"
    units = f"{found.images} pictures in {found.clusters} scenes, mean over {found.mean_over}, alignment {align}"
    write_line(f"B - A  {found.difference:+.4f}  {interval}, {units}")
    write_line(found.verdict)


def _warn_of_comparison(found: Comparison) -> None:
    """Tell what the verdict leaves out."""
    talk = Talk()
    for side, names in (("A", found.only_a), ("B", found.only_b)):
        if names:
            talk.warn(f"{len(names)} pictures are only in {side} and left out, such as {', '.join(names[:3])}")
    if found.drawn == "pictures":
        talk.warn(f"too few scenes ({found.clusters}) to speak of others: the interval holds for these only")


def _check(data: Path | None, pred: Path | None, shape: str, *, alone: bool, pred_scale: float | None) -> None:
    """Raise UsageError for options that contradict one another."""
    if data is None:
        raise UsageError("no data named", hint="m3d eval --data DIR, or m3d eval compare A B")
    if shape not in FORMATS:
        raise UsageError(f"format {shape} is unknown", hint=f"one of {', '.join(FORMATS)}")
    if pred is not None and not alone:
        raise UsageError("--pred scores depth maps that exist", hint="leave out --model, --weights and --save-pred")
    if pred is None and pred_scale is not None:
        raise UsageError("--pred-scale goes with --pred", hint="name the folder of predictions")
    if pred_scale is not None and not 0 < pred_scale < float("inf"):
        raise UsageError(f"--pred-scale {pred_scale} is not a positive number", hint="units a metre, such as 1000")


def _said(context: typer.Context, *names: str) -> bool:
    """Whether one of these options is on the command line; what the environment says is for other runs."""
    sources = (context.get_parameter_source(name) for name in names)
    return any(source is not None and source.name == "COMMANDLINE" for source in sources)


def _protocol(preset: str | None, align: str, also: str) -> Protocol:
    from m3d_cli.evaluation.alignment import parse_alignments
    from m3d_cli.evaluation.extras import parse_extras
    from m3d_cli.evaluation.presets import find_preset
    from m3d_cli.evaluation.scoring import Protocol

    return Protocol(find_preset(preset), parse_alignments(align), parse_extras(also))


def _selection(data: Path, layout: str, sources: str, limit: int | None) -> Selection:
    from m3d_cli.datasets.layouts import find_layout
    from m3d_cli.datasets.selection import SourceChoice, require_unique, select_frames

    choices = [SourceChoice.parse(text) for text in sources.split(",") if text.strip()]
    selection = select_frames(find_layout(layout), data, choices, limit)
    require_unique(selection.frames)
    return selection


def _network(name: str, weights: Path | None, device: str, precision: str) -> Network:
    from m3d_cli.evaluation.benchmark import Network

    return Network.choose(name, weights, device, precision)


def _score(
    frames: Sequence[Frame], predict: Predict, protocol: Protocol, workers: int, *, quiet: bool
) -> tuple[ImageScores, ...]:
    from m3d_cli.evaluation.scoring import score_frames

    images = []
    with progress(len(frames), quiet=quiet) as advance:
        for image in score_frames(frames, predict, protocol, workers):
            images.append(image)
            advance()
    return tuple(images)


def _show(run: Run, shape: str, with_published: bool, talk: Talk) -> None:
    """The result on standard output; how it was made, and what papers print, beside it."""
    from m3d_cli.evaluation.doubts import doubts
    from m3d_cli.evaluation.report import published_table
    from m3d_cli.evaluation.results import json_line
    from m3d_cli.evaluation.tables import csv_table, markdown_table, protocol_lines, text_table

    makers = {"json": json_line, "csv": csv_table, "markdown": markdown_table, "text": text_table}
    write_line(makers[shape](run).rstrip("\n"))
    for line in protocol_lines(run.protocol.preset, run.protocol.alignments):
        talk.say(line)
    for doubt in doubts(run):
        talk.warn(doubt)
    if not with_published:
        return
    published = published_table(run, in_markdown=shape == "markdown")
    if not published:
        talk.warn(f"no published numbers for layout {run.layout}")
    elif shape in ("text", "markdown"):
        write_line(f"\n{published}")
    else:
        talk.say(published)
