"""From radiance to the image a camera would store: exposure, white balance, vignette, blur, noise, JPEG."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray


def develop(radiance: NDArray[np.float32], subject: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.uint8]:
    """8-bit sRGB (H, W, 3) of linear RGB radiance (H, W, 3), with the flaws of a random camera.

    ``subject`` (H, W) is what it exposes for: everything but the sky.
    """
    picture = radiance * np.float32(_exposure(radiance, subject, rng))
    cast = np.exp(rng.normal(0, 0.07, 3)) * (np.exp(rng.normal(0, 0.25, 3)) if rng.random() < 0.08 else 1)
    picture = picture * (cast * _white_balance(picture, subject, rng)).astype(np.float32)
    picture = _vignette(picture, float(rng.uniform(0, 0.35)))
    picture = _soft(picture, float(rng.choice([0.45, 0.6, 0.8, 1.1], p=[0.4, 0.3, 0.2, 0.1])))
    if rng.random() < 0.12:
        picture = _shaken(picture, rng)
    picture = picture + _noise(picture, rng)
    if rng.random() < 0.5:  # a film-like shoulder keeps highlights
        picture = 1 - np.exp(-np.maximum(picture, 0) * 1.4)
    image = _coded(picture, float(rng.uniform(1.9, 2.5)))
    return _compressed(image, int(rng.integers(45, 98))) if rng.random() < 0.6 else image


def _exposure(radiance: NDArray[np.float32], subject: NDArray[np.bool_], rng: np.random.Generator) -> float:
    # Cameras hold on to some of the sky: now and then all pixels count.
    luminance = radiance[subject].mean(axis=1) if rng.random() < 0.8 else radiance.reshape(-1, 3).mean(axis=1)
    key = float(np.median(luminance) + 0.5 * np.mean(np.minimum(luminance, 4))) / 1.5
    return float(0.2 * np.exp(rng.normal(0, 0.4)) / max(key, 1e-3))


def _white_balance(
    picture: NDArray[np.float32], subject: NDArray[np.bool_], rng: np.random.Generator
) -> NDArray[np.float64]:
    """Factors (3,) that take the scene's mean colour most of the way to grey, as automatic cameras do."""
    mean = np.minimum(picture[subject], 1).mean(axis=0).astype(np.float64) + 1e-4
    return np.asarray((mean.mean() / mean) ** rng.uniform(0.2, 0.9))


def _coded(picture: NDArray[np.float32], gamma: float) -> NDArray[np.uint8]:
    """Linear 0..1 to 8 bits, by a table of 4096 steps."""
    table = (255 * np.linspace(0, 1, 4096) ** (1 / gamma) + 0.5).astype(np.uint8)
    return table[np.clip(picture * 4095, 0, 4095).astype(np.uint16)]


def _vignette(picture: NDArray[np.float32], strength: float) -> NDArray[np.float32]:
    height, width = picture.shape[:2]
    x = np.linspace(-1, 1, width, dtype=np.float32)
    y = np.linspace(-1, 1, height, dtype=np.float32)
    falloff = 1 - np.float32(strength / 2) * (x[None] ** 2 + y[:, None] ** 2)
    return picture * falloff[..., None]


def _soft(picture: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma), dtype=np.float32)


def _shaken(picture: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    length = int(rng.choice([3, 5, 7]))
    kernel = np.zeros((length, length), dtype=np.float32)
    dx, dy = rng.uniform(-1, 1, 2) * (length // 2)
    middle = length // 2
    start, end = (round(middle - dx), round(middle - dy)), (round(middle + dx), round(middle + dy))
    cv2.line(kernel, start, end, 1.0)
    return np.asarray(cv2.filter2D(picture, -1, kernel / kernel.sum()), dtype=np.float32)


def _noise(picture: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    read, shot = np.exp(rng.uniform(-7.5, -4.2)), np.exp(rng.uniform(-6.0, -3.4))
    deviation = read + shot * np.sqrt(np.clip(picture, 0, 1))
    return np.asarray(rng.standard_normal(picture.shape, dtype=np.float32) * deviation, dtype=np.float32)


def _compressed(image: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR_RGB), dtype=np.uint8)
