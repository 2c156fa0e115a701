"""What is asked of one photo, before its depth is known: measurands, refusals of impossible ones, and references."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from m3d_cli.errors import M3dError, UsageError
from m3d_cli.metrology.marker_specs import MarkerSpec
from m3d_cli.metrology.measurands import Kind, Measurand, Rectangle, Reference
from m3d_cli.metrology.picks import MeasureError, Pick

# What a request may leave unknown.
ALLOWANCES = ("allow_assumed_focal", "allow_unknown_errors")
# An aspect ratio that differs by more than this share is not that of the same photo.
ASPECT_TOLERANCE = 0.01


@dataclass(frozen=True, slots=True)
class Refusal:
    """A measurement that is not made, and why; it keeps its place among the others."""

    name: str
    kind: Kind
    error: M3dError
    unit: str = "m"
    points: tuple[Pick, ...] = ()

    @classmethod
    def of(cls, item: Item, error: M3dError) -> Refusal:
        """The refusal of ``item`` because of ``error``."""
        return cls(item.name, item.kind, error, item.unit, item.points)


Item = Measurand | Refusal
Points = tuple[Pick, ...]
# Points and the standard deviation of a point, in pixels, of one image to those of another.
Move = Callable[[Points, float], tuple[Points, float]]


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked of one photo, in order; ``size`` is that of the image its points were picked on, where known.

    ``parts`` are the requests it was joined from where their sizes differ: each is fitted by its own. ``markers`` are
    looked for in the photo.
    """

    items: tuple[Item, ...] = ()
    references: tuple[Reference, ...] = ()
    allow_assumed_focal: bool = False
    allow_unknown_errors: bool = False
    size: tuple[int, int] | None = None
    parts: tuple[Request, ...] = ()
    rectangles: tuple[Rectangle, ...] = ()
    markers: tuple[MarkerSpec, ...] = ()

    @property
    def is_scaled(self) -> bool:
        """Whether something of known size is given or looked for."""
        return bool(self.references or self.rectangles or self.markers)

    @property
    def needs_image(self) -> bool:
        """Whether something is to be found in the photo itself."""
        return bool(self.markers) or any(one.is_refined for one in self.rectangles)

    @property
    def measurands(self) -> tuple[Measurand, ...]:
        """The items that are possible so far."""
        return tuple(item for item in self.items if isinstance(item, Measurand))

    def fitted(self, width: int, height: int) -> Request:
        """The same with points of an image of that size; raises MeasureError where the aspect ratios differ."""
        if self.parts:
            first, *rest = (part.fitted(width, height) for part in self.parts)
            for part in rest:
                first = first.joined(part)
            return first
        if self.size is None or self.size == (width, height):
            return dataclasses.replace(self, size=None)
        across, down = width / self.size[0], height / self.size[1]
        if abs(across / down - 1) > ASPECT_TOLERANCE:
            raise MeasureError(
                f"the points were picked on an image of {self.size[0]} x {self.size[1]} pixels, the photo has "
                f"{width} x {height}",
                hint="pick them on the upright photo",
            )
        scaled = self.moved(
            lambda points, sigma: (tuple(Pick(p.u * across, p.v * down, p.side) for p in points), sigma)
        )
        return dataclasses.replace(scaled, size=None)

    def moved(self, move: Move) -> Request:
        """The same in the pixels of another image; a measurand that is impossible there becomes a refusal."""

        def moved_item(item: Item) -> Item:
            if isinstance(item, Refusal):
                return item
            points, sigma = move(item.points, item.pick_sigma)
            second, _ = move(item.second, item.pick_sigma)
            try:
                return dataclasses.replace(item, points=points, second=second, pick_sigma=sigma)
            except MeasureError as error:
                return Refusal.of(item, error)

        def moved_reference(reference: Reference) -> Reference:
            (first, last), sigma = move(reference.points, reference.pick_sigma)
            return dataclasses.replace(reference, points=(first, last), pick_sigma=sigma)

        def moved_rectangle(rectangle: Rectangle) -> Rectangle:
            (a, b, c, d), sigma = move(rectangle.points, rectangle.pick_sigma)
            return dataclasses.replace(rectangle, points=(a, b, c, d), pick_sigma=sigma)

        return dataclasses.replace(
            self,
            items=tuple(map(moved_item, self.items)),
            references=tuple(map(moved_reference, self.references)),
            rectangles=tuple(map(moved_rectangle, self.rectangles)),
        )

    def joined(self, other: Request) -> Request:
        """Both, this one's measurands first."""
        is_one_size = self.size == other.size and not (self.parts or other.parts)
        return Request(
            (*self.items, *other.items),
            (*self.references, *other.references),
            self.allow_assumed_focal or other.allow_assumed_focal,
            self.allow_unknown_errors or other.allow_unknown_errors,
            self.size if self.size == other.size else None,
            () if is_one_size else (*(self.parts or (self,)), *(other.parts or (other,))),
            (*self.rectangles, *other.rectangles),
            (*self.markers, *other.markers),
        )


def measurand_or_refusal(name: str, kind: Kind, points: Sequence[Pick], **options: object) -> Item:
    """A measurand, or its refusal where its points cannot be one."""
    try:
        return Measurand(name, kind, tuple(points), **options)  # type: ignore[arg-type]
    except MeasureError as error:
        return Refusal(name, kind, error)


def check_names(items: Iterable[Item], place: str) -> None:
    """Raise UsageError when two measurements share a name."""
    for name, count in Counter(item.name for item in items).items():
        if count > 1:
            raise UsageError(f"{place}: {count} measurements are named {name}", hint="names must differ")


Named = TypeVar("Named", Measurand, Refusal, Measurand | Refusal, Reference)


def with_distinct_names(named: Sequence[Named]) -> tuple[Named, ...]:
    """The same with numbers behind names that come again."""
    counts: Counter[str] = Counter()
    taken = {one.name for one in named}
    found = []
    for one in named:
        name = one.name
        counts[name] += 1
        while counts[one.name] > 1 and name in taken:
            name = f"{one.name} {counts[one.name]}"
            counts[one.name] += name in taken
        taken.add(name)
        found.append(one if name == one.name else dataclasses.replace(one, name=name))
    return tuple(found)
