"""What is wanted of one photo before its depth is known, and the flags that say it on a command line."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from m3d_cli.errors import UsageError
from m3d_cli.metrology.geometry.depth_reading import MeasureError, Pick
from m3d_cli.metrology.quantities import Kind, Measure, Reference, parse_points, parse_reference
from m3d_cli.metrology.solve import Refusal

# The flags of a measurement and what they mean.
FLAGS: Mapping[str, Kind] = MappingProxyType(
    {
        "line": Kind.DISTANCE,
        "path": Kind.PATH,
        "height": Kind.HEIGHT,
        "area": Kind.AREA,
        "angle": Kind.ANGLE,
        "range": Kind.RANGE,
        "plane": Kind.PLANE,
        "box": Kind.BOX,
        "ground": Kind.GROUND,
        "plane-distance": Kind.PLANE_DISTANCE,
    }
)

# A hand-drawn line has fewer corners; each one's errors are followed through all the others.
MOST_POINTS = 300
# Words that ask for the ground in the lower third of the picture.
AUTOMATIC = ("auto", "")


@dataclass(frozen=True, slots=True)
class Refused:
    """Something asked for that cannot be, told in its place among the others."""

    kind: Kind
    refusal: Refusal


Asked = Measure | Refused


@dataclass(frozen=True, slots=True)
class Wish:
    """What is wanted of one photo, in order; ``size`` is that of the picture its points were picked on, where known.

    ``others`` are the wishes it was joined from where their sizes differ: each is fitted by its own.
    """

    asked: tuple[Asked, ...] = ()
    references: tuple[Reference, ...] = ()
    allow_assumed_focal: bool = False
    size: tuple[int, int] | None = None
    others: tuple[Wish, ...] = ()

    @property
    def measures(self) -> tuple[Measure, ...]:
        """Those that are possible so far."""
        return tuple(one for one in self.asked if isinstance(one, Measure))

    def fitted(self, width: int, height: int) -> Wish:
        """The same with points of a picture of that size; raises MeasureError where the shapes differ."""
        if self.others:
            first, *rest = (wish.fitted(width, height) for wish in self.others)
            for wish in rest:
                first = first.joined(wish)
            return first
        if self.size is None or self.size == (width, height):
            return dataclasses.replace(self, size=None)
        across, down = width / self.size[0], height / self.size[1]
        if abs(across / down - 1) > 0.01:
            raise MeasureError(
                f"the points were picked on a picture of {self.size[0]} x {self.size[1]} pixels, the photo has "
                f"{width} x {height}",
                hint="pick them on the upright photo",
            )
        return dataclasses.replace(
            self,
            asked=tuple(_scaled(one, across, down) for one in self.asked),
            references=tuple(_scaled_reference(one, across, down) for one in self.references),
            size=None,
        )

    def joined(self, other: Wish) -> Wish:
        """Both, this one's measurements first."""
        return Wish(
            (*self.asked, *other.asked),
            (*self.references, *other.references),
            self.allow_assumed_focal or other.allow_assumed_focal,
            self.size if self.size == other.size else None,
            () if self.size == other.size and not (self.others or other.others) else (*self._parts, *other._parts),
        )

    @property
    def _parts(self) -> tuple[Wish, ...]:
        return self.others or (self,)


def ask(name: str, kind: Kind, points: Sequence[Pick], **more: object) -> Asked:
    """A measurement, or its refusal where its points cannot be one."""
    try:
        if len(points) > MOST_POINTS:
            raise MeasureError(f"{name}: {len(points)} points are too many", hint=f"at most {MOST_POINTS}")
        return Measure(name, kind, tuple(points), **more)  # type: ignore[arg-type]
    except MeasureError as error:
        return Refused(kind, Refusal(name, error))


def name_of(one: Asked) -> str:
    """The name of a measurement, possible or not."""
    return one.name if isinstance(one, Measure) else one.refusal.name


