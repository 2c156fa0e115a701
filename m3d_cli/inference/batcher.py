"""Many threads, one device: photos from worker threads become batches."""

from __future__ import annotations

import queue
import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass

from m3d_cli.inference.predictor import CanonicalPhoto, Predictor
from m3d_cli.models.prediction import Prediction

# A batch starts at the latest this many seconds after its first photo: a fraction of what the network takes.
PATIENCE = 0.005


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
        is_open = True
        while is_open:
            batch, is_open = self._collect()
            if batch:
                self._answer(batch)

    def _collect(self) -> tuple[list[_Waiting], bool]:
        """Up to a batch of photos, and whether more may come."""
        batch: list[_Waiting] = []
        deadline = None
        while len(batch) < self.predictor.batch_size:
            try:
                left = None if deadline is None else max(0.0, deadline - time.monotonic())
                item = self._queue.get(timeout=left)
            except queue.Empty:
                break
            if item is None:
                return batch, False
            batch.append(item)
            deadline = deadline or time.monotonic() + self.patience
        return batch, True

    def _answer(self, batch: list[_Waiting]) -> None:
        begin = time.thread_time()
        try:
            prediction = self.predictor.canonical([waiting.photo for waiting in batch])
        except BaseException as error:  # noqa: BLE001 - whoever waits must hear of it, or waits for ever
            for waiting in batch:
                waiting.answer.set_exception(error)
            return
        share = (time.thread_time() - begin) / len(batch)
        for index, waiting in enumerate(batch):
            waiting.answer.set_result(BatchPlace(prediction, index, share))
