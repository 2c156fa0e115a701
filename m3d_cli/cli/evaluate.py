"""``m3d eval``: score a network on annotated frames."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from m3d_cli.cli import options
from m3d_cli.cli.console import Talk, write_line
from m3d_cli.errors import UsageError

LAYOUTS = ("rgbd",)


def evaluate(
    data: Annotated[Path, typer.Option("--data", help="Folder of annotated frames.")],
    layout: Annotated[str, typer.Option("--layout", help="How the folder is laid out: rgbd.")] = "rgbd",
    sources: Annotated[
        str, typer.Option("--sources", help="Sources to score, by commas; NAME:SPLIT takes one split. All without it.")
    ] = "",
    model: options.Model = None,
    weights: Annotated[Path | None, typer.Option("--weights", help="Weights file instead of the model's own.")] = None,
    device: Annotated[
        str, typer.Option("--device", help="auto, cpu, cuda, cuda:1, mps.", envvar="M3D_DEVICE")
    ] = "auto",
    precision: Annotated[str, typer.Option("--precision", help="auto, fp32, bf16, fp16.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of the table.")] = False,
) -> None:
    """Score metric depth on frames with measured depth: as it is, and after median scaling; per source and mean."""
    if layout not in LAYOUTS:
        raise UsageError(f"layout {layout} is unknown", hint=f"one of {', '.join(LAYOUTS)}")
    from m3d_cli.evaluation.benchmark import SourceChoice, choose_frames, predicting, score_source
    from m3d_cli.evaluation.tables import json_line, text_table
    from m3d_cli.inference.device import choose_compute
    from m3d_cli.inference.predictor import Predictor
    from m3d_cli.models.create import load_model
    from m3d_cli.models.spec import model_spec

    model = options.choose_model(model, Talk())
    choices = [SourceChoice.parse(text) for text in sources.split(",") if text.strip()]
    pairs = choose_frames(data, choices)
    predictor = Predictor(load_model(model, weights), model_spec(model), choose_compute(device, precision))
    scores = [score_source(folder, frames, predicting(predictor)) for folder, frames in pairs]
    write_line(json_line(scores, layout, model) if as_json else text_table(scores))
