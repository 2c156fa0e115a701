"""Files that other programs wrote, read within bounds: sizes before opening, counts and depth before expanding.

`reading` is the gate around every reader of such a file: whatever goes wrong inside becomes one error that names the
file. The parsers below it raise ValueError for what is too large, too deep or malformed; none of them expands
aliases, entities or document types.
"""

from __future__ import annotations

import codecs
import json
import re
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from m3d_cli.errors import M3dError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MEGABYTE = 1 << 20

# Bounds of side files, each of which is read within about 2 s and 300 MB.
SIDE_FILE_BYTES = 32 * MEGABYTE
# Tables of numbers (trajectories) take some 15 times their size while they are read.
TABLE_BYTES = 24 * MEGABYTE
YAML_BYTES = 2 * MEGABYTE
TOML_BYTES = 2 * MEGABYTE
MOST_VALUES = 1_000_000
# Data sets list every frame; about 60 bytes of memory per value.
LIST_BYTES = 192 * MEGABYTE
MOST_LISTED_VALUES = 40_000_000
MOST_XML_VALUES = 300_000
# Photos that one side file speaks of; each costs a name in an index.
MOST_ENTRIES = 100_000
# PyYAML without libyaml reads some 5,000 values per second.
MOST_YAML_VALUES = 20_000
DEEPEST = 64
# tomllib's memory grows with the square of the parts of a dotted key.
MOST_KEY_PARTS = 16

_LONGEST_REASON = 200
_INTEGER = re.compile(r"[-+]?\d{1,18}", re.ASCII)
_REAL = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)", re.ASCII)
_WORDS: dict[str, bool | None] = {"": None, "~": None, "null": None, "true": True, "false": False}
# The first line that is neither empty nor a comment; YAML itself writes ``%YAML 1.2``, OpenCV ``%YAML:1.0``.
_YAML_HEADER = re.compile(r"((?:[ \t\r]*(?:#[^\n]*)?\n)*)%YAML(:?)[^\n]*")
_TIGHT_KEY = re.compile(r"^([ \t]*[A-Za-z_][\w.]*:)(?=[\[{\"\d.+-])", re.MULTILINE | re.ASCII)
_KEY_PART = r"(?:[\w-]+|\"[^\"\n]*\"|'[^'\n]*')"
_LONG_KEY = re.compile(rf"(?<![\w-])(?:{_KEY_PART}[ \t]*\.[ \t]*){{{MOST_KEY_PARTS}}}")


@contextmanager
def reading(path: Path | str, what: str, error: type[M3dError], hint: str = "") -> Iterator[None]:
    """Make every exception of the block an ``error`` that names ``path``; ``what`` it is goes into the message."""
    try:
        yield
    except M3dError as failure:
        if str(path) in failure.message:
            raise
        raise type(failure)(f"{path}: {failure.message}", hint=failure.hint, code=failure.code) from failure
    except Exception as failure:
        raise error(f"{path}: {what} cannot be read: {reason(failure)}", hint=hint) from failure


def reason(failure: Exception) -> str:
    """What an exception of a parser says, in one short line."""
    if isinstance(failure, OSError) and failure.strerror:
        return failure.strerror
    if isinstance(failure, RecursionError):
        return "it is nested too deeply"
    if isinstance(failure, MemoryError):
        return "it needs too much memory"
    if isinstance(failure, KeyError):
        return f"{failure} is missing"
    text = " ".join(str(failure).split()) or type(failure).__name__
    return text if len(text) <= _LONGEST_REASON else f"{text[:_LONGEST_REASON]}..."


def read_bytes(path: Path, limit: int = SIDE_FILE_BYTES) -> bytes:
    """All of a regular file of at most ``limit`` bytes; a pipe would wait for its writer."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError("it is not a regular file")
    with path.open("rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise ValueError(f"it is larger than {limit / MEGABYTE:g} MB")
    return data


def read_text(path: Path, limit: int = SIDE_FILE_BYTES) -> str:
    """All of a UTF-8 (or marked UTF-16) file of at most ``limit`` bytes, without a byte order mark."""
    return decoded(read_bytes(path, limit))


def decoded(data: bytes) -> str:
    """Text in UTF-8, or in UTF-16 where its byte order mark says so, without that mark."""
    is_utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return data.decode("utf-16" if is_utf16 else "utf-8-sig")


def read_first_document(path: Path, limit: int = SIDE_FILE_BYTES) -> str:
    """The first document of a YAML stream, of at most ``limit`` bytes, however many follow."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError("it is not a regular file")
    lines: list[bytes] = []
    size = 0
    with path.open("rb") as file:
        has_content = False
        while size <= limit and (line := file.readline(limit + 1)):
            plain = line.removeprefix(b"\xef\xbb\xbf").rstrip()
            if plain == b"---" and has_content:
                break
            has_content |= plain != b"---" and plain.lstrip()[:1] not in b"%#"
            lines.append(line)
            size += len(line)
    if size > limit:
        raise ValueError(f"it is larger than {limit / MEGABYTE:g} MB")
    return b"".join(lines).decode("utf-8-sig")


def read_json(path: Path, most_values: int = MOST_VALUES, limit: int = SIDE_FILE_BYTES) -> Any:
    """The JSON document in a file of at most ``limit`` bytes, as `parse_json`."""
    return parse_json(read_bytes(path, limit), most_values)


def parse_json(data: bytes, most_values: int = MOST_VALUES) -> Any:
    """A JSON document (UTF-8) of at most ``most_values`` values in `DEEPEST` levels."""
    # Brackets and commas inside of texts are counted too: the count is an upper bound.
    _check_count(data.count(b",") + data.count(b"[") + data.count(b"{"), most_values)
    document = json.loads(decoded(data))
    level = [document]
    for _ in range(DEEPEST + 1):
        inner = [one.values() if isinstance(one, dict) else one for one in level if isinstance(one, (dict, list))]
        level = [value for values in inner for value in values if isinstance(value, (dict, list))]
        if not level:
            return document
    raise ValueError(f"it is nested deeper than {DEEPEST} levels")


