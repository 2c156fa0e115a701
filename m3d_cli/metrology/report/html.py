"""The report of a run as one HTML page that needs nothing else: pictures inside it, a table that sorts, no network.

Whatever stands in names and labels is text: all of it is escaped, and the page's policy runs no script but its own.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape

from m3d_cli.metrology.advice import MEANING
from m3d_cli.metrology.quantities import UNITS
from m3d_cli.metrology.report.content import PhotoReport, Row
from m3d_cli.metrology.report.html_parts import page_asset, policy_hash
from m3d_cli.metrology.report.tables import interval_text, shown_unit, value_text
from m3d_cli.metrology.rounding import significant

TERM_COLOURS = {
    "focal": "#0b6bcb",
    "scale": "#e08a00",
    "local": "#7a4fbf",
    "pick": "#1a9a6c",
    "reference": "#c2417c",
    "upright": "#6b7785",
}

_HEADS = (
    ("photo", ""),
    ("name", ""),
    ("kind", ""),
    ("value", "num"),
    ("95 % interval", "num"),
    ("±", "num"),
    ("trust", ""),
    ("limited by", ""),
)


@dataclass(frozen=True, slots=True, eq=False)
class Illustrated:
    """A report with its two pictures as JPEG, where there are any."""

    report: PhotoReport
    picture: bytes | None = None
    depth: bytes | None = None


def html_page(photos: Iterable[Illustrated], reports: Sequence[PhotoReport], version: str) -> Iterator[str]:
    """The page in pieces; ``reports`` are those of ``photos``, whose pictures are held one at a time."""
    style, script = page_asset("report.css"), page_asset("report.js")
    policy = f"default-src 'none'; img-src data:; style-src '{policy_hash(style)}'; script-src '{policy_hash(script)}'"
    yield (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(policy)}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Measurements</title><style>{style}</style></head><body>\n"
    )
    yield _header(reports)
    yield f"<main>{_table(reports)}\n"
    for number, photo in enumerate(photos, 1):
        yield _section(number, photo)
    yield f"</main>\n{_footer(reports, version)}<script>{script}</script></body></html>\n"


def _header(reports: Sequence[PhotoReport]) -> str:
    rows = [row for report in reports for row in report.measurements]
    failed = sum(row.error is not None for row in rows)
    told = f"{_count(len(reports), 'photo')}, {_count(len(rows) - failed, 'measurement')}"
    told += f", {failed} not measured" if failed else ""
    return (
        f'<header><h1>Measurements</h1><p class="lead">{told}. Intervals hold the true value in 95 of 100 cases.'
        "</p></header>\n"
    )


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def _table(reports: Sequence[PhotoReport]) -> str:
    heads = "".join(
        f'<th scope="col" class="{kind}"><button type="button">{escape(head)}</button></th>' for head, kind in _HEADS
    )
    rows = "".join(
        _table_row(number, report, row) for number, report in enumerate(reports, 1) for row in report.measurements
    )
    return (
        f'<section class="card scroll"><table class="sortable"><thead><tr>{heads}</tr></thead>'
        f"<tbody>{rows}</tbody></table></section>"
    )


def _table_row(number: int, report: PhotoReport, row: Row) -> str:
    photo = f'<td><a href="#photo-{number}">{escape(report.photo)}</a></td>'
    first = f"{photo}<td>{escape(row.name)}</td><td>{escape(row.kind)}</td>"
    if row.error is not None or row.value is None or row.interval is None:
        why = escape(row.error.message) if row.error is not None else ""
        empty = '<td class="num" data-sort=""></td>'
        return f'<tr>{first}{empty * 3}<td><span class="pill failed">not measured</span></td><td>{why}</td></tr>'
    unit = escape(shown_unit(row.unit))
    low, high = interval_text(row)
    half = (row.interval[1] - row.interval[0]) / 2
    share = half / abs(row.value) if row.value and row.unit != "deg" else None
    relative = _percent(share) if share is not None else f"{significant(half, 2):g}{unit}"
    return (
        f'<tr>{first}<td class="num" data-sort="{_in_si(row):.9g}"><b>{value_text(row)}</b> {unit}</td>'
        f'<td class="num" data-sort="{row.interval[0]:.9g}">{low} to {high}</td>'
        f'<td class="num" data-sort="{half if share is None else share:.6g}">{relative}</td>'
        f'<td><span class="pill {escape(row.trust)}">{escape(row.trust)}</span></td>'
        f"<td>{escape(MEANING.get(row.limited_by, row.limited_by))}</td></tr>"
    )


def _percent(share: float) -> str:
    """Two digits are enough to say how wide an interval is."""
    return f"{significant(100 * share, 2):g}%"


def _in_si(row: Row) -> float:
    """Values of different units sort by their size."""
    power = 2 if row.unit.endswith("2") else 1
    return (row.value or 0.0) * UNITS.get(row.unit.rstrip("2"), 1.0) ** power


def _section(number: int, photo: Illustrated) -> str:
    report = photo.report
    cards = "".join(_how(row) for row in report.measurements)
    notes = "".join(f'<p class="warn">{escape(note)}</p>' for note in report.notes)
    return (
        f'<section class="card" id="photo-{number}"><h2>{escape(report.photo)}</h2>{_facts(report)}{notes}'
        f'<div class="pictures">{_picture(photo.picture, "measured", report)}'
        f'{_picture(photo.depth, "depth, near is warm", report)}</div><div class="how">{cards}</div></section>\n'
    )


def _picture(data: bytes | None, caption: str, report: PhotoReport) -> str:
    if data is None:
        return ""
    text = base64.b64encode(data).decode()
    words = escape(f"{report.photo}: {caption}")
    return (
        f'<figure><img loading="lazy" alt="{words}" src="data:image/jpeg;base64,{text}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def _facts(report: PhotoReport) -> str:
    facts = []
    if report.camera is not None:
        camera = report.camera
        focal = f"{camera.fx:.1f} px ± {1.96 * camera.focal_rel_sigma:.1%}, {camera.focal_source}"
        facts.append(("Focal length", f"{focal} ({camera.derivation})" if camera.derivation else focal))
        facts.append(("Picture", f"{camera.width} x {camera.height} pixels"))
    if report.model is not None:
        facts.append(("Depth by", f"{report.model.name}, weights {report.model.weights_sha256[:12]}"))
    if report.reference is not None:
        known = report.reference
        lengths = ", ".join(f"{n} = {m:g} m" for n, m in zip(known.names, known.lengths_m, strict=True))
        facts.append(("Reference", f"{lengths}: lengths x {known.factor:g} ± {1.96 * known.rel_sigma:.1%}"))
    else:
        facts.append(("Reference", "none: the scale is the network's own"))
    return '<div class="facts">' + "".join(f"<div><b>{k}:</b> {escape(v)}</div>" for k, v in facts) + "</div>"


def _how(row: Row) -> str:
    name = f"<h3>{escape(row.name)}</h3>"
    if row.error is not None:
        hint = f'<p class="better">{escape(row.error.hint)}</p>' if row.error.hint else ""
        return f'<article>{name}<p class="failed">{escape(row.error.message)}</p>{hint}</article>'
    unit = escape(shown_unit(row.unit))
    low, high = interval_text(row)
    details = "".join(f'<p class="soft">{escape(k)}: {v:g}</p>' for k, v in row.details.items())
    warnings = "".join(f'<p class="warn">{escape(each)}</p>' for each in row.warnings)
    better = "".join(f"<li>{escape(each)}</li>" for each in row.improve)
    advice = f'<div class="better"><p class="soft">Would make it surer:</p><ul>{better}</ul></div>' if better else ""
    return (
        f'<article>{name}<div><span class="value">{value_text(row)} {unit}</span> '
        f'<span class="range">{low} to {high} {unit}</span></div>'
        f'<p class="soft">{escape(row.kind)}: {escape(row.method)}</p>{_bar(row)}{details}{warnings}{advice}</article>'
    )


def _bar(row: Row) -> str:
    """Each cause's share of the variance as a bar, with its standard deviation."""
    total = sum(sigma**2 for sigma in row.sigma.values())
    if total <= 0:
        return ""
    shares = sorted(((s**2 / total, term, s) for term, s in row.sigma.items() if s > 0), reverse=True)
    pieces, place = [], 0.0
    for share, term, _ in shares:
        colour = TERM_COLOURS.get(term, "#888888")
        pieces.append(f'<rect x="{place:.2f}" y="0" width="{100 * share:.2f}" height="10" fill="{colour}"/>')
        place += 100 * share
    unit = escape(shown_unit(row.unit))
    key = "".join(
        f'<li><svg viewBox="0 0 1 1"><rect width="1" height="1" fill="{TERM_COLOURS.get(term, "#888888")}"/></svg>'
        f"{escape(MEANING.get(term, term))} {significant(sigma, 2):g} {unit}</li>"
        for share, term, sigma in shares
        if share >= 0.01
    )
    return (
        '<svg viewBox="0 0 100 10" preserveAspectRatio="none" role="img" aria-label="shares of the variance">'
        f'{"".join(pieces)}</svg><ul class="key">{key}</ul>'
    )


def _footer(reports: Sequence[PhotoReport], version: str) -> str:
    models = {report.model for report in reports if report.model is not None}
    lines = "".join(
        f"<p>Depth: {escape(model.name)}, weights sha256 <code>{escape(model.weights_sha256)}</code>, licence: "
        f"{escape(model.licence)}</p>"
        for model in sorted(models, key=lambda model: (model.name, model.weights_sha256))
    )
    return (
        f"<footer>{lines}<p>Points count in pixels of the upright photo, its top-left corner being 0, 0. Interval: "
        f"95 %, from first-order propagation of all terms. Made by m3d {escape(version)}.</p></footer>\n"
    )
