"""A process a device: each has a network of its own and gets its photos from the process that started it."""

from __future__ import annotations

import multiprocessing
import signal
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection

from m3d_cli.batch.crew import WorkerLost, WorkerRecipe, lost_device
from m3d_cli.batch.journal import Outcome
from m3d_cli.batch.run import MOST_THREADS, Run, Stopped
from m3d_cli.batch.tasks import Task
from m3d_cli.errors import DeviceError, M3dError

# How often the process of one device is started in a run.
MOST_STARTS = 4


@dataclass(frozen=True, slots=True)
class _Answer:
    """What became of photo ``number``: an outcome, an error, or neither when it was stopped before it was written."""

    number: int
    in_flight: int
    outcome: Outcome | None = None
    error: M3dError | None = None


class ProcessWorker:
    """A worker in a process of its own, which is started with its first photo and again when it died."""

    def __init__(self, name: str, recipe: WorkerRecipe) -> None:
        self.name = name
        self._recipe = recipe
        self._guard = threading.Lock()
        self._waiting: dict[int, Future[Outcome]] = {}
        self._count = 0
        self._starts = 0
        self._in_flight = 1
        self._reader: threading.Thread | None = None
        self._process: multiprocessing.process.BaseProcess | None = None
        self._connection: Connection[tuple[int, Task] | None, _Answer] | None = None

    @property
    def in_flight(self) -> int:
        """One photo until the process has a network and tells better."""
        return self._in_flight

    def submit(self, task: Task) -> Future[Outcome]:
        """Send the photo to the process, a new one where there is none alive."""
        future: Future[Outcome] = Future()
        future.set_running_or_notify_cancel()
        with self._guard:
            if self._connection is None and self._starts == MOST_STARTS:
                future.set_exception(lost_device(self.name, self._starts))
                return future
            connection = self._connection or self._started()
            self._count += 1
            self._waiting[self._count] = future
            number = self._count
        # Where it is gone, the reader notices the same and tells all who wait.
        with suppress(BrokenPipeError, ConnectionResetError):
            connection.send((number, task))
        return future

    def close(self) -> None:
        """Let it finish what it is writing, and end it."""
        with self._guard:
            connection = self._connection
        if connection is None or self._process is None or self._reader is None:
            return
        with suppress(BrokenPipeError, ConnectionResetError):
            connection.send(None)
        self._process.join()
        self._reader.join()

    def _started(self) -> Connection[tuple[int, Task] | None, _Answer]:
        self._starts += 1
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(theirs, self._recipe), name=f"m3d-{self.name}", daemon=True)
        self._process.start()
        # Only the process may hold its end, or nobody would notice that it died.
        theirs.close()
        self._connection = ours
        self._reader = threading.Thread(target=self._read, args=(ours, self._process), daemon=True)
        self._reader.start()
        return ours

    def _read(self, connection: Connection[object, _Answer], process: multiprocessing.process.BaseProcess) -> None:
        try:
            while True:
                self._hear(connection.recv())
        except (EOFError, OSError):
            process.join()
            self._give_up(f"exit code {process.exitcode}")

    def _hear(self, answer: _Answer) -> None:
        self._in_flight = answer.in_flight
        with self._guard:
            future = self._waiting.pop(answer.number)
        if answer.outcome is not None:
            future.set_result(answer.outcome)
        else:
            future.set_exception(answer.error or Stopped())

    def _give_up(self, reason: str) -> None:
        with self._guard:
            left = list(self._waiting.values())
            self._waiting.clear()
            self._connection = None
            self._in_flight = 1
        for future in left:
            future.set_exception(WorkerLost(reason))


def serve(connection: Connection[_Answer, tuple[int, Task] | None], recipe: WorkerRecipe) -> None:
    """The process: work on what comes until nothing more does, or until who sends is gone."""
    # Ctrl-C goes to all processes of a terminal; the one that started this one ends it in good order.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    stop = threading.Event()
    context = recipe.context(stop)
    guard = threading.Lock()

    def answer(number: int, task: Task) -> None:
        told = _worked(number, task, context)
        with guard:
            connection.send(told)

    with ThreadPoolExecutor(MOST_THREADS, thread_name_prefix="m3d-photo") as pool:
        while (message := _received(connection)) is not None:
            pool.submit(answer, *message)
        stop.set()
    context.engine.close()


def _received(connection: Connection[_Answer, tuple[int, Task] | None]) -> tuple[int, Task] | None:
    try:
        return connection.recv()
    except (EOFError, OSError):
        return None


def _worked(number: int, task: Task, context: Run) -> _Answer:
    try:
        outcome = context.outcome_of(task)
        return _Answer(number, context.engine.in_flight, outcome)
    except Stopped:
        return _Answer(number, 1)
    except M3dError as error:
        return _Answer(number, 1, error=error)
    except Exception as error:  # noqa: BLE001 - the process must answer, whatever happened to it
        return _Answer(number, 1, error=DeviceError(f"{type(error).__name__}: {error}", hint="see m3d doctor"))
