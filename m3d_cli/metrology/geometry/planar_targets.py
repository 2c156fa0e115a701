"""Poses of flat things of known size, without any network: rectangles, markers and boards that lie on one plane.

A target's points are known on its plane in metres and seen in pixels. The pose of the plane, a place and a turn on it
for each target, the focal length, the principal point and the errors of the targets' sizes are adjusted together
(Levenberg-Marquardt on reprojection errors in units of their standard deviation), starting at both poses that a plane
seen from afar allows (IPPE: Collins and Bartoli 2014).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from m3d_cli.camera import Camera
from m3d_cli.metrology.least_squares import Vector, derivative, least_squares, slope
from m3d_cli.metrology.picks import MeasureError

# Targets whose shorter side is seen with fewer pixels have no pose worth the name.
LEAST_PIXELS = 8.0
# Reprojection errors (root mean square, in standard deviations) beyond which the points are not those of the target.
WORST_FIT = 2.5
# Relative standard deviation of the plane's distance beyond which a target says nothing.
WORST_DISTANCE = 0.3
# Standard deviation of a principal point that nobody calibrated, and of a calibrated one, in long sides of the image.
CENTRE_SIGMA, CALIBRATED_CENTRE_SIGMA = 0.01, 0.002
# Sums of squares that differ by less leave both poses possible (95 % of a normal error).
AMBIGUOUS = 4.0
# Degrees of freedom that the assumed standard deviation of points counts as.
PRIOR_FREEDOM = 4.0

_STEP = 1e-6
_SAME_PLANE = 1e-3


@dataclass(frozen=True, slots=True, eq=False)
class PlanarTarget:
    """A flat thing: where its points are seen (N, 2), pixels, and where they are on it (N, 2), metres.

    ``sigma`` is the standard deviation of a seen point, ``tolerance`` the relative one of its size, which all targets
    of a ``batch`` (printed together) have in common.
    """

    name: str
    pixels: Vector
    places: Vector
    sigma: float = 1.0
    tolerance: float = 0.0
    batch: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class TargetPlane:
    """The plane of targets: ``log_focal`` is ln of the focal length over the camera's, ``q`` (3,) 1/m the plane.

    ``covariance`` (4, 4) is that of both, ``information`` (4, 4) what the targets alone say of them. ``misfit`` is the
    root mean square of the reprojection errors in standard deviations, ``rms_pixels`` in pixels; ``squares`` the sum
    that was made least. ``rival`` is the other pose, where it fits as well.
    """

    q: Vector
    log_focal: float
    covariance: Vector
    information: Vector
    misfit: float
    rms_pixels: float
    squares: float
    rival: TargetPlane | None = None

    @property
    def distance_sigma(self) -> float:
        """Relative standard deviation of the plane's distance from the camera."""
        along = self.q / (self.q @ self.q)
        return math.sqrt(max(0.0, float(along @ self.covariance[1:, 1:] @ along)))


