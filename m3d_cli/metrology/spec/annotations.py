"""Points picked in other tools: LabelMe JSON, COCO JSON (keypoints, polygons, boxes), VIA JSON and CSV.

A label becomes the name, the shape the kind: a line is a distance, a polygon an area, a rectangle a box, a point the
distance from the camera. A label ``height:door`` selects another kind; ``ref:0.297 m`` and ``ref:card`` mark a
reference.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from m3d_cli.errors import UsageError
from m3d_cli.metrology.measurands import OBJECTS, TYPED_TOLERANCE, Kind, Reference
from m3d_cli.metrology.picks import MeasureError, Pick
from m3d_cli.metrology.request import Item, Refusal, Request, measurand_or_refusal, with_distinct_names
from m3d_cli.metrology.spec.flags import parse_length, reference
from m3d_cli.metrology.spec.measurement_file import Entry, Sheet

REFERENCE_MARK = "ref"
# Shapes of one image, and bones of all skeletons of a file: what people draw is far less.
MOST_SHAPES, MOST_BONES = 5_000, 100_000
_MANY = "split the file, or remove what is not to be measured"
VIA_COLUMN = "region_shape_attributes"

# LabelMe's and VIA's words for shapes.
_SHAPES = {
    "line": Kind.DISTANCE,
    "linestrip": Kind.PATH,
    "polyline": Kind.PATH,
    "polygon": Kind.AREA,
    "point": Kind.RANGE,
    "rectangle": Kind.BOX,
    "rect": Kind.BOX,
}


class _Loose(BaseModel):
    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)


class _LabelMeShape(_Loose):
    label: str = ""
    points: list[tuple[float, float]]
    shape_type: str = "polygon"


class _LabelMe(_Loose):
    imagePath: str
    imageWidth: int | None = Field(None, ge=1)
    imageHeight: int | None = Field(None, ge=1)
    shapes: list[_LabelMeShape]


class _CocoImage(_Loose):
    id: int | str
    file_name: str
    width: int | None = Field(None, ge=1)
    height: int | None = Field(None, ge=1)


class _CocoCategory(_Loose):
    id: int | str
    name: str = ""
    keypoints: list[str] = Field(default_factory=list)
    skeleton: list[tuple[int, int]] = Field(default_factory=list)


class _CocoAnnotation(_Loose):
    image_id: int | str
    category_id: int | str | None = None
    segmentation: Any = None
    keypoints: list[float] | None = None
    bbox: tuple[float, float, float, float] | None = None


class _Coco(_Loose):
    images: list[_CocoImage]
    annotations: list[_CocoAnnotation]
    categories: list[_CocoCategory] = Field(default_factory=list)


class _ViaRegion(_Loose):
    shape_attributes: dict[str, Any]
    region_attributes: dict[str, Any] = Field(default_factory=dict)


class _ViaImage(_Loose):
    filename: str
    regions: list[_ViaRegion] | dict[str, _ViaRegion] = Field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Shape:
    """A labelled shape of one image."""

    label: str
    kind: Kind
    points: tuple[Pick, ...]


@dataclass(frozen=True, slots=True)
class _UnknownShape:
    """A labelled shape that is not measured, such as a circle."""

    label: str
    shape: str

    def refusal(self, number: int) -> Refusal:
        """The refusal to measure it, under its label."""
        what = self.shape.strip()[:40] or "shape"
        name = self.label.strip()[:200] or f"{what} {number}"
        message = f"{name}: shapes like this {what} are not measured"
        hint = f"draw one of these instead: {', '.join(dict.fromkeys(_SHAPES))}"
        return Refusal(name, Kind.DISTANCE, MeasureError(message, hint=hint))


def parse_annotations(text: str, place: str, unit: str) -> Sheet:
    """The sheet in an annotation tool's JSON; raises UsageError for other JSON."""
    content = _json(text, place)
    try:
        if isinstance(content, dict) and "shapes" in content:
            return _labelme(_LabelMe.model_validate(content), place, unit)
        if isinstance(content, dict) and "annotations" in content:
            return _coco(_Coco.model_validate(content), place, unit)
        images = content.get("_via_img_metadata", content) if isinstance(content, dict) else content
        if isinstance(images, dict) and images and all(map(_is_via, images.values())):
            return _via(TypeAdapter(dict[str, _ViaImage]).validate_python(images).values(), place, unit)
    except ValidationError as error:
        first = error.errors()[0]
        raise UsageError(f"{place}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    raise UsageError(f"{place}: its JSON is of no known annotation tool", hint="LabelMe, COCO and VIA are read")


def parse_via_csv(text: str, place: str, unit: str) -> Sheet:
    """The sheet in VIA's CSV export."""
    images: dict[str, list[dict[str, Any]]] = {}
    try:
        for row in csv.DictReader(io.StringIO(text), strict=True):
            shape = _json(row.get(VIA_COLUMN) or "{}", place)
            if shape:
                attributes = _json(row.get("region_attributes") or "{}", place)
                region = {"shape_attributes": shape, "region_attributes": attributes}
                images.setdefault(row.get("filename") or "", []).append(region)
        found = [_ViaImage(filename=name, regions=regions) for name, regions in images.items()]  # type: ignore[arg-type]
    except csv.Error as error:
        raise UsageError(f"{place}: not CSV ({error})") from error
    except ValidationError as error:
        raise UsageError(f"{place}: {error.errors()[0]['msg']}", hint="export them from VIA again") from error
    return _via(found, place, unit)


def _is_via(image: object) -> bool:
    return isinstance(image, dict) and "filename" in image


def _json(text: str, place: str) -> Any:
    try:
        return _encodable(json.loads(text))
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{place}: not JSON ({str(error)[:80]})") from error


def _encodable(content: Any) -> Any:
    """The same with every text encodable: JSON can hold lone surrogates, which no file can."""
    if isinstance(content, str):
        return content.encode("utf-8", "replace").decode()
    if isinstance(content, dict):
        return {_encodable(key): _encodable(value) for key, value in content.items()}
    return [_encodable(each) for each in content] if isinstance(content, list) else content


def _labelme(file: _LabelMe, place: str, unit: str) -> Sheet:
    shapes = [
        _Shape(shape.label, kind, _picks(shape.points, place))
        if (kind := _SHAPES.get(shape.shape_type)) is not None
        else _UnknownShape(shape.label, shape.shape_type)
        for shape in file.shapes
    ]
    return Sheet((_entry(file.imagePath, shapes, place, unit, _size(file.imageWidth, file.imageHeight)),))


def _coco(file: _Coco, place: str, unit: str) -> Sheet:
    categories = {category.id: category for category in file.categories}
    bones = {category.id: len(category.skeleton) for category in file.categories}
    if sum(bones.get(one.category_id or 0, 0) for one in file.annotations if one.keypoints) > MOST_BONES:
        raise UsageError(f"{place}: skeletons of more than {MOST_BONES} bones in all", hint=_MANY)
    shapes: dict[int | str, list[_Shape]] = {image.id: [] for image in file.images}
    for one in file.annotations:
        if one.image_id not in shapes:
            raise UsageError(f"{place}: an annotation belongs to the image {one.image_id}, which is not listed")
        shapes[one.image_id].extend(_coco_shapes(one, categories.get(one.category_id or 0), place))
    return Sheet(
        tuple(
            _entry(image.file_name, shapes[image.id], place, unit, _size(image.width, image.height))
            for image in file.images
        )
    )


def _coco_shapes(one: _CocoAnnotation, category: _CocoCategory | None, place: str) -> Iterator[_Shape]:
    name = category.name if category is not None else ""
    if one.keypoints:
        yield from _coco_keypoints(one.keypoints, name, category, place)
        return
    if isinstance(one.segmentation, list) and one.segmentation:
        try:
            polygons = TypeAdapter(list[list[float]]).validate_python(one.segmentation)
        except ValidationError as error:
            raise UsageError(f"{place}: a segmentation is no list of polygons") from error
        yield from (_Shape(name, Kind.AREA, _picks(zip(p[::2], p[1::2], strict=False), place)) for p in polygons)
        return
    if one.bbox is not None:
        x, y, width, height = one.bbox
        yield _Shape(name, Kind.BOX, _picks([(x, y), (x + width, y + height)], place))


def _coco_keypoints(values: Sequence[float], name: str, category: _CocoCategory | None, place: str) -> Iterator[_Shape]:
    """The skeleton's bones as distances; without a skeleton, the visible points as one path."""
    triples = list(zip(values[::3], values[1::3], values[2::3], strict=False))
    names = category.keypoints if category is not None else []
    bones = category.skeleton if category is not None else []
    for start, end in bones:
        if not (min(start, end) >= 1 and max(start, end) <= len(triples)):
            continue
        a, b = triples[start - 1], triples[end - 1]
        if a[2] > 0 and b[2] > 0:
            ends = "-".join(names[i - 1] if i <= len(names) else str(i) for i in (start, end))
            yield _Shape(ends, Kind.DISTANCE, _picks([a[:2], b[:2]], place))
    visible = [(u, v) for u, v, seen in triples if seen > 0]
    if not bones and len(visible) >= 2:
        yield _Shape(name, Kind.DISTANCE if len(visible) == 2 else Kind.PATH, _picks(visible, place))


def _via(images: Iterable[_ViaImage], place: str, unit: str) -> Sheet:
    entries = []
    for image in images:
        regions = image.regions.values() if isinstance(image.regions, dict) else image.regions
        shapes = [_via_shape(region, place) for region in regions]
        entries.append(_entry(image.filename, shapes, place, unit, None))
    return Sheet(tuple(entries))


def _via_shape(region: _ViaRegion, place: str) -> _Shape | _UnknownShape:
    shape = region.shape_attributes
    kind = _SHAPES.get(str(shape.get("name")))
    if kind is None:
        return _UnknownShape(_via_label(region.region_attributes), str(shape.get("name") or ""))
    try:
        points = _picks(_via_points(shape, kind), place)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise UsageError(f"{place}: a {shape.get('name')} of VIA lacks its points") from error
    if shape.get("name") == "polyline" and len(points) == 2:
        kind = Kind.DISTANCE
    return _Shape(_via_label(region.region_attributes), kind, points)


def _via_points(shape: Mapping[str, Any], kind: Kind) -> list[tuple[float, float]]:
    if kind is Kind.RANGE:
        return [(float(shape["cx"]), float(shape["cy"]))]
    if kind is Kind.BOX:
        x, y = float(shape["x"]), float(shape["y"])
        return [(x, y), (x + float(shape["width"]), y + float(shape["height"]))]
    pairs = zip(shape["all_points_x"], shape["all_points_y"], strict=True)
    return [(float(x), float(y)) for x, y in pairs]


def _via_label(attributes: Mapping[str, Any]) -> str:
    for key in ("label", "name", "class", *attributes):
        if isinstance(attributes.get(key), str) and attributes[key].strip():
            return str(attributes[key])
    return ""


def _entry(
    match: str, shapes: Iterable[_Shape | _UnknownShape], place: str, unit: str, size: tuple[int, int] | None
) -> Entry:
    """The shapes of an image as a request; its folder on the annotator's machine is ignored."""
    items: list[Item] = []
    references: list[Reference] = []
    for number, shape in enumerate(shapes, 1):
        if number > MOST_SHAPES:
            raise UsageError(f"{place}: more than {MOST_SHAPES} shapes on one image", hint=_MANY)
        if isinstance(shape, _UnknownShape):
            items.append(shape.refusal(number))
            continue
        kind, label = shape.kind, shape.label.strip()[:200]
        mark, is_marked, rest = label.partition(":")
        if is_marked and mark.strip().lower() == REFERENCE_MARK:
            references.append(_reference(rest.strip(), shape, place))
            continue
        if is_marked and mark.strip().lower() in set(Kind):
            kind, label = Kind(mark.strip().lower()), rest.strip()
        items.append(measurand_or_refusal(label or f"{kind} {number}", kind, shape.points, unit=unit))
    name = match.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1]
    return Entry(name, Request(with_distinct_names(items), with_distinct_names(references), size=size))


def _reference(text: str, shape: _Shape, place: str) -> Reference:
    known = OBJECTS.get(text.lower())
    name, where = (text.lower() if known else f"reference {text}"), f"{place}: {shape.label}"
    length, tolerance = known or (parse_length(text, where), TYPED_TOLERANCE)
    return reference(name, shape.points, length, tolerance, place=where)


def _picks(points: Iterable[tuple[float, float]], place: str) -> tuple[Pick, ...]:
    found = tuple(Pick(float(u), float(v)) for u, v in points)
    if any(p.u - p.u != 0 or p.v - p.v != 0 for p in found):
        raise UsageError(f"{place}: a point is not finite", hint="draw it again")
    return found


def _size(width: int | None, height: int | None) -> tuple[int, int] | None:
    return None if width is None or height is None else (width, height)
