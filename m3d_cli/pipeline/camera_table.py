"""Rows of `m3d exif` as a table for people and as JSON."""

from __future__ import annotations

import json

from m3d_cli.camera import Camera, FocalCandidate
from m3d_cli.photo_names import one_line
from m3d_cli.pipeline.camera_rows import CameraRow

COLUMNS = (("size", 11), ("camera", 28), ("focal_px", 9), ("source", 16), ("sigma", 6), ("hfov", 6))


def table_line(path: str, width: int, cells: list[str], last: str) -> str:
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
    told = [] if row.from_image is None else [f"image: {row.from_image.focal:.0f} px +- {row.from_image.rel_sigma:.0%}"]
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
