"""The points and planes of one photo that its measurements are made from: read or fitted once, and shared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from m3d_cli.depthmap import DepthErrorModel, DepthMap
from m3d_cli.errors import UsageError
from m3d_cli.metrology.geometry.depth_reading import Reading, check_inside, read_depth
from m3d_cli.metrology.geometry.planar_targets import TargetPlane
from m3d_cli.metrology.geometry.planes import Plane, fit_plane, ground_region, polygon_region
from m3d_cli.metrology.measurands import SURFACES, Kind
from m3d_cli.metrology.picks import MeasureError, Pick
from m3d_cli.metrology.request import Request

GROUND = "ground"
# A ray that comes nearer than this to parallel with a plane (sine of the angle) does not meet it.
LEAST_SINE = 0.02
# Standard deviation of a plane that nothing is known of, in parts of its vector.
VAGUE = 3.0


@dataclass(frozen=True, slots=True)
class Element:
    """A point of a measurement: read from the depth map, or where its ray meets the plane called ``on``."""

    pick: Pick
    sigma: float
    reading: Reading | None = None
    on: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class ExactPlane:
    """The plane of things of known size, a ``place`` in the middle of where they are seen, and their outlines."""

    found: TargetPlane
    place: Pick
    outlines: tuple[tuple[Pick, ...], ...] = ()

    @property
    def as_plane(self) -> Plane:
        """The plane as vague as if nothing were known of it: what is known comes as an observation."""
        q = self.found.q
        return Plane(q, VAGUE**2 * float(q @ q) * np.eye(3), 0.0, 1.0, is_exact=True)


class Scene:
    """A depth map, what is asked of it, its error model, and the planes found so far.

    ``exact`` are the planes of things of known size by name.
    """

    def __init__(self, depth: DepthMap, request: Request, errors: DepthErrorModel) -> None:
        self.depth = depth
        self.request = request
        self.error_model = errors
        self.exact: dict[str, ExactPlane] = {}
        self._by_name = {measurand.name: measurand for measurand in request.measurands}
        if len(self._by_name) < len(request.measurands):
            raise UsageError("two measurements have the same name", hint="names must differ")
        self._planes: dict[str, Plane] = {}

    def add_exact(self, exact: Mapping[str, ExactPlane]) -> None:
        """Take planes of things of known size into the scene, by name."""
        for name in exact:
            if name in self._by_name:
                raise MeasureError(
                    f"{name}: a measurement and a plane of known size have this name", hint="names must differ"
                )
        self.exact |= exact
        self._planes |= {name: one.as_plane for name, one in exact.items()}

    def element(self, pick: Pick, sigma: float, on: str | None, name: str) -> Element:
        """A point of the measurement ``name``, read from the depth or on the plane ``on``; raises MeasureError."""
        if on is None:
            return Element(pick, sigma, read_depth(self.depth, pick, name, self.error_model.cell))
        camera = self.depth.camera
        check_inside(pick, camera, f"{name}: the point")
        plane = self.plane(on, name)
        ray = np.array([(pick.u - camera.cx) / camera.fx, (pick.v - camera.cy) / camera.fy, 1.0])
        if plane.q @ ray <= LEAST_SINE * np.linalg.norm(plane.q):
            raise MeasureError(f"{name}: the ray through {pick} does not meet {on}", hint="pick below its horizon")
        return Element(pick, sigma, None, on)

    def plane(self, name: str, user: str) -> Plane:
        """The plane called ``name``, fitted once; raises MeasureError on behalf of the measurement ``user``."""
        if name in self._planes:
            return self._planes[name]
        measurand = self._by_name.get(name)
        if measurand is not None and measurand.kind in SURFACES:
            return self.fit(name, measurand.points, name)
        if name == GROUND:
            raise MeasureError(f"{user}: there is no ground plane", hint="add --ground, or a ground measurement")
        known = [*self.exact, *(each.name for each in self.request.measurands if each.kind in SURFACES)]
        raise MeasureError(
            f"{user}: there is no plane named {name}",
            hint=f"planes are: {', '.join(known)}" if known else f'add --plane "{name}=u1,v1 u2,v2 u3,v3"',
        )

    def link(self, name: str) -> Element | None:
        """A point of an exact plane at which the network's depth is known as well; None where it is not."""
        pick = self.exact[name].place
        try:
            return Element(pick, 0.0, read_depth(self.depth, pick, name, self.error_model.cell))
        except MeasureError:
            return None

    def fit(self, name: str, corners: tuple[Pick, ...], user: str) -> Plane:
        """Fit a plane through the polygon of ``corners`` and keep it as ``name``; no corners: where the ground is."""
        polygon = np.array([[p.u, p.v] for p in corners])
        region = polygon_region(self.depth, polygon) if corners else ground_region(self.depth)
        self._planes[name] = fit_plane(self.depth, region, self.error_model, user)
        return self._planes[name]

    def used_planes(self, elements: Sequence[Element], *more: str) -> dict[str, Plane]:
        """The planes that ``elements`` lie on, and those named in ``more``."""
        names = {element.on for element in elements if element.on is not None} | set(more)
        return {name: self._planes[name] for name in sorted(names)}

    def ground(self) -> str | None:
        """The name of the plane whose normal is up, where there is one."""
        return next((each.name for each in self.request.measurands if each.kind is Kind.GROUND), None)
