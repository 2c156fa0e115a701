"""``m3d exif``: the focal length of each photo, where it comes from and how sure it is. Reads headers only, unless the
pictures are asked as well."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

import typer

from m3d_cli.cli import options
from m3d_cli.cli.camera_flags import camera_options
from m3d_cli.cli.console import Talk, one_line, write_line
from m3d_cli.cli.tally import exit_code_of
from m3d_cli.errors import M3dError, PhotoError

if TYPE_CHECKING:
    from m3d_cli.intrinsics.exif_focal import FocalCandidate
    from m3d_cli.intrinsics.ladder import FocalEstimate
    from m3d_cli.photos.discover import Listing, PhotoFile
    from m3d_cli.photos.load import CameraOptions, PhotoFacts

_COLUMNS = (("size", 11), ("camera", 28), ("focal_px", 9), ("source", 16), ("sigma", 6), ("hfov", 6))
_WIDEST_PATH = 60

# Width and height of a decode that is enough for asking the picture.
_ENOUGH = (960, 720)


@dataclass(frozen=True, slots=True)
class _Row:
    """One photo and its facts, or the error that ended it; ``picture`` is what the picture itself says."""

    photo: PhotoFile
    facts: PhotoFacts | None
    estimate: FocalEstimate | None
    error: M3dError | None = None
    picture: FocalCandidate | None = None


def exif(
    context: typer.Context,
    paths: options.Paths = None,
    files_from: options.FilesFrom = None,
    null_separated: options.NullSeparated = False,
    recursive: options.Recursive = False,
    include: options.Include = None,
    exclude: options.Exclude = None,
    hidden: options.Hidden = False,
    focal: options.Focal = None,
    focal_mm: options.FocalMm = None,
    sensor_width: options.SensorWidth = None,
    focal_35mm: options.Focal35 = None,
    fov: options.Fov = None,
    intrinsics: options.IntrinsicsFile = None,
    exif_json: options.ExifJson = None,
    sensor_db: options.SensorDb = None,
    same_camera: options.SameCamera = False,
    require_focal: options.RequireFocal = False,
    estimate: Annotated[
        bool, typer.Option("--estimate", help="Also ask each picture itself, and tell where it contradicts EXIF.")
    ] = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Show the focal length of each photo and how it was derived."""
    listing = options.find_photos(
        paths,
        files_from=files_from,
        null_separated=null_separated,
        recursive=recursive,
        include=include,
        exclude=exclude,
        hidden=hidden,
    )
    camera = camera_options(
        context,
        focal=focal,
        focal_mm=focal_mm,
        sensor_width=sensor_width,
        focal_35mm=focal_35mm,
        fov=fov,
        intrinsics=intrinsics,
        exif_json=exif_json,
        sensor_db=sensor_db,
    )
    rows = _rows(listing, camera)
    if estimate:
        rows = _asked(rows)
    if same_camera:
        rows = _with_consensus(list(rows))
    if require_focal:
        rows = map(_requiring_focal, rows)
    _finish(listing, rows, Talk(quiet, verbose), as_json=as_json)


def _rows(listing: Listing, camera: CameraOptions) -> Iterator[_Row]:
    from m3d_cli.photos.load import read_facts

    for photo in listing.photos:
        try:
            if photo.problem:
                raise PhotoError(f"{photo.path}: {photo.problem}")
            facts = read_facts(photo.path, camera, photo.relative)
        except M3dError as error:
            yield _Row(photo, None, None, error)
        else:
            yield _Row(photo, facts, facts.estimate)


def _asked(rows: Iterator[_Row]) -> Iterator[_Row]:
    """Rows with what the pictures themselves say; it stands in where nothing else tells the focal length."""
    from m3d_cli.inference.device import choose_compute
    from m3d_cli.inference.picture_focal import PictureFocal
    from m3d_cli.intrinsics.estimated import candidate_of, contradiction, told_by_picture
    from m3d_cli.photos.decode import decode

    teller = PictureFocal.bundled(choose_compute("cpu", "fp32").device)
    for row in rows:
        found = row.estimate
        if found is None:
            yield row
            continue
        try:
            image = decode(row.photo.path, _ENOUGH).image
        except M3dError as error:
            yield replace(row, estimate=None, error=error)
            continue
        opinion = teller.opinion(image, found.width, found.height)
        warning = contradiction(found, opinion)
        told = told_by_picture(found, opinion) if found.is_assumed else found.with_warning(*filter(None, [warning]))
        yield replace(row, estimate=told, picture=candidate_of(found, opinion))


