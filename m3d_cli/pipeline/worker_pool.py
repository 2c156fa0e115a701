"""Several workers share the photos of one run: what one of them leaves undone, because it died or its device is lost,
another does. The process that started the run keeps the journal."""

from __future__ import annotations

import logging
import os
import threading
from collections import Counter, deque
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from queue import SimpleQueue
from typing import Protocol

from m3d_cli.errors import DeviceError, M3dError, PhotoError
from m3d_cli.inference.photo import Engine, EngineOptions
from m3d_cli.pipeline.journal import Outcome
from m3d_cli.pipeline.resume import Task
from m3d_cli.pipeline.runner import WAITING_OUTCOMES, Run, SharedEngine, Stopped
from m3d_cli.pipeline.settings import Settings
from m3d_cli.pipeline.upload import RemoteOut

logger = logging.getLogger(__name__)

# A photo under which this many workers died is given up. From the first loss on it shares its worker with no other
# such photo, so that the second loss is its own.
MOST_LOSSES = 2

# So many photos are begun together: one wait for the disk lets all of them go.
AHEAD = 32


class WorkerLost(Exception):
    """The worker died while it had the photo."""


class Worker(Protocol):
    """Who works on photos, several at once; started with the first one it gets."""

    name: str

    @property
    def in_flight(self) -> int:
        """How many photos keep it busy, as far as is known yet."""

    def submit(self, task: Task) -> Future[Outcome]:
        """Start on a photo; the future raises `WorkerLost`, `Stopped`, or the M3dError that ends this worker."""

    def close(self) -> None:
        """Start nothing more, wait for what is being written."""


@dataclass(frozen=True, slots=True)
class WorkerRecipe:
    """What a worker in another process needs: plain values. ``photos`` are those of the whole run, since the engine
    and so the last bits of its depth depend on their number; ``folder`` is the journal's.
    """

    settings: Settings
    options: EngineOptions
    photos: int
    folder: Path
    remote: RemoteOut | None = None

    def context(self, stop: threading.Event, lent: Engine | None = None) -> Run:
        """A run as the worker sees it, with an engine of its own unless it is lent one."""
        engine = SharedEngine(self._engine if lent is None else lambda: lent)
        return Run(self.settings, HandedOut(self.folder), engine, overwrite=True, stop=stop, remote=self.remote)

    def _engine(self) -> Engine:
        from m3d_cli.inference.engine import create_engine

        return create_engine(self.settings.model, self.settings.weights, self.options, self.photos)


@dataclass(frozen=True, slots=True)
class HandedOut:
    """The journal as a worker sees it: who gave it the photos has written what there is to write."""

    folder: Path

    def names(self, outputs: Sequence[Path]) -> tuple[str, ...]:
        """Outputs relative to the run's folder."""
        return tuple(os.path.relpath(output, self.folder) for output in outputs)

    def is_foreign(self, output: Path) -> bool:
        """No: it was looked at before the photo was handed out."""
        return False

    def started(self, path: str, key: str, outputs: Sequence[Path], *, is_urgent: bool = True) -> None:
        """Written already."""

    def sync(self) -> None:
        """Nothing was written."""

    def write(self, outcome: Outcome) -> None:
        """Left to who gets the outcome."""


@dataclass(slots=True, eq=False)
class _Slot:
    """A photo on its way; ``losses`` counts the workers that died under it."""

    task: Task
    outcome: Outcome | None
    losses: int = 0


