"""The report of one photo: its measurements rounded, in the requested unit, with what limits them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError

from m3d_cli.errors import OutputError
from m3d_cli.metrology.geometry import dimensions
from m3d_cli.metrology.geometry.scene import ExactPlane
from m3d_cli.metrology.measurands import UNITS, Kind
from m3d_cli.metrology.picks import Pick
from m3d_cli.metrology.references import Scale
from m3d_cli.metrology.report.advice import improvements
from m3d_cli.metrology.report.rounding import decimals_for, end_decimals, rounded, significant, value_decimals
from m3d_cli.metrology.request import Refusal
from m3d_cli.metrology.solve import Measurement, Solution
from m3d_cli.version import __version__


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
    """Why something could not be measured, and what to do."""

    code: str
    message: str
    hint: str


@dataclass(frozen=True, slots=True)
class PlaneNote:
    """A plane that things of known size lie on: their ``outlines`` in pixels, and how well their corners fit it."""

    name: str
    distance_m: float
    distance_rel_sigma: float
    residual_px: float
    outlines: tuple[tuple[tuple[float, float], ...], ...]


@dataclass(frozen=True, slots=True)
class ReferenceNote:
    """What is of known size in the photo: the network's depth was multiplied by ``factor``.

    ``focal_px`` is the adjusted focal length in pixels, ``focal_rel_sigma`` its relative standard deviation.
    """

    factor: float
    rel_sigma: float
    names: tuple[str, ...]
    points: tuple[tuple[tuple[float, float], ...], ...]
    lengths_m: tuple[float, ...]
    warnings: tuple[str, ...] = ()
    planes: tuple[PlaneNote, ...] = ()
    focal_px: float | None = None
    focal_rel_sigma: float | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """One measurement; ``value`` and ``interval`` (95 %) in ``unit``, None where there is an ``error``.

    ``sigma`` is the standard deviation by what causes it, in ``unit``; ``limited_by`` its largest term. ``points`` are
    pixels of the photo; where lens distortion was removed, ``straight_points`` are those of the undistorted image, as
    the camera is. The first ``first_region`` of the points are one region where there are two.
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
    """Everything reported of one photo; ``photo`` is its relative name."""

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


def photo_report(
    photo: str,
    solution: Solution,
    camera: CameraNote | None = None,
    model: ModelNote | None = None,
    notes: tuple[str, ...] = (),
) -> PhotoReport:
    """The report of what was measured on ``photo``, and of what was not."""
    focal_source = "" if camera is None else camera.focal_source
    scale = solution.scale
    rows = tuple(
        _refused(result) if isinstance(result, Refusal) else _row(result, focal_source, is_scaled=scale is not None)
        for result in solution.results
    )
    reference = None if scale is None else _reference_note(scale, None if camera is None else camera.fx)
    return PhotoReport(photo, camera, model, reference, rows, __version__, notes)


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


def _row(found: Measurement, focal_source: str, *, is_scaled: bool) -> Row:
    measurand = found.measurand
    unit, factor = unit_of(measurand.kind, measurand.unit)
    value, low, high = (number / factor for number in (found.value, found.low, found.high))
    decimals = decimals_for(value, low, high)
    return Row(
        name=measurand.name,
        kind=str(measurand.kind),
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
        first_region=len(measurand.points) if measurand.second else 0,
        decimals=decimals,
        details={name: significant(number, 4) for name, number in found.details.items()},
        warnings=found.warnings,
    )


def _refused(refusal: Refusal) -> Row:
    error = refusal.error
    return Row(
        name=refusal.name,
        kind=str(refusal.kind),
        value=None,
        unit=unit_of(refusal.kind, refusal.unit)[0],
        interval=None,
        points=_pairs(refusal.points),
        error=Problem(error.code, error.message, error.hint),
    )


def _reference_note(scale: Scale, focal: float | None) -> ReferenceNote:
    return ReferenceNote(
        factor=significant(scale.factor, 5),
        rel_sigma=significant(scale.rel_sigma, 3),
        names=tuple(one.name for one in scale.references),
        points=tuple(_pairs(one.points) for one in scale.references),
        lengths_m=tuple(significant(one.length, 6) for one in scale.references),
        warnings=scale.warnings,
        planes=tuple(_plane_note(name, plane) for name, plane in scale.planes.items()),
        focal_px=None if focal is None else significant(focal * math.exp(scale.log_focal), 6),
        focal_rel_sigma=significant(scale.focal_rel_sigma, 3),
    )


def _plane_note(name: str, plane: ExactPlane) -> PlaneNote:
    found = plane.found
    return PlaneNote(
        name=name,
        distance_m=significant(dimensions.distance_of_camera(found.q), 5),
        distance_rel_sigma=significant(found.distance_sigma, 3),
        residual_px=significant(found.rms_pixels, 3),
        outlines=tuple(_pairs(outline) for outline in plane.outlines),
    )


def _pairs(points: tuple[Pick, ...]) -> tuple[tuple[float, float], ...]:
    return tuple(_pair(p.shown) for p in points)


def _pair(place: tuple[float, float]) -> tuple[float, float]:
    return round(place[0], 3), round(place[1], 3)
