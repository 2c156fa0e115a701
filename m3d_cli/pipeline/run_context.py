"""What all photos of a run have in common: who does the work, who keeps the journal, and what ends the run."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from m3d_cli.errors import DeviceError, M3dError, OutputError, PhotoError, WeightsError
from m3d_cli.pipeline.journal import Failure, JournalError, Outcome, Status
from m3d_cli.pipeline.plan import Job
from m3d_cli.pipeline.resume import Task
from m3d_cli.pipeline.shared_engine import SharedEngine
from m3d_cli.pipeline.upload import RemoteOut

logger = logging.getLogger(__name__)

# What ends the run rather than one photo.
FATAL = (DeviceError, WeightsError, JournalError)

# One photo from file to written outputs; raises M3dError, or `Stopped`.
Work = Callable[[Task], Outcome]


class Stopped(Exception):
    """The run was stopped before this photo was written."""


def check_stop(stop: threading.Event) -> None:
    """Raise `Stopped` once the run is to end."""
    if stop.is_set():
        raise Stopped


class Ledger(Protocol):
    """What a run needs of its `journal.Journal`."""

    @property
    def folder(self) -> Path:
        """The run's folder."""

    def names(self, outputs: Sequence[Path]) -> tuple[str, ...]:
        """Outputs as the journal names them."""

    def is_foreign(self, output: Path) -> bool:
        """Whether ``output`` exists and no run wrote it."""

    def started(self, path: str, key: str, outputs: Sequence[Path], *, is_urgent: bool = True) -> None:
        """Note that ``outputs`` are about to be written; on the disk at once, or with the next `sync`."""

    def sync(self) -> None:
        """Bring what was written to the disk."""

    def write(self, outcome: Outcome) -> None:
        """Note how a photo ended."""


@dataclass(frozen=True, slots=True)
class HandedOut:
    """The journal as a worker process sees it: the process that handed out the photos keeps the real one."""

    folder: Path

    def names(self, outputs: Sequence[Path]) -> tuple[str, ...]:
        """Outputs relative to the run's folder."""
        return tuple(os.path.relpath(output, self.folder) for output in outputs)

    def is_foreign(self, output: Path) -> bool:
        """No: this was checked before the photo was handed out."""
        return False

    def started(self, path: str, key: str, outputs: Sequence[Path], *, is_urgent: bool = True) -> None:
        """Written already."""

    def sync(self) -> None:
        """Nothing was written."""

    def write(self, outcome: Outcome) -> None:
        """Left to the process that gets the outcome."""


@dataclass(frozen=True, slots=True)
class RunContext:
    """The ``work`` on every photo, the journal, and what ends the run.

    ``late`` gets what ended after the reader of the outcomes had left; ``remote`` is where outputs go when they do not
    stay.
    """

    work: Work
    journal: Ledger
    engine: SharedEngine
    overwrite: bool
    stop: threading.Event
    late: Callable[[Outcome], object] = field(default=lambda outcome: None)
    remote: RemoteOut | None = None

    def outcome_of(self, task: Task) -> Outcome:
        """Process one photo and note its end in the journal; raises `Stopped` and what ends the run."""
        if task.earlier is not None:
            return task.earlier
        outcome = self._tried(task)
        self.journal.write(outcome)
        return outcome

    def _tried(self, task: Task) -> Outcome:
        try:
            self._refuse_foreign_outputs(task.job)
            check_stop(self.stop)
            return self.work(task)
        except (*FATAL, Stopped):
            raise
        except M3dError as error:
            if error is self.engine.failure:
                raise
            return failed(task, error)
        except MemoryError:
            return failed(task, PhotoError(f"{task.job.photo.name}: not enough memory"))
        except Exception as error:  # one bad photo never stops the rest, whatever it raises
            logger.debug("unexpected", exc_info=True)
            message = f"{task.job.photo.name}: {type(error).__name__}: {error}"
            return failed(task, PhotoError(message, hint="report this photo", code="UNEXPECTED"))

    def begun(self, task: Task) -> Outcome | None:
        """The outcome of a photo that needs no work; else None, with a line in the journal that it has begun.

        For photos that are handed to workers which keep no journal; `Ledger.sync` brings the lines to the disk.
        """
        if task.earlier is not None:
            return task.earlier
        try:
            self._refuse_foreign_outputs(task.job)
        except M3dError as error:
            outcome = failed(task, error)
            self.journal.write(outcome)
            return outcome
        self.journal.started(task.job.photo.name, task.key, task.job.outputs, is_urgent=False)
        return None

    def _refuse_foreign_outputs(self, job: Job) -> None:
        if self.overwrite:
            return
        for output in job.outputs:
            if self.journal.is_foreign(output):
                place = output if self.remote is None else self.remote.place(output)
                raise OutputError(
                    f"{place} exists already and the journal does not know it",
                    hint="use --overwrite or another --out",
                    code="OUTPUT_EXISTS",
                )


def failed(task: Task, error: M3dError) -> Outcome:
    """The outcome of a photo that failed with ``error``."""
    return Outcome(
        path=task.job.photo.name,
        status=Status.FAILED,
        key=task.key,
        at=time.time(),
        error=Failure(error.code, error.message, error.hint, error.exit_code),
    )
