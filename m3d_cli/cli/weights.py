"""``m3d weights``: fetch, check and find the weights of the published networks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from m3d_cli.cli.console import Messages
from m3d_cli.cli.grouping import grouped
from m3d_cli.cli.option_groups import Json, MessageOptions
from m3d_cli.cli.streams import write_line
from m3d_cli.errors import WeightsError

weights = typer.Typer(no_args_is_help=True, help="Fetch, check and find the weights of the networks.")

Names = Annotated[list[str], typer.Argument(metavar="NAME...", help="Networks; see m3d weights list.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="Network; see m3d weights list.")]
OptionalName = Annotated[
    str | None, typer.Argument(metavar="[NAME]", help="Network; all installed ones without it.", show_default=False)
]
Force = Annotated[bool, typer.Option("--force", help="Install again what seems to be there.")]
ImportName = Annotated[
    str | None, typer.Option("--name", metavar="NAME", help="Network it is for, where its checksum does not say.")
]


@weights.command("list")
def show_list(as_json: Json = False) -> None:
    """List the weights there are: installed or not, size, origin; with --json also checksum, licence and path."""
    from m3d_cli.models.catalogue import entry, names

    for each in map(entry, names()):
        text = f"{each.name:15} {each.status:10} {each.size_text:>14}  {each.origin}"
        write_line(json.dumps(each.facts) if as_json else text)


@weights.command("pull")
@grouped
def pull(names: Names, *, force: Force = False, report: MessageOptions) -> None:
    """Fetch published weights and install them; prints where they are. A broken download continues where it stopped."""
    from m3d_cli.models.pull import pull_all

    for file in pull_all(names, report.start(), force=force, quiet=report.quiet):
        write_line(str(file))


@weights.command("verify")
def verify(name: OptionalName = None, as_json: Json = False) -> None:
    """Read every byte of installed weights and compare it with the published checksums."""
    from m3d_cli.models.verify import installed_names
    from m3d_cli.models.verify import verify as verify_weights

    failures = 0
    for each in [name] if name is not None else installed_names():
        try:
            found, status = verify_weights(each), "ok"
        except WeightsError as error:
            found, status, failures = str(error), "failed", failures + 1
            Messages().error(found)
        row = {"name": each, "status": status, "found": found}
        write_line(json.dumps(row) if as_json else f"{each:15} {status}" + (f"  {found}" if status == "ok" else ""))
    if failures:
        raise typer.Exit(WeightsError.exit_code)


@weights.command("path")
def path(name: Name) -> None:
    """Print the file that runs load."""
    from m3d_cli.models.verify import loaded_file

    write_line(str(loaded_file(name)))


@weights.command("import")
@grouped
def import_file(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A checkpoint: as published, or of your own.")],
    *,
    name: ImportName = None,
    report: MessageOptions,
) -> None:
    """Install a checkpoint that was carried here by hand, for machines without a network; prints where it is."""
    from m3d_cli.models.install import import_checkpoint

    write_line(str(import_checkpoint(file, name, report.start().say).path))
