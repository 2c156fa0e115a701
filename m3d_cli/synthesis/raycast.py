"""Exact visibility: open3d's Embree scene, loaded lazily and used on one thread a process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from m3d_cli.open3d_import import load_open3d


@dataclass(frozen=True, slots=True, eq=False)
class Hits:
    """First hit of every ray: distance in ray lengths (inf: none), triangle (-1: none), barycentric (N, 2)."""

    distance: NDArray[np.float32]
    triangle: NDArray[np.int64]
    barycentric: NDArray[np.float32]


class RayCaster:
    """Triangles ready for rays; a ray is (origin, direction), its distances count in lengths of the direction."""

    def __init__(self, vertices: NDArray[np.float32], triangles: NDArray[np.int32]) -> None:
        self._core: Any = load_open3d().core
        self._scene: Any = load_open3d().t.geometry.RaycastingScene(nthreads=1)
        self._scene.add_triangles(
            self._core.Tensor(np.ascontiguousarray(vertices, dtype=np.float32)),
            self._core.Tensor(np.ascontiguousarray(triangles, dtype=np.uint32)),
        )

    def cast(self, rays: NDArray[np.float32]) -> Hits:
        """First hits of rays (N, 6)."""
        found = self._scene.cast_rays(self._core.Tensor(np.ascontiguousarray(rays)), nthreads=1)
        triangle = found["primitive_ids"].numpy().astype(np.int64)
        distance = found["t_hit"].numpy()
        triangle[~np.isfinite(distance)] = -1
        return Hits(distance, triangle, found["primitive_uvs"].numpy())

    def blocked(self, rays: NDArray[np.float32], near: float, far: float) -> NDArray[np.bool_]:
        """Whether anything lies between ``near`` and ``far`` along each ray (N, 6)."""
        tensor = self._core.Tensor(np.ascontiguousarray(rays))
        return np.asarray(self._scene.test_occlusions(tensor, near, far, nthreads=1).numpy())
