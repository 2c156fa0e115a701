"""The points and planes of one photo that its measurements are made from: read or fitted once, and shared."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from m3d_cli.depthmap import DepthErrorModel, DepthMap
from m3d_cli.errors import UsageError
from m3d_cli.metrology.geometry.depth_reading import MeasureError, Pick, check_inside, read_depth
from m3d_cli.metrology.geometry.planes import Plane, fit_plane, ground_region, polygon_region
from m3d_cli.metrology.quantities import Kind, Request
from m3d_cli.metrology.uncertainty import Element

GROUND = "ground"


class Scene:
    """A depth map, what is wanted of it, how its errors behave, and the planes found so far."""

    def __init__(self, depth: DepthMap, request: Request, errors: DepthErrorModel) -> None:
        self.depth = depth
        self.request = request
        self.error_model = errors
        self._by_name = {measure.name: measure for measure in request.measures}
        if len(self._by_name) < len(request.measures):
            raise UsageError("two measurements have the same name", hint="names must differ")
        self._planes: dict[str, Plane] = {}

    def element(self, pick: Pick, sigma: float, on: str | None, name: str) -> Element:
        """A point of the measurement ``name``, read from the depth or on the plane ``on``; raises MeasureError."""
        if on is None:
            return Element(pick, sigma, read_depth(self.depth, pick, name, self.error_model.cell))
        camera = self.depth.camera
        check_inside(pick, camera, f"{name}: the point")
        plane = self.plane(on, name)
        ray = np.array([(pick.u - camera.cx) / camera.fx, (pick.v - camera.cy) / camera.fy, 1.0])
        if plane.q @ ray <= 0.02 * np.linalg.norm(plane.q):
            raise MeasureError(f"{name}: the ray through {pick} does not meet {on}", hint="pick below its horizon")
        return Element(pick, sigma, None, on)

    def plane(self, name: str, asker: str) -> Plane:
        """The plane called ``name``, fitted once; raises MeasureError on behalf of ``asker``."""
        if name not in self._planes:
            self._planes[name] = fit_plane(self.depth, self._region(name, asker), self.error_model, name)
        return self._planes[name]

    def _region(self, name: str, asker: str) -> NDArray[np.bool_]:
        if name == GROUND and GROUND not in self._by_name:
            corners = self.request.ground
            if corners is None:
                raise MeasureError(f"{asker}: there is no ground plane", hint="add --ground, or a ground measurement")
            return region_of(self.depth, corners)
        measure = self._by_name.get(name)
        if measure is None or measure.kind not in (Kind.PLANE, Kind.AREA, Kind.GROUND):
            planes = [m.name for m in self.request.measures if m.kind in (Kind.PLANE, Kind.AREA, Kind.GROUND)]
            raise MeasureError(
                f"{asker}: there is no plane named {name}",
                hint=f"planes are: {', '.join(planes)}" if planes else f'add --plane "{name}=u1,v1 u2,v2 u3,v3"',
            )
        return region_of(self.depth, measure.points)

    def fit(self, name: str, corners: tuple[Pick, ...], asker: str) -> Plane:
        """Fit a plane of its own through the polygon of ``corners`` and remember it as ``name``."""
        self._planes[name] = fit_plane(self.depth, region_of(self.depth, corners), self.error_model, asker)
        return self._planes[name]

    def used_planes(self, elements: Sequence[Element], *more: str) -> dict[str, Plane]:
        """The planes that ``elements`` lie on, and those named in ``more``."""
        names = {element.on for element in elements if element.on is not None} | set(more)
        return {name: self._planes[name] for name in sorted(names)}

    def ground(self) -> str | None:
        """The plane that tells what is up, where there is one."""
        named = [m.name for m in self.request.measures if m.kind is Kind.GROUND]
        if named:
            return named[0]
        return GROUND if self.request.ground is not None else None


def region_of(depth: DepthMap, corners: tuple[Pick, ...]) -> NDArray[np.bool_]:
    """Pixels (H, W) inside a polygon; without corners, where the ground usually is."""
    if not corners:
        return ground_region(depth)
    return polygon_region(depth, np.array([[p.u, p.v] for p in corners]))
