"""``m3d merge``: one journal of those that the parts of a run kept."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from m3d_cli.cli.console import Talk


def merge(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The folder that runs with --shard wrote to.")],
) -> None:
    """Make one journal of those of a run's parts; what they wrote stays where it is."""
    from m3d_cli.batch.journal import merge as merge_journals

    photos = merge_journals(out)
    Talk().say(f"{out}: {photos} photos in one journal")