@dataclass(slots=True)
class _Problem:
    """All targets in flat arrays: each point's target, and each target's batch."""

    targets: Sequence[PlanarTarget]
    camera: Camera
    focal_sigma: float
    centre_sigma: float
    owner: NDArray[np.int64] = field(init=False)
    batch: NDArray[np.int64] = field(init=False)
    pixels: Vector = field(init=False)
    places: Vector = field(init=False)
    sigma: Vector = field(init=False)
    tolerance: Vector = field(init=False)

    def __post_init__(self) -> None:
        names = sorted({one.batch for one in self.targets})
        self.owner = np.repeat(np.arange(len(self.targets)), [len(one.pixels) for one in self.targets])
        self.batch = np.array([names.index(one.batch) for one in self.targets])
        self.pixels = np.concatenate([one.pixels for one in self.targets])
        self.places = np.concatenate([one.places - one.places.mean(axis=0) for one in self.targets])
        self.sigma = np.concatenate([np.full(len(one.pixels), one.sigma) for one in self.targets])
        tolerances = {one.batch: max(one.tolerance, 1e-6) for one in self.targets}
        self.tolerance = np.repeat([tolerances[name] for name in names], 2)

    # Order of the unknowns: ln focal, principal point (2), rotation (3), translation (3), sizes (2 for each batch),
    # place and turn (3) of every target but the first.
    @property
    def count(self) -> int:
        return 9 + len(self.tolerance) + 3 * (len(self.targets) - 1)

    def residuals(self, unknown: Vector) -> Vector:
        """Reprojection errors and the departures of what is known beforehand, in standard deviations."""
        sizes = unknown[9 : 9 + len(self.tolerance)]
        seen = self._projected(unknown, sizes.reshape(-1, 2))
        known = (unknown[:1] / self.focal_sigma, unknown[1:3] / self.centre_sigma, sizes / self.tolerance)
        return np.concatenate([((seen - self.pixels) / self.sigma[:, None]).ravel(), *known])

    def jacobian(self, unknown: Vector) -> Vector:
        """Derivatives of `residuals`: a target's place and turn move its own points alone, so all move at once."""
        shared, seen = 9 + len(self.tolerance), 2 * len(self.pixels)
        whole = np.zeros((len(self.residuals(unknown)), self.count))
        for index in range(shared):
            whole[:, index] = slope(self.residuals, unknown, _step(unknown, slice(index, index + 1)))
        rows, owner = np.arange(seen), np.repeat(self.owner, 2)
        moved = owner > 0
        for part in range(3 if self.count > shared else 0):
            change = slope(self.residuals, unknown, _step(unknown, slice(shared + part, None, 3)))[:seen]
            whole[rows[moved], shared + 3 * (owner[moved] - 1) + part] = change[moved]
        return whole

    def _projected(self, unknown: Vector, sizes: Vector) -> Vector:
        camera = self.camera
        moves = np.concatenate([np.zeros(3), unknown[9 + len(self.tolerance) :]]).reshape(-1, 3)[self.owner]
        x, y = (self.places * np.exp(sizes[self.batch[self.owner]])).T
        cos, sin = np.cos(moves[:, 2]), np.sin(moves[:, 2])
        on_plane = np.stack([cos * x - sin * y + moves[:, 0], sin * x + cos * y + moves[:, 1]])
        rotation, _ = cv2.Rodrigues(unknown[3:6])
        points = rotation[:, :2] @ on_plane + unknown[6:9, None]
        depth = np.where(points[2] > 1e-9, points[2], 1e-9)
        stretch = math.exp(unknown[0])
        u = camera.fx * stretch * points[0] / depth + camera.cx + unknown[1]
        v = camera.fy * stretch * points[1] / depth + camera.cy + unknown[2]
        return np.stack([u, v], axis=1)


def fit_targets(
    targets: Sequence[PlanarTarget], camera: Camera, *, focal_sigma: float, is_calibrated: bool = True
) -> TargetPlane:
    """The plane that all ``targets`` lie on; raises MeasureError where their points cannot be theirs.

    ``focal_sigma`` is the relative standard deviation of the camera's focal length, which is adjusted with the rest.
    """
    for target in targets:
        _check_size(target)
    share = CALIBRATED_CENTRE_SIGMA if is_calibrated else CENTRE_SIGMA
    problem = _Problem(targets, camera, max(focal_sigma, 1e-5), share * max(camera.width, camera.height))
    found = [_solved(problem, start) for start in _starts(problem)]
    kept = sorted((one for one in found if one is not None), key=lambda one: one.squares)
    name = targets[0].name
    if not kept:
        raise MeasureError(f"{name}: its points are seen by no camera in front of it", hint="check their order")
    best, *others = kept
    if best.misfit > WORST_FIT:
        raise MeasureError(
            f"{name}: its points are no view of a thing of that size ({best.rms_pixels:.1f} pixels off)",
            hint="give the corners in order round it, the first side first",
        )
    if best.distance_sigma > WORST_DISTANCE:
        raise MeasureError(f"{name}: too small in the image to give a distance", hint="use a larger or nearer one")
    rival = next((one for one in others if _differ(best, one) and one.squares - best.squares < AMBIGUOUS), None)
    return TargetPlane(
        best.q,
        best.log_focal,
        best.covariance,
        best.information,
        best.misfit,
        best.rms_pixels,
        best.squares,
        rival,
    )


def _differ(one: TargetPlane, other: TargetPlane) -> bool:
    return float(np.linalg.norm(one.q - other.q)) > _SAME_PLANE * float(np.linalg.norm(one.q))


def _check_size(target: PlanarTarget) -> None:
    extent = cv2.minAreaRect(target.pixels.astype(np.float32))[1]
    if min(extent) < LEAST_PIXELS:
        raise MeasureError(
            f"{target.name}: seen with {min(extent):.0f} pixels across, too few for a pose",
            hint=f"at least {LEAST_PIXELS:g} pixels; better a quarter of the image",
        )


