"""The append-only journal of a run folder, ``m3d-run.jsonl``: what is done is what it says, whatever files lie around.

Parts of a run on several machines (`pipeline.shard`) have a journal each, ``m3d-run.2-of-5.jsonl``; every run reads all
that lie in the folder and writes its own, and `merge.merge` makes one of them.

A line is JSON. A photo has a ``started`` line when its outputs are about to be written, then ``done`` or ``error``.
Of lines with one key, and of lines that name one output, the last counts: by ``at``, the time of writing, and then by
``seq``, which counts on from the highest in the folder. Neither goes back, whatever the clock does, so a run comes
after all that it found there, in whichever file. A line that is cut short or otherwise not `sound` is ignored.

``done`` says of each output its size, its time of modification and the digest of its content. A file with that size
and time is taken as it is; one with another time, as copies have, is read. Lines of older versions have no digest:
with them the size decides, as it did. So it does for results behind a URL, which have no time of ours.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, fields
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TextIO

from m3d_cli.atomic import digest_of, part_of
from m3d_cli.errors import OutputError, UsageError
from m3d_cli.formats.sidecar import OLD_TRUST
from m3d_cli.pipeline.index import JOURNAL_NAME, Index
from m3d_cli.pipeline.locks import JOURNAL_FLAGS, folder_lock, is_at, lock, open_journal
from m3d_cli.pipeline.sound import MOST_COUNT, has_sound_facts

if TYPE_CHECKING:
    from m3d_cli.pipeline.shard import Shard


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

    ``outputs`` are relative to the run folder, ``sizes`` their bytes, ``mtimes_ns`` and ``digests`` their times and
    contents. ``at`` is the Unix time at which it ended, ``points`` those of a cloud, ``seconds`` the CPU seconds that
    the photo's thread spent in each stage.
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
    focal_trust: str | None = None
    median_m: float | None = None
    model: str | None = None
    warnings: tuple[str, ...] = ()
    at: float | None = None
    seconds: tuple[tuple[str, float], ...] = ()
    error: Failure | None = None
    points: int | None = None
    mtimes_ns: tuple[int, ...] = ()
    digests: tuple[str, ...] = ()

    @property
    def scale_trust(self) -> str | None:
        """``focal_trust`` by its old name, for one release."""
        return self.focal_trust

    @property
    def content(self) -> dict[str, Any]:
        """Its fields as JSON has them, those that are known."""
        # Not by asdict: its deep copies would take ten times as long.
        content = {name: getattr(self, name) for name in _FIELDS}
        content["status"] = self.status.value
        content[OLD_TRUST] = self.focal_trust
        if self.error is not None:
            content["error"] = {"code": self.error.code, "message": self.error.message, "hint": self.error.hint}
        content["seconds"] = {stage: round(value, 4) for stage, value in self.seconds}
        return {k: v for k, v in content.items() if v is not None}

    def line(self) -> str:
        """One line of JSON without its end."""
        return json.dumps(self.content, ensure_ascii=True)


_FIELDS = tuple(field.name for field in fields(Outcome))


class Journal:
    """The journal of ``folder``, or of one part of the run there, opened for one run.

    Another run of the same part is refused meanwhile. ``sizes`` are the bytes of outputs that are kept elsewhere, by
    their names.
    """

    def __init__(self, folder: Path, shard: Shard | None = None, sizes: Mapping[str, int] | None = None) -> None:
        self.folder = folder
        self._sizes = sizes
        self.path = journal_of(folder, shard)
        self._index = Index(folder)
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
            journal._index = Index.of(folder)
        return journal

    def __enter__(self) -> Journal:
        with ExitStack() as stack:
            with self._told():
                self.folder.mkdir(parents=True, exist_ok=True)
                # Else a merge could replace the journal between its opening and its lock, or while it is read.
                with folder_lock(self.folder):
                    file = stack.enter_context(self._locked())
                    self._index = Index.of(self.folder)
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
            # A line that could not be written was reported when it failed.
            with suppress(OSError):
                self._file.close()
            self._file = None

    def finished(self, key: str, path: str) -> Outcome | None:
        """The outcome of a photo done earlier under the same key, when its outputs still stand as it wrote them.

        It is skipped now, and under the ``path`` as given now, which may differ from that of the earlier run.
        """
        line = self._index.last.get(key)
        if line is None or line.status != Status.DONE:
            return None
        with self._told():
            content = self._index.content_of(line)
        outcome = _skipped(content, path) if content is not None else None
        if content is None or outcome is None or not outcome.outputs:
            return None
        writer = self._index.writer
        is_own = all(name in writer and writer[name].key == key for name in outcome.outputs)
        return outcome if is_own and self._stands(outcome, content) else None

    def owns(self, output: Path) -> bool:
        """Whether a run in this folder wrote, or began to write, ``output``."""
        return os.path.relpath(output, self.folder) in self._index.writer

    def is_foreign(self, output: Path) -> bool:
        """Whether ``output`` is there and no run in this folder wrote it or began to."""
        return not self.owns(output) and self._size(os.path.relpath(output, self.folder)) >= 0

    def standing(self, suffix: str) -> tuple[Path, ...]:
        """Outputs of finished photos that end in ``suffix`` and are there."""
        last = self._index.last
        named = ((name, line) for name, line in self._index.writer.items() if name.endswith(suffix))
        done = (name for name, line in named if last[line.key].status == Status.DONE)
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
        self._append(outcome.content)

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

    def _append(self, content: dict[str, Any]) -> None:
        with self._guard, self._writable() as file:
            index = self._index
            index.at, index.seq = max(index.at, time.time()), min(index.seq + 1, MOST_COUNT)
            file.write(json.dumps({**content, "at": index.at, "seq": index.seq}, ensure_ascii=True) + "\n")
            file.flush()
            self._lines += 1

    def _locked(self) -> TextIO:
        """The journal, opened and locked; another file of that name is taken where it was replaced in between."""
        while True:
            with ExitStack() as stack:
                file = stack.enter_context(os.fdopen(open_journal(self.path, JOURNAL_FLAGS), "a", encoding="utf-8"))
                lock(file, self.folder)
                if is_at(file.fileno(), self.path):
                    stack.pop_all()
                    return file

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

    def _stands(self, outcome: Outcome, content: dict[str, Any]) -> bool:
        """Whether the outputs of a photo are what its line says."""
        if self._sizes is not None:
            return all(self._size(name) == size for name, size in zip(outcome.outputs, outcome.sizes, strict=True))
        places = [os.path.join(self.folder, name) for name in outcome.outputs]  # noqa: PTH118 - hot loop
        states = list(map(_state, places))
        if tuple(size for size, _ in states) != outcome.sizes:
            return False
        times = tuple(time_ns for _, time_ns in states)
        if not outcome.digests or times == outcome.mtimes_ns:
            return True
        if tuple(map(_digest, places)) != outcome.digests:
            return False
        if self._file is not None:  # so that the next run need not read them again
            self._append({**content, "mtimes_ns": times})
        return True

    def _sweep(self) -> None:
        """Remove what a run that was killed left half written; of the files of other parts, which may run, none."""
        root = os.path.realpath(self.folder)
        for name, line in self._index.writer.items():
            if line.status != Status.STARTED or line.path != self.path or self._index.last[line.key] is not line:
                continue
            half = part_of(self.folder / name)
            # A link in the folder may lead out of it.
            parent = os.path.realpath(half.parent)
            if parent == root or parent.startswith(root.rstrip(os.sep) + os.sep):
                with suppress(OSError):
                    half.unlink(missing_ok=True)

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


class JournalError(OutputError):
    """The journal cannot be kept, so the run cannot go on."""

    code = "NO_JOURNAL"
    exit_code = 1


def sizes_and_times(outputs: Sequence[Path]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """``sizes`` and ``mtimes_ns`` of files just written, for their outcome; raises OSError where one is gone."""
    found = [output.stat() for output in outputs]
    return tuple(status.st_size for status in found), tuple(status.st_mtime_ns for status in found)


def journal_of(folder: Path, shard: Shard | None) -> Path:
    """The journal that a run in ``folder``, or one part of it, writes."""
    return folder / (JOURNAL_NAME if shard is None else f"m3d-run.{shard.number}-of-{shard.count}.jsonl")


def _size(path: str) -> int:
    return _state(path)[0]


def _state(path: str) -> tuple[int, int]:
    """Bytes of a file, -1 where there is none, and its time of modification."""
    try:
        status = os.stat(path)  # noqa: PTH116 - hot loop
    except OSError:
        return -1, 0
    return status.st_size, status.st_mtime_ns


def _digest(path: str) -> str:
    try:
        return digest_of(Path(path))
    except OSError:
        return ""


def _skipped(content: Mapping[str, Any], name: str) -> Outcome | None:
    """What a line means for a run that skips the photo, under the ``name`` it has there; None where it is not sound."""
    if not has_sound_facts(content):
        return None
    return Outcome(
        path=name,
        status=Status.SKIPPED,
        key=content["key"],
        outputs=tuple(content.get("outputs", ())),
        sizes=tuple(content.get("sizes", ())),
        mtimes_ns=tuple(content.get("mtimes_ns", ())),
        digests=tuple(content.get("digests", ())),
        width=content.get("width"),
        height=content.get("height"),
        focal_px=content.get("focal_px"),
        focal_source=content.get("focal_source"),
        focal_rel_sigma=content.get("focal_rel_sigma"),
        focal_trust=content.get("focal_trust", content.get(OLD_TRUST)),
        median_m=content.get("median_m"),
        model=content.get("model"),
        points=content.get("points"),
        warnings=tuple(content.get("warnings", ())),
    )


def _ends_mid_line(path: Path) -> bool:
    with path.open("rb") as file:
        if file.seek(0, os.SEEK_END) == 0:
            return False
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"
