"""``m3d exif``: the focal length of each photo, its origin and its uncertainty, from headers or also from the image."""

from __future__ import annotations

from typing import Annotated

import typer

from m3d_cli.cli.console import Messages
from m3d_cli.cli.grouping import grouped
from m3d_cli.cli.option_groups import CameraOptions, InputOptions, ReportOptions
from m3d_cli.cli.streams import write_line


@grouped
def exif(
    context: typer.Context,
    *,
    inputs: InputOptions,
    camera: CameraOptions,
    estimate: Annotated[
        bool, typer.Option("--estimate", help="Also estimate it from each image, and show where EXIF contradicts that.")
    ] = False,
    report: ReportOptions,
) -> None:
    """Show the focal length of each photo and how it was derived."""
    from m3d_cli.pipeline.camera_rows import camera_rows, requiring_focal, with_consensus, with_estimates
    from m3d_cli.pipeline.camera_table import CameraTable

    messages = Messages(report.quiet, report.verbose)
    listing = inputs.find()
    rows = camera_rows(listing, camera.sources(context))
    if estimate:
        rows = with_estimates(rows)
    if camera.same_camera:
        rows = with_consensus(list(rows))
    if camera.require_focal:
        rows = map(requiring_focal, rows)
    table = CameraTable(listing, messages)
    for line in table.lines(rows, as_json=report.as_json):
        write_line(line)
    if table.exit_code:
        raise typer.Exit(table.exit_code)
