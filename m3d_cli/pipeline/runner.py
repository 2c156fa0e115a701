"""The one scheduling loop: photos go to workers (threads, processes, Ray actors), outcomes come back in order.

What a worker leaves undone, because it died or its device is lost, another worker does.
"""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from itertools import islice
from queue import SimpleQueue
from typing import Protocol

from m3d_cli.errors import DeviceError, M3dError, PhotoError
from m3d_cli.pipeline.journal import Outcome
from m3d_cli.pipeline.memory import return_large_blocks
from m3d_cli.pipeline.resume import Task
from m3d_cli.pipeline.run_context import RunContext, Stopped, failed

logger = logging.getLogger(__name__)

# A photo under which this many workers died is given up. From the first loss on it shares its worker with no other
# such photo, so that the second loss is its own.
MOST_LOSSES = 2

# So many photos are begun together: one wait for the disk lets all of them go.
AHEAD = 32

# Outcomes that wait for a slower photo before them; they are small, and images are not held with them.
WAITING_OUTCOMES = 64

# Threads are started one by one as photos come; what bounds them is the engine's ``in_flight``.
MOST_THREADS = 1024


class WorkerLost(Exception):
    """The worker died while it had the photo."""


class Worker(Protocol):
    """Something that processes photos, several at once; started with the first one it gets."""

    name: str
    # Whether it writes the journal itself, as threads of the main process do; else the loop does.
    keeps_journal: bool

    @property
    def in_flight(self) -> int:
        """How many photos keep it busy, as far as is known yet."""

    def submit(self, task: Task) -> Future[Outcome]:
        """Start on a photo; the future raises `WorkerLost`, `Stopped`, or the M3dError that ends this worker."""

    def close(self) -> None:
        """Start nothing more, wait for what is being written."""


# Opens the workers of a run when the first photo needs one, and frees at its end what they share.
WorkerPool = Callable[[], AbstractContextManager[Sequence[Worker]]]


class ThreadWorker:
    """Threads of this process, which share the engine of ``context``."""

    name = "threads"
    keeps_journal = True

    def __init__(self, context: RunContext) -> None:
        self._context = context
        self._pool = ThreadPoolExecutor(MOST_THREADS, thread_name_prefix="m3d-photo")

    @property
    def in_flight(self) -> int:
        """As many as the engine takes."""
        return min(self._context.engine.in_flight, MOST_THREADS)

    def submit(self, task: Task) -> Future[Outcome]:
        """Process the photo in a thread."""
        return self._pool.submit(self._context.outcome_of, task)

    def close(self) -> None:
        """Wait for the photos that threads have."""
        self._pool.shutdown(wait=True, cancel_futures=True)


@dataclass(slots=True, eq=False)
class _Slot:
    """A photo on its way; ``losses`` counts the workers that died under it."""

    task: Task
    outcome: Outcome | None
    losses: int = 0


def run(tasks: Iterable[Task], context: RunContext, pool: WorkerPool) -> Generator[Outcome]:
    """Outcomes in the order of ``tasks``; raises the M3dError that made the last worker useless.

    Closing the iterator early, as an interrupt does, starts nothing more, lets what is being written end, passes it to
    ``context.late``, and leaves the rest for the next run.
    """
    return_large_blocks()
    waiting: deque[_Slot] = deque()
    source = iter(tasks)
    is_more = True
    with ExitStack() as stack:
        desk = _Desk(context, lambda: stack.enter_context(pool()))
        stack.callback(context.engine.close)
        try:
            while is_more or waiting:
                desk.give_all()
                while is_more and (room := desk.room(len(waiting))):
                    fresh = desk.begin(islice(source, room))
                    is_more = bool(fresh)
                    waiting += fresh
                    desk.give_all()
                if waiting and waiting[0].outcome is None:
                    desk.collect()
                while waiting and (outcome := waiting[0].outcome) is not None:
                    waiting.popleft()
                    yield outcome
        finally:
            context.stop.set()
            desk.close()
            for slot in waiting:
                if slot.outcome is not None:
                    context.late(slot.outcome)


