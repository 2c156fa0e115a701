"""``m3d schema``: the shape of files that a person or a program writes for m3d."""

from __future__ import annotations

import json

import typer

from m3d_cli.cli.streams import write_line

schema = typer.Typer(help="JSON Schemas of the files that m3d reads.", no_args_is_help=True)


@schema.callback()
def schemas() -> None:
    """JSON Schemas of the files that m3d reads."""


@schema.command("measure")
def measure() -> None:
    """The measurement file of m3d measure --spec."""
    from m3d_cli.metrology.spec.measurement_file import schema as sheet_schema

    write_line(json.dumps(sheet_schema(), indent=2))
