"""The flags of a command line that say what to measure, and points and lengths as people type them."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

from m3d_cli.errors import UsageError
from m3d_cli.metrology.marker_specs import marker_spec
from m3d_cli.metrology.measurands import OBJECTS, SHEETS, TYPED_TOLERANCE, UNITS, Kind, Rectangle, Reference
from m3d_cli.metrology.picks import MeasureError, Pick, Side
from m3d_cli.metrology.request import ALLOWANCES, Item, Request, check_names, measurand_or_refusal, with_distinct_names

FLAGS: Mapping[str, Kind] = MappingProxyType({"line": Kind.DISTANCE} | {str(kind): kind for kind in Kind})

RECTANGLE_HINT = f'"NAME=0.60x0.45: u,v u,v u,v u,v", or one of {", ".join(SHEETS)} for the size'

# Words that look for the ground in the lower third of the image.
AUTOMATIC = ("auto", "")


def request_of_flags(
    flags: Iterable[tuple[str, str]],
    references: Sequence[str],
    unit: str,
    *,
    rectangles: Sequence[str] = (),
    markers: Sequence[str] = (),
    allow_assumed_focal: bool,
    allow_unknown_errors: bool = False,
) -> Request:
    """The request of (flag, text) pairs in their order; raises UsageError."""
    counts: Counter[str] = Counter()
    items = []
    for flag, text in flags:
        counts[flag] += 1
        items.append(parse_flag(flag, text, counts[flag], unit))
    check_names(items, "the command line")
    known = [parse_reference(text, number) for number, text in enumerate(references, 1)]
    return Request(
        tuple(items),
        with_distinct_names(known),
        allow_assumed_focal,
        allow_unknown_errors,
        rectangles=tuple(parse_rectangle(text, number) for number, text in enumerate(rectangles, 1)),
        markers=tuple(marker_spec(text) for text in markers),
    )


def allowances_in(options: object) -> dict[str, bool]:
    """The options of a command line that say what may be unknown, as `request_of_flags` takes them."""
    return {name: getattr(options, name) for name in ALLOWANCES}


def parse_flag(flag: str, text: str, number: int, unit: str) -> Item:
    """``"door=812,1204 812,388 on wall"``; name and plane are optional. Raises UsageError for what is no points."""
    kind = FLAGS[flag]
    label, is_named, rest = text.rpartition("=")
    # The first ground is named without a number, since lines say "on ground".
    usual = flag if flag == "ground" and number == 1 else f"{flag} {number}"
    name = label.strip() if is_named and label.strip() else usual
    places, _, plane = rest.partition(" on ")
    options: dict[str, object] = {"unit": unit, "on": plane.strip() or None}
    if kind is Kind.GROUND and places.strip().lower() in AUTOMATIC:
        return measurand_or_refusal(name, kind, (), **options)
    if kind is Kind.PLANE_DISTANCE:
        places, is_two, second = places.partition("|")
        if not is_two:
            raise UsageError(f"{name}: one region only", hint='two regions: "1,2 3,4 5,6 | 7,8 9,10 11,12"')
        options["second"] = parse_points(second, name)
    return measurand_or_refusal(name, kind, parse_points(places, name), **options)


def parse_points(text: str, name: str) -> tuple[Pick, ...]:
    """``"812,1204 812,388"`` to points; a point may end in ``:near`` or ``:far``. Raises UsageError."""
    picks = []
    for word in text.replace(";", " ").split():
        place, _, side = word.partition(":")
        try:
            u, v = (float(number) for number in place.split(","))
            if not (math.isfinite(u) and math.isfinite(v)):
                raise ValueError
            picks.append(Pick(u, v, Side(side) if side else None))
        except ValueError as error:
            raise UsageError(
                f"{name}: {word!r} is not a point", hint='points look like "812,1204 812,388", in pixels'
            ) from error
    return tuple(picks)


def parse_reference(text: str, number: int) -> Reference:
    """``"u1,v1 u2,v2 = 0.297 m"`` or ``card:"u1,v1 u2,v2"`` (also ``a4``, ``letter``, ...); raises UsageError.

    ``on PLANE`` at the end puts it on a plane.
    """
    name, on = f"reference {number}", None
    if found := re.fullmatch(r"(.*)\son\s+(\S.*?)\s*", text, re.DOTALL):
        text, on = found.groups()
    label, separator, rest = text.partition(":")
    known = label.strip().lower()
    if separator and known in OBJECTS:
        points = parse_points(rest.strip().strip('"'), name)
        return reference(known, points, *OBJECTS[known], place=name, on=on)
    places, separator, size = text.partition("=")
    if not separator:
        raise UsageError(
            f"{name}: {text!r} has no length",
            hint=f'"u1,v1 u2,v2 = 0.297 m", or one of {", ".join(OBJECTS)}: card:"u1,v1 u2,v2"',
        )
    return reference(name, parse_points(places, name), parse_length(size, name), TYPED_TOLERANCE, place=name, on=on)


def parse_rectangle(text: str, number: int) -> Rectangle:
    """``"table=0.60x0.45 m: u,v u,v u,v u,v"`` or ``"a4: u,v u,v u,v u,v"``; raises UsageError."""
    head, separator, places = text.partition(":")
    label, _, size = head.rpartition("=")
    name = label.strip() or (f"rectangle {number}" if number > 1 else "rectangle")
    if not separator:
        raise UsageError(f"{name}: {text!r} has no corners", hint=RECTANGLE_HINT)
    return rectangle(name, parse_points(places.strip().strip('"'), name), *parse_size(size, name), place=name)


def rectangle(
    name: str,
    points: Sequence[Pick],
    width: float,
    height: float,
    tolerance: float,
    *,
    place: str,
    pick_sigma: float = 1.0,
    is_refined: bool = True,
) -> Rectangle:
    """A rectangle written at ``place``; raises UsageError, since its plane is what other things rest on."""
    if len(points) != 4:
        raise UsageError(f"{place}: a rectangle has four corners, not {len(points)}", hint=RECTANGLE_HINT)
    try:
        a, b, c, d = points
        return Rectangle(name, (a, b, c, d), width, height, tolerance, pick_sigma, is_refined)
    except MeasureError as error:
        raise UsageError(error.message if place == name else f"{place}: {error.message}", hint=error.hint) from error


def parse_size(text: str, name: str) -> tuple[float, float, float]:
    """``"a4"`` or ``"60x45 cm"`` as width and height in metres and their tolerance; raises UsageError."""
    words = text.strip().lower()
    if words in SHEETS:
        return SHEETS[words]
    across, sign, down = words.partition("x")
    if not sign:
        raise UsageError(f"{name}: {text.strip()!r} is no size", hint=RECTANGLE_HINT)
    unit = next((one for one in sorted(UNITS, key=len, reverse=True) if down.rstrip().endswith(one)), "")
    first = across if any(across.rstrip().endswith(one) for one in UNITS) else f"{across}{unit}"
    return parse_length(first, name), parse_length(down, name), TYPED_TOLERANCE


def reference(
    name: str,
    points: Sequence[Pick],
    length: float,
    tolerance: float,
    *,
    place: str,
    on: str | None = None,
    pick_sigma: float = 1.0,
) -> Reference:
    """A reference written at ``place``; raises UsageError, since nothing can be scaled by an impossible one."""
    if len(points) != 2:
        raise UsageError(f"{place}: a reference has two points, not {len(points)}")
    try:
        return Reference(name, (points[0], points[1]), length, tolerance, on, pick_sigma)
    except MeasureError as error:
        raise UsageError(error.message if place == name else f"{place}: {error.message}", hint=error.hint) from error


def parse_length(text: str, name: str) -> float:
    """``"0.297 m"`` or ``"11 in"`` in metres; a bare number is metres."""
    words = text.strip()
    unit = next((unit for unit in sorted(UNITS, key=len, reverse=True) if words.endswith(unit)), "")
    try:
        return float(words.removesuffix(unit)) * UNITS.get(unit, 1.0)
    except ValueError as error:
        raise UsageError(
            f"{name}: {text.strip()!r} is not a length", hint=f"a number and one of {', '.join(UNITS)}"
        ) from error


def check_unit_option(unit: str | None) -> None:
    """Raise UsageError for an unknown unit."""
    if unit is not None and unit not in UNITS:
        raise UsageError(f"--unit {unit} is unknown", hint=f"one of {', '.join(UNITS)}")
