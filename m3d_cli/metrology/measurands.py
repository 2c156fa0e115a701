"""What can be measured on a photo: kinds, points, units and references, checked when they are made."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType

from m3d_cli.metrology.picks import MeasureError, Pick


class Kind(str, Enum):
    """What a measurement means; its points are pixels of the upright photo."""

    DISTANCE = "distance"
    PATH = "path"
    RANGE = "range"
    ANGLE = "angle"
    HEIGHT = "height"
    PLANE = "plane"
    AREA = "area"
    PLANE_DISTANCE = "plane-distance"
    GROUND = "ground"
    BOX = "box"

    def __str__(self) -> str:
        return self.value

    @property
    def power(self) -> int:
        """1 for lengths, 2 for areas, 0 for angles: how a value follows the scale of the depth."""
        return {Kind.ANGLE: 0, Kind.AREA: 2}.get(self, 1)


# Fewest and most points of each kind; None is any number.
POINTS: Mapping[Kind, tuple[int, int | None]] = MappingProxyType(
    {
        Kind.DISTANCE: (2, 2),
        Kind.PATH: (2, None),
        Kind.RANGE: (1, 1),
        Kind.ANGLE: (3, 3),
        Kind.HEIGHT: (1, 2),
        Kind.PLANE: (3, None),
        Kind.AREA: (3, None),
        Kind.PLANE_DISTANCE: (3, None),
        Kind.GROUND: (0, None),
        Kind.BOX: (2, 2),
    }
)
# A hand-drawn line has fewer corners; the errors of each one are propagated through all the others.
MAX_POINTS = 300

# Kinds whose points go around a flat region.
REGIONS = (Kind.PLANE, Kind.AREA, Kind.PLANE_DISTANCE, Kind.GROUND)
# Regions that become a plane on which other points can lie.
SURFACES = (Kind.PLANE, Kind.AREA, Kind.GROUND)
# Kinds whose points can lie on such a plane.
ON_SURFACES = (Kind.DISTANCE, Kind.PATH, Kind.ANGLE, Kind.RANGE)

# Metres in one unit.
UNITS: Mapping[str, float] = MappingProxyType({"m": 1.0, "cm": 0.01, "mm": 0.001, "ft": 0.3048, "in": 0.0254})

# Lengths of well-known objects in metres, and the relative tolerance they are made to.
OBJECTS: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        "card": (0.0856, 0.002),
        "card-height": (0.05398, 0.002),
        "a4": (0.297, 0.004),
        "a4-width": (0.210, 0.005),
        "letter": (0.2794, 0.004),
        "letter-width": (0.2159, 0.005),
        "euro": (0.02325, 0.003),
        "quarter": (0.02426, 0.003),
    }
)

POINTS_HINT = "points are pairs of pixels u,v, one after the other"

# Sides of well-known rectangles in metres, and the relative tolerance they are made to.
SHEETS: Mapping[str, tuple[float, float, float]] = MappingProxyType(
    {
        "card": (0.0856, 0.05398, 0.002),
        "a3": (0.420, 0.297, 0.004),
        "a4": (0.297, 0.210, 0.004),
        "a5": (0.210, 0.148, 0.004),
        "letter": (0.2794, 0.2159, 0.004),
    }
)

# Relative standard deviation of a length that a person typed.
TYPED_TOLERANCE = 0.005


@dataclass(frozen=True, slots=True)
class Measurand:
    """One thing to measure.

    ``on`` names the plane (another measurand, or ``ground``) that its points lie on; ``second`` is the other region of
    ``plane-distance``; ``pick_sigma`` the standard deviation of a point in pixels.
    """

    name: str
    kind: Kind
    points: tuple[Pick, ...]
    second: tuple[Pick, ...] = ()
    on: str | None = None
    unit: str = "m"
    pick_sigma: float = 1.0

    def __post_init__(self) -> None:
        if self.unit not in UNITS:
            raise MeasureError(f"{self.name}: unit {self.unit} is unknown", hint=f"one of {', '.join(UNITS)}")
        check_pick_sigma(self.pick_sigma, self.name)
        regions = (self.points, self.second) if self.kind is Kind.PLANE_DISTANCE else (self.points,)
        for points in regions:
            self._check_count(len(points))
        for points in regions if self.kind in REGIONS else ():
            if crosses_itself(points):
                raise MeasureError(f"{self.name}: its polygon crosses itself", hint="give the corners in their order")
        if self.on is not None and self.kind not in ON_SURFACES:
            raise MeasureError(f"{self.name}: {self.kind} cannot lie on a plane", hint="leave on = ... out")

    def _check_count(self, count: int) -> None:
        fewest, most = POINTS[self.kind]
        if count > MAX_POINTS:
            raise MeasureError(f"{self.name}: {count} points are too many", hint=f"at most {MAX_POINTS}")
        if self.kind is Kind.GROUND and 0 < count < 3:
            raise MeasureError(
                f"{self.name}: a ground region takes 3 or more points, not {count}", hint=f"{POINTS_HINT}, or auto"
            )
        if count < fewest or (most is not None and count > most):
            allowed = str(fewest) if fewest == most else f"{fewest} to {most}" if most else f"{fewest} or more"
            raise MeasureError(f"{self.name}: {self.kind} takes {allowed} points, not {count}", hint=POINTS_HINT)


@dataclass(frozen=True, slots=True)
class Reference:
    """A known length in the photo: two points, metres, relative standard deviation; ``on`` a plane's name."""

    name: str
    points: tuple[Pick, Pick]
    length: float
    tolerance: float = TYPED_TOLERANCE
    on: str | None = None
    pick_sigma: float = 1.0

    def __post_init__(self) -> None:
        check_pick_sigma(self.pick_sigma, self.name)
        if not (math.isfinite(self.length) and self.length > 0):
            raise MeasureError(
                f"{self.name}: a reference of {self.length:g} m is no length", hint="give a positive one"
            )
        if not 0 <= self.tolerance < 1:
            raise MeasureError(
                f"{self.name}: a tolerance of {self.tolerance:g} is not between 0 and 1", hint="0.01 is 1 %"
            )
        if self.points[0] == self.points[1]:
            raise MeasureError(f"{self.name}: both ends of the reference are the same point", hint="give two points")


