"""What the journals of a folder say: which line of a photo, and of an output, was written last."""

from __future__ import annotations

import logging
import mmap
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from m3d_cli.pipeline.locks import open_journal
from m3d_cli.pipeline.sound import content_of

logger = logging.getLogger(__name__)

JOURNAL_NAME = "m3d-run.jsonl"
JOURNALS = "m3d-run*.jsonl"


class Line(NamedTuple):
    """Where a line is, and what is remembered of it: a hundred thousand parsed ones would fill 120 MB."""

    at: float
    seq: int
    key: str
    status: str
    path: Path
    begin: int

    def follows(self, other: Line | None) -> bool:
        """Whether it was written after ``other``; of lines without times, the one read later was."""
        return other is None or (self.at, self.seq) >= (other.at, other.seq)


class Index:
    """The last line by key (``last``) and by the output that it names (``writer``), of all journals of ``folder``.

    ``at`` and ``seq`` are the highest of all lines. Every method raises OSError for what cannot be read, and UsageError
    for a journal that is a link or no regular file.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.last: dict[str, Line] = {}
        self.writer: dict[str, Line] = {}
        self.at = 0.0
        self.seq = 0
        self._maps: dict[Path, mmap.mmap] = {}

    @classmethod
    def of(cls, folder: Path) -> Index:
        """The index of the journals in ``folder``, none where there is no folder."""
        index = cls(folder)
        before: dict[Path, int] | None = None
        damaged = 0
        # Again where a merge replaced some meanwhile.
        while (found := _inodes(folder)) != before:
            index.last.clear()
            index.writer.clear()
            before, damaged = found, sum(map(index._take_in, found))
        if damaged:
            logger.warning("%s: %d damaged lines of the journal are ignored", folder, damaged)
        return index

    def lines(self) -> Iterator[Line]:
        """The lines that count, each once: the last of every photo, and those that say who wrote an output."""
        seen: set[Line] = set()
        for line in (*self.last.values(), *self.writer.values()):
            if line not in seen:
                seen.add(line)
                yield line

    def bytes_of(self, line: Line) -> bytes:
        """A line as it stands in its file, empty where that was cut since."""
        if line.path not in self._maps:
            # An empty file cannot be mapped.
            with os.fdopen(open_journal(line.path, os.O_RDONLY), "rb") as file, suppress(ValueError):
                self._maps[line.path] = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        lines = self._maps.get(line.path)
        if lines is None or line.begin >= len(lines):
            return b""
        lines.seek(line.begin)
        return lines.readline()

    def content_of(self, line: Line) -> dict[str, Any] | None:
        """What a line says; None where its file was changed since it was read."""
        content = content_of(self.bytes_of(line))
        return content if content is not None and content["key"] == line.key else None

    def _take_in(self, path: Path) -> int:
        """Remember the lines of a journal; how many were not sound."""
        begin = damaged = 0
        with suppress(FileNotFoundError), os.fdopen(open_journal(path, os.O_RDONLY), "rb") as file:
            for line in file:
                content = content_of(line)
                if content is not None:
                    self._remember(content, path, begin)
                elif line.strip():
                    damaged += 1
                begin += len(line)
        return damaged

    def _remember(self, content: Mapping[str, Any], path: Path, begin: int) -> None:
        at, seq = content.get("at", 0.0), content.get("seq", 0)
        line = Line(at, seq, sys.intern(content["key"]), sys.intern(content["status"]), path, begin)
        if line.follows(self.last.get(line.key)):
            self.last[line.key] = line
        for name in content.get("outputs", ()):
            if line.follows(self.writer.get(name)):
                self.writer[name] = line
        self.at, self.seq = max(self.at, at), max(self.seq, seq)


def journals(folder: Path) -> list[Path]:
    """Journals of ``folder`` and its parts."""
    return sorted(folder.glob(JOURNALS))


def _inodes(folder: Path) -> dict[Path, int]:
    found = {}
    for path in journals(folder):
        with suppress(FileNotFoundError):
            found[path] = path.lstat().st_ino
    return found
