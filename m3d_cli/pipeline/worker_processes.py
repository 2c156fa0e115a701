"""Workers in processes of their own, which get their photos from the main process: one per device, each with a network,
or several that borrow the network of the main process."""

from __future__ import annotations

import logging
import multiprocessing
import pickle
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from m3d_cli.errors import DeviceError, M3dError
from m3d_cli.inference.photo import Engine, EngineOptions
from m3d_cli.pipeline.decode_workers import Block, BorrowedEngine, Lender, Question, Reply
from m3d_cli.pipeline.journal import Outcome
from m3d_cli.pipeline.memory import return_large_blocks
from m3d_cli.pipeline.process_photo import photo_work
from m3d_cli.pipeline.resume import Task
from m3d_cli.pipeline.run_context import HandedOut, RunContext, Stopped
from m3d_cli.pipeline.runner import MOST_THREADS, WorkerLost, lost_device
from m3d_cli.pipeline.settings import Settings
from m3d_cli.pipeline.shared_engine import SharedEngine
from m3d_cli.pipeline.upload import RemoteOut

logger = logging.getLogger(__name__)

# How often the process of one device is started in a run.
MOST_STARTS = 4


@dataclass(frozen=True, slots=True)
class _Answer:
    """What became of photo ``number``: an outcome, an error, or neither when it was stopped before it was written."""

    number: int
    in_flight: int
    outcome: Outcome | None = None
    error: M3dError | None = None


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

    def context(self, stop: threading.Event, borrowed: Engine | None = None) -> RunContext:
        """The run as the worker sees it, with an engine of its own unless it borrows one."""
        engine = SharedEngine(self.engine if borrowed is None else lambda: borrowed)
        journal = HandedOut(self.folder)
        work = photo_work(self.settings, engine, journal, stop, self.remote)
        return RunContext(work, journal, engine, overwrite=True, stop=stop, remote=self.remote)

    def engine(self) -> Engine:
        """A new engine."""
        from m3d_cli.inference.engine import create_engine

        return create_engine(self.settings.model, self.settings.weights, self.options, self.photos)


