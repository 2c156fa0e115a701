"""Many threads, one device: photos from worker threads become batches."""

from __future__ import annotations

import queue
import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass

from m3d_cli.inference.predictor import CanonicalPhoto, Predictor
from m3d_cli.inference.running import Running
from m3d_cli.models.prediction import Prediction

# A batch starts at the latest this many seconds after its first photo: a fraction of what the network takes.
PATIENCE = 0.005

# How often a device at work is asked whether it is done: seconds.
GLANCE = 0.0005


@dataclass(frozen=True, slots=True, eq=False)
class BatchPlace:
    """Where a photo's prediction stands: its batch, its index there, and its share of the batch's CPU seconds."""

    prediction: Prediction
    index: int
    seconds: float


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    photo: CanonicalPhoto
    answer: Future[BatchPlace]


@dataclass(frozen=True, slots=True, eq=False)
class _Batch:
    """Photos that the device has, and the CPU seconds that each took to get there."""

    photos: list[_Waiting]
    running: Running
    share: float

    def is_done(self) -> bool:
        return self.running.is_done()

    def answer(self) -> None:
        """Wait for the device and tell those who wait for it."""
        try:
            prediction = self.running.result()
        except BaseException as error:  # noqa: BLE001 - whoever waits must hear of it, or waits for ever
            _tell(self.photos, error)
            return
        for index, waiting in enumerate(self.photos):
            waiting.answer.set_result(BatchPlace(prediction, index, self.share))


class Batcher:
    """One thread that runs the network for all who call `predict`, which waits for its answer."""

    def __init__(self, predictor: Predictor, patience: float = PATIENCE) -> None:
        self.predictor = predictor
        self.patience = patience
        self._queue: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._serve, name="m3d-network", daemon=True)
        self._thread.start()

    def predict(self, photo: CanonicalPhoto) -> BatchPlace:
        """The prediction of one photo; raises what the network raised for its batch."""
        waiting = _Waiting(photo, Future())
        self._queue.put(waiting)
        return waiting.answer.result()

    def close(self) -> None:
        """End the thread; nobody may be waiting any more."""
        self._queue.put(None)
        self._thread.join()

    def _serve(self) -> None:
        running: _Batch | None = None
        is_open = True
        while is_open or running is not None:
            photos, is_open = self._collected(running) if is_open else ([], False)
            begun = self._begun(photos) if photos else None
            if running is not None:
                running.answer()
            running = begun

    def _collected(self, running: _Batch | None) -> tuple[list[_Waiting], bool]:
        """Photos for a batch, and whether more may come.

        While the device works a batch has time to fill; once it has nothing more to do, what there is goes to it.
        """
        photos: list[_Waiting] = []
        deadline = None
        while len(photos) < self.predictor.batch_size and not (running and running.is_done()):
            try:
                item = self._queue.get(timeout=_patience(running, deadline))
            except queue.Empty:
                if running is None:
                    break
                continue
            if item is None:
                return photos, False
            photos.append(item)
            deadline = deadline or time.monotonic() + self.patience
        return photos, True

    def _begun(self, photos: list[_Waiting]) -> _Batch | None:
        begin = time.thread_time()
        try:
            running = self.predictor.begin([waiting.photo for waiting in photos])
        except BaseException as error:  # noqa: BLE001 - whoever waits must hear of it, or waits for ever
            _tell(photos, error)
            return None
        return _Batch(photos, running, (time.thread_time() - begin) / len(photos))


def _patience(running: _Batch | None, deadline: float | None) -> float | None:
    if running is not None:
        return GLANCE
    return None if deadline is None else max(0.0, deadline - time.monotonic())


def _tell(photos: list[_Waiting], error: BaseException) -> None:
    for waiting in photos:
        waiting.answer.set_exception(error)
