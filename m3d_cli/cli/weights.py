"""``m3d weights``: fetch, check and find the weights of the published networks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from m3d_cli.cli.console import Messages
from m3d_cli.cli.grouping import grouped
from m3d_cli.cli.option_groups import Json, MessageOptions
from m3d_cli.cli.streams import write_line
from m3d_cli.errors import WeightsError

if TYPE_CHECKING:
    from m3d_cli.models.catalogue import Entry

MEGABYTE = 1e6

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
        write_line(_json(each) if as_json else f"{each.name:15} {each.status:10} {size_of(each):>14}  {each.origin}")


def size_of(entry: Entry) -> str:
    """Its size for a person to read."""
    return f"{'' if entry.is_size_exact else 'about '}{entry.size / MEGABYTE:.0f} MB"


def _json(entry: Entry) -> str:
    fields = {
        "name": entry.name,
        "status": str(entry.status),
        "path": str(entry.path) if entry.path is not None else None,
        "bytes": entry.size,
        "bytes_exact": entry.is_size_exact,
        "sha256": entry.sha256,
        "origin": entry.origin,
        "licence": entry.licence,
    }
    return json.dumps(fields)


@weights.command("pull")
@grouped
def pull(names: Names, *, force: Force = False, report: MessageOptions) -> None:
    """Fetch published weights and install them; prints where they are. A broken download goes on where it stopped."""
    from m3d_cli.models.registry import BUNDLED, published_file

    messages = report.start()
    for name in names:
        if name not in BUNDLED:
            published_file(name)
    for name in names:
        write_line(str(_pull(name, force, messages)))


def _pull(name: str, force: bool, messages: Messages) -> Path:
    from m3d_cli.models.registry import BUNDLED

    if name in BUNDLED:
        messages.say(f"{name}: comes with the package")
        return BUNDLED[name].path
    from m3d_cli.models.pull import pull as pull_one

    _show_no_bars(messages)
    return pull_one(name, messages.say, force=force).path


def _show_no_bars(messages: Messages) -> None:
    if messages.quiet:
        from huggingface_hub.utils import disable_progress_bars

        disable_progress_bars()


@weights.command("verify")
def verify(name: OptionalName = None, as_json: Json = False) -> None:
    """Read every byte of installed weights and hold it against the published checksums."""
    failures = 0
    for each in [name] if name is not None else _names_to_verify():
        try:
            found, status = _verify(each), "ok"
        except WeightsError as error:
            found, status, failures = str(error), "failed", failures + 1
            Messages().error(found)
        row = {"name": each, "status": status, "found": found}
        write_line(json.dumps(row) if as_json else f"{each:15} {status}" + (f"  {found}" if status == "ok" else ""))
    if failures:
        raise typer.Exit(WeightsError.exit_code)


def _names_to_verify() -> list[str]:
    from m3d_cli.models.catalogue import Status, entry, names

    return [name for name in names() if entry(name).status is not Status.MISSING]


def _verify(name: str) -> str:
    from m3d_cli.models.registry import BUNDLED, published_file
    from m3d_cli.models.store import find_installed

    if name in BUNDLED:
        BUNDLED[name].check()
        return "as published"
    published_file(name)
    installed = find_installed(name)
    if installed is None:
        raise _not_installed(name)
    from m3d_cli.models.install import verify_installed

    return verify_installed(installed)


@weights.command("path")
def path(name: Name) -> None:
    """Print the file that runs load."""
    from m3d_cli.models.catalogue import Status, entry

    found = entry(name)
    if found.status is Status.MISSING:
        raise _not_installed(name)
    if found.path is None:
        raise WeightsError(f"the weights of {name} are damaged", hint=f"m3d weights verify {name} tells more")
    write_line(str(found.path))


def _not_installed(name: str) -> WeightsError:
    return WeightsError(f"the weights of {name} are not installed", hint=f"m3d weights pull {name}")


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
