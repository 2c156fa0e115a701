"""The measurement file: what to measure on which photos, as TOML or CSV, and its JSON Schema."""

from __future__ import annotations

import csv
import difflib
import fnmatch
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import PurePath
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from m3d_cli import bounded_files
from m3d_cli.errors import UsageError
from m3d_cli.metrology.marker_specs import marker_spec
from m3d_cli.metrology.measurands import OBJECTS, SHEETS, TYPED_TOLERANCE, UNITS, Kind, Rectangle, Reference
from m3d_cli.metrology.picks import Pick
from m3d_cli.metrology.request import ALLOWANCES, Item, Request, check_names, measurand_or_refusal, with_distinct_names
from m3d_cli.metrology.spec.flags import parse_length, parse_points, parse_size, rectangle, reference

# Larger files hold something else.
MOST_BYTES = 50_000_000

Points = Annotated[
    str | list[tuple[float, float]],
    Field(description='Pixels of the upright photo: [[812, 1204], [812, 388]] or "812,1204 812,388:near".'),
]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class SheetMeasure(_Strict):
    """One measurement."""

    name: str = Field(min_length=1, max_length=200)
    kind: Kind = Kind.DISTANCE
    points: Points = Field(default_factory=list)
    second: Points | None = Field(None, description="The other region of plane-distance.")
    on: str | None = Field(None, description="Name of the plane that the points lie on, or ground.")
    unit: Literal["m", "cm", "mm", "ft", "in"] | None = None
    pick_sigma: float = Field(1.0, ge=0, description="Standard deviation of a point, in pixels.")


class SheetReference(_Strict):
    """A known length in the photo: of an ``object``, or given as ``length``."""

    name: str | None = Field(None, min_length=1, max_length=200)
    points: Points
    length: str | float | None = Field(None, description='"0.297 m"; a bare number is metres.')
    object: str | None = Field(None, description=f"One of {', '.join(OBJECTS)}.")
    tolerance: float | None = Field(None, ge=0, lt=1, description="Relative standard deviation of the length.")
    on: str | None = None
    pick_sigma: float = Field(1.0, ge=0)


class SheetRectangle(_Strict):
    """A rectangle of known size, and the name of the plane that it lies on."""

    name: str | None = Field(None, min_length=1, max_length=200, description="Name of its plane, for on = ...")
    points: Points = Field(description="Corners in order round it, the first side being the width.")
    size: str = Field(description=f'"0.60x0.45 m", or one of {", ".join(SHEETS)}.')
    tolerance: float | None = Field(None, ge=0, lt=1, description="Relative standard deviation of its sides.")
    pick_sigma: float = Field(1.0, ge=0)
    refine: bool = Field(True, description="Move the corners to where edges meet in the image.")


class SheetPhoto(_Strict):
    """What to measure on the photos that ``match``: relative name, stem, or glob."""

    match: str = Field(min_length=1)
    unit: Literal["m", "cm", "mm", "ft", "in"] | None = None
    allow_assumed_focal: bool | None = None
    allow_unknown_errors: bool | None = None
    size: tuple[int, int] | None = Field(
        None, description="Width and height of the image that the points were picked on."
    )
    measure: list[SheetMeasure] = Field(default_factory=list)
    reference: list[SheetReference] = Field(default_factory=list)
    rectangle: list[SheetRectangle] = Field(default_factory=list)
    markers: list[str] = Field(
        default_factory=list, description='Markers to find, as "apriltag36h11:0.05" or "chessboard:9x6:0.025".'
    )


