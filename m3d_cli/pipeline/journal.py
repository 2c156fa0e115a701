"""The append-only journal of a run folder, ``m3d-run.jsonl``: what is done is what it says, whatever files lie around.

Parts of a run on several machines (`batch.shard`) have a journal each, ``m3d-run.2-of-5.jsonl``; every run reads all
that lie in the folder and writes its own, and `merging.merge` makes one of them.

A line is JSON. A photo has a ``started`` line when its outputs are about to be written, then ``done`` or ``error``;
the last one with a key counts. A line cut short by a crash is skipped, and the next line starts fresh.
"""

from __future__ import annotations

import importlib.util
import json
import mmap
import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, fields
from enum import Enum
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, TextIO

from m3d_cli.atomic import part_of
from m3d_cli.errors import OutputError, UsageError

if TYPE_CHECKING:
    from m3d_cli.pipeline.shard import Shard

JOURNAL_NAME = "m3d-run.jsonl"
JOURNALS = "m3d-run*.jsonl"


class Status(str, Enum):
    """How a photo ended; ``skipped`` is never written, it means done by an earlier run."""

    STARTED = "started"
    DONE = "done"
    SKIPPED = "skipped"
    FAILED = "error"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a photo failed. ``exit_code`` is what the program returns when all failures are of this kind."""

    code: str
    message: str
    hint: str
    exit_code: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one photo: a line on stdout under ``--json`` and, but for skipped ones, in the journal.

    ``outputs`` are relative to the run folder, ``sizes`` their bytes. ``at`` is the Unix time at which it
    ended, ``points`` those of a cloud, ``seconds`` the CPU seconds that the photo's thread spent in each stage.
    """

    path: str
    status: Status
    key: str = ""
    outputs: tuple[str, ...] = ()
    sizes: tuple[int, ...] = ()
    width: int | None = None
    height: int | None = None
    focal_px: float | None = None
    focal_source: str | None = None
    focal_rel_sigma: float | None = None
    scale_trust: str | None = None
    median_m: float | None = None
    model: str | None = None
    warnings: tuple[str, ...] = ()
    at: float | None = None
    seconds: tuple[tuple[str, float], ...] = ()
    error: Failure | None = None
    points: int | None = None

    def line(self) -> str:
        """One line of JSON without its end."""
        # Not by asdict: its deep copies would take ten times as long.
        content = {name: getattr(self, name) for name in _FIELDS}
        content["status"] = self.status.value
        if self.error is not None:
            content["error"] = {"code": self.error.code, "message": self.error.message, "hint": self.error.hint}
        content["seconds"] = {stage: round(value, 4) for stage, value in self.seconds}
        return json.dumps({k: v for k, v in content.items() if v is not None}, ensure_ascii=True)


_FIELDS = tuple(field.name for field in fields(Outcome))


