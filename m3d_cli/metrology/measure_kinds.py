"""How each kind of measurement is computed from the points and planes of a photo."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType

import numpy as np

from m3d_cli.metrology.geometry import dimensions
from m3d_cli.metrology.geometry.boxes import box_extremes
from m3d_cli.metrology.geometry.scene import Element, Scene
from m3d_cli.metrology.measurands import Kind, Measurand
from m3d_cli.metrology.picks import MeasureError, Pick
from m3d_cli.metrology.uncertainty import Quantity, State

# A plane that fits fewer of its region's pixels than this gets a warning.
FEW_INLIERS = 0.6
# Planes whose normals differ by more degrees have no distance.
NOT_PARALLEL = 15.0


class Plan:
    """How one value is computed: its elements and planes, and the quantity as a function of them.

    ``numbers`` are further lengths to report, ``fixed`` are numbers that no reference scales.
    """

    def __init__(self, measurand: Measurand) -> None:
        self.measurand = measurand
        self.points: tuple[Pick, ...] = (*measurand.points, *measurand.second)
        self.elements: list[Element] = []
        self.planes: list[str] = []
        self.quantity: Quantity = _nothing
        self.method = ""
        self.warnings: list[str] = []
        self.numbers: dict[str, Quantity] = {}
        self.fixed: dict[str, float] = {}


def _nothing(state: State) -> float:
    raise NotImplementedError


def make(scene: Scene, measurand: Measurand) -> list[Plan]:
    """The values of ``measurand``: one, or three for a box; raises MeasureError."""
    if measurand.kind is Kind.BOX:
        return _box(scene, measurand)
    plan = Plan(measurand)
    _MAKERS[measurand.kind](scene, plan)
    return [plan]


def _read(scene: Scene, plan: Plan) -> None:
    measurand = plan.measurand
    plan.elements = [scene.element(p, measurand.pick_sigma, measurand.on, measurand.name) for p in measurand.points]


def _along(scene: Scene, plan: Plan) -> None:
    _read(scene, plan)
    count = len(plan.elements)
    plan.quantity = lambda state: dimensions.path(state.points[:count])
    plan.method = f"on {plan.measurand.on}" if plan.measurand.on else "between depths read at the points"


def _range(scene: Scene, plan: Plan) -> None:
    _read(scene, plan)
    plan.quantity = lambda state: dimensions.range_(state.points)
    plan.method = "camera centre to the point"
    plan.numbers["depth along the axis (m)"] = lambda state: float(state.points[0, 2])


def _angle(scene: Scene, plan: Plan) -> None:
    _read(scene, plan)
    plan.quantity = lambda state: dimensions.angle(state.points[:3])
    plan.method = "at the middle point"


def _height(scene: Scene, plan: Plan) -> None:
    _read(scene, plan)
    ground = scene.ground()
    if len(plan.elements) == 1:
        if ground is None:
            raise MeasureError(
                f"{plan.measurand.name}: a height of one point needs a ground plane", hint="add --ground or a point"
            )
        scene.plane(ground, plan.measurand.name)
        plan.planes.append(ground)
        plan.quantity = lambda state: dimensions.above(state.points[0], state.planes[ground])
        plan.method = "above the ground plane"
        return
    if ground is not None:
        scene.plane(ground, plan.measurand.name)
        plan.planes.append(ground)
        plan.quantity = lambda state: dimensions.extent(state.points, dimensions.upward(state.planes[ground]))
        plan.method = "along the ground's normal"
        return
    plan.quantity = lambda state: dimensions.extent(state.points, state.up)
    plan.method = "along the image's vertical"
    plan.warnings.append("no ground plane: the camera is assumed to be level (5 degrees, 1 sigma)")


def _flat(scene: Scene, plan: Plan) -> None:
    name = plan.measurand.name
    plane = scene.plane(name, name)
    plan.planes.append(name)
    plan.quantity = lambda state: dimensions.distance_of_camera(state.planes[name])
    plan.method = "robust plane; the camera's distance from it"
    plan.numbers["residual rms (m)"] = lambda _: plane.rms
    plan.fixed["share of the region on it"] = plane.inliers
    ground = scene.ground()
    if plan.measurand.kind is Kind.PLANE:
        up = np.array([0.0, -1.0, 0.0]) if ground is None else dimensions.upward(scene.plane(ground, name).q)
        plan.fixed["tilt from level (degrees)"] = dimensions.tilt(plane.q, up)
    if plane.inliers < FEW_INLIERS:
        plan.warnings.append(f"only {plane.inliers:.0%} of the region lie on the plane: it may not be flat")


def _area(scene: Scene, plan: Plan) -> None:
    measurand = plan.measurand
    plane = scene.plane(measurand.name, measurand.name)
    plan.elements = [scene.element(p, measurand.pick_sigma, measurand.name, measurand.name) for p in measurand.points]
    plan.planes.append(measurand.name)
    count = len(plan.elements)
    plan.quantity = lambda state: dimensions.area(state.points[:count])
    plan.method = "rays of the corners on the polygon's plane"
    plan.numbers["residual rms (m)"] = lambda _: plane.rms


def _gap(scene: Scene, plan: Plan) -> None:
    measurand = plan.measurand
    first, second = f"{measurand.name}/1", f"{measurand.name}/2"
    for name, corners in ((first, measurand.points), (second, measurand.second)):
        scene.fit(name, corners, measurand.name)
        plan.elements.append(scene.element(_middle(corners), 0.0, name, measurand.name))
        plan.planes.append(name)
    slope = dimensions.between(scene.plane(first, first).normal, scene.plane(second, second).normal)
    slope = min(slope, 180 - slope)
    if slope > NOT_PARALLEL:
        raise MeasureError(
            f"{measurand.name}: the planes meet at {slope:.0f} degrees and have no distance",
            hint="choose two parallel surfaces",
        )
    plan.quantity = lambda state: dimensions.gap(
        state.planes[first], state.planes[second], state.points[0], state.points[1]
    )
    plan.method = "each plane's middle to the other plane"
    plan.fixed["angle between them (degrees)"] = slope


def _box(scene: Scene, measurand: Measurand) -> list[Plan]:
    found = box_extremes(scene.depth, measurand, scene.error_model.cell)
    plans = []
    for axis, part in enumerate(("width", "height", "depth")):
        plan = Plan(replace(measurand, name=f"{measurand.name}.{part}"))
        plan.points = (found.ends[axis][0].pick, found.ends[axis][1].pick)
        plan.elements = [Element(end.pick, measurand.pick_sigma, end) for end in found.ends[axis]]
        plan.quantity = _component(axis)
        plan.method = f"visible {part} of the foreground in the box"
        plan.warnings.extend(found.warnings)
        plans.append(plan)
    return plans


def _middle(corners: tuple[Pick, ...]) -> Pick:
    return Pick(sum(p.u for p in corners) / len(corners), sum(p.v for p in corners) / len(corners))


def _component(axis: int) -> Quantity:
    return lambda state: abs(float(state.points[1, axis] - state.points[0, axis]))


_MAKERS: Mapping[Kind, Callable[[Scene, Plan], None]] = MappingProxyType(
    {
        Kind.DISTANCE: _along,
        Kind.PATH: _along,
        Kind.RANGE: _range,
        Kind.ANGLE: _angle,
        Kind.HEIGHT: _height,
        Kind.PLANE: _flat,
        Kind.GROUND: _flat,
        Kind.AREA: _area,
        Kind.PLANE_DISTANCE: _gap,
    }
)
