"""From photos to metric depth: canonical pictures in batches through the network, and back to each photo's own pixels."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from m3d_cli.camera import Camera
from m3d_cli.canonical import CanonicalTransform
from m3d_cli.depthmap import DepthMap
from m3d_cli.errors import DeviceError
from m3d_cli.inference.device import Compute
from m3d_cli.models.prediction import Prediction
from m3d_cli.models.spec import ModelSpec

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class CanonicalPhoto:
    """A photo as the network takes it: uint8 (spec.height, spec.width, 3), how it got there, and its own camera."""

    pixels: NDArray[np.uint8]
    transform: CanonicalTransform
    camera: Camera


def to_canonical(image: NDArray[np.uint8], camera: Camera, spec: ModelSpec) -> CanonicalPhoto:
    """Move a photo into the network's canonical camera; ``image`` may be a reduced decode of the camera's picture.

    Pixels that are not square are made so by the same resize, so depth still comes back on the photo's own grid.
    """
    square = camera if camera.has_square_pixels else camera.square_pixelled()
    transform = CanonicalTransform.fit(square, spec.canonical)
    return CanonicalPhoto(transform.apply(image), transform, camera)


class Predictor:
    """A network on its device. ``batch_size`` halves by itself when memory runs out, down to 1."""

    def __init__(self, model: nn.Module, spec: ModelSpec, compute: Compute, batch_size: int = 1) -> None:
        self.spec = spec
        self.compute = compute
        self.batch_size = batch_size
        self.model = model.to(compute.device, compute.dtype).eval()
        self._mean = torch.tensor(spec.mean, device=compute.device)[:, None, None]
        self._std = torch.tensor(spec.std, device=compute.device)[:, None, None]

    @torch.inference_mode()
    def predict(self, photos: Sequence[CanonicalPhoto], with_confidence: bool = False) -> list[DepthMap]:
        """Metric depth of every photo at its own resolution, in order."""
        prediction = self.canonical(photos)
        return [self.finish(prediction, i, photo, with_confidence) for i, photo in enumerate(photos)]

    @torch.inference_mode()
    def canonical(self, photos: Sequence[CanonicalPhoto]) -> Prediction:
        """The network's output for a batch of any size, run in pieces of ``batch_size``, on the device."""
        pieces: list[Prediction] = []
        done = 0
        while done < len(photos):
            chunk = photos[done : done + self.batch_size]
            try:
                pieces.append(self._forward(chunk))
            except torch.OutOfMemoryError as error:
                self._give_up_memory(error)
                continue
            done += len(chunk)
        return Prediction(
            depth=torch.cat([piece.depth for piece in pieces]),
            confidence=torch.cat([piece.confidence for piece in pieces]),
        )

    @torch.inference_mode()
    def finish(
        self, prediction: Prediction, index: int, photo: CanonicalPhoto, with_confidence: bool = False
    ) -> DepthMap:
        """Depth of one photo of the batch: cropped, brought to full size on the device, in metres, then copied once."""
        size = (photo.camera.height, photo.camera.width)
        depth = _full_size(self._known(prediction.depth[index]), photo.transform, size)
        depth.mul_(photo.transform.depth_scale)
        confidence = None
        if with_confidence:
            confidence = _full_size(prediction.confidence[index], photo.transform, size).cpu().numpy()
        return DepthMap(depth.cpu().numpy(), photo.camera, confidence)

    def _known(self, canonical: Tensor) -> Tensor:
        # Judged before upsampling: a pixel whose neighbour is unknown becomes unknown too, never a blend of both.
        near, far = self.spec.depth_range
        return canonical.masked_fill((canonical < near) | (canonical > far), torch.nan)

    def _forward(self, photos: Sequence[CanonicalPhoto]) -> Prediction:
        pixels = torch.from_numpy(np.stack([photo.pixels for photo in photos]))
        x = pixels.to(self.compute.device).permute(0, 3, 1, 2).float().div_(255)
        x = x.sub_(self._mean).div_(self._std).to(self.compute.dtype)
        prediction = self.model(x)
        assert isinstance(prediction, Prediction)  # noqa: S101 - nn.Module's call is untyped
        return prediction

    def _give_up_memory(self, error: torch.OutOfMemoryError) -> None:
        if self.batch_size == 1:
            raise DeviceError(
                f"{self.compute.device} has too little memory for one photo", hint="--device cpu or a smaller model"
            ) from error
        self.batch_size //= 2
        logger.warning("out of memory: going on with batches of %d", self.batch_size)
        if self.compute.device.type == "cuda":
            torch.cuda.empty_cache()


def _full_size(canonical: Tensor, transform: CanonicalTransform, size: tuple[int, int]) -> Tensor:
    inner = canonical[(slice(None), *transform.inner)].float()
    return F.interpolate(inner[None], size, mode="bilinear", align_corners=False)[0, 0]
