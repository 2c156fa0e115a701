"""The measurements of one photo as a report tells them: rounded, in the unit asked for, with what limits them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError

from m3d_cli.depthmap import DepthErrorModel, DepthMap
from m3d_cli.errors import M3dError, OutputError
from m3d_cli.metrology.advice import improvements
from m3d_cli.metrology.geometry.depth_reading import MeasureError, Pick, check_inside
from m3d_cli.metrology.lens import Lens
from m3d_cli.metrology.quantities import REGIONS, UNITS, Kind, Measure, Request
from m3d_cli.metrology.references import Scale
from m3d_cli.metrology.request import Asked, Refused, Wish, name_of
from m3d_cli.metrology.rounding import decimals_for, end_decimals, rounded, significant, value_decimals
from m3d_cli.metrology.solve import Measurement, Refusal, Solution, solve


@dataclass(frozen=True, slots=True)
class CameraNote:
    """The camera that the lengths rest on."""

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    focal_source: str
    focal_rel_sigma: float
    derivation: str = ""


@dataclass(frozen=True, slots=True)
class ModelNote:
    """The network that the depth comes from."""

    name: str
    weights_sha256: str
    licence: str


@dataclass(frozen=True, slots=True)
class Problem:
    """Why something could not be measured, and the way out."""

    code: str
    message: str
    hint: str


@dataclass(frozen=True, slots=True)
class ReferenceNote:
    """What the known lengths in the photo say: every length was multiplied by ``factor``."""

    factor: float
    rel_sigma: float
    names: tuple[str, ...]
    points: tuple[tuple[tuple[float, float], ...], ...]
    lengths_m: tuple[float, ...]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Row:
    """One measurement; ``value`` and ``interval`` (95 %) in ``unit``, None where there is an ``error``.

    ``sigma`` is the standard deviation by what causes it, in ``unit``; ``limited_by`` its largest term. ``points`` are
    pixels of the photo; where a lens was straightened, ``straight_points`` are those of the straightened picture, which
    the camera is of. The first ``first_region`` of the points are one region where there are two.
    """

    name: str
    kind: str
    value: float | None
    unit: str
    interval: tuple[float, float] | None
    sigma: Mapping[str, float] = field(default_factory=dict)
    trust: str = ""
    limited_by: str = ""
    improve: tuple[str, ...] = ()
    method: str = ""
    points: tuple[tuple[float, float], ...] = ()
    straight_points: tuple[tuple[float, float], ...] = ()
    first_region: int = 0
    decimals: int = 0
    details: Mapping[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    error: Problem | None = None


@dataclass(frozen=True, slots=True)
class PhotoReport:
    """All that is told of one photo; ``photo`` is its relative name."""

    photo: str
    camera: CameraNote | None
    model: ModelNote | None
    reference: ReferenceNote | None
    measurements: tuple[Row, ...]
    m3d_version: str = ""
    notes: tuple[str, ...] = ()

    @property
    def failed(self) -> tuple[Row, ...]:
        """Measurements that could not be made."""
        return tuple(row for row in self.measurements if row.error is not None)


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """The rows of a wish, the scale of its references, and the error that kept all of it from being measured."""

    rows: tuple[Row, ...]
    reference: ReferenceNote | None
    error: M3dError | None = None


def answer(depth: DepthMap, wish: Wish, errors: DepthErrorModel, photo: str, lens: Lens | None = None) -> Answer:
    """Measure what is possible of ``wish``; what is not gets a row that says why, in its place.

    With a ``lens`` the wish points at the photo, of whose straightened picture the depth is.
    """
    try:
        fitted = wish.fitted(depth.camera.width, depth.camera.height)
        fitted = fitted if lens is None else lens.wish(fitted)
        asked = tuple(_inside(one, depth) for one in fitted.asked)
        measures = tuple(one for one in asked if isinstance(one, Measure))
        request = Request(measures, fitted.references, None, fitted.allow_assumed_focal)
        solution = solve(depth, request, errors, photo)
    except M3dError as error:
        return Answer(tuple(_refused(one, error) for one in wish.asked), None, error)
    seen = solution if lens is None else _seen(solution, lens)
    rows = tuple(_rows(asked, seen, str(depth.camera.focal_source)))
    return Answer(rows, None if solution.scale is None else _reference_note(solution.scale))


def unit_of(kind: Kind, unit: str) -> tuple[str, float]:
    """The unit of a value and how many SI units it is."""
    if kind is Kind.ANGLE:
        return "deg", 1.0
    return (f"{unit}2" if kind is Kind.AREA else unit), UNITS[unit] ** kind.power


def encode_report(report: PhotoReport) -> str:
    """The report as indented JSON; a row without error has no such key."""
    return json.dumps(plain(report), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def plain(report: PhotoReport) -> dict[str, Any]:
    """The report as plain data."""
    content = asdict(report)
    for row in content["measurements"]:
        if row["error"] is None:
            del row["error"]
    return content


def decode_report(text: str | bytes, place: str) -> PhotoReport:
    """A report read back; raises OutputError."""
    try:
        return _adapter().validate_json(text)
    except ValidationError as error:
        raise OutputError(f"{place}: not a report of m3d measure", hint="run with --overwrite") from error


@cache
def _adapter() -> TypeAdapter[PhotoReport]:
    return TypeAdapter(PhotoReport)


def _inside(one: Asked, depth: DepthMap) -> Asked:
    """Regions that leave the picture are refused; single points are where they are read."""
    if isinstance(one, Refused) or one.kind not in REGIONS:
        return one
    try:
        for pick in (*one.points, *one.second):
            check_inside(pick, depth.camera, f"{one.name}: the corner")
    except MeasureError as error:
        return Refused(one.kind, Refusal(one.name, error))
    return one


def _seen(solution: Solution, lens: Lens) -> Solution:
    """The same, every point with its pixel in the photo."""
    results = tuple(
        one if isinstance(one, Refusal) else replace(one, points=lens.seen(one.points)) for one in solution.results
    )
    return replace(solution, results=results)


def _rows(asked: tuple[Asked, ...], solution: Solution, focal_source: str) -> Iterator[Row]:
    """Results put back between what was refused before; a box gives three."""
    results = iter(solution.results)
    for one in asked:
        if isinstance(one, Refused):
            yield _refused(one, one.refusal.error)
            continue
        result = next(results)
        if isinstance(result, Refusal):
            yield _refused(one, result.error)
            continue
        more = [next(results) for _ in range(2)] if one.kind is Kind.BOX else []
        for each in (result, *more):
            if isinstance(each, Refusal):
                yield _refused(one, each.error)
            else:
                yield _row(each, one, focal_source, is_scaled=solution.scale is not None)


def _row(found: Measurement, measure: Measure, focal_source: str, *, is_scaled: bool) -> Row:
    unit, factor = unit_of(found.kind, found.unit)
    value, low, high = (number / factor for number in (found.value, found.low, found.high))
    decimals = decimals_for(value, low, high)
    return Row(
        name=found.name,
        kind=str(found.kind),
        value=rounded(value, value_decimals(value, low, decimals)),
        unit=unit,
        interval=(rounded(low, end_decimals(low, decimals)), rounded(high, decimals)),
        sigma={str(term): significant(sigma / factor, 3) for term, sigma in found.sigma.items()},
        trust=found.trust,
        limited_by=str(found.limiting),
        improve=improvements(found, focal_source, is_scaled=is_scaled),
        method=found.method,
        points=_pairs(found.points),
        straight_points=tuple(_pair((p.u, p.v)) for p in found.points if p.given is not None),
        first_region=len(measure.points) if measure.second else 0,
        decimals=decimals,
        details={name: significant(number, 4) for name, number in found.details.items()},
        warnings=found.warnings,
    )


def _refused(one: Asked, error: M3dError) -> Row:
    kind = one.kind
    unit = one.unit if isinstance(one, Measure) else "m"
    return Row(
        name=name_of(one),
        kind=str(kind),
        value=None,
        unit=unit_of(kind, unit)[0],
        interval=None,
        points=_pairs(one.points) if isinstance(one, Measure) else (),
        error=Problem(error.code, error.message, error.hint),
    )


def _reference_note(scale: Scale) -> ReferenceNote:
    return ReferenceNote(
        factor=significant(scale.factor, 5),
        rel_sigma=significant(scale.rel_sigma, 3),
        names=tuple(one.name for one in scale.references),
        points=tuple(_pairs(one.points) for one in scale.references),
        lengths_m=tuple(significant(one.length, 6) for one in scale.references),
        warnings=scale.warnings,
    )


def _pairs(points: tuple[Pick, ...]) -> tuple[tuple[float, float], ...]:
    return tuple(_pair(p.shown) for p in points)


def _pair(place: tuple[float, float]) -> tuple[float, float]:
    return round(place[0], 3), round(place[1], 3)


def refused_report(photo: str, wish: Wish, error: M3dError) -> PhotoReport:
    """The report of a photo of which nothing could be measured."""
    return PhotoReport(photo, None, None, None, tuple(_refused(one, error) for one in wish.asked))