@contextmanager
def decode_workers(engine: Engine, recipe: WorkerRecipe) -> Iterator[Sequence[ProcessWorker]]:
    """Processes that decode and write for the network of this one."""
    in_flight = -(-engine.in_flight // engine.helpers) + 1
    with closing(Lender(engine)) as lender:
        names = (f"decoder {number}" for number in range(1, engine.helpers + 1))
        yield [ProcessWorker(name, recipe, lender, in_flight) for name in names]


class _Line:
    """One end of a pipe on which several threads speak."""

    def __init__(self, connection: Connection[Any, Any]) -> None:
        self._connection = connection
        self._guard = threading.Lock()

    def send(self, message: object) -> None:
        """Raises OSError where nobody listens any more."""
        # What is sent is pickled first, so that others speak meanwhile.
        data = pickle.dumps(message)
        with self._guard:
            self._connection.send_bytes(data)

    def receive(self) -> Any:
        """The next message; raises EOFError or OSError when the other end is gone."""
        return self._connection.recv()


class ProcessWorker:
    """A worker in a process of its own, which is started with its first photo and again when it died.

    With a ``lender`` it has no network of its own but borrows one, for ``in_flight`` photos at once.
    """

    keeps_journal = False

    def __init__(self, name: str, recipe: WorkerRecipe, lender: Lender | None = None, in_flight: int = 1) -> None:
        self.name = name
        self._recipe = recipe
        self._lender = lender
        self._loan = in_flight if lender is not None else None
        self._guard = threading.Lock()
        self._waiting: dict[int, Future[Outcome]] = {}
        self._count = 0
        self._starts = 0
        self._in_flight = in_flight
        self._reader: threading.Thread | None = None
        self._process: multiprocessing.process.BaseProcess | None = None
        self._line: _Line | None = None

    @property
    def in_flight(self) -> int:
        """One photo until the process has a network and tells better."""
        return self._in_flight

    def submit(self, task: Task) -> Future[Outcome]:
        """Send the photo to the process, a new one where there is none alive."""
        future: Future[Outcome] = Future()
        future.set_running_or_notify_cancel()
        with self._guard:
            if self._line is None and self._starts == MOST_STARTS:
                future.set_exception(lost_device(self.name, self._starts))
                return future
            line = self._line or self._started()
            self._count += 1
            self._waiting[self._count] = future
            number = self._count
        # Where it is gone, the reader notices the same and tells all who wait.
        with suppress(BrokenPipeError, ConnectionResetError):
            line.send((number, task))
        return future

    def close(self) -> None:
        """Let it finish what it is writing, and end it."""
        with self._guard:
            line = self._line
        if line is None or self._process is None or self._reader is None:
            return
        with suppress(BrokenPipeError, ConnectionResetError):
            line.send(None)
        self._process.join()
        self._reader.join()

    def _started(self) -> _Line:
        self._starts += 1
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        arguments = (theirs, self._recipe, self._loan)
        self._process = context.Process(target=serve, args=arguments, name=f"m3d-{self.name}", daemon=True)
        self._process.start()
        # Only the process may hold its end, or nobody would notice that it died.
        theirs.close()
        self._line = _Line(ours)
        self._reader = threading.Thread(target=self._read, args=(self._line, self._process), daemon=True)
        self._reader.start()
        return self._line

    def _read(self, line: _Line, process: multiprocessing.process.BaseProcess) -> None:
        blocks: dict[int, Block] = {}
        try:
            while True:
                message = line.receive()
                if self._lender is not None and isinstance(message, Question):
                    self._lender.answer(message, blocks, line.send)
                else:
                    self._hear(message)
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
            self._line = None
            self._in_flight = 1
        for future in left:
            future.set_exception(WorkerLost(reason))


def serve(connection: Connection[Any, Any], recipe: WorkerRecipe, loan: int | None = None) -> None:
    """The process: work on what comes until nothing more does, or until who sends is gone.

    ``loan`` is how many photos it has in flight with a network that it borrows; None for one of its own.
    """
    # Ctrl-C goes to all processes of a terminal; the one that started this one ends it in good order.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return_large_blocks()
    line, stop, ended = _Line(connection), threading.Event(), threading.Event()
    engine = BorrowedEngine(line.send, loan) if loan is not None else None
    context = recipe.context(stop, engine)
    with ThreadPoolExecutor(MOST_THREADS, thread_name_prefix="m3d-photo") as pool:

        def work(number: int, task: Task) -> None:
            told = _worked(number, task, context)
            with suppress(OSError):
                line.send(told)

        # Beside the work, since answers of the engine come to the very end.
        hear = partial(_listen, line, engine, ended, lambda number, task: pool.submit(work, number, task))
        threading.Thread(target=hear, daemon=True).start()
        ended.wait()
        stop.set()
    context.engine.close()


def _listen(
    line: _Line, engine: BorrowedEngine | None, ended: threading.Event, begin: Callable[[int, Task], object]
) -> None:
    try:
        while True:
            message = line.receive()
            if message is None:
                ended.set()
            elif engine is not None and isinstance(message, Reply):
                engine.answered(message)
            else:
                begin(*message)
    except (EOFError, OSError):
        logger.debug("nobody sends photos any more")
    finally:
        # Whatever ended it: nobody may wait for what will not be heard.
        if engine is not None:
            engine.lost()
        ended.set()


def _worked(number: int, task: Task, context: RunContext) -> _Answer:
    try:
        outcome = context.outcome_of(task)
        return _Answer(number, context.engine.in_flight, outcome)
    except Stopped:
        return _Answer(number, 1)
    except M3dError as error:
        return _Answer(number, 1, error=error)
    except Exception as error:  # noqa: BLE001 - the process must answer, whatever happened to it
        return _Answer(number, 1, error=DeviceError(f"{type(error).__name__}: {error}", hint="see m3d doctor"))
