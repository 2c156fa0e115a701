"""Rows of `m3d exif` as a table for people and as JSON."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator

from m3d_cli.camera import Camera, FocalCandidate
from m3d_cli.photo_names import one_line
from m3d_cli.photos.discover import Listing
from m3d_cli.pipeline.camera_rows import CameraRow
from m3d_cli.pipeline.narrow_table import fitted, terminal_columns
from m3d_cli.pipeline.tally import exit_code_of
from m3d_cli.reporter import Reporter

# Paths are padded to this width at most.
WIDEST_PATH = 60
COLUMNS = (("size", 11), ("camera", 28), ("focal_px", 9), ("source", 16), ("sigma", 6), ("hfov", 6))

_NOT_YET = "m3d depth will estimate it from the image (--estimate shows it)"


def table_line(path: str, width: int, cells: list[str], last: str) -> str:
    columns = terminal_columns()
    if columns is not None:
        sized = [(cell, size) for cell, (_, size) in zip(cells, COLUMNS, strict=True)]
        return fitted(path, sized, last, width, columns)
    padded = [cell.ljust(size) for cell, (_, size) in zip(cells, COLUMNS, strict=True)]
    return "  ".join([path.ljust(width), *padded, last]).rstrip()


def table_row(row: CameraRow, width: int) -> str:
    """The row as a line of the table."""
    path = one_line(str(row.photo.path))
    if row.camera is None or row.facts is None:
        reason = row.error.message if row.error else "unknown"
        return table_line(path, width, ["-"] * len(COLUMNS), f"failed: {one_line(reason)}")
    found, exif_facts = row.camera, row.facts.exif
    camera = _camera_name(exif_facts.make, exif_facts.model)[: COLUMNS[1][1]]
    cells = [
        f"{found.width}x{found.height}",
        camera or "-",
        f"{found.focal:.1f}",
        str(found.focal_source),
        f"{found.focal_rel_sigma:.1%}",
        f"{found.horizontal_fov:.1f}",
    ]
    told = [_NOT_YET] if row.will_be_estimated else []
    told += (
        [] if row.from_image is None else [f"image: {row.from_image.focal:.0f} px +- {row.from_image.rel_sigma:.0%}"]
    )
    return table_line(path, width, cells, one_line("; ".join([found.derivation, *told, *found.warnings])))


def _camera_name(make: str, model: str) -> str:
    repeated = bool(make) and model.casefold().startswith(make.split()[0].casefold())
    return model if repeated else f"{make} {model}".strip()


def json_row(row: CameraRow) -> str:
    """The row as one JSON object."""
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
        fields |= _focal_fields(found) | {"will_be_estimated": row.will_be_estimated}
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


class CameraTable:
    """The rows of a listing, line by line, and what they add up to."""

    def __init__(self, listing: Listing, reporter: Reporter) -> None:
        self._listing = listing
        self._reporter = reporter
        self._codes: list[int] = []

    @property
    def exit_code(self) -> int:
        """0, 3 where photos failed, or 7 where only focal lengths were missing."""
        return exit_code_of(self._codes)

    def lines(self, rows: Iterable[CameraRow], *, as_json: bool) -> Iterator[str]:
        """A line per photo as it comes; errors, candidates and the summary go to the reporter."""
        photos, reporter = self._listing.photos, self._reporter
        width = min(WIDEST_PATH, max(len(str(photo.path)) for photo in photos))
        sources: Counter[str] = Counter()
        if not as_json:
            yield table_line("photo", width, [name for name, _ in COLUMNS], "derivation")
        for row in rows:
            yield json_row(row) if as_json else table_row(row, width)
            if row.error is not None:
                self._codes.append(row.error.exit_code)
                reporter.error(str(row.error))
            if row.camera is not None:
                sources[str(row.camera.focal_source)] += 1
                for one in row.camera.candidates:
                    focal = f"{one.focal:.1f} px +- {one.rel_sigma:.1%}"
                    reporter.detail(f"{row.photo.path}: {one.source} {focal}, {one.note}")
        if sources["assumed"]:
            share = f"{sources['assumed']} of {len(photos)} photos"
            reporter.warn(f"focal length assumed for {share}: lengths may be off by 25 %")
        parts = [f"{count} {source}" for source, count in sources.most_common()]
        parts += [f"{len(self._codes)} failed"] if self._codes else []
        reporter.say(f"{self._listing.summary()}: {', '.join(parts)}")
