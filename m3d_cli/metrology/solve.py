"""All measurements of one photo: a value with its interval, or a refusal, for each item of a request."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from m3d_cli.camera import Camera, FocalSource
from m3d_cli.depthmap import DepthErrorModel, DepthMap
from m3d_cli.errors import FocalError, M3dError
from m3d_cli.metrology.adjustment import adjust
from m3d_cli.metrology.geometry.depth_reading import check_inside
from m3d_cli.metrology.geometry.lens import Lens
from m3d_cli.metrology.geometry.scene import Element, Scene
from m3d_cli.metrology.measurands import REGIONS, Kind, Measurand
from m3d_cli.metrology.measure_kinds import Plan, make
from m3d_cli.metrology.picks import MeasureError, Pick
from m3d_cli.metrology.references import Evidence, Scale, evidence_in, freed, scale_of
from m3d_cli.metrology.request import Item, Refusal, Request
from m3d_cli.metrology.targets import exact_planes
from m3d_cli.metrology.uncertainty import Split, Term, Uncertain, interval

_NEVER_ZERO = (Kind.DISTANCE, Kind.PATH, Kind.AREA)

# Relative standard deviations up to which a value is called of high or of medium trust.
HIGH, MEDIUM = 0.05, 0.15
# An angle's standard deviation is compared with these shares of a right angle.
RIGHT_ANGLE = 90.0


@dataclass(frozen=True, slots=True)
class Measurement:
    """One value in SI units (metres, square metres, degrees), its 95 % interval and its split of sigma.

    A box gives three, each with a ``measurand`` of its own. ``method`` says how it was computed; ``trust`` is high,
    medium or low; ``details`` holds further numbers, by name with their unit.
    """

    measurand: Measurand
    value: float
    low: float
    high: float
    sigma: Mapping[Term, float]
    method: str
    trust: str
    points: tuple[Pick, ...]
    warnings: tuple[str, ...] = ()
    details: Mapping[str, float] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The name of what was measured."""
        return self.measurand.name

    @property
    def limiting(self) -> Term:
        """The largest term of the variance."""
        return max(self.sigma, key=lambda term: self.sigma[term])


@dataclass(frozen=True, slots=True)
class Solution:
    """Every item's measurement or refusal, in the order of the request, and the scale where references gave one.

    ``error`` is what kept all of it from being measured.
    """

    results: tuple[Measurement | Refusal, ...]
    scale: Scale | None = None
    error: M3dError | None = None

    @classmethod
    def refused(cls, request: Request, error: M3dError) -> Solution:
        """Every item of ``request`` refused because of ``error``."""
        return cls(tuple(Refusal.of(item, error) for item in request.items), None, error)


def solve(
    depth: DepthMap,
    request: Request,
    errors: DepthErrorModel,
    photo: str,
    lens: Lens | None = None,
    image: NDArray[np.uint8] | None = None,
) -> Solution:
    """Measure what ``request`` asks for on ``depth``; with a ``lens``, its points are pixels of the distorted photo.

    ``image`` (H, W, 3) is the undistorted one that the depth is of, in any size: markers are looked for there, and
    corners of rectangles refined.

    Everything is refused when the focal length is assumed, or the errors of the depth are unknown, and neither a
    reference nor the request makes up for it.
    Where the references cannot be used, only angles are measured.
    """
    camera = depth.camera
    try:
        fitted = request.fitted(camera.width, camera.height)
        if camera.focal_source is FocalSource.ASSUMED and not (fitted.is_scaled or fitted.allow_assumed_focal):
            raise FocalError(
                f"{photo}: the focal length is assumed, so no length can be trusted",
                hint="give --focal or --focal-35mm, a reference (--ref, --rect), or --allow-assumed-focal",
            )
        if not (errors.errors_known or fitted.is_scaled or fitted.allow_unknown_errors):
            raise MeasureError(
                f"{photo}: nobody measured the errors of this network's weights, so no interval can be given",
                hint="give a reference (--ref), use published weights, or --allow-unknown-errors",
            )
        fitted = fitted if lens is None else fitted.moved(lens.moved)
        fitted = dataclasses.replace(fitted, items=tuple(_inside(item, camera) for item in fitted.items))
        scene = Scene(depth, fitted, errors)
    except M3dError as error:
        return Solution.refused(request, error)
    evidence, scale, broken = None, None, None
    try:
        scene.add_exact(exact_planes(fitted, image, depth, errors))
        evidence = evidence_in(scene)
        scale = scale_of(scene, evidence)
        if scale is not None and lens is not None:
            scale = scale.moved(lens.seen)
    except MeasureError as error:
        broken = error
    results: list[Measurement | Refusal] = []
    for item in fitted.items:
        if isinstance(item, Refusal):
            results.append(item)
        elif broken is not None and item.kind.power:
            results.append(Refusal.of(item, broken))
        else:
            results += _results(scene, item, evidence, scale, lens)
    return Solution(tuple(results), scale)


