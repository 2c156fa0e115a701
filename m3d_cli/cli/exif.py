"""``m3d exif``: the focal length of each photo, its origin and its uncertainty. Reads headers only, unless the images
are to be looked at as well."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from m3d_cli.cli.console import Messages
from m3d_cli.cli.grouping import grouped
from m3d_cli.cli.option_groups import CameraOptions, InputOptions, ReportOptions
from m3d_cli.cli.streams import write_line
from m3d_cli.errors import M3dError

if TYPE_CHECKING:
    from m3d_cli.photos.discover import Listing
    from m3d_cli.pipeline.camera_rows import CameraRow

_WIDEST_PATH = 60


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

    messages = Messages(report.quiet, report.verbose)
    listing = inputs.find()
    rows = camera_rows(listing, camera.sources(context))
    if estimate:
        rows = with_estimates(rows)
    if camera.same_camera:
        rows = with_consensus(list(rows))
    if camera.require_focal:
        rows = map(requiring_focal, rows)
    _finish(listing, rows, messages, as_json=report.as_json)


def _finish(listing: Listing, rows: Iterator[CameraRow], messages: Messages, *, as_json: bool) -> None:
    """Print every row as it comes, then the summary; leave with 3 if photos failed, 7 if only focal lengths lacked."""
    from m3d_cli.pipeline.camera_table import COLUMNS, json_row, table_line, table_row
    from m3d_cli.pipeline.tally import exit_code_of

    width = min(_WIDEST_PATH, max(len(str(photo.path)) for photo in listing.photos))
    sources: Counter[str] = Counter()
    errors: list[M3dError] = []
    if not as_json:
        write_line(table_line("photo", width, [name for name, _ in COLUMNS], "derivation"))
    for row in rows:
        write_line(json_row(row) if as_json else table_row(row, width))
        if row.error is not None:
            errors.append(row.error)
            messages.error(str(row.error))
        if row.camera is not None:
            sources[str(row.camera.focal_source)] += 1
            for one in row.camera.candidates:
                messages.detail(f"{row.photo.path}: {one.source} {one.focal:.1f} px +- {one.rel_sigma:.1%}, {one.note}")
    if sources["assumed"]:
        share = f"{sources['assumed']} of {len(listing.photos)} photos"
        messages.warn(f"focal length assumed for {share}: lengths may be off by 25 %")
    parts = [f"{count} {source}" for source, count in sources.most_common()]
    parts += [f"{len(errors)} failed"] if errors else []
    messages.say(f"{listing.summary()}: {', '.join(parts)}")
    if errors:
        raise typer.Exit(exit_code_of(error.exit_code for error in errors))