def parse_flag(flag: str, text: str, number: int, unit: str) -> Asked:
    """``"door=812,1204 812,388 on wall"``: name and plane may be left out. Raises UsageError for what is no points."""
    kind = FLAGS[flag]
    label, is_named, rest = text.rpartition("=")
    name = label.strip() if is_named and label.strip() else _usual_name(flag, number)
    places, _, plane = rest.partition(" on ")
    more: dict[str, object] = {"unit": unit, "on": plane.strip() or None}
    if kind is Kind.GROUND and places.strip().lower() in AUTOMATIC:
        return ask(name, kind, (), **more)
    if kind is Kind.PLANE_DISTANCE:
        places, is_two, second = places.partition("|")
        if not is_two:
            raise UsageError(f"{name}: one region only", hint='two regions: "1,2 3,4 5,6 | 7,8 9,10 11,12"')
        more["second"] = parse_points(second, name)
    return ask(name, kind, parse_points(places, name), **more)


def _usual_name(flag: str, number: int) -> str:
    # Lines say "on ground".
    return flag if flag == "ground" and number == 1 else f"{flag} {number}"


def wish_of_flags(
    flags: Iterable[tuple[str, str]], references: Sequence[str], unit: str, *, allow_assumed_focal: bool
) -> Wish:
    """The wish of (flag, text) pairs in their order."""
    counts: Counter[str] = Counter()
    asked = []
    for flag, text in flags:
        counts[flag] += 1
        asked.append(parse_flag(flag, text, counts[flag], unit))
    refs = tuple(_reference_of(text, number) for number, text in enumerate(references, 1))
    check_names(asked, "the command line")
    return Wish(tuple(asked), numbered(refs), allow_assumed_focal)


def _reference_of(text: str, number: int) -> Reference:
    """A reference on the command line, where one that is none ends everything."""
    try:
        return parse_reference(text, number)
    except MeasureError as error:
        raise UsageError(error.message, hint=error.hint) from error


def check_names(asked: Iterable[Asked], place: str) -> None:
    """Raise UsageError when two measurements share a name."""
    for name, count in Counter(name_of(one) for one in asked).items():
        if count > 1:
            raise UsageError(f"{place}: {count} measurements are named {name}", hint="names must differ")


def distinct(asked: Iterable[Asked]) -> tuple[Asked, ...]:
    """The same with numbers behind names that come again."""
    counts: Counter[str] = Counter()
    asked = tuple(asked)
    taken = {name_of(one) for one in asked}
    found = []
    for one in asked:
        name = name_of(one)
        counts[name] += 1
        new = name
        while counts[name] > 1 and new in taken:
            new = f"{name} {counts[name]}"
            counts[name] += new in taken
        taken.add(new)
        found.append(one if new == name else _renamed(one, new))
    return tuple(found)


def numbered(references: Sequence[Reference]) -> tuple[Reference, ...]:
    """References with different names."""
    counts: Counter[str] = Counter()
    found = []
    for one in references:
        counts[one.name] += 1
        name = one.name if counts[one.name] == 1 else f"{one.name} {counts[one.name]}"
        found.append(dataclasses.replace(one, name=name))
    return tuple(found)


def _renamed(one: Asked, name: str) -> Asked:
    if isinstance(one, Measure):
        return dataclasses.replace(one, name=name)
    return Refused(one.kind, Refusal(name, one.refusal.error))


def _scaled(one: Asked, across: float, down: float) -> Asked:
    if isinstance(one, Refused):
        return one
    second = _moved(one.second, across, down)
    return dataclasses.replace(one, points=_moved(one.points, across, down), second=second)


def _scaled_reference(one: Reference, across: float, down: float) -> Reference:
    first, last = _moved(one.points, across, down)
    return dataclasses.replace(one, points=(first, last))


def _moved(points: Sequence[Pick], across: float, down: float) -> tuple[Pick, ...]:
    return tuple(Pick(p.u * across, p.v * down, p.side) for p in points)