class _Desk:
    """The workers still of use, who has which photo, and which photos wait for a worker."""

    def __init__(self, context: RunContext, open_workers: Callable[[], Sequence[Worker]]) -> None:
        self._context = context
        self._open_workers = open_workers
        self._all: Sequence[Worker] = ()
        self._workers: list[Worker] = []
        self._loads: Counter[int] = Counter()
        self._given: dict[Future[Outcome], tuple[Worker, _Slot]] = {}
        self._back: SimpleQueue[Future[Outcome]] = SimpleQueue()
        self._ahead: deque[_Slot] = deque()
        self._again: deque[_Slot] = deque()

    def room(self, waiting: int) -> int:
        """How many more photos to begin beside those whose outcomes are ``waiting`` for a slower one."""
        at_once = sum(worker.in_flight for worker in self._workers)
        most = max(WAITING_OUTCOMES, 2 * at_once)
        return 0 if self._ahead else max(0, min(AHEAD, most - waiting))

    def begin(self, tasks: Iterable[Task]) -> list[_Slot]:
        """Slots of photos; those that an earlier run did have their outcome."""
        fresh = []
        for task in tasks:
            if task.earlier is None and not self._all:
                self._all = self._open_workers()
                self._workers = list(self._all)
            is_kept_elsewhere = task.earlier is None and self._workers[0].keeps_journal
            fresh.append(_Slot(task, None if is_kept_elsewhere else self._context.begun(task)))
        todo = [slot for slot in fresh if slot.outcome is None]
        if todo and not self._workers[0].keeps_journal:
            self._context.journal.sync()
        self._ahead += todo
        return fresh

    def give_all(self) -> None:
        """Hand out photos as long as a worker has room."""
        for _ in range(len(self._again)):
            self._give(self._again.popleft())
        while self._ahead and any(self._loads[id(one)] < one.in_flight for one in self._workers):
            self._give(self._ahead.popleft())

    def collect(self) -> None:
        """Wait until a photo comes back."""
        # By a queue: `concurrent.futures.wait` looks at every photo under way for each that comes back.
        is_first = True
        while self._given and (is_first or not self._back.empty()):
            self._settle(self._back.get())
            is_first = False

    def close(self) -> None:
        """End all workers, those that were dismissed too, and settle what they could still finish."""
        for worker in self._all:
            worker.close()
        for future, (worker, slot) in self._given.items():
            if future.done() and not future.cancelled() and future.exception() is None:
                self._note(worker, slot, future.result())

    def _give(self, slot: _Slot) -> None:
        """Hand a photo to the least busy worker that may have it, or keep it until there is one."""
        free = [worker for worker in self._workers if self._may_have(worker, slot)]
        if not free:
            self._again.append(slot)
            return
        worker = min(free, key=lambda one: self._loads[id(one)] / one.in_flight)
        future = worker.submit(slot.task)
        self._given[future] = worker, slot
        self._loads[id(worker)] += 1
        future.add_done_callback(self._back.put)

    def _may_have(self, worker: Worker, slot: _Slot) -> bool:
        if self._loads[id(worker)] >= worker.in_flight:
            return False
        return not slot.losses or not any(one is worker and other.losses for one, other in self._given.values())

    def _settle(self, future: Future[Outcome]) -> None:
        worker, slot = self._given.pop(future)
        self._loads[id(worker)] -= 1
        try:
            self._note(worker, slot, future.result())
        except Stopped:
            self._again.append(slot)
        except WorkerLost as error:
            slot.losses += 1
            if slot.losses < MOST_LOSSES:
                self._again.append(slot)
                return
            slot.outcome = failed(slot.task, _killer(slot, error))
            self._context.journal.write(slot.outcome)
        except M3dError as error:
            self._again.append(slot)
            self._dismiss(worker, error)

    def _note(self, worker: Worker, slot: _Slot, outcome: Outcome) -> None:
        slot.outcome = outcome
        if not worker.keeps_journal:
            self._context.journal.write(outcome)

    def _dismiss(self, worker: Worker, error: M3dError) -> None:
        """Go on without a worker; raises ``error`` when it was the last."""
        if worker not in self._workers:
            return
        self._workers.remove(worker)
        if not self._workers:
            raise error
        logger.warning("going on without %s: %s", worker.name, error.message)


def _killer(slot: _Slot, error: WorkerLost) -> PhotoError:
    return PhotoError(
        f"{slot.task.job.photo.name}: {slot.losses} workers died under it ({error})",
        hint="it may need more memory than there is; try it alone with --device cpu",
        code="WORKER_LOST",
    )


def lost_device(name: str, times: int) -> DeviceError:
    """A worker that died too often to be started again."""
    return DeviceError(
        f"the worker on {name} died {times} times", hint="it may need more memory than there is; see m3d doctor"
    )
