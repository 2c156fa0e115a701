"""``m3d exif``: the focal length of each photo, its origin and its uncertainty. Reads headers only, unless the images
are to be looked at as well."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from m3d_cli.cli.console import Messages
from m3d_cli.cli.grouping import grouped
from m3d_cli.cli.option_groups import CameraOptions, InputOptions, ReportOptions
from m3d_cli.cli.streams import one_line, write_line
from m3d_cli.errors import M3dError

if TYPE_CHECKING:
    from m3d_cli.camera import Camera, FocalCandidate
    from m3d_cli.photos.discover import Listing
    from m3d_cli.pipeline.camera_rows import CameraRow

_COLUMNS = (("size", 11), ("camera", 28), ("focal_px", 9), ("source", 16), ("sigma", 6), ("hfov", 6))
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
    from m3d_cli.pipeline.tally import exit_code_of

    width = min(_WIDEST_PATH, max(len(str(photo.path)) for photo in listing.photos))
    sources: Counter[str] = Counter()
    errors: list[M3dError] = []
    if not as_json:
        write_line(_line("photo", width, [name for name, _ in _COLUMNS], "derivation"))
    for row in rows:
        write_line(_json(row) if as_json else _text(row, width))
        if row.error is not None:
            errors.append(row.error)
            messages.error(str(row.error))
        if row.camera is not None:
            sources[str(row.camera.focal_source)] += 1
            _show_candidates(row, row.camera, messages)
    if sources["assumed"]:
        share = f"{sources['assumed']} of {len(listing.photos)} photos"
        messages.warn(f"focal length assumed for {share}: lengths may be off by 25 %")
    messages.say(_summary(listing, sources, len(errors)))
    if errors:
        raise typer.Exit(exit_code_of(error.exit_code for error in errors))


def _summary(listing: Listing, sources: Counter[str], failed: int) -> str:
    parts = [f"{count} {source}" for source, count in sources.most_common()]
    if failed:
        parts.append(f"{failed} failed")
    return f"{listing.summary()}: {', '.join(parts)}"


def _show_candidates(row: CameraRow, camera: Camera, messages: Messages) -> None:
    for one in camera.candidates:
        messages.detail(f"{row.photo.path}: {one.source} {one.focal:.1f} px +- {one.rel_sigma:.1%}, {one.note}")


def _line(path: str, width: int, cells: list[str], last: str) -> str:
    padded = [cell.ljust(size) for cell, (_, size) in zip(cells, _COLUMNS, strict=True)]
    return "  ".join([path.ljust(width), *padded, last]).rstrip()


def _text(row: CameraRow, width: int) -> str:
    path = one_line(str(row.photo.path))
    if row.camera is None or row.facts is None:
        reason = row.error.message if row.error else "unknown"
        return _line(path, width, ["-"] * len(_COLUMNS), f"failed: {one_line(reason)}")
    found, exif_facts = row.camera, row.facts.exif
    camera = _camera_name(exif_facts.make, exif_facts.model)[: _COLUMNS[1][1]]
    cells = [
        f"{found.width}x{found.height}",
        camera or "-",
        f"{found.focal:.1f}",
        str(found.focal_source),
        f"{found.focal_rel_sigma:.1%}",
        f"{found.horizontal_fov:.1f}",
    ]
    told = [] if row.from_image is None else [f"image: {row.from_image.focal:.0f} px +- {row.from_image.rel_sigma:.0%}"]
    return _line(path, width, cells, one_line("; ".join([found.derivation, *told, *found.warnings])))


def _camera_name(make: str, model: str) -> str:
    repeated = bool(make) and model.casefold().startswith(make.split()[0].casefold())
    return model if repeated else f"{make} {model}".strip()


def _json(row: CameraRow) -> str:
    found, facts = row.camera, row.facts
    fields: dict[str, object] = {"path": str(row.photo.path), "status": "error" if found is None else "ok"}
    if facts is not None:
        fields |= {
            "width": facts.info.width,
            "height": facts.info.height,
            "format": str(facts.info.format),
            "orientation": facts.info.orientation,
            "make": facts.exif.make,
            "model": facts.exif.model,
            "lens": facts.exif.lens,
            "focal_mm": facts.exif.focal_mm,
            "focal_35mm": facts.exif.focal_35mm,
        }
    if found is not None:
        fields |= _focal_fields(found)
    if row.from_image is not None:
        fields["picture"] = _candidate_fields(row.from_image)
    if row.error is not None:
        error = row.error
        fields["error"] = {"code": error.code, "message": error.message, "hint": error.hint}
    return json.dumps(fields)


def _focal_fields(found: Camera) -> dict[str, object]:
    return {
        "focal_px": found.focal,
        "fx": found.fx,
        "fy": found.fy,
        "cx": found.cx,
        "cy": found.cy,
        "focal_source": str(found.focal_source),
        "focal_rel_sigma": found.focal_rel_sigma,
        "hfov": found.horizontal_fov,
        "derivation": found.derivation,
        "candidates": [_candidate_fields(one) for one in found.candidates],
        "warnings": list(found.warnings),
    }


def _candidate_fields(one: FocalCandidate) -> dict[str, object]:
    return {"focal_px": one.focal, "source": str(one.source), "rel_sigma": one.rel_sigma, "derivation": one.note}
