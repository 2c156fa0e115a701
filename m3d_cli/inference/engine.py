"""Depth for worker threads: on a CPU each thread runs the network itself, on a GPU one thread runs it in batches."""

from __future__ import annotations

import sys
import threading
import time
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from m3d_cli.inference.backends import choose_backend, graph_of
from m3d_cli.inference.batch_size import tuned_batch
from m3d_cli.inference.batcher import Batcher
from m3d_cli.inference.cuda_predictor import CudaPredictor
from m3d_cli.inference.device import Compute, choose_compute
from m3d_cli.inference.onnx_predictor import OnnxPredictor
from m3d_cli.inference.openvino_predictor import OpenVinoPredictor
from m3d_cli.inference.photo import CanonicalPhoto, Computed, Engine, EngineOptions, Wanted, available_cores
from m3d_cli.inference.picture_focal import SharedPictureFocal
from m3d_cli.inference.predictor import Predictor
from m3d_cli.intrinsics.estimated import FocalOpinion
from m3d_cli.models.create import open_model
from m3d_cli.models.onnx_file import ONNX, TORCH
from m3d_cli.models.registry import ChosenWeights
from m3d_cli.models.spec import ModelSpec

# More streams than this fight over the memory bus rather than help.
MOST_STREAMS = 8

GPU_BATCH = 8

# Processes that decode and write: one for two cores where there are many, up to what the one with the network can feed.
CORES_A_HELPER, MANY_CORES, MOST_HELPERS = 2, 6, 16

# As the batch size of `EngineOptions`.
BY_TRYING = 0


def stream_plan(photos: int, cores: int) -> tuple[int, int]:
    """Streams and threads a stream for a run of ``photos``.

    It depends on the planned total only, never on what is left: sums split over another number of threads round
    differently, and a resumed run must give the same bytes.
    """
    streams = max(1, min(cores, photos, MOST_STREAMS))
    return streams, max(1, cores // streams)


class StreamEngine:
    """The calling thread runs the network, a photo at a time."""

    def __init__(self, predictor: Predictor, streams: int, threads: int) -> None:
        self.predictor = predictor
        self._teller = SharedPictureFocal(predictor.compute.device)
        self.streams = streams
        self.threads = threads
        self._thread = threading.local()

    @property
    def description(self) -> str:
        """Device, precision and parallelism in a few words."""
        return f"{self.predictor.description}, {self.streams} x {self.threads} threads"

    @property
    def in_flight(self) -> int:
        """One photo more than streams, so that a core is not idle while a file reaches the disk."""
        return self.streams + 1 if self.streams > 1 else 1

    @property
    def helpers(self) -> int:
        """None: here the network takes the time, outside of Python."""
        return 0

    def compute(self, photo: CanonicalPhoto, wanted: Wanted) -> Computed:
        """Metric depth at the photo's own size."""
        self._prepare_thread()
        begin = time.thread_time()
        prediction = self.predictor.canonical([photo])
        middle = time.thread_time()
        depth = self.predictor.product(prediction, 0, photo, wanted)
        return Computed(depth, middle - begin, time.thread_time() - middle, *self.predictor.how)

    def focal(self, image: NDArray[np.uint8], width: int, height: int) -> FocalOpinion:
        """What the photo itself says about its focal length."""
        self._prepare_thread()
        return self._teller.get().opinion(image, width, height)

    def close(self) -> None:
        """Nothing is held."""

    def _prepare_thread(self) -> None:
        if not getattr(self._thread, "is_ready", False):
            torch.set_num_threads(self.threads)
            self._thread.is_ready = True


class BatchEngine:
    """Photos of all threads meet in batches on one device."""

    def __init__(self, predictor: Predictor) -> None:
        self.predictor = predictor
        self._most = predictor.batch_size
        self._batcher = Batcher(predictor)
        self._teller = SharedPictureFocal(predictor.compute.device)

    @property
    def description(self) -> str:
        """Device, precision and parallelism in a few words."""
        return f"{self.predictor.description}, batches of {self.predictor.batch_size}"

    @property
    def in_flight(self) -> int:
        """A batch on the device, one that fills, and one photo per core that is decoded or written."""
        return 2 * self._most + available_cores()

    @property
    def helpers(self) -> int:
        """None where there are so few cores that this process keeps them busy, nor where memory is shared otherwise."""
        cores = available_cores()
        is_gpu = self.predictor.compute.device.type == "cuda"
        pays = is_gpu and cores >= MANY_CORES and sys.platform == "linux"
        return min(cores // CORES_A_HELPER, MOST_HELPERS) if pays else 0

    def compute(self, photo: CanonicalPhoto, wanted: Wanted) -> Computed:
        """Metric depth at the photo's own size."""
        place = self._batcher.predict(photo)
        begin = time.thread_time()
        depth = self.predictor.product(place.prediction, place.index, photo, wanted)
        return Computed(depth, place.seconds, time.thread_time() - begin, *self.predictor.how)

    def focal(self, image: NDArray[np.uint8], width: int, height: int) -> FocalOpinion:
        """What the photo itself says about its focal length."""
        return self._teller.get().opinion(image, width, height)

    def close(self) -> None:
        """End the network's thread."""
        self._batcher.close()


def create_engine(spec: ModelSpec, weights: ChosenWeights, options: EngineOptions, photos: int) -> Engine:
    """The engine for a run of ``photos``; raises WeightsError, DeviceError or UsageError."""
    compute = choose_compute(options.device, options.precision)
    weights.check()
    # Photos run side by side; OpenCV splitting each of them as well would only add waiting.
    cv2.setNumThreads(1)
    is_on_cpu = compute.device.type == "cpu"
    # On a CPU one photo per core is best, whatever the network.
    batch_size = options.batch_size or (1 if is_on_cpu else max(1, min(photos, GPU_BATCH)))
    streams, threads = (1, available_cores()) if batch_size > 1 else stream_plan(photos, available_cores())
    backend = choose_backend(options.backend, spec, weights, compute, photos)
    predictor = _predictor(spec, weights, backend, Sizes(compute, batch_size, streams, threads))
    if options.batch_size == BY_TRYING and not is_on_cpu:
        predictor.batch_size = tuned_batch(predictor)
    if batch_size > 1 or not is_on_cpu:
        return BatchEngine(predictor)
    return StreamEngine(predictor, streams, threads)


@dataclass(frozen=True, slots=True)
class Sizes:
    """Where a predictor runs: device, photos a batch, photos side by side, threads a photo."""

    compute: Compute
    batch_size: int
    streams: int
    threads: int


def _predictor(spec: ModelSpec, weights: ChosenWeights, backend: str, sizes: Sizes) -> Predictor:
    if backend == TORCH:
        kind = CudaPredictor if sizes.compute.device.type == "cuda" else Predictor
        return kind(open_model(spec, weights), spec, sizes.compute, sizes.batch_size)
    graph = graph_of(spec, weights)
    if backend == ONNX:
        return OnnxPredictor(graph, spec, sizes.compute, sizes.batch_size, sizes.threads)
    return OpenVinoPredictor(graph, spec, sizes.compute, sizes.batch_size, sizes.streams, sizes.threads)
