"""What is known exactly in a photo, as observations of the adjustment: lengths, and planes of things of known size."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from m3d_cli.depthmap import DepthErrorModel
from m3d_cli.metrology.adjustment import Adjusted, Observation, adjust
from m3d_cli.metrology.geometry import dimensions
from m3d_cli.metrology.geometry.planar_targets import TargetPlane
from m3d_cli.metrology.geometry.scene import Element, ExactPlane, Scene
from m3d_cli.metrology.measurands import Reference
from m3d_cli.metrology.picks import Pick
from m3d_cli.metrology.uncertainty import State, Uncertain

Vector = NDArray[np.float64]

# Normalised residuals beyond which an observation gets a warning.
SUSPICIOUS = 2.5
# Standard deviation of ln of the network's scale beside anything exact, which is to determine it alone.
FREE_SCALE = 1.0
# A length known better than this has errors that nobody thinks of.
LEAST_TOLERANCE = 1e-3
# How well the network's depth at a target agrees with the target's plane, beside the errors of that depth.
LINK_SIGMA = 0.01


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """Elements that the observations are about, the planes they need, and the observations once the elements have
    places: ``made(first)`` where the first of them is number ``first`` of the state's points.
    """

    elements: tuple[Element, ...]
    planes: tuple[str, ...]
    made: Callable[[int], tuple[Observation, ...]]


@dataclass(frozen=True, slots=True, eq=False)
class Scale:
    """What the evidence makes of the network's scale: lengths off all exact planes are multiplied by ``factor``.

    ``planes`` are the exact ones by name, and ``log_focal`` is ln of the adjusted focal length over the camera's.
    """

    factor: float
    rel_sigma: float
    references: tuple[Reference, ...]
    planes: Mapping[str, ExactPlane] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    log_focal: float = 0.0
    focal_rel_sigma: float = 0.0

    def moved(self, seen: Callable[[tuple[Pick, ...]], tuple[Pick, ...]]) -> Scale:
        """The same with outlines in the pixels of the photo that was undistorted."""
        planes = {
            name: dataclasses.replace(plane, outlines=tuple(map(seen, plane.outlines)))
            for name, plane in self.planes.items()
        }
        return dataclasses.replace(self, planes=planes)


def evidence_in(scene: Scene) -> Evidence | None:
    """All that is known exactly of a photo; None where there is nothing. Raises MeasureError."""
    references, exact = scene.request.references, scene.exact
    if not references and not exact:
        return None
    ends = [scene.element(pick, ref.pick_sigma, ref.on, ref.name) for ref in references for pick in ref.points]
    links = [(name, element) for name in exact if (element := scene.link(name)) is not None]

    def made(first: int) -> tuple[Observation, ...]:
        lengths = [_known_length(ref, first + 2 * i) for i, ref in enumerate(references)]
        planes = [_known_plane(name, plane.found) for name, plane in exact.items()]
        start = first + len(ends)
        linked = [_link(name, start + i) for i, (name, _) in enumerate(links)]
        return (*lengths, *planes, *linked)

    elements = (*ends, *(element for _, element in links))
    return Evidence(elements, tuple(exact), made)


def freed(errors: DepthErrorModel, evidence: Evidence | None) -> DepthErrorModel:
    """The error model beside the evidence: its scale is free, where there is any to determine it."""
    if evidence is None:
        return errors
    return dataclasses.replace(errors, scale_sigma=max(errors.scale_sigma, FREE_SCALE))


def scale_of(scene: Scene, evidence: Evidence | None) -> Scale | None:
    """The scale that the evidence alone gives, and what contradicts what in it."""
    if evidence is None:
        return None
    planes = scene.used_planes(evidence.elements, *evidence.planes)
    errors = freed(scene.error_model, evidence)
    uncertain = Uncertain(scene.depth.camera, errors, evidence.elements, planes)
    adjusted = adjust(uncertain, evidence.made(0))
    # Unity is added so that a value near nothing is no rounding error of itself.
    scale, focal = (adjusted.split(part) for part in (lambda s: 1 + s.log_scale, lambda s: 1 + s.log_focal))
    return Scale(
        math.exp(scale.value - 1),
        scale.sigma,
        scene.request.references,
        scene.exact,
        contradictions(adjusted),
        focal.value - 1,
        focal.sigma,
    )


def contradictions(adjusted: Adjusted) -> tuple[str, ...]:
    """A warning for the observation that lies furthest from all else, where that is too far."""
    found = adjusted.normalised()
    worst = max(range(len(found)), key=lambda index: found[index])
    if found[worst] <= SUSPICIOUS:
        return ()
    others = "the others" if len(found) > 1 else "the photo"
    return (
        f"{adjusted.observations[worst].name} disagrees with {others} by {found[worst]:.1f} standard deviations: "
        "intervals are widened",
    )


def _known_length(reference: Reference, first: int) -> Observation:
    sigma = max(reference.tolerance, LEAST_TOLERANCE)

    def departures(state: State) -> Vector:
        measured = dimensions.path(state.points[first : first + 2])
        return np.array([math.log(max(measured, 1e-9) / reference.length) / sigma])

    return Observation(reference.name, departures)


def _known_plane(name: str, known: TargetPlane) -> Observation:
    """The plane of targets and the focal length that goes with it, from the targets' own information."""
    values, vectors = np.linalg.eigh(known.information)
    root = (vectors * np.sqrt(np.maximum(values, 0))).T
    middle = np.array([known.log_focal, *known.q])

    def departures(state: State) -> Vector:
        return np.asarray(root @ (np.array([state.log_focal, *state.planes[name]]) - middle))

    return Observation(name, departures)


def _link(name: str, index: int) -> Observation:
    """The network's depth at a point of an exact plane is that of the plane: what ties its scale to the plane's."""

    def departures(state: State) -> Vector:
        point = state.points[index]
        return np.array([math.log(max(float(state.planes[name] @ point), 1e-9)) / LINK_SIGMA])

    return Observation(f"the network's depth at {name}", departures)