class Journal:
    """The journal of ``folder``, or of one part of the run there, opened for one run.

    Another run of the same part is refused meanwhile. ``sizes`` are the bytes of outputs that are kept elsewhere, by
    their names.
    """

    def __init__(self, folder: Path, shard: Shard | None = None, sizes: Mapping[str, int] | None = None) -> None:
        self.folder = folder
        self._sizes = sizes
        self.path = folder / _name(shard)
        # By key: file and place of the last line of each photo that is done (a hundred thousand parsed ones would fill
        # 120 MB), and the outputs of those begun here and not ended. By output: who wrote it last.
        self._done: dict[str, tuple[Path, int]] = {}
        self._maps: dict[Path, mmap.mmap] = {}
        self._begun: dict[str, tuple[str, ...]] = {}
        self._writer: dict[str, str] = {}
        self._guard = threading.Lock()
        self._file: TextIO | None = None
        # Lines written, and those of them that are on the disk.
        self._lines = 0
        self._synced = 0
        self._syncing = threading.Lock()

    @classmethod
    def peek(cls, folder: Path) -> Journal:
        """What the journal of ``folder`` says, without opening it for writing."""
        journal = cls(folder)
        with journal._told():
            journal._read()
        return journal

    def __enter__(self) -> Journal:
        with ExitStack() as stack:
            with self._told():
                self.folder.mkdir(parents=True, exist_ok=True)
                file = stack.enter_context(self.path.open("a", encoding="utf-8"))
                lock(file, self.folder)
                self._read()
                if _ends_mid_line(self.path):
                    file.write("\n")
            self._sweep()
            self._file = file
            stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            # A line that could not be written was told when it failed.
            with suppress(OSError):
                self._file.close()
            self._file = None

    def finished(self, key: str, path: str) -> Outcome | None:
        """The outcome of a photo done earlier under the same key, when its outputs still stand as it wrote them.

        It is skipped now, and under the ``path`` as given now, which may differ from that of the earlier run.
        """
        outcome = self._line_of(key, path)
        if outcome is None or not outcome.outputs:
            return None
        stands = all(
            self._writer.get(name) == key and self._size(name) == size
            for name, size in zip(outcome.outputs, outcome.sizes, strict=True)
        )
        return outcome if stands else None

    def owns(self, output: Path) -> bool:
        """Whether a run in this folder wrote, or began to write, ``output``."""
        return os.path.relpath(output, self.folder) in self._writer

    def is_foreign(self, output: Path) -> bool:
        """Whether ``output`` is there and no run in this folder wrote it or began to."""
        return not self.owns(output) and self._size(os.path.relpath(output, self.folder)) >= 0

    def standing(self, suffix: str) -> tuple[Path, ...]:
        """Outputs of finished photos that end in ``suffix`` and are there."""
        done = (name for name, key in self._writer.items() if key in self._done and name.endswith(suffix))
        return tuple(path for path in (self.folder / name for name in done) if path.is_file())

    def started(self, path: str, key: str, outputs: Sequence[Path], *, is_urgent: bool = True) -> None:
        """Say that ``outputs`` are about to be written.

        The line is on disk before they are, or at the latest with the next `sync`: after a power cut they would
        otherwise be files of unknown origin.
        """
        self.write(Outcome(path, Status.STARTED, key, outputs=self.names(outputs), at=time.time()))
        if is_urgent:
            self.sync()

    def names(self, outputs: Sequence[Path]) -> tuple[str, ...]:
        """Outputs as the journal calls them: relative to its folder."""
        return tuple(os.path.relpath(output, self.folder) for output in outputs)

    def write(self, outcome: Outcome) -> None:
        """Append one line, from any thread. Raises JournalError, which ends the run."""
        with self._guard, self._writable() as file:
            file.write(outcome.line() + "\n")
            file.flush()
            self._lines += 1

    def sync(self) -> None:
        """Bring what was written to the disk, for all threads that wait for it at once. Raises JournalError."""
        wanted = self._lines
        with self._syncing:
            if self._synced >= wanted:
                return
            reached = self._lines
            # Others may write meanwhile; they wait for the next time.
            with self._writable() as file:
                os.fsync(file.fileno())
            self._synced = reached

    @contextmanager
    def _writable(self) -> Iterator[TextIO]:
        try:
            if self._file is None:
                raise OSError(0, "it is closed")
            yield self._file
        except OSError as error:
            raise JournalError(f"{self.path}: cannot be written ({error.strerror})", hint="free some space") from error

    def _size(self, name: str) -> int:
        """Bytes of an output, -1 where there is none."""
        if self._sizes is not None:
            return self._sizes.get(name, -1)
        return _size(os.path.join(self.folder, name))  # noqa: PTH118 - hot loop

    def _line_of(self, key: str, name: str) -> Outcome | None:
        if key not in self._done:
            return None
        path, begin = self._done[key]
        with self._told():
            if path not in self._maps:
                with path.open("rb") as file:
                    self._maps[path] = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            lines = self._maps[path]
            lines.seek(begin)
            outcome = parsed(lines.readline(), skipped_as=name)
        return outcome if outcome is not None and outcome.key == key else None

    def _remember(self, key: str, status: Status, outputs: tuple[str, ...], path: Path, begin: int) -> None:
        key = sys.intern(key)
        self._done.pop(key, None)
        self._begun.pop(key, None)
        if status is Status.DONE:
            self._done[key] = path, begin
        # What another part has begun it may be writing at this moment.
        if status is Status.STARTED and path == self.path:
            self._begun[key] = outputs
        for name in outputs:
            self._writer[name] = key

    def _sweep(self) -> None:
        """Remove what a run that was killed left half written."""
        for name in chain.from_iterable(self._begun.values()):
            with suppress(OSError):
                part_of(self.folder / name).unlink(missing_ok=True)

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise UsageError(
                f"{self.folder}: cannot keep a journal there ({error.strerror})",
                hint="choose another --out",
                code="NO_JOURNAL",
            ) from error

    def _read(self) -> None:
        for path in journals(self.folder):
            with path.open("rb") as file:
                begin = 0
                for line in file:
                    entry = _entry(line)
                    if entry is not None:
                        self._remember(*entry, path, begin)
                    begin += len(line)


