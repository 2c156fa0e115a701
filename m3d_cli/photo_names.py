"""Names of photos: their natural order, and the entry of a side file (calibration, EXIF) that belongs to a photo."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePath, PurePosixPath

_DIGITS = re.compile(r"(\d+)")


def natural_key(text: str) -> tuple[str | int, ...]:
    """Sort key under which IMG_9 comes before IMG_10."""
    parts = _DIGITS.split(text.casefold())
    # Texts and numbers alternate, so that two keys never compare a text with a number.
    return tuple(int(part) if index % 2 else part for index, part in enumerate(parts))


def one_line(text: str) -> str:
    """``text`` with what would break a line or steer a terminal as spaces; bytes that are no text stay."""
    return "".join(
        character if character.isprintable() or "\udc80" <= character <= "\udcff" else " " for character in text
    )


class NameIndex:
    """Positions of names that a side file gives its entries; a name that fits several entries fits none."""

    __slots__ = ("_exact", "_names", "_stems")

    def __init__(self, names: Sequence[str]) -> None:
        cleaned = [PurePosixPath(name.replace("\\", "/")) for name in names]
        self._exact = _unique([path.as_posix() for path in cleaned])
        self._names = _unique([path.name for path in cleaned])
        self._stems = _unique([path.stem for path in cleaned])

    def find(self, path: PurePath, relative: PurePath | None = None) -> int | None:
        """Position of the entry for a photo; the whole path first, then its ends, the bare file name and the stem."""
        spellings = [*_tails(relative), *_tails(path)]
        spellings.sort(key=lambda text: -text.count("/"))
        for text in spellings:
            if text in self._exact:
                return self._exact[text]
        found = self._names.get(path.name, -1)
        if found < 0:
            found = self._stems.get(path.stem, -1)
        return found if found >= 0 else None


def _unique(texts: Sequence[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for position, text in enumerate(texts):
        found[text] = -1 if text in found else position
    found.pop("", None)
    return {text: position for text, position in found.items() if position >= 0}


def _tails(path: PurePath | None) -> list[str]:
    """``a/b/c.jpg`` -> ``a/b/c.jpg``, ``b/c.jpg``, ``c.jpg``; an absolute path also as it is."""
    if path is None:
        return []
    text = path.as_posix()
    parts = text.lstrip("/").split("/")
    return [text, *("/".join(parts[start:]) for start in range(len(parts)))]
