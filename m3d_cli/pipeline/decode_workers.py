"""One process has the network, others decode and write: Python decodes at most about a hundred photos per second in one
process, however many cores there are, and a network on a fast GPU waits for more.

Images and depth go through memory that both processes see; what is said about them goes through a pipe.
"""

from __future__ import annotations

import itertools
import mmap
import os
import pickle
import tempfile
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from m3d_cli.errors import DeviceError, M3dError, OutputError
from m3d_cli.inference.photo import CanonicalPhoto, Computed, Engine, Wanted
from m3d_cli.intrinsics.estimated import FocalOpinion
from m3d_cli.pipeline.runner import MOST_THREADS

# Blocks grow in steps of so many bytes, and rarely after the first photos.
GRAIN = 4 << 20

# Bytes a pixel of the photo: what is wanted of it as float32, or steps of 16 bits.
_FLOAT, _STEP, _NORMAL = 4, 2, 12

_SHARED = Path("/dev/shm")  # noqa: S108 - memory that processes share, by Linux


@dataclass(frozen=True, slots=True)
class Parcel:
    """An object whose arrays lie in a block, one after the other; ``content`` is the rest of it, pickled.

    Without ``lengths`` everything is in ``content``.
    """

    content: bytes
    lengths: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Question:
    """A call of a method of `Engine`, with its arguments, from the thread ``asker`` of a worker and in its block."""

    asker: int
    block: Path
    method: str
    arguments: Parcel


@dataclass(frozen=True, slots=True)
class Reply:
    """What the method returned to the thread ``asker``, in the block of the question, or what it raised."""

    asker: int
    result: Parcel | None
    error: Exception | None = None


