"""The focal length from the image alone: the head of ``lite``, and straight lines."""

from __future__ import annotations

import math
import threading

import numpy as np
import torch
from numpy.typing import NDArray

from m3d_cli.camera import Camera
from m3d_cli.errors import WeightsError
from m3d_cli.inference.photo import to_canonical
from m3d_cli.intrinsics.estimated import FocalOpinion, fused, opinion_of_distribution
from m3d_cli.intrinsics.sensors import FULL_FRAME_DIAGONAL
from m3d_cli.intrinsics.vanishing_points import focal_of_lines
from m3d_cli.models.create import load_model
from m3d_cli.models.lite import Lite
from m3d_cli.models.prediction import FOCAL_RANGE
from m3d_cli.models.spec import LITE, ModelSpec

# 35 mm equivalents, median in mm and spread of the logarithm: those the head was shown (configs/lite-5.toml), and, in
# round figures, those of photos: phones to telephotos. A spread of 0.7 was best by log score on either half of the
# tagged photos of bench/focal.py; taken from one half, 90 and 95 % of the other lay in the 95 % interval.
SHOWN = (38.0, 0.5)
PHOTOS = (40.0, 0.7)

# How much of the head's evidence counts: on frames with known intrinsics that it never saw, cropped at random, its
# errors spread 1.54 times as far as it says.
EVIDENCE = 1 / 1.54**2


class PictureFocal:
    """Tells focal lengths; one for all threads."""

    def __init__(self, model: Lite, spec: ModelSpec, device: torch.device) -> None:
        if model.focal_head is None:
            raise WeightsError(f"{spec.name} has no head for the focal length")
        self._model = model.to(device).eval()
        self._spec = spec
        self._device = device
        low, high = (math.log(bound) for bound in FOCAL_RANGE)
        self._log_ratios = np.linspace(low, high, model.config.focal_bins)

    @classmethod
    def bundled(cls, device: torch.device) -> PictureFocal:
        """With the bundled weights of ``lite``."""
        model = load_model(LITE.name)
        assert isinstance(model, Lite)  # noqa: S101 - what that name means
        return cls(model, LITE, device)

    def opinion(self, image: NDArray[np.uint8], width: int, height: int) -> FocalOpinion:
        """What a photo of ``width`` x ``height`` says; ``image`` (h, w, 3) may be a reduced decode of it."""
        return fused(self._seen(image, width, height), focal_of_lines(image))

    @torch.inference_mode()
    def _seen(self, image: NDArray[np.uint8], width: int, height: int) -> FocalOpinion:
        # The label transform shows every focal length the same pixels, so any camera will do.
        photo = to_canonical(image, Camera.centred(width, height, float(max(width, height))), self._spec)
        logits = self._model.focal_logits(self._normalised(photo.pixels))
        assert logits is not None  # noqa: S101 - checked when it was made
        # From the diagonal of the network's input to that of the photo, which fills a part of it.
        canonical = self._spec.canonical
        shift = math.log(
            math.hypot(canonical.width, canonical.height) / photo.transform.scale / math.hypot(width, height)
        )
        log_ratios = self._log_ratios + shift
        return opinion_of_distribution(log_ratios, _judged(logits[0].double().cpu().numpy(), log_ratios))

    def _normalised(self, pixels: NDArray[np.uint8]) -> torch.Tensor:
        mean, std = (torch.tensor(x, device=self._device)[:, None, None] for x in (self._spec.mean, self._spec.std))
        x = torch.from_numpy(pixels).to(self._device).permute(2, 0, 1).float() / 255
        return ((x - mean) / std)[None]


class SharedPictureFocal:
    """The one `PictureFocal` of a run, made when the first photo asks: most runs never do."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._guard = threading.Lock()
        self._teller: PictureFocal | None = None

    def get(self) -> PictureFocal:
        """With the bundled weights."""
        with self._guard:
            if self._teller is None:
                self._teller = PictureFocal.bundled(self._device)
            return self._teller


def _judged(logits: NDArray[np.float64], log_ratios: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probability (N,) by Bayes: what the head was shown is taken out of what it says, the rest weakened, photos put
    in.
    """
    evidence = logits - _log_prior(log_ratios, *SHOWN)
    log_probability = EVIDENCE * evidence + _log_prior(log_ratios, *PHOTOS)
    return np.asarray(np.exp(log_probability - log_probability.max()))


def _log_prior(log_ratios: NDArray[np.float64], median: float, spread: float) -> NDArray[np.float64]:
    return np.asarray(-0.5 * ((log_ratios - math.log(median / FULL_FRAME_DIAGONAL)) / spread) ** 2)
