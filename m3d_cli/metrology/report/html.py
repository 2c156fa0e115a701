"""The report of a run as one HTML page that needs nothing else: images inside it, a table that sorts, no network."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from m3d_cli.html_pages import environment, inline, jpeg_uri, policy_hash
from m3d_cli.metrology.measurands import UNITS
from m3d_cli.metrology.report.advice import MEANING
from m3d_cli.metrology.report.content import PhotoReport, Row
from m3d_cli.metrology.report.rounding import significant
from m3d_cli.metrology.report.tables import interval_text, shown_unit, value_text
from m3d_cli.metrology.uncertainty import Z_95

TERM_COLOURS = {
    "focal": "#0b6bcb",
    "scale": "#e08a00",
    "local": "#7a4fbf",
    "pick": "#1a9a6c",
    "reference": "#c2417c",
    "upright": "#6b7785",
}
OTHER_COLOUR = "#888888"
# Causes with a smaller share of the variance are not in the key.
LEAST_SHARE = 0.01

_HERE = "m3d_cli.metrology.report"
# Pieces of the template that are written at once.
_BUFFER = 20


@dataclass(frozen=True, slots=True, eq=False)
class Illustrated:
    """A report with its two images as JPEG, where there are any."""

    report: PhotoReport
    photo: bytes | None = None
    depth: bytes | None = None


@dataclass(frozen=True, slots=True)
class Share:
    """One cause's share of the variance: a piece of the bar, from ``start`` on, and its standard deviation."""

    term: str
    share: float
    start: float
    sigma: float

    @property
    def colour(self) -> str:
        """The colour of the piece."""
        return TERM_COLOURS.get(self.term, OTHER_COLOUR)


def html_page(photos: Iterable[Illustrated], reports: Sequence[PhotoReport], version: str) -> Iterator[str]:
    """The page in pieces; ``reports`` are those of ``photos``, whose images are read one after the other."""
    style, script = inline(_HERE, "report.css"), inline(_HERE, "report.js")
    rows = [row for report in reports for row in report.measurements]
    models = {report.model for report in reports if report.model is not None}
    pages = environment(_HERE)
    pages.filters.update(
        digits=significant, unit=shown_unit, jpeg=jpeg_uri, meaning=lambda term: MEANING.get(term, term)
    )
    pages.globals.update(value_text=value_text, interval_text=interval_text, width=_width, shares=_shares, in_si=_in_si)
    page = pages.get_template("report.html").stream(
        style=style,
        script=script,
        policy=f"default-src 'none'; img-src data:; style-src '{policy_hash(style)}'; "
        f"script-src '{policy_hash(script)}'",
        photos=photos,
        reports=reports,
        measured=sum(row.error is None for row in rows),
        failed=sum(row.error is not None for row in rows),
        models=sorted(models, key=lambda model: (model.name, model.weights_sha256)),
        version=version,
        z_95=Z_95,
        least_share=LEAST_SHARE,
    )
    page.enable_buffering(_BUFFER)
    return iter(page)


def _width(row: Row) -> tuple[float, str]:
    """Half the interval, as the table sorts and shows it: a share of the value, but for angles and nothing."""
    low, high = row.interval or (0.0, 0.0)
    half = (high - low) / 2
    if not row.value or row.unit == "deg":
        return half, f"{significant(half, 2):g}{shown_unit(row.unit)}"
    share = half / abs(row.value)
    return share, f"{significant(100 * share, 2):g}%"


def _in_si(row: Row) -> float:
    """The value in SI units, by which values of different units are sorted."""
    power = 2 if row.unit.endswith("2") else 1
    return (row.value or 0.0) * UNITS.get(row.unit.rstrip("2"), 1.0) ** power


def _shares(row: Row) -> list[Share]:
    """Every cause's share of the variance, the largest first."""
    total = sum(sigma**2 for sigma in row.sigma.values())
    start, found = 0.0, []
    for share, term, sigma in sorted(((s**2 / total, term, s) for term, s in row.sigma.items() if s > 0), reverse=True):
        found.append(Share(term, share, start, sigma))
        start += share
    return found
