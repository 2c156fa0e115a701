"""EXIF kept beside the photos: exiftool's ``-json`` and Flickr's ``flickr.photos.getExif``.

Photos downloaded from the web are resized and stripped; the tags survive in such a file. Sizes come from the photo
itself, tags from here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

from m3d_cli.bounded_files import check_entries, parse_json, read_bytes, reading
from m3d_cli.errors import CalibrationError
from m3d_cli.intrinsics.exif import OVERFLOWS, SENTINELS, ExifFacts, facts_from_tags, positive
from m3d_cli.photo_names import NameIndex

# exiftool and Flickr spell some tags differently from the EXIF standard.
_ALIASES = {
    "FocalLengthIn35mmFormat": "FocalLengthIn35mmFilm",
    "FocalLenIn35mmFilm": "FocalLengthIn35mmFilm",
    "ExifImageHeight": "ExifImageLength",
    "PixelXDimension": "ExifImageWidth",
    "PixelYDimension": "ExifImageLength",
    "LensID": "LensModel",
    "Lens": "LensModel",
}
_EXIF_GROUPS = frozenset(("EXIF", "ExifIFD", "IFD0"))
# exiftool and Flickr print the unit's name instead of its number.
_UNITS = {"inches": 2, "inch": 2, "in": 2, "cm": 3, "mm": 4, "um": 5, "µm": 5}

# Flickr's ids are long numbers; a short one in a file name is a counter.
SHORTEST_PHOTO_ID = 6


@dataclass(frozen=True, slots=True)
class SidecarEntry:
    """Tags of one photo and the name it is known by (a path, a file name or a Flickr photo id)."""

    name: str
    facts: ExifFacts


@dataclass(frozen=True, slots=True)
class ExifSidecar:
    """All entries of one ``--exif-json`` file, and its name."""

    entries: tuple[SidecarEntry, ...]
    origin: str = "the EXIF sidecar"
    _index: NameIndex = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_index", NameIndex([entry.name for entry in self.entries]))

    def find(self, path: PurePath, relative: PurePath | None = None) -> ExifFacts | None:
        """Facts for a photo: by path, file name, stem or photo id in the name; a lone entry without a name fits all."""
        position = self._index.find(path, relative)
        if position is not None:
            return self.entries[position].facts
        return self._by_photo_id(path) or self._nameless()

    def _by_photo_id(self, path: PurePath) -> ExifFacts | None:
        """Flickr names its downloads ``<id>_<secret>_<size>.jpg`` or ``<title>_<id>_<size>.jpg``."""
        for part in path.stem.replace("-", "_").split("_"):
            position = self._index.find(PurePath(part)) if part.isdigit() and len(part) >= SHORTEST_PHOTO_ID else None
            if position is not None:
                return self.entries[position].facts
        return None

    def _nameless(self) -> ExifFacts | None:
        only = self.entries[0] if len(self.entries) == 1 else None
        return only.facts if only and not only.name else None


def read_exif_sidecar(path: Path) -> ExifSidecar:
    """The sidecar in ``path``; raises `CalibrationError` when it is neither of the two kinds."""
    with reading(path, "the EXIF sidecar", CalibrationError, hint="exiftool -json -EXIF:all writes what is needed"):
        data = parse_json(read_bytes(path))
        answers = data if isinstance(data, list) else [data]
        check_entries(len(answers))
        if not answers or not all(isinstance(answer, dict) for answer in answers):
            raise _unknown(path)
        return ExifSidecar(tuple(_entry(path, answer) for answer in answers), path.name)


def _entry(path: Path, answer: dict[str, Any]) -> SidecarEntry:
    if answer.get("stat") == "fail":
        raise CalibrationError(
            f"{path}: Flickr refused: {answer.get('message', 'no reason given')}",
            hint="the owner of the photo does not share its EXIF; pass --focal or --focal-35mm",
        )
    photo = answer.get("photo")
    if isinstance(photo, dict):
        return _flickr_entry(path, photo)
    tags = _ungrouped(answer)
    name = tags.get("SourceFile") or tags.get("FileName")
    if name is None:
        raise _unknown(path)
    return SidecarEntry(str(name), _facts(tags))


def _ungrouped(answer: dict[str, Any]) -> dict[str, Any]:
    """Tags by name, of EXIF's groups before others, which repeat names with values of their own."""
    tags: dict[str, Any] = {}
    for groups, name, value in _listed(answer, ()):
        if name not in tags or not _EXIF_GROUPS.isdisjoint(groups):
            tags[name] = value
    return tags


def _listed(answer: Mapping[str, Any], groups: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str, Any]]:
    """Groups, name and value of each tag: exiftool writes ``EXIF:FocalLength`` with -G and nests groups with -g.

    With -l and -D every value is a mapping of its own.
    """
    for key, value in answer.items():
        *prefix, name = key.split(":")
        if not isinstance(value, Mapping):
            yield (*groups, *prefix), name, value
        elif "val" in value:
            yield (*groups, *prefix), name, value["val"]
        else:
            yield from _listed(value, (*groups, *prefix, name))


def _flickr_entry(path: Path, photo: dict[str, Any]) -> SidecarEntry:
    listed = photo.get("exif")
    if not isinstance(listed, list):
        raise _unknown(path)
    tags: dict[str, Any] = {}
    for item in listed:
        if isinstance(item, dict) and isinstance(item.get("tag"), str):
            tags.setdefault(item["tag"], _content(item.get("raw")))
    return SidecarEntry(str(photo.get("id", "")), _facts(tags))


def _content(raw: Any) -> Any:
    return raw.get("_content") if isinstance(raw, dict) else raw


def _facts(tags: dict[str, Any]) -> ExifFacts:
    named = {_ALIASES[tag]: value for tag, value in tags.items() if tag in _ALIASES}
    named |= {tag: value for tag, value in tags.items() if tag not in _ALIASES}
    if "FocalLengthIn35mmFilm" not in named and (equivalent := _composite_equivalent(tags)) is not None:
        named["FocalLengthIn35mmFilm"] = equivalent
    unit = named.get("FocalPlaneResolutionUnit")
    if isinstance(unit, str):
        named["FocalPlaneResolutionUnit"] = _UNITS.get(unit.strip().lower(), unit)
    return facts_from_tags(named, ("tags from the EXIF sidecar",))


def _composite_equivalent(tags: dict[str, Any]) -> float | None:
    """The 35 mm equivalent in mm that exiftool works out itself: a number, "27.0 mm", or behind the real one."""
    text = str(tags.get("FocalLength35efl", "")).rpartition("equivalent:")[2]
    whole = positive(text, SENTINELS)
    real, factor = positive(tags.get("FocalLength"), SENTINELS), positive(tags.get("ScaleFactor35efl"), OVERFLOWS)
    if factor is not None and real is not None:
        return real * factor
    # Without a factor the tag repeats the real focal length.
    return whole if whole is not None and whole != real else None


def _unknown(path: Path) -> CalibrationError:
    return CalibrationError(
        f"{path}: neither exiftool's -json nor Flickr's getExif",
        hint="write it with: exiftool -json -r PHOTOS > exif.json",
    )
