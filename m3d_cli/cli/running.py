"""Runs over photos, for every command that writes files for them: progress, messages, summary and exit code."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from m3d_cli.cli import option_groups as groups
from m3d_cli.cli.console import Messages
from m3d_cli.cli.streams import is_a_terminal, write_bytes, write_line
from m3d_cli.errors import UsageError

if TYPE_CHECKING:
    from m3d_cli.photos.discover import PhotoFile
    from m3d_cli.pipeline.run_plan import RunPlan
    from m3d_cli.pipeline.settings import Settings
    from m3d_cli.pipeline.workers import Workers

STDOUT = "-"


def results_inside(out: str | None) -> tuple[Path, ...]:
    """The folder of results, which is not searched for photos."""
    from m3d_cli.photos.remote import is_url

    return () if out is None or out == STDOUT or is_url(out) else (Path(out),)


def workers_of(network: groups.NetworkOptions, run: groups.RunOptions) -> Workers:
    """The workers that the options of network and run name."""
    import dataclasses

    from m3d_cli.pipeline.workers import ray_cluster

    workers = network.workers(takes_several=True)
    cluster = ray_cluster(run.engine, run.ray_address, run.ray_actors, workers.devices)
    return dataclasses.replace(workers, ray=cluster)


def run_photos(
    photos: tuple[PhotoFile, ...],
    settings: Settings,
    camera: groups.CameraOptions,
    output: groups.OutputOptions,
    network: groups.NetworkOptions,
    run: groups.RunOptions,
    report: groups.ReportOptions,
    messages: Messages,
) -> None:
    """Process photos as the options say: into a folder or URL, as one file on standard output, or as a dry run."""
    from m3d_cli.pipeline.run_plan import RunPlan

    assert output.out is not None  # noqa: S101 - checked by the commands
    plan = RunPlan.of(
        photos,
        output.out,
        settings,
        workers_of(network, run),
        keep_extension=output.keep_extension,
        same_camera=camera.same_camera,
        overwrite=run.overwrite,
        shard=run.shard,
    )
    plan.check_remote(dry_run=run.dry_run)
    if output.out == STDOUT:
        return run_to_stdout(plan, messages, as_json=report.as_json)
    if run.dry_run:
        return show_plan(plan, messages, as_json=report.as_json)
    code = run_into_folder(
        plan, messages, most_failures=1 if run.fail_fast else run.max_failures, as_json=report.as_json
    )
    if code and not run.exit_zero:
        raise typer.Exit(code)
    return None


def run_into_folder(
    plan: RunPlan, messages: Messages, *, most_failures: int | None = None, as_json: bool = False
) -> int:
    """Process every photo that is not done yet and report it; the exit code of the run."""
    from m3d_cli.pipeline.tally import Tally

    tally = Tally(len(plan.jobs), plan.waits_for)
    try:
        with plan.started(tally.add) as outcomes:
            for outcome in tally.follow(outcomes, messages, most_failures):
                if as_json:
                    write_line(outcome.line())
    finally:
        tally.report(messages)
    return tally.exit_code


def run_to_stdout(plan: RunPlan, messages: Messages, *, as_json: bool) -> None:
    """Write the one file of one photo to standard output."""
    if as_json:
        raise UsageError("--out - writes one file and nothing else to stdout", hint="leave --format and --json out")
    if is_a_terminal(sys.stdout):
        raise UsageError("this is no text for a terminal", hint="write it into a file: ... --out - > FILE")
    file = plan.lone_file()
    for warning in file.warnings:
        messages.warn(f"{plan.jobs[0].photo.name}: {warning}")
    write_bytes(*file.pieces)


def photos_of(
    inputs: groups.InputOptions, depth: Path | None, out: str | None, messages: Messages, *, takes_urls: bool = False
) -> tuple[PhotoFile, ...]:
    """Photos, or where none are given the sidecars of the existing depth maps in ``depth``."""
    if depth is not None and inputs.is_empty:
        from m3d_cli.pipeline.existing_depth import stored_inputs

        return stored_inputs(depth)
    return inputs.listing(messages, skip_folders=results_inside(out), takes_urls=takes_urls).photos


def show_plan(plan: RunPlan, messages: Messages, *, as_json: bool) -> None:
    """One line per photo on standard output; exits with the code of the run, as far as headers predict it."""
    from m3d_cli.pipeline.prospects import json_of, prospects, text_of
    from m3d_cli.pipeline.tally import exit_code_of

    found: Counter[str] = Counter()
    codes = []
    for prospect in prospects(plan):
        found[prospect.status] += 1
        write_line(json_of(prospect) if as_json else text_of(prospect))
        if prospect.error is not None:
            codes.append(prospect.error.exit_code)
            messages.error(str(prospect.error))
    words = {"todo": "to do", "done": "already done", "error": "not possible"}
    counts = ", ".join(f"{found[status]} {word}" for status, word in words.items() if found[status])
    messages.say(f"{len(plan.jobs)} photo{'' if len(plan.jobs) == 1 else 's'}: {counts}; nothing was written")
    if codes:
        raise typer.Exit(exit_code_of(codes))