@dataclass(slots=True, eq=False)
class _Crew:
    """The workers, who has which photo, and which photos need another worker."""

    context: Run
    workers: list[Worker]
    given: dict[Future[Outcome], tuple[Worker, _Slot]] = field(default_factory=dict)
    loads: Counter[int] = field(default_factory=Counter)
    back: SimpleQueue[Future[Outcome]] = field(default_factory=SimpleQueue)
    again: deque[_Slot] = field(default_factory=deque)

    def has_room(self) -> bool:
        """Whether somebody would be glad of a photo nobody had yet."""
        return not self.again and any(self._load(worker) < worker.in_flight for worker in self.workers)

    def give(self, slot: _Slot) -> None:
        """Hand a photo to the least busy worker that may have it, or keep it until there is one."""
        free = [worker for worker in self.workers if self._may_have(worker, slot)]
        if not free:
            self.again.append(slot)
            return
        worker = min(free, key=lambda one: self._load(one) / one.in_flight)
        future = worker.submit(slot.task)
        self.given[future] = worker, slot
        self.loads[id(worker)] += 1
        future.add_done_callback(self.back.put)

    def collect(self) -> None:
        """Wait until a photo comes back, and hand out those that have to be done again."""
        # By a queue: `concurrent.futures.wait` looks at every photo under way for each that comes back.
        is_first = True
        while self.given and (is_first or not self.back.empty()):
            self._settle(self.back.get())
            is_first = False
        for _ in range(len(self.again)):
            self.give(self.again.popleft())

    def close(self) -> None:
        """End all workers; what they could still finish is told to ``context.late``."""
        for worker in self.workers:
            worker.close()
        for future, (_, slot) in self.given.items():
            if future.done() and not future.cancelled() and future.exception() is None:
                slot.outcome = future.result()
                self.context.journal.write(slot.outcome)
                self.context.late(slot.outcome)

    def _load(self, worker: Worker) -> int:
        return self.loads[id(worker)]

    def _may_have(self, worker: Worker, slot: _Slot) -> bool:
        if self._load(worker) >= worker.in_flight:
            return False
        return not slot.losses or not any(o is worker and s.losses for o, s in self.given.values())

    def _settle(self, future: Future[Outcome]) -> None:
        worker, slot = self.given.pop(future)
        self.loads[id(worker)] -= 1
        try:
            slot.outcome = future.result()
        except Stopped:
            self.again.append(slot)
            return
        except WorkerLost as error:
            slot.losses += 1
            if slot.losses < MOST_LOSSES:
                self.again.append(slot)
                return
            slot.outcome = self.context.failed(slot.task, _killer(slot, error))
        except M3dError as error:
            self.again.append(slot)
            self._dismiss(worker, error)
            return
        self.context.journal.write(slot.outcome)

    def _dismiss(self, worker: Worker, error: M3dError) -> None:
        """Go on without a worker; raises ``error`` when it was the last."""
        if worker not in self.workers:
            return
        self.workers.remove(worker)
        if not self.workers:
            raise error
        logger.warning("going on without %s: %s", worker.name, error.message)


def run_by_crew(tasks: Iterable[Task], context: Run, workers: Sequence[Worker]) -> Generator[Outcome]:
    """Outcomes in the order of ``tasks``, as `batch.run.run` gives them.

    Raises the M3dError that made the last worker useless.
    """
    crew = _Crew(context, list(workers))
    waiting: deque[_Slot] = deque()
    ahead: deque[_Slot] = deque()
    source = iter(tasks)
    is_more = True
    try:
        while is_more or waiting:
            if is_more and not ahead and len(waiting) < _most_waiting(workers):
                fresh = [_Slot(task, context.begun(task, is_urgent=False)) for task in islice(source, AHEAD)]
                context.journal.sync()
                is_more = bool(fresh)
                waiting += fresh
                ahead += (slot for slot in fresh if slot.outcome is None)
            while ahead and crew.has_room():
                crew.give(ahead.popleft())
            if waiting and waiting[0].outcome is None:
                crew.collect()
            while waiting and (outcome := waiting[0].outcome) is not None:
                waiting.popleft()
                yield outcome
    finally:
        context.stop.set()
        crew.close()


def _most_waiting(workers: Sequence[Worker]) -> int:
    return max(WAITING_OUTCOMES, 2 * sum(worker.in_flight for worker in workers))


def _killer(slot: _Slot, error: WorkerLost) -> PhotoError:
    return PhotoError(
        f"{slot.task.job.photo.name}: {slot.losses} worker processes died under it ({error})",
        hint="it may need more memory than there is; try it alone with --device cpu",
        code="WORKER_LOST",
    )


def lost_device(name: str, times: int) -> DeviceError:
    """A worker whose process died too often to be started again."""
    return DeviceError(
        f"the process for {name} died {times} times", hint="it may need more memory than there is; see m3d doctor"
    )
