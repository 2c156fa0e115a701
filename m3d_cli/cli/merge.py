"""``m3d merge``: one journal of those that the parts of a run kept."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from m3d_cli.cli.console import Messages


def merge(
    out: Annotated[str, typer.Argument(metavar="OUT", help="The folder or URL that runs with --shard wrote to.")],
) -> None:
    """Make one journal of those of a run's parts; what they wrote stays where it is."""
    from m3d_cli.photos.remote import is_url
    from m3d_cli.pipeline.merge import merge as merge_journals
    from m3d_cli.pipeline.upload import RemoteOut

    remote = RemoteOut.at(out) if is_url(out) else None
    if remote is not None:
        remote.begin()
    photos = merge_journals(Path(out) if remote is None else remote.local)
    if remote is not None:
        remote.replace_journals()
    Messages().say(f"{out}: {photos} photos in one journal")
