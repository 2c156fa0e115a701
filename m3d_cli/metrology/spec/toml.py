"""A measurement file written as TOML, to be read again by `parse_toml`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from pydantic import BaseModel

from m3d_cli.metrology.spec.measurement_file import SheetFile


def encode_toml(file: SheetFile) -> str:
    """The file as TOML, keys without a value left out."""
    lines = ["# Measurements for m3d measure --spec; m3d schema measure describes the keys.", *_keys(file, ("photo",))]
    for photo in file.photo:
        lines += ["", "[[photo]]", *_keys(photo, ("measure", "reference", "rectangle"))]
        for measure in photo.measure:
            lines += ["", "[[photo.measure]]", *_keys(measure)]
        for reference in photo.reference:
            lines += ["", "[[photo.reference]]", *_keys(reference)]
        for rectangle in photo.rectangle:
            lines += ["", "[[photo.rectangle]]", *_keys(rectangle)]
    return "\n".join(lines) + "\n"


def _keys(part: BaseModel, without: Iterable[str] = ()) -> Iterator[str]:
    """Lines of the keys that differ from their defaults, and of required ones."""
    keys = part.model_dump(mode="json", exclude_none=True, exclude_defaults=True, exclude=set(without))
    for name, value in keys.items():
        yield f"{name} = {_value(value)}"


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    # JSON's strings, numbers and lists are TOML's, but for DEL, which TOML escapes, and lone surrogates.
    text = json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return text.encode("utf-8", "replace").decode()
