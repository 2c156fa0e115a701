"""From photos to metric depth: canonical images in batches through the network, and back to each photo's pixels."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from m3d_cli.camera import Camera
from m3d_cli.canonical import CanonicalTransform
from m3d_cli.depthmap import DepthMap, DepthSteps, facing
from m3d_cli.errors import DeviceError
from m3d_cli.inference.device import Compute
from m3d_cli.inference.faults import device_fault, is_out_of_memory
from m3d_cli.inference.photo import CanonicalPhoto, Wanted, canonical_transform, to_canonical
from m3d_cli.inference.running import Ready, Running
from m3d_cli.models.onnx_file import TORCH
from m3d_cli.models.prediction import Prediction
from m3d_cli.models.spec import ModelSpec

__all__ = ["CanonicalPhoto", "Predictor", "Wanted", "canonical_transform", "to_canonical"]

logger = logging.getLogger(__name__)

# Shorter than any direction a network gives: what it replaces is no direction at all.
TINY = np.float32(1e-6)


class Predictor:
    """A network on its device. ``batch_size`` halves by itself when memory runs out, down to 1."""

    backend = TORCH

    def __init__(self, model: nn.Module, spec: ModelSpec, compute: Compute, batch_size: int = 1) -> None:
        self.spec = spec
        self.compute = compute
        self.batch_size = batch_size
        self.model = model.to(compute.device, compute.dtype).eval()
        self._mean = torch.tensor(spec.mean, device=compute.device)[:, None, None]
        self._std = torch.tensor(spec.std, device=compute.device)[:, None, None]

    @property
    def how(self) -> tuple[str, str]:
        """Number format and backend of what it computes."""
        return self.compute.precision, self.backend

    @property
    def description(self) -> str:
        """Device, number format and, where it is not torch, the backend."""
        return f"{self.compute}" if self.backend == TORCH else f"{self.compute} by {self.backend}"

    def predict(self, photos: Sequence[CanonicalPhoto], wanted: Wanted | None = None) -> list[DepthMap]:
        """Metric depth of every photo at its own resolution, in order."""
        prediction = self.canonical(photos)
        return [self.finish(prediction, i, photo, wanted) for i, photo in enumerate(photos)]

    def canonical(self, photos: Sequence[CanonicalPhoto]) -> Prediction:
        """The network's output for a batch of any size, run in pieces of ``batch_size``, on the device."""
        return self.begin(photos).result()

    def begin(self, photos: Sequence[CanonicalPhoto]) -> Running:
        """Start on what `canonical` gives; a device of its own may still be at it when this returns."""
        return Ready(self._in_pieces(photos))

    @torch.inference_mode()
    def _in_pieces(self, photos: Sequence[CanonicalPhoto]) -> Prediction:
        pieces: list[Prediction] = []
        done = 0
        while done < len(photos):
            chunk = photos[done : done + self.batch_size]
            try:
                pieces.append(self._forward(chunk))
            except RuntimeError as error:
                self._make_room(error)
                continue
            done += len(chunk)
        return pieces[0] if len(pieces) == 1 else Prediction.joined(pieces)

    @torch.inference_mode()
    def finish(
        self, prediction: Prediction, index: int, photo: CanonicalPhoto, wanted: Wanted | None = None
    ) -> DepthMap:
        """Depth of one photo of the batch in metres, brought to full size on the device, then copied once.

        Where the device has no memory for the full size, the CPU does it.
        """
        wanted = wanted or Wanted()
        depth = self._metric(prediction.depth[index], photo.transform, wanted.max_depth)
        inner = (slice(None), *photo.transform.inner)
        confidence = prediction.confidence[index][inner] if wanted.confidence else None
        normals = prediction.normals[index][inner] if wanted.normals and prediction.normals is not None else None
        return DepthMap(
            self._full_size(depth, photo.camera)[0],
            photo.camera,
            None if confidence is None else self._full_size(confidence, photo.camera)[0],
            None if normals is None else self._full_normals(normals, photo.camera),
        )

    def product(
        self, prediction: Prediction, index: int, photo: CanonicalPhoto, wanted: Wanted
    ) -> DepthMap | DepthSteps:
        """What `finish` gives, or its steps where they are all that is ``wanted`` and cheaper to get."""
        return self.finish(prediction, index, photo, wanted)

    def _metric(self, canonical: Tensor, transform: CanonicalTransform, max_depth: float | None) -> Tensor:
        """Metres (1, h, w) of the photo's part of the network output, NaN where unknown.

        Judged before upsampling: a pixel whose neighbour is unknown becomes unknown too, never a blend of both.
        """
        inner = canonical[(slice(None), *transform.inner)].float()
        near, far = self.spec.depth_range
        metres = transform.to_metric(inner)
        unknown = (inner < near) | (inner > far)
        if max_depth is not None:
            unknown |= metres > max_depth
        return metres.masked_fill(unknown, torch.nan)

    def _full_normals(self, normals: Tensor, camera: Camera) -> NDArray[np.float32]:
        """Normals (height, width, 3) of unit length that face the camera, from (3, h, w) of the network."""
        full = np.moveaxis(self._full_size(normals, camera), 0, -1)
        return facing(full / np.maximum(np.linalg.norm(full, axis=2, keepdims=True), TINY), camera)

    def _full_size(self, values: Tensor, camera: Camera) -> NDArray[np.float32]:
        """Maps (C, height, width) of the photo's size from maps (C, h, w) of the network's."""
        size = (camera.height, camera.width)
        try:
            return self._to_host(upsampled(values, size))
        except RuntimeError as error:
            if not is_out_of_memory(error):
                self._judge(error)
                raise
            logger.info("no device memory for %d x %d pixels: the CPU brings this photo to full size", *size[::-1])
            _empty_cache(self.compute)
            return _upsampled_on_cpu(values, size).numpy()

    def _to_host(self, values: Tensor) -> NDArray[np.float32]:
        return values.cpu().numpy()

    def _forward(self, photos: Sequence[CanonicalPhoto]) -> Prediction:
        pixels = torch.from_numpy(np.stack([photo.pixels for photo in photos]))
        return self._network(pixels.to(self.compute.device))

    def _network(self, pixels: Tensor) -> Prediction:
        """The network's output for uint8 pixels (B, H, W, 3) on the device."""
        x = pixels.permute(0, 3, 1, 2).float().div_(255)
        x = x.sub_(self._mean).div_(self._std).to(self.compute.dtype)
        prediction = self.model(x)
        assert isinstance(prediction, Prediction)  # noqa: S101 - nn.Module's call is untyped
        return prediction

    def _judge(self, error: RuntimeError) -> None:
        fault = device_fault(error, self.compute.device)
        if fault is not None:
            raise fault from error

    def _make_room(self, error: RuntimeError) -> None:
        """Halve the batch when ``error`` is lack of memory; what is not leaves as it is, or as a DeviceError."""
        if not is_out_of_memory(error):
            self._judge(error)
            raise error
        if self.batch_size == 1:
            raise DeviceError(
                f"{self.compute.device} has too little memory for one photo", hint="--device cpu or a smaller model"
            ) from error
        self.batch_size //= 2
        logger.warning("out of memory: going on with batches of %d", self.batch_size)
        _empty_cache(self.compute)


def upsampled(values: Tensor, size: tuple[int, int]) -> Tensor:
    """Maps (C, height, width) of another size, float32, on the device where they are."""
    return F.interpolate(values[None].float(), size, mode="bilinear", align_corners=False)[0]


def _upsampled_on_cpu(values: Tensor, size: tuple[int, int]) -> Tensor:
    try:
        return upsampled(values.cpu(), size)
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise MemoryError(str(error)) from error
        raise


def _empty_cache(compute: Compute) -> None:
    if compute.device.type == "cuda":
        torch.cuda.empty_cache()