class SheetFile(_Strict):
    """A measurement file of m3d measure."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, title="m3d measurement file")

    unit: Literal["m", "cm", "mm", "ft", "in"] = "m"
    allow_assumed_focal: bool = False
    allow_unknown_errors: bool = False
    photo: list[SheetPhoto] = Field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Entry:
    """What is asked of the photos that ``match``."""

    match: str
    request: Request

    def fits(self, relative: PurePath) -> bool:
        """Whether the photo of that name is meant: by relative name, with or without its suffix, by name, or glob."""
        whole = relative.as_posix()
        names = (whole, relative.name, relative.with_name(relative.stem).as_posix(), relative.stem)
        if self.match in names:
            return True
        is_glob = any(character in self.match for character in "*?[")
        return is_glob and any(fnmatch.fnmatchcase(name, self.match) for name in names[:2])


@dataclass(frozen=True, slots=True)
class Sheet:
    """All entries of a measurement file, in order."""

    entries: tuple[Entry, ...]

    def request_for(self, relative: PurePath) -> Request | None:
        """What all fitting entries together ask of a photo; None when no entry fits. Raises UsageError."""
        fitting = [entry.request for entry in self.entries if entry.fits(relative)]
        if not fitting:
            return None
        whole = reduce(Request.joined, fitting)
        check_names(whole.items, str(relative))
        return whole

    def unused(self, photos: Sequence[PurePath]) -> tuple[str, ...]:
        """The ``match`` of entries that fit no photo."""
        return tuple(entry.match for entry in self.entries if not any(entry.fits(photo) for photo in photos))


def schema() -> dict[str, Any]:
    """The JSON Schema of a measurement file."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **SheetFile.model_json_schema()}


def parse_toml(text: str, place: str, unit: str | None = None) -> Sheet:
    """The sheet in TOML ``text``; raises UsageError naming the key and the nearest valid one."""
    with bounded_files.reading(place, "the TOML", UsageError):
        content = bounded_files.parse_toml(text)
    return sheet_of(validated(content, place), place, unit)


def validated(content: Any, place: str) -> SheetFile:
    """A measurement file from plain data; raises UsageError."""
    try:
        return SheetFile.model_validate(content)
    except (ValidationError, RecursionError) as error:
        if not isinstance(error, ValidationError):
            raise UsageError(f"{place}: nested too deep") from error
        raise _usage_error(error, place) from error


def sheet_of(file: SheetFile, place: str, unit: str | None = None) -> Sheet:
    """The entries of a validated file; raises UsageError for points and references that cannot be read."""
    return Sheet(tuple(Entry(photo.match, _request(photo, file, place, unit)) for photo in file.photo))


def parse_csv(text: str, place: str, unit: str | None = None) -> Sheet:
    """The sheet in CSV, one row per measurement: ``photo,name,kind,points,second,on,unit``, and ``length``, ``object``,
    ``tolerance`` for rows of kind ``reference``.
    """
    photos: dict[str, dict[str, Any]] = {}
    for number, row in _rows(text, place):
        match = row.pop("photo", "")
        photo = photos.setdefault(match, {"match": match, "measure": [], "reference": []})
        is_reference = row.get("kind", "").strip().lower() == "reference"
        if is_reference:
            row.pop("kind")
        photo["reference" if is_reference else "measure"].append(row)
        if not match:
            raise UsageError(f"{place}: line {number} names no photo", hint="the column photo says which")
    return sheet_of(validated({"photo": list(photos.values())}, place), place, unit)


def _rows(text: str, place: str) -> Iterator[tuple[int, dict[str, str]]]:
    """Line numbers and the filled cells of each row."""
    try:
        # Spreadsheets of many countries write semicolons.
        delimiter = max(",;\t", key=text.partition("\n")[0].count)
        reader = csv.DictReader(io.StringIO(text), strict=True, delimiter=delimiter)
        for row in reader:
            if None in row:
                raise UsageError(f"{place}: line {reader.line_num} has more cells than the header")
            cells = {str(key).strip().lower(): value.strip() for key, value in row.items() if value and value.strip()}
            if cells:
                yield reader.line_num, cells
    except csv.Error as error:
        raise UsageError(f"{place}: not CSV ({error})") from error


