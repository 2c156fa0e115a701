"""All measurements of one photo: a value with its interval, or an error, for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from m3d_cli.camera import Camera, FocalSource
from m3d_cli.depthmap import DepthErrorModel, DepthMap
from m3d_cli.errors import FocalError
from m3d_cli.metrology.geometry.depth_reading import MeasureError, Pick
from m3d_cli.metrology.measure_kinds import Plan, make
from m3d_cli.metrology.quantities import Kind, Request
from m3d_cli.metrology.references import Scale, reference_elements, scale_of, scaled
from m3d_cli.metrology.scene import Scene
from m3d_cli.metrology.uncertainty import Element, Split, Term, Uncertain, interval

_NEVER_ZERO = (Kind.DISTANCE, Kind.PATH, Kind.AREA)

# Relative standard deviations up to which a value is called of high or of medium trust.
HIGH, MEDIUM = 0.05, 0.15


@dataclass(frozen=True, slots=True)
class Measurement:
    """One finished value in SI units (metres, square metres, degrees), its 95 % interval and its split of sigma.

    ``unit`` is the one to show it in; ``method`` says how it was made; ``trust`` is high, medium or low; ``details``
    holds further numbers, by name with their unit.
    """

    name: str
    kind: Kind
    value: float
    low: float
    high: float
    sigma: Mapping[Term, float]
    unit: str
    method: str
    trust: str
    points: tuple[Pick, ...]
    warnings: tuple[str, ...] = ()
    details: Mapping[str, float] = field(default_factory=dict)

    @property
    def limiting(self) -> Term:
        """The largest term of the variance."""
        return max(self.sigma, key=lambda term: self.sigma[term])


@dataclass(frozen=True, slots=True)
class Refusal:
    """A measurement that could not be made, and why."""

    name: str
    error: MeasureError


@dataclass(frozen=True, slots=True)
class Solution:
    """Every measure's result or refusal, in the order of the request, and the scale where references gave one."""

    results: tuple[Measurement | Refusal, ...]
    scale: Scale | None


def solve(depth: DepthMap, request: Request, errors: DepthErrorModel, photo: str) -> Solution:
    """Measure what ``request`` wants on ``depth``.

    Raises FocalError when the focal length is assumed and neither a reference nor the request makes up for it. Where
    the references cannot be used, only angles are measured.
    """
    if depth.camera.focal_source is FocalSource.ASSUMED and not (request.references or request.allow_assumed_focal):
        raise FocalError(
            f"{photo}: the focal length is assumed, so no length can be trusted",
            hint="give --focal or --focal-35mm, a reference (--ref), or --allow-assumed-focal",
        )
    scene = Scene(depth, request, errors)
    scale, broken = _scale(scene)
    results: list[Measurement | Refusal] = []
    for measure in request.measures:
        if broken is not None and measure.kind.power:
            results.append(Refusal(measure.name, broken))
            continue
        try:
            results.extend(_finish(scene, plan, scale) for plan in make(scene, measure))
        except MeasureError as error:
            results.append(Refusal(measure.name, error))
    return Solution(tuple(results), scale)


def _scale(scene: Scene) -> tuple[Scale | None, MeasureError | None]:
    try:
        return scale_of(scene), None
    except MeasureError as error:
        return None, error


def _finish(scene: Scene, plan: Plan, scale: Scale | None) -> Measurement:
    elements = [*plan.elements, *(reference_elements(scene) if scale is not None else ())]
    planes = scene.used_planes(elements, *plan.planes)
    count = len(scale.references) if scale is not None else 0
    uncertain = Uncertain(scene.depth.camera, scene.error_model, elements, planes, count)
    kind = plan.measure.kind
    split = uncertain.split(scaled(plan.quantity, scale, len(plan.elements), kind.power))
    if kind in _NEVER_ZERO and not split.value > 0:
        raise MeasureError(f"{plan.measure.name}: its points are at the same place", hint="give different points")
    low, high = interval(split, kind.power)
    # Only a height, of a point under the ground, can be below 0.
    low = low if kind is Kind.HEIGHT else max(0.0, low)
    still = uncertain.state(np.zeros(len(uncertain.terms)))
    factor = scale.factor if scale is not None else 1.0
    is_scaled = scale is not None and kind.power > 0
    return Measurement(
        name=plan.measure.name,
        kind=kind,
        value=split.value,
        low=low,
        high=high,
        sigma=split.terms,
        unit=plan.measure.unit,
        method=plan.method + (", scaled by the reference" if is_scaled else ""),
        trust=_trust(scene.depth.camera, split, is_scaled, kind.power),
        points=plan.points,
        warnings=(*plan.warnings, *_edge_warnings(plan.elements), *(scale.warnings if scale is not None else ())),
        details={**{name: number(still) * factor for name, number in plan.numbers.items()}, **plan.fixed},
    )


def _edge_warnings(elements: Sequence[Element]) -> list[str]:
    return [
        f"{e.pick} is on an edge: {e.reading.depth:.3f} m here, {e.reading.other_depth:.3f} m beyond it; "
        "say near or far"
        for e in elements
        if e.reading is not None and e.reading.other_depth is not None
    ]


def _trust(camera: Camera, split: Split, is_scaled: bool, power: int) -> str:
    """In a word; never high on an assumed focal length without a reference."""
    relative = split.sigma / split.value if power and split.value > 0 else split.sigma / 90
    word = "high" if relative <= HIGH else "medium" if relative <= MEDIUM else "low"
    if camera.focal_source is FocalSource.ASSUMED and not is_scaled and word == "high":
        return "medium"
    return word
