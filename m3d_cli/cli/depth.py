"""``m3d depth``: photos in, a metric depth map and a sidecar for each out."""

from __future__ import annotations

import typer

from m3d_cli.cli import option_groups as groups
from m3d_cli.cli.grouping import grouped
from m3d_cli.cli.running import STDOUT, results_inside, run_photos
from m3d_cli.errors import UsageError


@grouped
def depth(
    context: typer.Context,
    *,
    inputs: groups.RemoteInputOptions,
    camera: groups.AnyCameraOptions,
    output: groups.DepthOutputOptions,
    network: groups.NetworkOptions,
    run: groups.RunOptions,
    report: groups.ReportOptions,
) -> None:
    """Write the metric depth of each photo: a 16-bit PNG in millimetres and a JSON sidecar."""
    if output.out is None:
        raise UsageError("no --out given", hint="m3d depth PHOTOS --out DIR; nothing is written beside your photos")
    if output.out == STDOUT and run.dry_run:
        raise UsageError("--dry-run shows a plan and --out - writes an image to stdout", hint="leave one out")
    messages = report.start()
    photos = inputs.listing(messages, skip_folders=results_inside(output.out), takes_urls=True).photos
    from m3d_cli.formats.previews import PreviewStyle
    from m3d_cli.pipeline.plan import parse_formats

    settings = network.settings(
        messages,
        formats=parse_formats(output.formats),
        png_scale=output.png_scale,
        preview=PreviewStyle(output.colour_map, output.vmin, output.vmax),
        max_depth=output.max_depth,
        camera=camera.sources(context, require_focal=camera.require_focal),
        most_download=inputs.most_download,
    )
    run_photos(photos, settings, camera, output, network, run, report, messages)
