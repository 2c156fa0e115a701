"""Random light: exposure, colour, softness, compression and noise, drawn anew for every image."""

from __future__ import annotations

import math

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from m3d_cli.training.config import AugmentSection
from m3d_cli.training.draws import Draws

# Rec. 601 luma, for the grey version that saturation blends with.
LUMA = (0.299, 0.587, 0.114)

# A softened image has up to this many times fewer pixels a side.
SOFTEST = 3.0

# Pixels that motion blurs.
MOTION = (5, 15)

# Quality of compressed images.
JPEG_QUALITY = (25, 90)


def relight(image: Tensor, settings: AugmentSection, draws: Draws) -> Tensor:
    """Images (B, 3, H, W) in 0..1 as another camera in other light would have stored them."""
    uniform = draws.uniform(10).to(image.device)[:, :, None, None, None]
    touched = uniform[0] < settings.photometric
    out = image.clamp(1e-4, 1) ** torch.exp((2 * uniform[1] - 1) * 0.35)
    cast = uniform[7:10, :, 0].transpose(0, 1)
    out = out * torch.exp((2 * uniform[2] - 1) * 0.3) * (0.9 + 0.2 * cast)
    mean = out.mean(dim=(1, 2, 3), keepdim=True)
    out = mean + (out - mean) * (0.7 + 0.6 * uniform[3])
    luma = torch.tensor(LUMA, device=image.device)[None, :, None, None]
    grey = (out * luma).sum(dim=1, keepdim=True)
    saturation = torch.where(uniform[4] < 0.08, 0.0, 0.5 + uniform[5])
    out = grey + (out - grey) * saturation
    out = out + 0.03 * uniform[6] ** 2 * _noise(image, draws)
    return torch.where(touched, out, image).clamp(0, 1)


def degrade(image: Tensor, settings: AugmentSection, draws: Draws) -> Tensor:
    """Some images softened, some blurred by motion, some compressed, all turned in hue.

    Softened ones have fewer pixels and are enlarged again: without it softness would tell how far an image was zoomed.
    """
    uniform = draws.uniform(8)
    out = image.clone()
    if settings.hue_degrees > 0:
        for index in range(len(out)):
            out[index] = _turned(out[index], settings.hue_degrees * (2 * float(uniform[4, index]) - 1))
    for index in torch.nonzero(uniform[5] < settings.motion_blur).flatten().tolist():
        out[index] = _blurred_along(out[index], float(uniform[6, index]), float(uniform[7, index]))
    for index in torch.nonzero(uniform[0] < settings.soften).flatten().tolist():
        out[index] = _softened(out[index], math.exp(math.log(SOFTEST) * float(uniform[1, index])))
    for index in torch.nonzero(uniform[2] < settings.compress).flatten().tolist():
        out[index] = _compressed(out[index], float(uniform[3, index]))
    return out


def _softened(picture: Tensor, factor: float) -> Tensor:
    size = [max(1, round(side / factor)) for side in picture.shape[-2:]]
    small = F.interpolate(picture[None], size, mode="bilinear", align_corners=False, antialias=True)
    return F.interpolate(small, picture.shape[-2:], mode="bilinear", align_corners=False)[0]


def _turned(picture: Tensor, degrees: float) -> Tensor:
    """The hues of an image turned in HSV."""
    pixels = np.ascontiguousarray(picture.permute(1, 2, 0).cpu().numpy())
    hsv = cv2.cvtColor(pixels, cv2.COLOR_RGB2HSV)
    hsv[..., 0] = (hsv[..., 0] + degrees) % 360
    turned = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
    return torch.from_numpy(turned).permute(2, 0, 1).to(picture.device)


def _blurred_along(picture: Tensor, length: float, direction: float) -> Tensor:
    """Averaged along a line of MOTION pixels, anywhere between its bounds."""
    low, high = MOTION
    size = 2 * round((low + (high - low) * length) / 2) + 1
    kernel = np.zeros((size, size), dtype=np.float32)
    angle, middle = math.pi * direction, size // 2
    reach = middle * np.array([math.cos(angle), math.sin(angle)])
    start, end = (tuple(np.rint(middle + sign * reach).astype(int).tolist()) for sign in (-1, 1))
    cv2.line(kernel, start, end, 1.0)
    pixels = np.ascontiguousarray(picture.permute(1, 2, 0).cpu().numpy())
    blurred = cv2.filter2D(pixels, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REFLECT)
    return torch.from_numpy(blurred).permute(2, 0, 1).to(picture.device)


def _compressed(picture: Tensor, place: float) -> Tensor:
    low, high = JPEG_QUALITY
    pixels = (picture * 255).round().byte().permute(1, 2, 0).cpu().numpy()
    # The order of the channels is another than OpenCV takes it for, on both ways.
    _, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, round(low + (high - low) * place)])
    stored = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))
    return torch.from_numpy(stored).permute(2, 0, 1).to(picture.device).float() / 255


def _noise(image: Tensor, draws: Draws) -> Tensor:
    generators = draws.generators(image.device)
    return torch.stack([torch.randn(image.shape[1:], generator=g, device=image.device) for g in generators])
