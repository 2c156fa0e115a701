"""``m3d export``: networks for other programs to run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from m3d_cli.cli.console import Messages
from m3d_cli.cli.grouping import grouped
from m3d_cli.cli.option_groups import Json, NetworkFile, Quiet
from m3d_cli.cli.streams import write_line

export = typer.Typer(help="Networks for other programs to run.", no_args_is_help=True)

Out = Annotated[
    Path | None,
    typer.Option("--out", "-o", metavar="FILE", help="File to write; without it NAME.onnx.", dir_okay=False),
]


@export.callback()
def _export() -> None:
    """Networks for other programs to run."""


@export.command("onnx")
@grouped
def onnx(
    *,
    network: NetworkFile,
    out: Out = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write a network as ONNX: 8-bit RGB values in, canonical depth, confidence and normals out, any batch size.

    The file is checked against torch and kept only when both compute the same. m3d depth --weights FILE.onnx runs it.
    """
    from m3d_cli.models.onnx_export import export_named

    messages = Messages(quiet)
    report, facts = export_named(network.model_name(messages), network.weights, out)
    for name, difference in report.differences.items():
        kind = "relative" if name == "depth" else "absolute"
        messages.say(f"{name}: largest {kind} difference to torch {difference:.2g}")
    write_line(json.dumps(facts) if as_json else str(report.path))