class JournalError(OutputError):
    """The journal cannot be kept, so the run cannot go on."""

    code = "NO_JOURNAL"
    exit_code = 1


def journals(folder: Path) -> list[Path]:
    """Journals of ``folder`` and its parts, the one written last at the end."""
    return sorted(folder.glob(JOURNALS), key=lambda path: (path.stat().st_mtime_ns, path.name))


def lock(file: TextIO, folder: Path) -> None:
    """Keep every other run away from the journal ``file``; raises UsageError where one is there."""
    if not can_lock():  # two runs in one folder are then the user's own risk
        return
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise UsageError(
            f"{folder}: another m3d run is writing there", hint="wait for it or choose another --out"
        ) from error


def _name(shard: Shard | None) -> str:
    return JOURNAL_NAME if shard is None else f"m3d-run.{shard.number}-of-{shard.count}.jsonl"


def can_lock() -> bool:
    """Whether this system keeps two runs out of one folder; Windows has no flock."""
    return importlib.util.find_spec("fcntl") is not None


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size  # noqa: PTH116 - hot loop
    except OSError:
        return -1


def _entry(line: bytes) -> tuple[str, Status, tuple[str, ...]] | None:
    """Key, status and outputs of a line: what is remembered of all, read without the rest; None as `parsed`."""
    try:
        content = json.loads(line.decode(errors="replace"))
        key, status = str(content["key"]), Status(content["status"])
        outputs = tuple(map(str, content.get("outputs", ())))
        sizes = len(content.get("sizes", ()))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    is_whole = "path" in content and (status is not Status.DONE or sizes == len(outputs))
    return (key, status, outputs) if is_whole and all(map(_is_inside, outputs)) else None


def parsed(line: bytes, skipped_as: str | None = None) -> Outcome | None:
    """The outcome of a line, or what it means for a later run that skips the photo under the name it has there.

    None when the line is damaged, or names files outside the folder.
    """
    try:
        content = json.loads(line.decode(errors="replace"))
        status = Status(content["status"])
        outcome = Outcome(
            path=str(content["path"]) if skipped_as is None else skipped_as,
            status=status if skipped_as is None else Status.SKIPPED,
            key=str(content["key"]),
            outputs=tuple(str(name) for name in content.get("outputs", ())),
            sizes=tuple(int(size) for size in content.get("sizes", ())),
            width=content.get("width"),
            height=content.get("height"),
            focal_px=content.get("focal_px"),
            focal_source=content.get("focal_source"),
            focal_rel_sigma=content.get("focal_rel_sigma"),
            scale_trust=content.get("scale_trust"),
            median_m=content.get("median_m"),
            model=content.get("model"),
            points=content.get("points"),
            warnings=tuple(content.get("warnings", ())),
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    is_whole = status is not Status.DONE or len(outcome.sizes) == len(outcome.outputs)
    return outcome if is_whole and all(_is_inside(name) for name in outcome.outputs) else None


def _is_inside(name: str) -> bool:
    # As text, and at a glance first: a Path for each of a million names would take longer than all the rest.
    if name[:1].isalnum() and ".." not in name and ":" not in name:
        return True
    return not os.path.isabs(name) and ".." not in name.replace(os.sep, "/").split("/")  # noqa: PTH117


def _ends_mid_line(path: Path) -> bool:
    with path.open("rb") as file:
        if file.seek(0, os.SEEK_END) == 0:
            return False
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"
