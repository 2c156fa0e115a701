"""Reports as tables: CSV and TSV with one row per measurement, and Markdown for people."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence

from m3d_cli.metrology.report.advice import MEANING
from m3d_cli.metrology.report.content import PhotoReport, Row
from m3d_cli.metrology.report.rounding import end_decimals, text_of, value_decimals
from m3d_cli.metrology.uncertainty import Term

COLUMNS = (
    "photo",
    "name",
    "kind",
    "value",
    "low",
    "high",
    "unit",
    *(f"sigma_{term}" for term in Term),
    "trust",
    "limited_by",
    "focal_source",
    "model",
    "method",
    "points",
    "warnings",
    "error",
)

# Names are padded to this width at most in lines for people.
LONGEST_NAME = 40

_SHOWN_UNITS = {"deg": "°", "m2": "m²", "cm2": "cm²", "mm2": "mm²", "ft2": "ft²", "in2": "in²"}

# Spreadsheets run a cell that begins with one of these as a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def shown_unit(unit: str) -> str:
    """A unit as people write it."""
    return _SHOWN_UNITS.get(unit, unit)


def value_text(row: Row) -> str:
    """The value with its digits; empty where there is none."""
    if row.value is None:
        return ""
    low = 0.0 if row.interval is None else row.interval[0]
    return text_of(row.value, value_decimals(row.value, low, row.decimals))


def interval_text(row: Row) -> tuple[str, str]:
    """Both ends of the 95 % interval."""
    if row.interval is None:
        return "", ""
    low, high = (text_of(end, end_decimals(end, row.decimals)) for end in row.interval)
    return low, high


def encode_table(reports: Iterable[PhotoReport], separator: str, *, header: bool = True) -> str:
    """CSV (",") or TSV ("\\t"), numbers rounded as their interval supports."""
    text = io.StringIO()
    writer = csv.writer(text, delimiter=separator, lineterminator="\n")
    if header:
        writer.writerow(COLUMNS)
    for report in reports:
        writer.writerows(_cells(report, row) for row in report.measurements)
    return text.getvalue()


def _cells(report: PhotoReport, row: Row) -> list[str]:
    low, high = interval_text(row)
    return [
        _harmless(report.photo),
        _harmless(row.name),
        row.kind,
        value_text(row),
        low,
        high,
        row.unit,
        *(f"{row.sigma[term]:g}" if term in row.sigma else "" for term in map(str, Term)),
        row.trust,
        row.limited_by,
        report.camera.focal_source if report.camera is not None else "",
        report.model.name if report.model is not None else "",
        row.method,
        " ".join(f"{u:g},{v:g}" for u, v in row.points),
        _harmless("; ".join(row.warnings)),
        _harmless(f"{row.error.code}: {row.error.message}") if row.error is not None else "",
    ]


def _harmless(text: str) -> str:
    """One line that no spreadsheet runs as a formula."""
    line = " ".join(text.split())
    return f"'{line}" if line.startswith(_FORMULA) else line


def encode_markdown(reports: Sequence[PhotoReport]) -> str:
    """A heading and a table per photo, and what limits each number."""
    parts = ["# Measurements", ""]
    for report in reports:
        parts += [f"## {_escaped(report.photo)}", "", *_basis(report), ""]
        parts += ["| name | value | 95 % interval | trust | limited by |", "| --- | ---: | --- | --- | --- |"]
        parts += [_line(row) for row in report.measurements]
        parts += ["", *_remarks(report)]
    return "\n".join(parts).rstrip() + "\n"


def _line(row: Row) -> str:
    unit = shown_unit(row.unit)
    if row.error is not None:
        return f"| {_escaped(row.name)} | not measured | | | {_escaped(row.error.message)} |"
    low, high = interval_text(row)
    limit = MEANING.get(row.limited_by, row.limited_by)
    return f"| {_escaped(row.name)} | {value_text(row)} {unit} | {low} to {high} {unit} | {row.trust} | {limit} |"


def _basis(report: PhotoReport) -> list[str]:
    words = []
    if report.camera is not None:
        camera = report.camera
        words.append(f"Focal length {camera.fx:.0f} px ({camera.focal_source}, ± {1.96 * camera.focal_rel_sigma:.0%}).")
    if report.model is not None:
        words.append(f"Depth by {_escaped(report.model.name)}, weights {report.model.weights_sha256[:12]}.")
    if report.reference is not None:
        names = ", ".join(map(_escaped, (*report.reference.names, *(one.name for one in report.reference.planes))))
        words.append(f"Scaled by {report.reference.factor:g} after {names}.")
    return [" ".join(words)] if words else []


def _remarks(report: PhotoReport) -> list[str]:
    lines = [f"* {_escaped(row.name)}: {_escaped(each)}" for row in report.measurements for each in row.warnings]
    lines += [f"* {_escaped(row.error.message)}: {_escaped(row.error.hint)}" for row in report.failed if row.error]
    return [*lines, ""] if lines else []


def _escaped(text: str) -> str:
    """Text that neither breaks a table nor becomes markup."""
    line = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    for character in "\\`*_{}[]|#!":
        line = line.replace(character, f"\\{character}")
    return line


def readable_lines(reports: Sequence[PhotoReport]) -> Iterator[str]:
    """One line per measurement, for people: name, value, interval, trust, and what limits it."""
    rows = [row for report in reports for row in report.measurements]
    width = min(LONGEST_NAME, max((len(row.name) for row in rows), default=0))
    for report in reports:
        if len(reports) > 1:
            yield f"{report.photo}:"
        for row in report.measurements:
            yield _readable(row, width, _doubt(report)).rstrip()


def _doubt(report: PhotoReport) -> str:
    """What stands beside a value whose focal length was not measured."""
    source = "" if report.camera is None else report.camera.focal_source
    return {"estimated": ", focal length estimated from the image", "assumed": ", focal length assumed"}.get(source, "")


def _readable(row: Row, width: int, doubt: str) -> str:
    if row.error is not None:
        return f"{row.name.ljust(width)}  not measured: {row.error.message}"
    unit = shown_unit(row.unit)
    low, high = interval_text(row)
    limit = MEANING.get(row.limited_by, row.limited_by)
    value, interval = f"{value_text(row)} {unit}", f"{low} to {high} {unit}"
    return f"{row.name.ljust(width)}  {value:>12}  ({interval}, 95 %)  trust {row.trust}, limited by: {limit}{doubt}"
