"""The ``m3d`` program: its commands, and the one place where errors become a line and an exit code."""

from __future__ import annotations

import atexit
import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated, NoReturn

import typer

from m3d_cli.cli import (
    bench,
    compare,
    datasets,
    depth,
    doctor,
    evaluate,
    exif,
    export,
    measure,
    merge,
    models,
    pointcloud,
    reconstruct,
    schema,
    slam,
    train,
    video,
    weights,
)
from m3d_cli.cli.console import Messages
from m3d_cli.cli.streams import leave_closed_pipe, prepare_streams, write_line
from m3d_cli.errors import M3dError
from m3d_cli.photos.file_list import current_folder
from m3d_cli.version import __version__

INTERRUPTED_EXIT = 130

app = typer.Typer(
    name="m3d",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

# A command is a function in a file of its own, which imports what it starts inside the function.
app.command("depth")(depth.depth)
app.command("pointcloud")(pointcloud.pointcloud)
app.command("measure", cls=measure.MeasureCommand)(measure.measure)
app.command("merge")(merge.merge)
app.command("bench")(bench.bench)
app.command("reconstruct")(reconstruct.reconstruct)
app.command("video")(video.video)
app.command("compare")(compare.compare)
app.command("exif")(exif.exif)
app.command("models")(models.models)
app.command("doctor")(doctor.doctor)
app.command("train")(train.train)
app.add_typer(evaluate.evaluate, name="eval")
app.add_typer(datasets.datasets, name="datasets")
app.add_typer(train.synth, name="synth")
app.add_typer(weights.weights, name="weights")
app.add_typer(export.export, name="export")
app.add_typer(slam.slam, name="slam")
app.add_typer(schema.schema, name="schema")


def _print_version(wanted: bool) -> None:
    if wanted:
        write_line(f"m3d {__version__}")
        raise typer.Exit


@app.callback()
def m3d(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Turn ordinary photos into metric depth."""


def program() -> NoReturn:
    """The ``m3d`` script: `main`, what programs register for their end, and out.

    Tearing torch down object by object takes 0.6 of the 4.2 s of ``m3d depth`` on one photo (two cores), so the process
    ends without it. ``python -m m3d_cli`` ends as any Python program does, for profilers and coverage.
    """
    code = main()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        # A program started with a closed stream (``>&-``) has None in its place.
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()
    os._exit(code)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; every error ends here as one line on standard error."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    prepare_streams()
    _silence_libraries()
    try:
        current_folder()
        app(args=arguments, prog_name="m3d")
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except M3dError as error:
        Messages().error(str(error))
        _show_traceback(arguments)
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED_EXIT
    except BrokenPipeError:
        leave_closed_pipe()
    except Exception as error:  # noqa: BLE001 - the last line of defence turns a crash into one readable line
        Messages().error(f"UNEXPECTED: {type(error).__name__}: {error}. hint: run with -v and report the traceback")
        _show_traceback(arguments)
        return 1
    return 0


def _is_debugging(arguments: Sequence[str]) -> bool:
    return bool(os.environ.get("M3D_DEBUG")) or any(each in ("-v", "--verbose") for each in arguments)


def _show_traceback(arguments: Sequence[str]) -> None:
    if _is_debugging(arguments) and sys.stderr:
        traceback.print_exc()


def _silence_libraries() -> None:
    """Pillow warns about every oddity of a file; what matters for the photo is reported in its own words."""
    if not os.environ.get("M3D_DEBUG"):
        warnings.filterwarnings("ignore", module=r"PIL\.")
