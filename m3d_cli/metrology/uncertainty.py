"""Everything uncertain about one photo before anything exact is known of it: focal length, scale, depth, picks, level.

It is a vector of independent standard normal numbers. `Uncertain.state` turns such a vector into points and planes in
metres, so that one function serves the value itself, its derivatives, the adjustment and Monte Carlo draws.

The focal length acts as the label transform has it: Z = Z_c f / f_c, while X = (u - cx) Z_c / f_c and Y do not depend
on f (arXiv 2307.10984, section 3.1).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from m3d_cli.camera import Camera
from m3d_cli.depthmap import DepthErrorModel
from m3d_cli.metrology.geometry.planes import Plane
from m3d_cli.metrology.geometry.scene import Element

Vector = NDArray[np.float64]

# Half width of a 95 % interval in standard deviations.
Z_95 = 1.96
# Half widths of a log-normal interval beyond this only mean that the value is unknown.
_MOST_LOG = 3.0
# How far gravity may be from the image's vertical when there is no ground plane, degrees.
TILT_SIGMA = 5.0


class Term(str, Enum):
    """What limits a value."""

    FOCAL = "focal"
    SCALE = "scale"
    LOCAL = "local"
    PICK = "pick"
    REFERENCE = "reference"
    UPRIGHT = "upright"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, slots=True, eq=False)
class State:
    """The geometry under one set of errors: ``points`` (N, 3) metres, plane vectors by name, and the direction up.

    ``log_focal`` and ``log_scale`` are ln of the focal length and of the network's scale over what they were taken for.
    """

    points: Vector
    planes: Mapping[str, Vector]
    up: Vector
    log_focal: float
    log_scale: float


Quantity = Callable[[State], float]


@dataclass(frozen=True, slots=True)
class Split:
    """A value with the standard deviation that each term alone gives it, in the value's unit."""

    value: float
    terms: Mapping[Term, float]

    @property
    def sigma(self) -> float:
        """All terms together."""
        return math.sqrt(sum(sigma**2 for sigma in self.terms.values()))


class Uncertain:
    """Elements and planes of one photo and everything uncertain about them, in this order: focal length, scale, a
    number for each element's depth, three for each plane, two for each pick, two for the vertical.
    """

    def __init__(
        self,
        camera: Camera,
        errors: DepthErrorModel,
        elements: Sequence[Element],
        planes: Mapping[str, Plane],
    ) -> None:
        self.camera = camera
        self.error_model = errors
        self.elements = tuple(elements)
        self.planes = dict(planes)
        count = len(self.elements)
        self._pixels = np.array([[e.pick.u, e.pick.v] for e in elements], dtype=np.float64).reshape(count, 2)
        self._pick_sigma = np.array([e.sigma for e in elements], dtype=np.float64)[:, None]
        readings = [e.reading for e in elements]
        self._inverse = np.array([1.0 if r is None else r.inverse for r in readings])
        self._gradients = np.array([(0.0, 0.0) if r is None else r.gradient for r in readings]).reshape(count, 2)
        self._on = np.array([e.on or "" for e in elements], dtype=object)
        depths = np.array([_depth(e, camera, self.planes) for e in elements])
        own = np.array([_own_sigma(e) for e in elements])
        factors = errors.factors([None if e.reading is None else e.reading.confidence for e in elements])
        self._local = _root(errors.covariance(self._pixels / max(camera.width, camera.height), depths, own, factors))
        self._roots = {name: _root(plane.covariance) for name, plane in self.planes.items()}
        sizes = {
            Term.FOCAL: 1,
            Term.SCALE: 1,
            Term.LOCAL: count + 3 * len(self.planes),
            Term.PICK: 2 * count,
            Term.UPRIGHT: 2,
        }
        self.terms = tuple(term for term, size in sizes.items() for _ in range(size))

    def state(self, errors: Vector) -> State:
        """Points and planes when the standard normal numbers are ``errors`` (len(self.terms),)."""
        count, planes = len(self.elements), len(self.planes)
        focal, scale = errors[0] * self.camera.focal_rel_sigma, errors[1] * self.error_model.scale_sigma
        ends = np.cumsum([2, count, 3 * planes, 2 * count])
        local = self._local @ errors[2 : ends[1]] if count else np.zeros(0)
        of_planes = errors[ends[1] : ends[2]].reshape(planes, 3)
        moved = errors[ends[2] : ends[3]].reshape(count, 2) * self._pick_sigma
        vectors = {
            name: self._stretched(plane, plane.q + self._roots[name] @ of_planes[i], focal, scale)
            for i, (name, plane) in enumerate(self.planes.items())
        }
        return State(
            self._points(moved, local, vectors, focal, scale), vectors, _leaning(errors[ends[3] :]), focal, scale
        )

    def _stretched(self, plane: Plane, q: Vector, focal: float, scale: float) -> Vector:
        """A plane of the network follows focal length and scale as its depth does; an exact one is where it is."""
        return q if plane.is_exact else q * np.array([1, 1, math.exp(-focal)]) * math.exp(-scale)

    def _points(self, moved: Vector, local: Vector, planes: Mapping[str, Vector], focal: float, scale: float) -> Vector:
        """Points (N, 3): rays of the true focal length, to the depth that was read or to their plane."""
        camera, pixels = self.camera, self._pixels + moved
        rays = np.ones((len(pixels), 3))
        rays[:, 0] = (pixels[:, 0] - camera.cx) / camera.fx * math.exp(-focal)
        rays[:, 1] = (pixels[:, 1] - camera.cy) / camera.fy * math.exp(-focal)
        inverse = self._inverse + (self._gradients * moved).sum(axis=1)
        depth = np.exp(local + focal + scale) / np.maximum(inverse, 0.2 * self._inverse)
        for name, q in planes.items():
            depth = np.where(self._on == name, 1 / (rays @ q), depth)
        return np.asarray(rays * depth[:, None])