class Block:
    """Memory shared by two processes: a file that has no name any more once the second has opened it."""

    def __init__(self, path: Path, memory: mmap.mmap) -> None:
        self.path = path
        self._memory = memory
        self.size = len(memory)

    @classmethod
    def create(cls, size: int) -> Block:
        """At least ``size`` bytes, in memory where there is room for that, else in a file. Raises OutputError."""
        size = -(-size // GRAIN) * GRAIN
        with suppress(OSError):
            return cls._created(size, _SHARED)
        try:
            return cls._created(size, None)
        except OSError as error:
            raise OutputError(
                f"no room for {size >> 20} MB that two processes share ({error.strerror})",
                hint=f"free some of {_SHARED} or of {tempfile.gettempdir()}",
            ) from error

    @classmethod
    def _created(cls, size: int, folder: Path | None) -> Block:
        descriptor, name = tempfile.mkstemp(prefix="m3d-", dir=folder)
        try:
            # Without room for it, to write there would end the process.
            os.posix_fallocate(descriptor, 0, size)
            return cls(Path(name), mmap.mmap(descriptor, size))
        except OSError:
            Path(name).unlink()
            raise
        finally:
            os.close(descriptor)

    @classmethod
    def opened(cls, path: Path) -> Block:
        """The block that another process created."""
        with path.open("r+b") as file:
            block = cls(path, mmap.mmap(file.fileno(), 0))
        path.unlink()
        return block

    def put(self, content: object) -> Parcel:
        """Copy what ``content`` has of arrays into the block; if they do not fit, all goes the slow way."""
        arrays: list[pickle.PickleBuffer] = []
        data = pickle.dumps(content, protocol=5, buffer_callback=arrays.append)
        views = [array.raw() for array in arrays]
        if sum(map(len, views)) > self.size:
            return Parcel(pickle.dumps(content), ())
        place = 0
        for view in views:
            target: NDArray[np.uint8] = np.frombuffer(self._memory, np.uint8, len(view), place)
            target[:] = np.frombuffer(view, np.uint8)
            place += len(view)
        return Parcel(data, tuple(map(len, views)))

    def get(self, parcel: Parcel) -> Any:
        """What was put there; its arrays are the block's and change with the next `put`."""
        views, place = [], 0
        for length in parcel.lengths:
            views.append(memoryview(self._memory)[place : place + length])
            place += length
        return pickle.loads(parcel.content, buffers=views)  # noqa: S301 - of a process of this run

    def close(self) -> None:
        """Give the memory back, unless arrays of it are still in use."""
        with suppress(BufferError):
            self._memory.close()


class BorrowedEngine:
    """The engine of another process; each thread that asks has a block of its own."""

    description = "borrowed"
    helpers = 0

    def __init__(self, send: Callable[[Question], None], in_flight: int) -> None:
        # As an engine of its own does: photos run side by side.
        cv2.setNumThreads(1)
        self.in_flight = in_flight
        self._send = send
        self._numbers = itertools.count()
        self._thread = threading.local()
        self._waiting: dict[int, Future[Parcel]] = {}
        self._guard = threading.Lock()
        self._is_lost = False

    def compute(self, photo: CanonicalPhoto, wanted: Wanted) -> Computed:
        """Metric depth at the photo's own size."""
        a_pixel = _STEP if wanted.png_scale is not None else _FLOAT
        a_pixel += _FLOAT * wanted.confidence + _NORMAL * wanted.normals
        # The rest is the sample of which the sidecar tells.
        room = a_pixel * photo.camera.width * photo.camera.height + GRAIN
        computed: Computed = self._asked("compute", (photo, wanted), max(room, photo.pixels.nbytes))
        return computed

    def focal(self, image: NDArray[np.uint8], width: int, height: int) -> FocalOpinion:
        """What the photo itself says about its focal length."""
        opinion: FocalOpinion = self._asked("focal", (np.ascontiguousarray(image), width, height), image.nbytes)
        return opinion

    def close(self) -> None:
        """It is closed by who lent it."""

    def answered(self, reply: Reply) -> None:
        """Hand an answer to the thread that waits for it."""
        with self._guard:
            future = self._waiting.pop(reply.asker)
        if reply.result is not None:
            future.set_result(reply.result)
        else:
            future.set_exception(reply.error or DeviceError("the engine gave no answer"))

    def lost(self) -> None:
        """Nobody will answer any more: all who wait, or ask from now on, get a DeviceError."""
        with self._guard:
            self._is_lost = True
            waiting = list(self._waiting.values())
            self._waiting.clear()
        for future in waiting:
            future.set_exception(_gone())

    def _asked(self, method: str, arguments: Sequence[object], room: int) -> Any:
        block = self._block(room)
        asker: int = self._thread.number
        future: Future[Parcel] = Future()
        with self._guard:
            if self._is_lost:
                raise _gone()
            self._waiting[asker] = future
        self._send(Question(asker, block.path, method, block.put(tuple(arguments))))
        return block.get(future.result())

    def _block(self, room: int) -> Block:
        block: Block | None = getattr(self._thread, "block", None)
        if block is None or block.size < room:
            if block is not None:
                block.close()
            else:
                self._thread.number = next(self._numbers)
            self._thread.block = block = Block.create(room)
        return block


class Lender:
    """Answers the questions of workers with the engine of this process; the blocks of each worker by its threads."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._pool = ThreadPoolExecutor(MOST_THREADS, thread_name_prefix="m3d-lend")

    def answer(self, question: Question, blocks: dict[int, Block], send: Callable[[Reply], None]) -> None:
        """Start on a question; ``send`` gets the reply."""
        self._pool.submit(self._answered, question, blocks, send)

    def _answered(self, question: Question, blocks: dict[int, Block], send: Callable[[Reply], None]) -> None:
        try:
            block = _opened(question, blocks)
            result = getattr(self._engine, question.method)(*block.get(question.arguments))
            reply = Reply(question.asker, block.put(result))
        except (M3dError, MemoryError) as error:
            reply = Reply(question.asker, None, error)
        except Exception as error:  # noqa: BLE001 - who asked must hear of it, or waits for ever
            # In words: not every error survives a pipe.
            reply = Reply(question.asker, None, RuntimeError(f"{type(error).__name__}: {error}"))
        # A worker that died meanwhile needs no answer.
        with suppress(OSError):
            send(reply)

    def close(self) -> None:
        """Let what is being computed end."""
        self._pool.shutdown(wait=True)


def _opened(question: Question, blocks: dict[int, Block]) -> Block:
    """The block of who asks, which has a new one when it needs more room; a thread asks one question at a time."""
    block = blocks.get(question.asker)
    if block is not None and block.path == question.block:
        return block
    if block is not None:
        block.close()
    blocks[question.asker] = block = Block.opened(question.block)
    return block


def _gone() -> DeviceError:
    return DeviceError("the process that has the network is gone", hint="run again; finished photos are kept")
