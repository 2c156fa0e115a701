"""The predictor on a CUDA device: uploads, network, and what makes depth of its output, in streams of their own.

Every batch has the same size, filled up where photos are few: a photo gets the same depth whoever comes with it, and
the network's calls are recorded once and replayed in one go (a CUDA graph), which spares the CPU thousands of them a
batch. What leaves the device goes to pinned memory, as 16-bit steps where files hold no more.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from m3d_cli.depthmap import DepthMap, DepthSteps, DepthSummary, sampling
from m3d_cli.inference.device import Compute
from m3d_cli.inference.faults import is_out_of_memory
from m3d_cli.inference.photo import CanonicalPhoto, Wanted
from m3d_cli.inference.predictor import Predictor, upsampled
from m3d_cli.inference.running import Running
from m3d_cli.inference.steps import in_steps
from m3d_cli.models.prediction import Prediction
from m3d_cli.models.spec import ModelSpec

logger = logging.getLogger(__name__)

# While the network works on one batch, the next is uploaded.
SLOTS = 2


class CudaPredictor(Predictor):
    """Like `Predictor`, but the network always computes ``batch_size`` photos; call by call unless it ``records``."""

    def __init__(
        self, model: nn.Module, spec: ModelSpec, compute: Compute, batch_size: int = 1, *, records: bool = True
    ) -> None:
        super().__init__(model, spec, compute, batch_size)
        device = compute.device
        self._uploading, self._computing, self._finishing = (_stream(device) for _ in range(3))
        self._slots: list[_Slot] = []
        self._batches = 0
        self._recorded: _Recorded | None = None
        self._can_record = records
        # The weights came in another stream than those that will use them.
        torch.cuda.synchronize(device)

    def begin(self, photos: Sequence[CanonicalPhoto]) -> Running:
        """Start on a batch. It waits for earlier ones only when there are more than `SLOTS` of them."""
        with torch.cuda.stream(self._computing):
            prediction = self._in_pieces(photos)
            done = _event()
            done.record()
        return _OnDevice(prediction, done, self._judge)

    def finish(
        self, prediction: Prediction, index: int, photo: CanonicalPhoto, wanted: Wanted | None = None
    ) -> DepthMap:
        """As of `Predictor`, beside the network's work on other photos."""
        with torch.cuda.stream(self._finishing):
            return super().finish(prediction, index, photo, wanted)

    def product(
        self, prediction: Prediction, index: int, photo: CanonicalPhoto, wanted: Wanted
    ) -> DepthMap | DepthSteps:
        """Steps where they are all that is wanted and the device has room for them, else metres."""
        if wanted.png_scale is None or wanted.confidence or wanted.normals:
            return self.finish(prediction, index, photo, wanted)
        try:
            with torch.cuda.stream(self._finishing):
                return self._steps(prediction.depth[index], photo, wanted.max_depth, wanted.png_scale)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                self._judge(error)
                raise
            return self.finish(prediction, index, photo, wanted)

    @torch.inference_mode()
    def _steps(self, canonical: Tensor, photo: CanonicalPhoto, max_depth: float | None, scale: float) -> DepthSteps:
        size = (photo.camera.height, photo.camera.width)
        depth = upsampled(self._metric(canonical, photo.transform, max_depth), size)[0]
        values, counts = in_steps(depth, scale)
        steps, sample, told = _pinned(values, depth[sampling(depth.numel())], counts)
        clipped, known, least, largest = told.tolist()
        if not known:
            least = largest = float("nan")
        summary = DepthSummary(depth.numel(), int(known), least, largest, sample.numpy())
        return DepthSteps(steps.numpy(), scale, int(clipped), summary, photo.camera)

    def _to_host(self, values: Tensor) -> NDArray[np.float32]:
        (copy,) = _pinned(values)
        return copy.numpy()

    def _forward(self, photos: Sequence[CanonicalPhoto]) -> Prediction:
        slot = self._slot()
        slot.fill(photos)
        with torch.cuda.stream(self._uploading):
            slot.device.copy_(slot.host, non_blocking=True)
        self._computing.wait_stream(self._uploading)
        with torch.cuda.stream(self._computing):
            prediction = self._computed(slot.device)
            slot.free.record()
        return prediction if len(photos) == self.batch_size else prediction.mapped(lambda maps: maps[: len(photos)])

    def _slot(self) -> _Slot:
        """The input buffers of the next batch, once the device has read what they held."""
        if not self._slots or self._slots[0].size != self.batch_size:
            torch.cuda.synchronize(self.compute.device)
            self._recorded, self._batches = None, 0
            shape = (self.batch_size, self.spec.canonical.height, self.spec.canonical.width, 3)
            self._slots = [_Slot(shape, self.compute.device) for _ in range(SLOTS)]
        slot = self._slots[self._batches % SLOTS]
        slot.free.synchronize()
        self._batches += 1
        return slot

    def _computed(self, pixels: Tensor) -> Prediction:
        """The first batch as it comes, which also sets the libraries up; from the second on a recording is played."""
        if self._batches > 1 and self._recorded is None and self._can_record:
            self._record(pixels)
        return self._network(pixels) if self._recorded is None else self._recorded.played(pixels)

    def _record(self, pixels: Tensor) -> None:
        try:
            self._recorded = _Recorded(self._network, pixels, self._computing)
        except RuntimeError as error:
            # The network runs as well without, if slower.
            self._can_record = False
            logger.info("the network is run call by call: %s", str(error).partition("\n")[0])