def _with_consensus(rows: list[_Row]) -> Iterator[_Row]:
    from m3d_cli.intrinsics.shared_focal import consensus

    shared = iter(consensus([row.estimate for row in rows if row.estimate is not None]))
    for row in rows:
        yield row if row.estimate is None else replace(row, estimate=next(shared))


def _requiring_focal(row: _Row) -> _Row:
    from m3d_cli.photos.load import focal_required

    if row.estimate is None or not row.estimate.is_assumed:
        return row
    return replace(row, estimate=None, error=focal_required(row.photo.path))


def _finish(listing: Listing, rows: Iterator[_Row], talk: Talk, *, as_json: bool) -> None:
    """Print every row as it comes, then the summary; leave with 3 if photos failed, 7 if only focal lengths lacked."""
    width = min(_WIDEST_PATH, max(len(str(photo.path)) for photo in listing.photos))
    sources: Counter[str] = Counter()
    errors: list[M3dError] = []
    if not as_json:
        write_line(_line("photo", width, [name for name, _ in _COLUMNS], "derivation"))
    for row in rows:
        write_line(_json(row) if as_json else _text(row, width))
        if row.error is not None:
            errors.append(row.error)
            talk.error(str(row.error))
        if row.estimate is not None:
            sources[str(row.estimate.source)] += 1
            _tell_candidates(row, row.estimate, talk)
    if sources["assumed"]:
        share = f"{sources['assumed']} of {len(listing.photos)} photos"
        talk.warn(f"focal length assumed for {share}: lengths may be off by 25 %")
    talk.say(_summary(listing, sources, len(errors)))
    if errors:
        raise typer.Exit(exit_code_of(error.exit_code for error in errors))


def _summary(listing: Listing, sources: Counter[str], failed: int) -> str:
    parts = [f"{count} {source}" for source, count in sources.most_common()]
    if failed:
        parts.append(f"{failed} failed")
    return f"{listing.summary()}: {', '.join(parts)}"


def _tell_candidates(row: _Row, estimate: FocalEstimate, talk: Talk) -> None:
    for one in estimate.candidates:
        talk.detail(f"{row.photo.path}: {one.source} {one.focal:.1f} px +- {one.rel_sigma:.1%}, {one.note}")


def _line(path: str, width: int, cells: list[str], last: str) -> str:
    padded = [cell.ljust(size) for cell, (_, size) in zip(cells, _COLUMNS, strict=True)]
    return "  ".join([path.ljust(width), *padded, last]).rstrip()


def _text(row: _Row, width: int) -> str:
    path = one_line(str(row.photo.path))
    if row.estimate is None or row.facts is None:
        reason = row.error.message if row.error else "unknown"
        return _line(path, width, ["-"] * len(_COLUMNS), f"failed: {one_line(reason)}")
    found, exif_facts = row.estimate, row.facts.exif
    camera = _camera_name(exif_facts.make, exif_facts.model)[: _COLUMNS[1][1]]
    cells = [
        f"{found.width}x{found.height}",
        camera or "-",
        f"{found.focal:.1f}",
        str(found.source),
        f"{found.rel_sigma:.1%}",
        f"{found.camera.horizontal_fov:.1f}",
    ]
    told = [] if row.picture is None else [f"picture: {row.picture.focal:.0f} px +- {row.picture.rel_sigma:.0%}"]
    return _line(path, width, cells, one_line("; ".join([found.derivation, *told, *found.warnings])))


def _camera_name(make: str, model: str) -> str:
    repeated = bool(make) and model.casefold().startswith(make.split()[0].casefold())
    return model if repeated else f"{make} {model}".strip()


def _json(row: _Row) -> str:
    found, facts = row.estimate, row.facts
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
    if row.picture is not None:
        fields["picture"] = _candidate_fields(row.picture)
    if row.error is not None:
        error = row.error
        fields["error"] = {"code": error.code, "message": error.message, "hint": error.hint}
    return json.dumps(fields)


def _focal_fields(found: FocalEstimate) -> dict[str, object]:
    return {
        "focal_px": found.focal,
        "fx": found.fx,
        "fy": found.fy,
        "cx": found.cx,
        "cy": found.cy,
        "focal_source": str(found.source),
        "focal_rel_sigma": found.rel_sigma,
        "hfov": found.camera.horizontal_fov,
        "derivation": found.derivation,
        "candidates": [_candidate_fields(one) for one in found.candidates],
        "warnings": list(found.warnings),
    }


def _candidate_fields(one: FocalCandidate) -> dict[str, object]:
    return {"focal_px": one.focal, "source": str(one.source), "rel_sigma": one.rel_sigma, "derivation": one.note}
