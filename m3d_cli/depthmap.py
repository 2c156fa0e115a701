"""Metric depth of one photo."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from m3d_cli.camera import Camera
from m3d_cli.errors import OutputError


@dataclass(frozen=True, slots=True, eq=False)
class DepthMap:
    """Depth in metres along the optical axis, float32 (height, width), NaN where unknown, and its camera.

    ``confidence`` is (height, width) in 0..1, higher is better; ``normals`` is (height, width, 3), unit length, x
    right, y down, z forward, facing the camera.
    """

    depth: NDArray[np.float32]
    camera: Camera
    confidence: NDArray[np.float32] | None = None
    normals: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        size = (self.camera.height, self.camera.width)
        if self.depth.dtype != np.float32 or self.depth.shape != size:
            raise OutputError(
                f"depth must be float32 {size} like its camera, got {self.depth.dtype} {self.depth.shape}"
            )
        for name, extra in (("confidence", self.confidence), ("normals", self.normals)):
            if extra is not None and extra.shape[:2] != size:
                raise OutputError(f"{name} must be {size} like the depth, got {extra.shape}")

    @property
    def valid(self) -> NDArray[np.bool_]:
        """Where the depth is known, (height, width)."""
        return np.isfinite(self.depth)


def facing(normals: NDArray[np.float32], camera: Camera) -> NDArray[np.float32]:
    """``normals`` (height, width, 3) turned round where they point away from the camera: n . ray is never positive."""
    x, y = camera.slopes()
    away = normals[..., 0] * x + normals[..., 1] * y + normals[..., 2] > 0
    return np.where(away[..., None], -normals, normals)
