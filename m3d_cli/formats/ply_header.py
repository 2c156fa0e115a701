"""The header of a PLY file: its elements, their properties and comments, checked against the size of the file.

Format: https://paulbourke.net/dataformats/ply/
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np

from m3d_cli.errors import OutputError

_LONGEST_HEADER = 65536
_LONGEST_COUNT = 15  # digits
# Byte order by the word in the header; text has none.
_ORDERS: Mapping[str, str] = MappingProxyType({"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"})
_TYPES: Mapping[str, str] = MappingProxyType(
    {
        "char": "i1",
        "int8": "i1",
        "uchar": "u1",
        "uint8": "u1",
        "short": "i2",
        "int16": "i2",
        "ushort": "u2",
        "uint16": "u2",
        "int": "i4",
        "int32": "i4",
        "uint": "u4",
        "uint32": "u4",
        "float": "f4",
        "float32": "f4",
        "double": "f8",
        "float64": "f8",
    }
)


@dataclass(frozen=True, slots=True)
class PlyProperty:
    """A column, by its NumPy type; of a list, ``type`` is that of its length."""

    name: str
    type: str
    is_list: bool = False


@dataclass(frozen=True, slots=True)
class PlyElement:
    """``count`` rows of ``properties``."""

    name: str
    count: int
    properties: tuple[PlyProperty, ...]

    @property
    def has_list(self) -> bool:
        """Whether rows differ in length."""
        return any(each.is_list for each in self.properties)

    def dtype(self, order: str) -> np.dtype[np.void]:
        """One row in a byte order; of lists only their lengths."""
        return np.dtype([(each.name, (order or "=") + each.type) for each in self.properties])

    def least_bytes(self, order: str) -> int:
        """Bytes that the rows take at least; exact for binary rows without lists."""
        # In text a value takes a digit and what separates it from the next.
        return self.count * (self.dtype(order).itemsize if order else 2 * len(self.properties))


@dataclass(frozen=True, slots=True)
class PlyHeader:
    """``order`` is the byte order, ``<`` or ``>``, or empty for text; ``length`` the header's bytes."""

    order: str
    elements: tuple[PlyElement, ...]
    comments: tuple[str, ...]
    length: int

    def count(self, name: str) -> int:
        """How many elements of a name there are."""
        return sum(each.count for each in self.elements if each.name == name)


def read_header(path: Path) -> PlyHeader:
    """The header of a file that is large enough for what it announces; raises OutputError otherwise."""
    try:
        with path.open("rb") as file:
            head = file.read(_LONGEST_HEADER)
        size = path.stat().st_size
    except OSError as error:
        raise OutputError(f"{path}: cannot be read ({error.strerror or error})") from error
    header = _parse(head, path)
    # The last value of a text needs nothing behind it.
    if header.length + sum(each.least_bytes(header.order) for each in header.elements) > size + (not header.order):
        counts = ", ".join(f"{each.count} x {each.name}" for each in header.elements)
        raise OutputError(f"{path}: the PLY is truncated: {counts} do not fit in {size} bytes")
    return header


def _parse(head: bytes, path: Path) -> PlyHeader:
    start = re.match(rb"ply(\r\n|\n|\r)", head)
    end = head.find(start[1] + b"end_header" + start[1]) if start else -1
    if start is None or end < 0:
        raise OutputError(f"{path}: not a PLY file")
    order = None
    comments: list[str] = []
    elements: list[PlyElement] = []
    for line in head[start.end() : end].decode("latin-1").split(start[1].decode()):
        words = line.split()
        match words:
            case ["format", kind, "1.0"]:
                order = _ORDERS.get(kind)
            case ["comment", *_]:
                comments.append(line.lstrip()[len("comment ") :])
            case ["element", name, count] if count.isdecimal() and len(count) <= _LONGEST_COUNT:
                elements.append(PlyElement(name, int(count), ()))
            case ["property", *rest] if elements:
                last = elements.pop()
                elements.append(PlyElement(last.name, last.count, (*last.properties, _property(rest, path))))
            case [] | ["obj_info", *_]:
                pass
            case _:
                raise OutputError(f"{path}: the line {line[:80]!r} of the PLY header is not understood")
    if order is None:
        raise OutputError(f"{path}: a PLY file of an unknown format", hint="save it as ASCII or binary PLY 1.0")
    _check(elements, path)
    return PlyHeader(order, tuple(elements), tuple(comments), end + len(b"end_header") + 2 * len(start[1]))


def _property(words: list[str], path: Path) -> PlyProperty:
    match words:
        case [kind, name] if kind in _TYPES:
            return PlyProperty(name, _TYPES[kind])
        case ["list", length, kind, name] if _TYPES.get(length, "f")[0] != "f" and kind in _TYPES:
            return PlyProperty(name, _TYPES[length], is_list=True)
    raise OutputError(f"{path}: the PLY property {' '.join(words)[:80]!r} is not understood")


def _check(elements: list[PlyElement], path: Path) -> None:
    names = [each.name for each in elements]
    if "vertex" not in names or len(set(names)) < len(names):
        raise OutputError(f"{path}: the PLY header does not describe its points")
    for each in elements:
        columns = {column.name for column in each.properties}
        if len(columns) < len(each.properties) or (each.count and not columns):
            raise OutputError(f"{path}: the PLY header does not describe its {each.name} elements")
