"""What the pick page asks for: values of the points it holds, and files of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from m3d_cli import __version__
from m3d_cli.batch.measure_run import write_reports
from m3d_cli.batch.measuring import MeasureJob, Sight, render_depth, write_measured
from m3d_cli.errors import UsageError
from m3d_cli.measure.drawing import annotated, jpeg_of
from m3d_cli.measure.html_page import Illustrated
from m3d_cli.measure.pick_server import PickService
from m3d_cli.measure.reading import Pick
from m3d_cli.measure.report import plain
from m3d_cli.measure.sheet import SheetFile, sheet_of, validated
from m3d_cli.measure.sheet_toml import encode_toml
from m3d_cli.measure.spec import OBJECTS, Measure
from m3d_cli.measure.wish import Wish
from m3d_cli.outputs.atomic import write_bytes

SHEET_SUFFIX = ".sizes.toml"
FORMATS = ("html", "csv")
_PLACE = "the page"


def pick_service(
    job: MeasureJob, sight: Sight, start: Wish, unit: str | None, *, allow_assumed_focal: bool
) -> PickService:
    """The service of one photo; ``start`` are measurements that are there from the beginning."""
    camera = sight.finished.camera
    info = {
        "photo": sight.photo,
        "width": camera.width,
        "height": camera.height,
        "camera": f"{camera.width} x {camera.height}, focal {camera.focal_px:.0f} px ({camera.focal_source})",
        "assumed": camera.focal_source == "assumed",
        "allow_assumed_focal": allow_assumed_focal,
        "unit": unit or "m",
        "objects": list(OBJECTS),
        "items": _items(start),
        "version": __version__,
    }

    def measure(content: Mapping[str, Any]) -> dict[str, Any]:
        return plain(sight.measured(_wish(_file(content, sight.photo))).report)

    def save(content: Mapping[str, Any]) -> dict[str, Any]:
        return {"files": [str(path) for path in _save(job, sight, _file(content, sight.photo))]}

    return PickService(jpeg_of(sight.image), info, measure, save)


def _file(content: Mapping[str, Any], photo: str) -> SheetFile:
    """A measurement file of one photo from what the page sent."""
    known = {"unit", "allow_assumed_focal", "measure", "reference"}
    if not content.keys() <= known:
        raise UsageError(f"{_PLACE}: {', '.join(sorted(content.keys() - known))} is unknown")
    whole = {name: content[name] for name in ("unit", "allow_assumed_focal") if name in content}
    part = {name: content[name] for name in ("measure", "reference") if name in content}
    return validated({**whole, "photo": [{"match": photo, **part}]}, _PLACE)


def _wish(file: SheetFile) -> Wish:
    return sheet_of(file, _PLACE).entries[0].wish


def _save(job: MeasureJob, sight: Sight, file: SheetFile) -> Sequence[Path]:
    """The measurement file, the report with its pictures, and the page and table of it; raises OutputError."""
    wish = _wish(file)
    if not wish.asked:
        raise UsageError("there is nothing to save yet", hint="measure something first")
    report = sight.measured(wish).report
    sheet = job.report.with_name(job.name.name + SHEET_SUFFIX)
    write_bytes(sheet, encode_toml(file).encode())
    write_measured(job, sight, report)
    camera = sight.finished.camera
    picture = annotated(sight.image, (camera.width, camera.height), report)
    depth = jpeg_of(render_depth(sight.finished))
    pages = write_reports(job.out, FORMATS, lambda: [Illustrated(report, picture, depth)])
    return (sheet, *job.outputs, *pages)


def _items(start: Wish) -> list[dict[str, Any]]:
    """Measurements and references given as flags, as the page keeps them."""
    items: list[dict[str, Any]] = [
        {"kind": str(one.kind), "name": one.name, "points": _pairs(one.points), "second": _pairs(one.second)}
        | {"on": one.on or "", "length": "", "object": ""}
        for one in start.asked
        if isinstance(one, Measure) and one.points
    ]
    items += [
        {"kind": "reference", "name": one.name, "points": _pairs(one.points), "second": []}
        | {"on": "", "length": f"{one.length:.6g} m", "object": ""}
        for one in start.references
    ]
    return [{"id": number, **item} for number, item in enumerate(items, 1)]


def _pairs(points: Sequence[Pick]) -> list[tuple[float, float]]:
    return [(pick.u, pick.v) for pick in points]