def interval(split: Split, power: int) -> tuple[float, float]:
    """The 95 % interval: log-normal for lengths and areas, so that it never crosses 0; normal for angles."""
    if power == 0:
        half = Z_95 * split.sigma
        return max(0.0, split.value - half), min(180.0, split.value + half)
    if split.value <= 0:
        return split.value - Z_95 * split.sigma, split.value + Z_95 * split.sigma
    half = Z_95 * split.sigma
    factor = math.exp(min(half / split.value, _MOST_LOG))
    # What is nearly nothing with an error many times as large is normal rather than log-normal.
    return split.value / factor, max(split.value * factor, split.value + half if factor >= math.exp(_MOST_LOG) else 0.0)


def _depth(element: Element, camera: Camera, planes: Mapping[str, Plane]) -> float:
    """Metres at an element as it was read."""
    if element.reading is not None:
        return element.reading.depth
    ray = np.array([(element.pick.u - camera.cx) / camera.fx, (element.pick.v - camera.cy) / camera.fy, 1.0])
    return float(1 / (planes[element.on or ""].q @ ray))


def _own_sigma(element: Element) -> float:
    """Relative error of one reading by itself; at an edge it covers both sides."""
    if element.reading is None:
        return 0.0
    reading = element.reading
    if reading.other_depth is None:
        return reading.residual
    return math.hypot(reading.residual, abs(math.log(reading.other_depth / reading.depth)) / 2)


def _root(covariance: Vector) -> Vector:
    """A matrix R with R R^T = covariance, also for singular ones."""
    if not covariance.size:
        return covariance
    values, vectors = np.linalg.eigh(covariance)
    return np.asarray(vectors * np.sqrt(np.maximum(values, 0)))


def _leaning(errors: Vector) -> Vector:
    """The direction up when the camera was held level except for ``errors`` (2,), in standard deviations."""
    roll, pitch = errors * math.radians(TILT_SIGMA)
    return np.array([math.sin(roll) * math.cos(pitch), -math.cos(roll) * math.cos(pitch), math.sin(pitch)])