@dataclass(frozen=True, slots=True)
class Rectangle:
    """A rectangle of known size: corners in order round it, ``width`` (first side) and ``height`` in metres.

    ``tolerance`` is the relative standard deviation of its sides; its corners are moved to where its edges meet in the
    image where ``is_refined``. Rectangles of one name lie on one plane, which has that name.
    """

    name: str
    points: tuple[Pick, Pick, Pick, Pick]
    width: float
    height: float
    tolerance: float = TYPED_TOLERANCE
    pick_sigma: float = 1.0
    is_refined: bool = True

    def __post_init__(self) -> None:
        check_pick_sigma(self.pick_sigma, self.name)
        if not all(math.isfinite(side) and side > 0 for side in (self.width, self.height)):
            raise MeasureError(f"{self.name}: sides of {self.width:g} x {self.height:g} m are no rectangle")
        if not 0 <= self.tolerance < 1:
            raise MeasureError(
                f"{self.name}: a tolerance of {self.tolerance:g} is not between 0 and 1", hint="0.01 is 1 %"
            )
        if crosses_itself(self.points):
            raise MeasureError(f"{self.name}: its outline crosses itself", hint="give the corners in order round it")


def check_pick_sigma(sigma: float, name: str) -> None:
    """Raise MeasureError for an impossible uncertainty of a point."""
    if not (math.isfinite(sigma) and sigma >= 0):
        raise MeasureError(f"{name}: a point's uncertainty of {sigma} pixels is impossible", hint="1 is usual")


def crosses_itself(points: tuple[Pick, ...]) -> bool:
    """Whether two sides of the polygon that do not meet in a corner cross."""
    count = len(points)
    sides = [(points[i], points[(i + 1) % count]) for i in range(count)]
    return any(
        _cross(sides[i], sides[j]) for i in range(count) for j in range(i + 2, count) if not (i == 0 and j == count - 1)
    )


def _cross(one: tuple[Pick, Pick], other: tuple[Pick, Pick]) -> bool:
    return _turn(*one, other[0]) * _turn(*one, other[1]) < 0 and _turn(*other, one[0]) * _turn(*other, one[1]) < 0


def _turn(a: Pick, b: Pick, c: Pick) -> float:
    return (b.u - a.u) * (c.v - a.v) - (b.v - a.v) * (c.u - a.u)