def parse_toml(text: str) -> dict[str, Any]:
    """A TOML document of at most `TOML_BYTES` whose dotted keys have at most `MOST_KEY_PARTS` parts."""
    if len(text) > TOML_BYTES:
        raise ValueError(f"it is larger than {TOML_BYTES / MEGABYTE:g} MB")
    if _LONG_KEY.search(text):
        raise ValueError(f"a key has more than {MOST_KEY_PARTS} parts")
    return tomllib.loads(text)


def parse_yaml(text: str) -> Any:
    """The first document of a YAML stream, built from plain scalars, lists and mappings; without aliases.

    Tags are ignored, so OpenCV's ``!!opencv-matrix`` is a mapping; its header ``%YAML:1.0`` is accepted, and so are
    keys below it that no space separates from their values.
    """
    import yaml

    if header := _YAML_HEADER.match(text):
        text = header[1] + text[header.end() :]
        if header[2]:
            text = _TIGHT_KEY.sub(r"\1 ", text)
    builder = _YamlBuilder()
    for event in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
        if isinstance(event, yaml.AliasEvent):
            raise ValueError("YAML aliases are not read")
        if isinstance(event, yaml.DocumentEndEvent):
            break
        if isinstance(event, yaml.ScalarEvent):
            builder.add(_plain(event.value) if event.implicit[0] else event.value)
        elif isinstance(event, yaml.MappingStartEvent):
            builder.open({})
        elif isinstance(event, yaml.SequenceStartEvent):
            builder.open([])
        elif isinstance(event, yaml.CollectionEndEvent):
            builder.close()
    return builder.root


def _plain(text: str) -> str | float | bool | None:
    """A scalar that stands without quotes: a number, a truth value, nothing, or its text."""
    if _INTEGER.fullmatch(text):
        return int(text)
    if _REAL.fullmatch(text):
        is_word = text[-1].isalpha() and text[-1] not in "eE"
        return float(text.replace(".", "") if is_word else text)
    return _WORDS.get(text.lower(), text)


@dataclass(slots=True)
class _YamlBuilder:
    """The values of a document as its events come; a mapping waits for the value of its last key."""

    root: Any = None
    stack: list[dict[Any, Any] | list[Any]] = field(default_factory=list)
    keys: list[Any] = field(default_factory=list)
    count: int = 0

    def add(self, value: Any) -> None:
        self.count += 1
        _check_count(self.count, MOST_YAML_VALUES)
        if not self.stack:
            self.root = value
            return
        parent = self.stack[-1]
        if isinstance(parent, list):
            parent.append(value)
        elif self.keys[-1] is _NO_KEY:
            if isinstance(value, (dict, list)):
                raise ValueError("a key is a list or a mapping")
            self.keys[-1] = value
        else:
            parent[self.keys[-1]] = value
            self.keys[-1] = _NO_KEY

    def open(self, container: dict[Any, Any] | list[Any]) -> None:
        self.add(container)
        self.stack.append(container)
        self.keys.append(_NO_KEY)
        if len(self.stack) > DEEPEST:
            raise ValueError(f"it is nested deeper than {DEEPEST} levels")

    def close(self) -> None:
        self.stack.pop()
        self.keys.pop()


_NO_KEY = object()


@dataclass(slots=True)
class XmlElement:
    """An element with its attributes, the parts of its text, and its children; prefixes stay in names."""

    name: str
    attributes: dict[str, str] = field(default_factory=dict)
    parts: list[str] = field(default_factory=list)
    children: list[XmlElement] = field(default_factory=list)

    @property
    def text(self) -> str:
        """The text directly inside of the element, without the space around it."""
        return "".join(self.parts).strip()

    def child(self, name: str) -> XmlElement | None:
        """The first child of that name."""
        return next((one for one in self.children if one.name == name), None)

    def all(self, name: str) -> Iterator[XmlElement]:
        """This element and all below it that have the name, in the document's order."""
        if self.name == name:
            yield self
        for one in self.children:
            yield from one.all(name)


def parse_xml(data: bytes) -> XmlElement:
    """The root of an XML document; one with a document type, which could define entities, is refused."""
    from xml.parsers import expat

    parser = expat.ParserCreate()
    parser.buffer_text = True
    outer = XmlElement("")
    stack, count = [outer], [0]  # elements and attributes

    def start(name: str, attributes: dict[str, str]) -> None:
        count[0] += 1 + len(attributes)
        _check_count(count[0], MOST_XML_VALUES)
        if len(stack) > DEEPEST:
            raise ValueError(f"it is nested deeper than {DEEPEST} levels")
        stack[-1].children.append(XmlElement(name, attributes))
        stack.append(stack[-1].children[-1])

    def refuse(*_: object) -> None:
        raise ValueError("XML with a document type is not read")

    parser.StartElementHandler = start
    parser.EndElementHandler = lambda _: stack.pop()
    parser.CharacterDataHandler = lambda part: stack[-1].parts.append(part)
    parser.StartDoctypeDeclHandler = refuse
    parser.EntityDeclHandler = refuse
    parser.Parse(data, True)
    return outer.children[0]


def check_entries(count: int) -> None:
    """Raise ValueError where a side file speaks of more than `MOST_ENTRIES` photos."""
    _check_count(count, MOST_ENTRIES)


def _check_count(count: int, most: int) -> None:
    if count > most:
        raise ValueError(f"it holds more than {most:,} values")
