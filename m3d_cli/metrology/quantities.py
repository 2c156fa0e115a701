"""What is to be measured: kinds, points, units and references, checked when they are made."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType

from m3d_cli.errors import UsageError
from m3d_cli.metrology.geometry.depth_reading import MeasureError, Pick, Side


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
        """1 for lengths, 2 for areas, 0 for angles: how a value follows the scale of the picture."""
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

# Those whose points go around a flat region.
REGIONS = (Kind.PLANE, Kind.AREA, Kind.PLANE_DISTANCE, Kind.GROUND)

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

# How points are given, wherever they come from.
POINTS_HINT = "points are pairs of pixels u,v, one after the other"

# A length that a person typed is taken to be right to this share.
TYPED_TOLERANCE = 0.005


def check_unit_option(unit: str | None) -> None:
    """Raise UsageError for an unknown unit."""
    if unit is not None and unit not in UNITS:
        raise UsageError(f"--unit {unit} is unknown", hint=f"one of {', '.join(UNITS)}")


@dataclass(frozen=True, slots=True)
class Measure:
    """One thing to measure.

    ``on`` names the plane (another measure, or ``ground``) that its points lie on; ``second`` is the other region of
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
        check_unit(self.unit, self.name)
        check_pick_sigma(self.pick_sigma, self.name)
        fewest, most = POINTS[self.kind]
        regions = (self.points, self.second) if self.kind is Kind.PLANE_DISTANCE else (self.points,)
        for points in regions:
            if len(points) < fewest or (most is not None and len(points) > most):
                wanted = str(fewest) if fewest == most else f"{fewest} to {most}" if most else f"{fewest} or more"
                raise MeasureError(
                    f"{self.name}: {self.kind} takes {wanted} points, not {len(points)}", hint=POINTS_HINT
                )
        if self.kind in REGIONS:
            for points in regions:
                self._check_region(points)
        if self.on is not None and self.kind not in (Kind.DISTANCE, Kind.PATH, Kind.ANGLE, Kind.RANGE):
            raise MeasureError(f"{self.name}: {self.kind} cannot lie on a plane", hint="leave on = ... out")

    def _check_region(self, points: tuple[Pick, ...]) -> None:
        if self.kind is Kind.GROUND and 0 < len(points) < 3:
            raise MeasureError(
                f"{self.name}: a ground region takes 3 or more points, not {len(points)}",
                hint=f"{POINTS_HINT}, or auto",
            )
        if crosses_itself(points):
            raise MeasureError(f"{self.name}: its polygon crosses itself", hint="give the corners in their order")


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
class Request:
    """What is wanted of one photo. ``ground`` is a region for the ground plane, () looks for it in the lower third,
    None does without.
    """

    measures: tuple[Measure, ...]
    references: tuple[Reference, ...] = ()
    ground: tuple[Pick, ...] | None = None
    allow_assumed_focal: bool = False


def check_unit(unit: str, name: str) -> None:
    """Raise MeasureError for a unit nobody knows."""
    if unit not in UNITS:
        raise MeasureError(f"{name}: unit {unit} is unknown", hint=f"one of {', '.join(UNITS)}")


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


def parse_points(text: str, name: str) -> tuple[Pick, ...]:
    """``"812,1204 812,388"`` to points; a point may end in ``:near`` or ``:far``. Raises UsageError."""
    picks = []
    for word in text.replace(";", " ").split():
        place, _, side = word.partition(":")
        try:
            u, v = (float(number) for number in place.split(","))
            if not (math.isfinite(u) and math.isfinite(v)):
                raise ValueError
            picks.append(Pick(u, v, _side(side)))
        except ValueError as error:
            raise UsageError(
                f"{name}: {word!r} is not a point", hint='points look like "812,1204 812,388", in pixels'
            ) from error
    return tuple(picks)


def _side(text: str) -> Side | None:
    return Side(text) if text else None


def parse_reference(text: str, number: int) -> Reference:
    """``"u1,v1 u2,v2 = 0.297 m"`` or ``card:"u1,v1 u2,v2"`` (also ``a4``, ``letter``, ...).

    ``on PLANE`` at the end puts it on a plane.
    """
    name = f"reference {number}"
    text, on = _plane_of(text)
    label, separator, rest = text.partition(":")
    if separator and label.strip().lower() in OBJECTS:
        kind = label.strip().lower()
        length, tolerance = OBJECTS[kind]
        return Reference(kind, _two(parse_points(rest.strip().strip('"'), name), name), length, tolerance, on)
    points, separator, size = text.partition("=")
    if not separator:
        raise UsageError(
            f"{name}: {text!r} has no length",
            hint=f'"u1,v1 u2,v2 = 0.297 m", or one of {", ".join(OBJECTS)}: card:"u1,v1 u2,v2"',
        )
    return Reference(name, _two(parse_points(points, name), name), parse_length(size, name), on=on)


def _plane_of(text: str) -> tuple[str, str | None]:
    """The text without ``on PLANE`` at its end, and the plane."""
    found = re.fullmatch(r"(.*)\son\s+(\S.*?)\s*", text, re.DOTALL)
    return (found[1], found[2]) if found else (text, None)


def parse_length(text: str, name: str) -> float:
    """``"0.297 m"`` or ``"11 in"`` in metres; a bare number is metres."""
    words = text.strip()
    for unit in sorted(UNITS, key=len, reverse=True):
        if words.endswith(unit):
            words, factor = words[: -len(unit)], UNITS[unit]
            break
    else:
        factor = 1.0
    try:
        return float(words) * factor
    except ValueError as error:
        raise UsageError(
            f"{name}: {text.strip()!r} is not a length", hint=f"a number and one of {', '.join(UNITS)}"
        ) from error


def _two(points: tuple[Pick, ...], name: str) -> tuple[Pick, Pick]:
    if len(points) != 2:
        raise UsageError(f"{name}: a reference has two points, not {len(points)}")
    return points[0], points[1]
