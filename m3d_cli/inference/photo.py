"""Photos on their way to the network, and what an engine makes of them. Loads no torch, so that nothing waits for it
before there is a photo to compute."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from m3d_cli.camera import Camera
from m3d_cli.canonical import CanonicalTransform
from m3d_cli.depthmap import DepthMap, DepthSteps
from m3d_cli.intrinsics.estimated import FocalOpinion
from m3d_cli.models.spec import ModelSpec


@dataclass(frozen=True, slots=True, eq=False)
class CanonicalPhoto:
    """A photo as the network takes it: uint8 (spec.height, spec.width, 3), how it got there, and its own camera."""

    pixels: NDArray[np.uint8]
    transform: CanonicalTransform
    camera: Camera


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to make of a prediction: its confidence and normals or not, and only depth up to ``max_depth`` metres.

    With ``png_scale`` steps of 1/png_scale metres are all that is asked for: engines may give them instead of metres.
    """

    confidence: bool = False
    normals: bool = False
    max_depth: float | None = None
    png_scale: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Computed:
    """A finished depth map, or its steps where no more was wanted, the CPU seconds of its two stages, and the number
    format and backend that computed it."""

    depth: DepthMap | DepthSteps
    network_seconds: float
    upsample_seconds: float
    precision: str
    backend: str


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """Device, precision and backend as the user says them; ``batch_size`` None chooses by device, 0 by trying."""

    device: str = "auto"
    precision: str = "auto"
    batch_size: int | None = None
    backend: str = "auto"


class Engine(Protocol):
    """What turns canonical photos into depth maps, called from many threads at once."""

    @property
    def description(self) -> str:
        """Device, precision and parallelism in a few words."""

    @property
    def in_flight(self) -> int:
        """How many photos keep it busy without filling the memory."""

    @property
    def helpers(self) -> int:
        """How many processes have to decode and write for it to be busy; 0 where the threads of its own one will do."""

    def compute(self, photo: CanonicalPhoto, wanted: Wanted) -> Computed:
        """Metric depth at the photo's own size."""

    def focal(self, image: NDArray[np.uint8], width: int, height: int) -> FocalOpinion:
        """What a photo of ``width`` x ``height`` says of its focal length; ``image`` may be a reduced copy of it."""

    def close(self) -> None:
        """Free what is held."""


def canonical_transform(camera: Camera, spec: ModelSpec) -> CanonicalTransform:
    """The transform of ``camera``'s image; pixels that are not square are made so by the same resize."""
    square = camera if camera.has_square_pixels else camera.square_pixelled()
    return CanonicalTransform.fit(square, spec.canonical)


def to_canonical(image: NDArray[np.uint8], camera: Camera, spec: ModelSpec) -> CanonicalPhoto:
    """Move a photo into the network's canonical camera; ``image`` may be a reduced decode of the camera's image.

    Depth comes back on the photo's own grid, whatever the shape of its pixels.
    """
    transform = canonical_transform(camera, spec)
    return CanonicalPhoto(transform.apply(image), transform, camera)


def available_cores() -> int:
    """Cores this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS and Windows have no affinity
        return os.cpu_count() or 1
