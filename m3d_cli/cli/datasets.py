"""``m3d datasets``: folders of annotated frames, looked at before anything is scored or trained on them."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from m3d_cli.cli.console import Messages
from m3d_cli.cli.streams import write_line

FAULTS_EXIT = 3

datasets = typer.Typer(help="Folders of annotated frames.", no_args_is_help=True)


@datasets.callback()
def _group() -> None:
    """Folders of annotated frames."""


@datasets.command()
def check(
    data: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of annotated frames.")],
    layout: Annotated[str, typer.Option("--layout", help="As for m3d eval.")] = "rgbd",
    sources: Annotated[str, typer.Option("--sources", help="Sources to look at, by commas; NAME:SPLIT.")] = "",
    limit: Annotated[int | None, typer.Option("--limit", metavar="N", min=1, help="First N frames only.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a fault.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Faults only.")] = False,
) -> None:
    """Say what is wrong with a folder before a run starts; exit code 3 when something is."""
    from m3d_cli.datasets.check import check_frames
    from m3d_cli.datasets.layouts import find_layout
    from m3d_cli.datasets.selection import SourceChoice, select_frames

    choices = [SourceChoice.parse(text) for text in sources.split(",") if text.strip()]
    selection = select_frames(find_layout(layout), data, choices, limit)
    frames = selection.frames
    messages, count = Messages(quiet=quiet), 0
    for note in selection.notes:
        messages.warn(note)
    with messages.progress(len(frames)) as advance:
        for fault in check_frames(frames, advance):
            count += 1
            write_line(json.dumps(asdict(fault)) if as_json else f"{fault.kind}: {fault.file}: {fault.message}")
    messages.say(f"{len(frames)} frames, {count} faults" if count != 1 else f"{len(frames)} frames, 1 fault")
    if count:
        raise typer.Exit(FAULTS_EXIT)
