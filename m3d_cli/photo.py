"""A decoded photo: upright pixels and the camera that took them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from m3d_cli.camera import Camera
from m3d_cli.errors import PhotoError


@dataclass(frozen=True, slots=True, eq=False)
class Photo:
    """Upright 8-bit sRGB pixels (height, width, 3) and the camera that belongs to exactly these pixels."""

    path: Path
    image: NDArray[np.uint8]
    camera: Camera

    def __post_init__(self) -> None:
        if self.image.dtype != np.uint8 or self.image.ndim != 3 or self.image.shape[2] != 3:
            raise PhotoError(f"{self.path}: pixels must be uint8 (H, W, 3), got {self.image.dtype} {self.image.shape}")
        if self.image.shape[:2] != (self.camera.height, self.camera.width):
            raise PhotoError(
                f"{self.path}: pixels are {self.image.shape[1]} x {self.image.shape[0]}, "
                f"the camera {self.camera.width} x {self.camera.height}"
            )
