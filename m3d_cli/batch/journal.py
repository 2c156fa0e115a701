"""The append-only journal of a run folder, ``m3d-run.jsonl``: what is done is what it says, whatever files lie around.

A line is JSON. A photo has a ``started`` line, then ``done`` or ``failed``; the last one with a key counts. A line cut short by
a crash is skipped, and the next line starts fresh.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import TextIO

from m3d_cli.errors import OutputError, UsageError

JOURNAL_NAME = "m3d-run.jsonl"


class Status(str, Enum):
    """How a photo ended; ``skipped`` is never written, it means done by an earlier run."""

    STARTED = "started"
    DONE = "done"
    SKIPPED = "skipped"
    FAILED = "failed"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a photo failed."""

    code: str
    message: str
    hint: str
    exit_code: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one photo: a line on stdout under ``--json`` and, but for skipped ones, in the journal.

    ``outputs`` are relative to the run folder, ``sizes`` their bytes. Seconds are CPU seconds of each stage.
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
    seconds: tuple[tuple[str, float], ...] = ()
    error: Failure | None = None

    def line(self) -> str:
        """One line of JSON without its end."""
        content = asdict(self)
        content["status"] = self.status.value
        content["seconds"] = {stage: round(value, 4) for stage, value in self.seconds}
        return json.dumps({k: v for k, v in content.items() if v is not None}, ensure_ascii=True)


class Journal:
    """The journal of ``folder``, opened for one run; another run in the same folder is refused meanwhile."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / JOURNAL_NAME
        self._last: dict[str, Outcome] = {}
        self._owned: set[str] = set()
        self._file: TextIO | None = None

    def __enter__(self) -> Journal:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._read()
            self._file = self.path.open("a", encoding="utf-8")
        except OSError as error:
            raise OutputError(f"{self.folder}: cannot keep a journal there ({error.strerror})") from error
        self._lock(self._file)
        if _ends_mid_line(self.path):
            self._file.write("\n")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def finished(self, key: str) -> Outcome | None:
        """The outcome of a photo done earlier under the same key, when its outputs still stand as written."""
        outcome = self._last.get(key)
        if outcome is None or outcome.status is not Status.DONE:
            return None
        for name, size in zip(outcome.outputs, outcome.sizes, strict=True):
            try:
                if (self.folder / name).stat().st_size != size:
                    return None
            except OSError:
                return None
        return outcome

    def owns(self, output: Path) -> bool:
        """Whether a run in this folder wrote, or began to write, ``output``."""
        return os.path.relpath(output, self.folder) in self._owned

    def started(self, path: str, key: str, outputs: Sequence[Path]) -> None:
        """Say that ``outputs`` are about to be written."""
        names = tuple(os.path.relpath(output, self.folder) for output in outputs)
        self.write(Outcome(path, Status.STARTED, key, outputs=names))

    def write(self, outcome: Outcome) -> None:
        """Append one line."""
        if self._file is None:
            raise UsageError("the journal is closed")
        try:
            self._file.write(outcome.line() + "\n")
            self._file.flush()
        except OSError as error:
            raise OutputError(f"{self.path}: cannot be written ({error.strerror})", hint="free some space") from error

    def _read(self) -> None:
        if not self.path.exists():
            return
        with self.path.open(encoding="utf-8", errors="replace") as file:
            for line in file:
                outcome = _parse(line)
                if outcome is not None:
                    self._last[outcome.key] = outcome
                    self._owned.update(outcome.outputs)

    def _lock(self, file: TextIO) -> None:
        try:
            import fcntl
        except ImportError:  # Windows has no flock; two runs in one folder are then the user's own risk
            return
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise UsageError(
                f"{self.folder}: another m3d run is writing there", hint="wait for it or choose another --out"
            ) from error


def _parse(line: str) -> Outcome | None:
    try:
        content = json.loads(line)
        return Outcome(
            path=str(content["path"]),
            status=Status(content["status"]),
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
            warnings=tuple(content.get("warnings", ())),
        )
    except (ValueError, KeyError, TypeError):
        return None


def _ends_mid_line(path: Path) -> bool:
    with path.open("rb") as file:
        if file.seek(0, os.SEEK_END) == 0:
            return False
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"
