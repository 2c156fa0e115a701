"""``m3d bench``: how fast ``m3d depth`` is on the user's own photos and device, and where the time goes."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

from m3d_cli.cli.console import Messages
from m3d_cli.cli.grouping import grouped
from m3d_cli.cli.option_groups import InputOptions, Json, NetworkOptions, Quiet
from m3d_cli.cli.streams import write_line


@grouped
def bench(
    *,
    inputs: InputOptions,
    count: Annotated[
        int, typer.Option("--count", metavar="N", min=2, help="Photos to time, after one to warm up.")
    ] = 16,
    formats: Annotated[str, typer.Option("--format", metavar="LIST", help="Files to write, as in m3d depth.")] = "png",
    network: NetworkOptions,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Time depth on some of your photos; what it writes is thrown away."""
    from m3d_cli.pipeline.plan import parse_formats
    from m3d_cli.pipeline.timing import speed_table, time_photos

    messages = Messages(quiet)
    photos = inputs.find().photos
    settings = network.settings(messages, formats=parse_formats(formats))
    speed = time_photos(photos, settings, network.workers(), count, messages)
    write_line(json.dumps(asdict(speed)) if as_json else speed_table(speed))
