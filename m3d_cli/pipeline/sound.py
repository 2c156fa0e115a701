"""Lines of a journal as input: what is not as a run writes it is no line, so that no later step meets it.

Names are those of files below the run folder, and nothing else: of some, halves are removed.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Mapping
from typing import Any, NoReturn

# The end of the year 9999, as a Unix time: a line from later was written by no clock.
LATEST = 253_402_300_800.0

# Sizes, times and sequence numbers: what 64 bits hold.
MOST_COUNT = 2**63 - 1

_STATUSES = frozenset(("started", "done", "error"))
_TEXTS = ("focal_source", "focal_trust", "scale_trust", "model")
_COUNTS = ("width", "height", "points")
_NUMBERS = ("focal_px", "focal_rel_sigma", "median_m")


def content_of(line: bytes) -> dict[str, Any] | None:
    """A line as an object with a sound key, path, status, time and list of files; None for anything else."""
    try:
        content = _DECODER.decode(line.decode())
    except (ValueError, RecursionError):
        return None
    return content if type(content) is dict and _is_entry(content) else None


def has_sound_facts(content: Mapping[str, Any]) -> bool:
    """Whether what a line says of its photo is of the types that a run writes."""
    warnings = content.get("warnings", [])
    return (
        all(map(_is_number, filter(_is_known, map(content.get, _NUMBERS))))
        and all(map(_is_count, filter(_is_known, map(content.get, _COUNTS))))
        and all(map(_is_text, filter(_is_known, map(content.get, _TEXTS))))
        and type(warnings) is list
        and all(map(_is_text, warnings))
    )


def is_inside(name: object) -> bool:
    """Whether it is the name of a file below the folder it is relative to, as `os.path.relpath` writes it."""
    # As text, and at a glance first: a Path for each of a million names would take longer than all the rest.
    if type(name) is not str:
        return False
    if _PLAIN(name):
        return True
    parts = name.replace(os.sep, "/").split("/")
    is_below = not os.path.splitdrive(name)[0] and not any(part in ("", ".", "..") for part in parts)
    return is_below and _is_text(name)


_PLAIN = re.compile(r"(?:[A-Za-z0-9][\w .-]*/)*[A-Za-z0-9][\w .-]*", re.ASCII).fullmatch


def _is_entry(content: dict[str, Any]) -> bool:
    names, sizes = content.get("outputs", []), content.get("sizes", [])
    times, digests = content.get("mtimes_ns", []), content.get("digests", [])
    at, seq, status = content.get("at", 0.0), content.get("seq", 0), content.get("status")
    return (
        type(content.get("path")) is type(content.get("key")) is type(status) is str
        and status in _STATUSES
        and type(at) in (int, float)
        and 0 <= at < LATEST
        and _is_count(seq)
        and type(names) is type(sizes) is type(times) is type(digests) is list
        and all(map(is_inside, names))
        and all(map(_is_count, sizes))
        and all(map(_is_count, times))
        and all(map(_is_text, digests))
        and (status != "done" or len(sizes) == len(names))
        # Journals of older versions have neither.
        and len(times) == len(digests) in (0, len(names))
    )


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value <= MOST_COUNT


def _is_known(value: object) -> bool:
    return value is not None


def _is_number(value: object) -> bool:
    return type(value) is int or (type(value) is float and math.isfinite(value))


def _is_text(text: object) -> bool:
    """Whether the system could take it: bytes that are no text come as surrogates, others are no characters."""
    if type(text) is not str or "\0" in text:
        return False
    if text.isascii():
        return True
    try:
        text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False
    return True


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)


# NaN and Infinity are no JSON.
_DECODER = json.JSONDecoder(parse_constant=_refuse)
