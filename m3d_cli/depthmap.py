"""Metric depth of one photo."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from m3d_cli.camera import Camera
from m3d_cli.errors import OutputError

# Normals in 16 bits: n = (value - NORMAL_ZERO) / NORMAL_STEPS for x, y, z; 0 0 0, which no normal gives, is unknown.
NORMAL_STEPS = 32767
NORMAL_ZERO = 32768
NORMAL_AXES = "x right, y down, z forward; facing the camera; n = (value - 32768) / 32767; 0 0 0 is unknown"


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


def coded_normals(normals: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Unit normals (H, W, 3) in 16 bits; what is not a number becomes unknown."""
    values = np.rint(np.nan_to_num(normals) * NORMAL_STEPS + NORMAL_ZERO)
    values[~np.isfinite(normals).all(axis=2)] = 0
    return np.asarray(values, dtype=np.uint16)


def decoded_normals(values: NDArray[np.uint16]) -> NDArray[np.float32]:
    """Unit normals (H, W, 3) from 16 bits, NaN where unknown."""
    normals = (values.astype(np.float32) - NORMAL_ZERO) / NORMAL_STEPS
    normals[(values == 0).all(axis=2)] = np.nan
    return np.asarray(normals, dtype=np.float32)