def _inside(item: Item, camera: Camera) -> Item:
    """Regions that leave the image are refused; single points are checked where they are read."""
    if isinstance(item, Measurand) and item.kind in REGIONS:
        try:
            for pick in (*item.points, *item.second):
                check_inside(pick, camera, f"{item.name}: the corner")
        except MeasureError as error:
            return Refusal(item.name, item.kind, error)
    return item


def _results(
    scene: Scene, measurand: Measurand, evidence: Evidence | None, scale: Scale | None, lens: Lens | None
) -> Sequence[Measurement | Refusal]:
    try:
        found = [_measured(scene, plan, evidence, scale) for plan in make(scene, measurand)]
    except MeasureError as error:
        return [Refusal.of(measurand, error)]
    return found if lens is None else [dataclasses.replace(one, points=lens.seen(one.points)) for one in found]


def _measured(scene: Scene, plan: Plan, evidence: Evidence | None, scale: Scale | None) -> Measurement:
    known, exact = (evidence.elements, evidence.planes) if evidence is not None else ((), ())
    elements = (*plan.elements, *known)
    planes = scene.used_planes(elements, *plan.planes, *exact)
    uncertain = Uncertain(scene.depth.camera, freed(scene.error_model, evidence), elements, planes)
    adjusted = adjust(uncertain, evidence.made(len(plan.elements)) if evidence is not None else ())
    kind = plan.measurand.kind
    split = adjusted.split(plan.quantity)
    if kind in _NEVER_ZERO and not split.value > 0:
        raise MeasureError(f"{plan.measurand.name}: its points are at the same place", hint="give different points")
    low, high = interval(split, kind.power)
    state = adjusted.state
    is_scaled = scale is not None and kind.power > 0
    return Measurement(
        measurand=plan.measurand,
        value=split.value,
        # Only a height, of a point under the ground, can be below 0.
        low=low if kind is Kind.HEIGHT else max(0.0, low),
        high=high,
        sigma=split.terms,
        method=plan.method + _basis(plan, scale if is_scaled else None),
        trust=_trust(scene, split, is_scaled, kind.power),
        points=plan.points,
        warnings=(
            *_error_warnings(scene),
            *plan.warnings,
            *_edge_warnings(plan.elements),
            *(scale.warnings if scale is not None else ()),
        ),
        details={**{name: number(state) for name, number in plan.numbers.items()}, **plan.fixed},
    )


def _basis(plan: Plan, scale: Scale | None) -> str:
    """What a value rests on besides the network, for its method."""
    if scale is None:
        return ""
    if plan.measurand.on in scale.planes:
        return ", a plane known from things of known size: exact geometry alone"
    names = [*(one.name for one in scale.references), *scale.planes]
    return f", scaled by {names[0] if len(names) == 1 else 'what is of known size'}"


def _edge_warnings(elements: Sequence[Element]) -> list[str]:
    return [
        f"{e.pick} is on an edge: {e.reading.depth:.3f} m here, {e.reading.other_depth:.3f} m beyond it; "
        "add :near or :far to the point"
        for e in elements
        if e.reading is not None and e.reading.other_depth is not None
    ]


def _error_warnings(scene: Scene) -> tuple[str, ...]:
    if scene.error_model.errors_known:
        return ()
    return ("nobody measured the errors of this network's weights: the interval is a guess",)


def _trust(scene: Scene, split: Split, is_scaled: bool, power: int) -> str:
    """High, medium or low; never high on an assumed focal length without a reference, nor where errors are unknown."""
    relative = split.sigma / (split.value if power and split.value > 0 else RIGHT_ANGLE)
    word = "high" if relative <= HIGH else "medium" if relative <= MEDIUM else "low"
    is_guessed = scene.depth.camera.focal_source is FocalSource.ASSUMED and not is_scaled
    if word == "high" and (is_guessed or not scene.error_model.errors_known):
        return "medium"
    return word