class _Slot:
    """Pixels (B, H, W, 3) of a batch in pinned memory and on the device, ``free`` when the network has read them."""

    def __init__(self, shape: tuple[int, int, int, int], device: torch.device) -> None:
        self.size = shape[0]
        self.host = torch.zeros(shape, dtype=torch.uint8, pin_memory=True)
        self.device = torch.empty(shape, dtype=torch.uint8, device=device)
        self.free = _event()

    def fill(self, photos: Sequence[CanonicalPhoto]) -> None:
        """Copy the photos in; what is left of the batch keeps the photos of an earlier one, which nobody reads."""
        pixels = self.host.numpy()
        for place, photo in zip(pixels, photos, strict=False):
            np.copyto(place, photo.pixels)


class _Recorded:
    """The network's calls for one batch size."""

    def __init__(self, network: Callable[[Tensor], Prediction], like: Tensor, stream: torch.cuda.Stream) -> None:
        self._input = like.clone()
        self._graph = torch.cuda.CUDAGraph()
        # Other threads may use the device meanwhile.
        with torch.cuda.graph(self._graph, stream=stream, capture_error_mode="thread_local"):
            self._output = network(self._input)

    def played(self, pixels: Tensor) -> Prediction:
        """What the network gives for ``pixels``."""
        self._input.copy_(pixels)
        self._graph.replay()
        return self._output.mapped(torch.clone)


class _OnDevice:
    """A batch up to an event on the device."""

    def __init__(self, prediction: Prediction, done: torch.cuda.Event, judge: Callable[[RuntimeError], None]) -> None:
        self._prediction = prediction
        self._done = done
        self._judge = judge

    def is_done(self) -> bool:
        """Whether the device is past the event, or lost, which `result` tells."""
        try:
            return bool(self._done.query())  # type: ignore[no-untyped-call]
        except RuntimeError:
            return True

    def result(self) -> Prediction:
        """Waits without keeping a core busy."""
        try:
            self._done.synchronize()
        except RuntimeError as error:
            self._judge(error)
            raise
        return self._prediction


def _event() -> torch.cuda.Event:
    """An event for which a thread waits asleep."""
    return torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]


def _stream(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


def _pinned(*values: Tensor) -> list[Tensor]:
    """Copies in pinned memory, which arrive without a staging buffer and beside other work of the device."""
    copies = [torch.empty(one.shape, dtype=one.dtype, pin_memory=True) for one in values]
    for copy, one in zip(copies, values, strict=True):
        copy.copy_(one, non_blocking=True)
    done = _event()
    done.record()
    done.synchronize()
    return copies