def _starts(problem: _Problem) -> list[Vector]:
    """The two poses of the target that is seen largest, with all others put where they are seen on its plane."""
    sizes = [cv2.contourArea(cv2.convexHull(one.pixels.astype(np.float32))) for one in problem.targets]
    largest = int(np.argmax(sizes))
    main = problem.owner == largest
    places = np.concatenate([problem.places[main], np.zeros((main.sum(), 1))], axis=1)
    matrix = problem.camera.matrix
    try:
        _, rotations, shifts, _ = cv2.solvePnPGeneric(
            places, problem.pixels[main], matrix, None, flags=cv2.SOLVEPNP_IPPE
        )
    except cv2.error:
        return []
    poses = [
        (np.asarray(cv2.Rodrigues(r)[0], dtype=np.float64), np.asarray(t, dtype=np.float64).ravel())
        for r, t in zip(rotations, shifts, strict=True)
    ]
    return [_start(problem, rotation, shift, largest) for rotation, shift in poses]


def _start(problem: _Problem, rotation: Vector, shift: Vector, largest: int) -> Vector:
    """All unknowns, the first target being the origin of the plane whatever target the pose is of."""
    rays = np.linalg.solve(problem.camera.matrix, np.c_[problem.pixels, np.ones(len(problem.pixels))].T)
    scale = (rotation[:, 2] @ shift) / (rotation[:, 2] @ rays)
    on_plane = (rotation.T @ (rays * scale - shift[:, None]))[:2].T
    moves = np.zeros((len(problem.targets), 3))
    for index in range(len(problem.targets)):
        own = problem.owner == index
        if index == largest:
            continue
        middle = on_plane[own].mean(axis=0)
        apart, places = on_plane[own] - middle, problem.places[own]
        turn = math.atan2(
            float((places[:, 0] * apart[:, 1] - places[:, 1] * apart[:, 0]).sum()), float((places * apart).sum())
        )
        moves[index] = (*middle, turn)
    # Into the frame of the first target.
    angle = moves[0, 2]
    turned = np.array([[math.cos(angle), -math.sin(angle), 0], [math.sin(angle), math.cos(angle), 0], [0, 0, 1]])
    origin = shift + rotation[:, :2] @ moves[0, :2]
    relative = moves - moves[0]
    relative[:, :2] = relative[:, :2] @ turned[:2, :2]
    start = np.zeros(problem.count)
    start[3:6] = cv2.Rodrigues(rotation @ turned)[0].ravel()
    start[6:9] = origin
    start[9 + len(problem.tolerance) :] = relative[1:].ravel()
    return start


def _solved(problem: _Problem, start: Vector) -> TargetPlane | None:
    unknown, jacobian = least_squares(problem.residuals, problem.jacobian, start)
    if not _plane_of(unknown)[0] or not np.isfinite(unknown).all() or unknown[8] <= 0:
        return None
    residuals = problem.residuals(unknown)
    seen = residuals[: 2 * len(problem.pixels)]
    squares = float(residuals @ residuals)
    # What is known beforehand counts as an observation of each unknown that has it.
    freedom = len(residuals) - len(unknown)
    inflation = max(1.0, (PRIOR_FREEDOM + squares) / (PRIOR_FREEDOM + freedom))
    full = inflation * np.asarray(np.linalg.pinv(jacobian.T @ jacobian), dtype=np.float64)
    change = np.zeros((4, len(unknown)))
    change[0, 0] = 1.0
    change[1:] = derivative(lambda x: _plane_of(x)[1], unknown)
    covariance = change @ full @ change.T
    information = np.asarray(np.linalg.pinv(covariance, hermitian=True), dtype=np.float64)
    information[0, 0] -= 1 / (inflation * problem.focal_sigma**2)
    pixels = seen.reshape(-1, 2) * problem.sigma[:, None]
    return TargetPlane(
        _plane_of(unknown)[1],
        float(unknown[0]),
        covariance,
        information,
        math.sqrt(float(np.mean(seen**2))),
        math.sqrt(float(np.mean(pixels**2))),
        squares,
    )


def _plane_of(unknown: Vector) -> tuple[bool, Vector]:
    """Whether the plane passes in front of the camera, and its vector q with q . X = 1."""
    normal = cv2.Rodrigues(unknown[3:6])[0][:, 2]
    distance = float(normal @ unknown[6:9])
    return abs(distance) > 1e-9, np.asarray(normal / (distance if abs(distance) > 1e-9 else 1e-9))


def _step(unknown: Vector, places: slice) -> Vector:
    step = np.zeros(len(unknown))
    step[places] = _STEP
    return step