def _request(photo: SheetPhoto, file: SheetFile, place: str, unit: str | None) -> Request:
    where = f"{place}: {photo.match}"
    usual = photo.unit or file.unit if unit is None else unit
    items = tuple(_item(one, where, usual) for one in photo.measure)
    check_names(items, where)
    references = [_reference(one, number, where) for number, one in enumerate(photo.reference, 1)]
    focal, errors = (
        whole if own is None else own
        for own, whole in ((getattr(photo, name), getattr(file, name)) for name in ALLOWANCES)
    )
    size = photo.size
    if size is not None and min(size) < 1:
        raise UsageError(f"{where}: an image of {size[0]} x {size[1]} pixels is impossible")
    return Request(
        items,
        with_distinct_names(references),
        focal,
        errors,
        size,
        rectangles=tuple(_rectangle(one, number, where) for number, one in enumerate(photo.rectangle, 1)),
        markers=tuple(marker_spec(text) for text in photo.markers),
    )


def _item(one: SheetMeasure, where: str, usual: str) -> Item:
    options: dict[str, object] = {"unit": one.unit or usual, "on": one.on, "pick_sigma": one.pick_sigma}
    if one.second is not None:
        options["second"] = _picks(one.second, f"{where}: {one.name}")
    return measurand_or_refusal(one.name, one.kind, _picks(one.points, f"{where}: {one.name}"), **options)


def _reference(one: SheetReference, number: int, where: str) -> Reference:
    name = one.name or one.object or f"reference {number}"
    place = f"{where}: {name}"
    length, tolerance = _length(one, place)
    points = _picks(one.points, place)
    return reference(name, points, length, tolerance, place=place, on=one.on, pick_sigma=one.pick_sigma)


def _rectangle(one: SheetRectangle, number: int, where: str) -> Rectangle:
    name = one.name or (f"rectangle {number}" if number > 1 else "rectangle")
    place = f"{where}: {name}"
    width, height, tolerance = parse_size(one.size, place)
    return rectangle(
        name,
        _picks(one.points, place),
        width,
        height,
        tolerance if one.tolerance is None else one.tolerance,
        place=place,
        pick_sigma=one.pick_sigma,
        is_refined=one.refine,
    )


def _length(one: SheetReference, where: str) -> tuple[float, float]:
    if (one.length is None) == (one.object is None):
        raise UsageError(f"{where}: a reference has a length or an object", hint='length = "0.297 m"')
    if one.object is None:
        return parse_length(str(one.length), where), TYPED_TOLERANCE if one.tolerance is None else one.tolerance
    if one.object not in OBJECTS:
        raise UsageError(f"{where}: no object named {one.object}", hint=_nearest(one.object, OBJECTS))
    length, tolerance = OBJECTS[one.object]
    return length, tolerance if one.tolerance is None else one.tolerance


def _picks(points: str | list[tuple[float, float]], where: str) -> tuple[Pick, ...]:
    if isinstance(points, str):
        return parse_points(points, where)
    return tuple(Pick(u, v) for u, v in points)


_TABLES: Mapping[str, type[BaseModel]] = {
    "measure": SheetMeasure,
    "reference": SheetReference,
    "rectangle": SheetRectangle,
    "photo": SheetPhoto,
    "": SheetFile,
}


def _usage_error(error: ValidationError, place: str) -> UsageError:
    """The first problem, its place in the file, and the nearest valid word."""
    found = error.errors()
    first = next((each for each in found if each["type"] == "extra_forbidden"), found[0])
    path = first["loc"]
    where = ".".join(str(part + 1) if isinstance(part, int) else str(part) for part in path)
    if first["type"] == "extra_forbidden":
        table = next((str(part) for part in reversed(path[:-1]) if isinstance(part, str)), "")
        return UsageError(f"{place}: {where} is unknown", hint=_nearest(str(path[-1]), _TABLES[table].model_fields))
    if first["type"] in ("enum", "literal_error"):
        known = [str(kind) for kind in Kind] if path[-1] == "kind" else list(UNITS)
        return UsageError(f"{place}: {where}: {first['input']!r} is unknown", hint=_nearest(str(first["input"]), known))
    return UsageError(f"{place}: {where or 'the file'}: {first['msg']}", hint="m3d schema measure describes the file")


def _nearest(word: str, known: Sequence[str] | Mapping[str, object]) -> str:
    close = difflib.get_close_matches(word, list(known), 1, 0.6)
    return f"did you mean {close[0]}?" if close else f"one of {', '.join(known)}"
