"""The canonical camera transform of Metric3D: a photo goes to the network as if one fixed camera had taken it.

A network can only learn metres from images of many cameras when it sees the same apparent size for the same object at
the same distance. With canonical focal f_c, a photo of focal f resized by s has focal f*s, and

    metric depth = canonical depth * (f * s) / f_c        (arXiv 2307.10984, section 3.1, both variants)

``label`` (CSTM_label): the image is only fitted to the network, the factor carries the camera.
``image`` (CSTM_image): the image is resized by s = f_c / f, so that the factor is 1; it is shrunk further, and the
factor with it, only where it would not fit.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from m3d_cli.camera import Camera
from m3d_cli.errors import UsageError

# An array or a tensor.
Values = TypeVar("Values", bound=Any)


class Variant(str, Enum):
    """The two canonical transforms of the paper."""

    LABEL = "label"
    IMAGE = "image"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, slots=True)
class CanonicalSpec:
    """What a network was trained for: canonical focal in pixels, input size, border colour (RGB), variant.

    ``antialias`` averages areas where a photo shrinks; without it the resize is bilinear always, as in the published
    pipeline, which the published networks are held to.
    """

    focal: float
    height: int
    width: int
    pad_rgb: tuple[int, int, int] = (124, 116, 104)
    variant: Variant = Variant.LABEL
    antialias: bool = True


@dataclass(frozen=True, slots=True)
class CanonicalTransform:
    """How one photo was moved into canonical space, and how its depth comes back.

    ``scale`` is the nominal s before the size is rounded to pixels; ``pad_left`` and ``pad_top`` place the resized
    photo of ``inner_width`` x ``inner_height`` in the network input.
    """

    spec: CanonicalSpec
    camera: Camera
    scale: float
    inner_width: int
    inner_height: int
    pad_left: int
    pad_top: int
    depth_scale: float

    @classmethod
    def fit(cls, camera: Camera, spec: CanonicalSpec) -> CanonicalTransform:
        """Transform of ``camera`` into the canonical camera ``spec``; its pixels must be square."""
        if not camera.has_square_pixels:
            raise UsageError(
                f"fx={camera.fx:.1f} and fy={camera.fy:.1f} differ by more than 1 %: make the pixels square first"
            )
        scale = _scale(camera, spec)
        # Sizes are truncated, not rounded, as the published pipeline does; one pixel is the least.
        width = max(1, int(camera.width * scale))
        height = max(1, int(camera.height * scale))
        return cls(
            spec=spec,
            camera=camera,
            scale=scale,
            inner_width=width,
            inner_height=height,
            pad_left=(spec.width - width) // 2,
            pad_top=(spec.height - height) // 2,
            depth_scale=camera.focal * scale / spec.focal,
        )

    @property
    def inner(self) -> tuple[slice, slice]:
        """Rows and columns of the network input that hold the photo."""
        return (
            slice(self.pad_top, self.pad_top + self.inner_height),
            slice(self.pad_left, self.pad_left + self.inner_width),
        )

    def apply(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Network input, uint8 (spec.height, spec.width, 3), of an image (height, width, 3) of any size.

        The image may be a reduced decode of the photo: only its shape as an image matters, the camera says the rest.
        """
        shrink = self.spec.antialias and image.shape[0] > self.inner_height
        # Area averaging keeps a large photo from aliasing; INTER_LINEAR, the published choice, is right for enlarging.
        method = cv2.INTER_AREA if shrink else cv2.INTER_LINEAR
        out = np.empty((self.spec.height, self.spec.width, 3), dtype=np.uint8)
        out[:] = self.spec.pad_rgb
        out[self.inner] = cv2.resize(image, (self.inner_width, self.inner_height), interpolation=method)
        return out

    def to_metric(self, canonical: Values) -> Values:
        """Canonical depth, array or tensor, to metres: THE equation, d = d_c * f * s / f_c."""
        metric: Values = canonical * float(self.depth_scale)
        return metric

    def invert(self, canonical: NDArray[np.float32]) -> NDArray[np.float32]:
        """Metric depth (camera.height, camera.width) of canonical depth (spec.height, spec.width)."""
        inner = np.ascontiguousarray(canonical[self.inner])
        size = (self.camera.width, self.camera.height)
        full = cv2.resize(inner, size, interpolation=cv2.INTER_LINEAR)
        return self.to_metric(np.asarray(full, dtype=np.float32))


def _scale(camera: Camera, spec: CanonicalSpec) -> float:
    fit = min(spec.height / camera.height, spec.width / camera.width)
    if spec.variant is Variant.LABEL:
        return fit
    return min(spec.focal / camera.focal, fit)
