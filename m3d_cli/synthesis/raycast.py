"""Exact visibility: Embree through open3d or, where that is not installed, through the small package embreex; loaded
lazily and used on one thread a process.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from m3d_cli.errors import M3dError
from m3d_cli.open3d_import import load_open3d


@dataclass(frozen=True, slots=True, eq=False)
class Hits:
    """First hit of every ray: distance in ray lengths (inf: none), triangle (-1: none), barycentric (N, 2)."""

    distance: NDArray[np.float32]
    triangle: NDArray[np.int64]
    barycentric: NDArray[np.float32]


class _Caster(Protocol):
    def cast(self, rays: NDArray[np.float32]) -> Hits: ...

    def blocked(self, rays: NDArray[np.float32], near: float, far: float) -> NDArray[np.bool_]: ...


class RayCaster:
    """Triangles ready for rays; a ray is (origin, direction), its distances count in lengths of the direction."""

    def __init__(self, vertices: NDArray[np.float32], triangles: NDArray[np.int32]) -> None:
        self._caster: _Caster = _caster_type()(vertices, triangles)

    def cast(self, rays: NDArray[np.float32]) -> Hits:
        """First hits of rays (N, 6)."""
        return self._caster.cast(rays)

    def blocked(self, rays: NDArray[np.float32], near: float, far: float) -> NDArray[np.bool_]:
        """Whether anything lies between ``near`` and ``far`` along each ray (N, 6)."""
        return self._caster.blocked(rays, near, far)


class Open3dCaster:
    """`RayCaster` by open3d's scene."""

    def __init__(self, vertices: NDArray[np.float32], triangles: NDArray[np.int32]) -> None:
        self._core: Any = load_open3d().core
        self._scene: Any = load_open3d().t.geometry.RaycastingScene(nthreads=1)
        self._scene.add_triangles(
            self._core.Tensor(np.ascontiguousarray(vertices, dtype=np.float32)),
            self._core.Tensor(np.ascontiguousarray(triangles, dtype=np.uint32)),
        )

    def cast(self, rays: NDArray[np.float32]) -> Hits:
        found = self._scene.cast_rays(self._core.Tensor(np.ascontiguousarray(rays)), nthreads=1)
        triangle = found["primitive_ids"].numpy().astype(np.int64)
        distance = found["t_hit"].numpy()
        triangle[~np.isfinite(distance)] = -1
        return Hits(distance, triangle, found["primitive_uvs"].numpy())

    def blocked(self, rays: NDArray[np.float32], near: float, far: float) -> NDArray[np.bool_]:
        tensor = self._core.Tensor(np.ascontiguousarray(rays))
        return np.asarray(self._scene.test_occlusions(tensor, near, far, nthreads=1).numpy())


class EmbreexCaster:
    """`RayCaster` by embreex, 15 MB instead of open3d's 400."""

    def __init__(self, vertices: NDArray[np.float32], triangles: NDArray[np.int32]) -> None:
        from embreex.mesh_construction import TriangleMesh
        from embreex.rtcore_scene import EmbreeScene

        # Robust as open3d's scene is: no ray slips through an edge that two triangles share.
        self._scene: Any = EmbreeScene(robust=True)
        # The scene refers to the mesh's memory.
        self._mesh: Any = TriangleMesh(
            self._scene,
            np.ascontiguousarray(vertices, dtype=np.float32),
            np.ascontiguousarray(triangles, dtype=np.int32),
        )

    def cast(self, rays: NDArray[np.float32]) -> Hits:
        found = self._scene.run(*_halves(rays), output=True)
        triangle = found["primID"].astype(np.int64)
        distance = np.where(triangle < 0, np.float32(np.inf), found["tfar"])
        return Hits(distance, triangle, np.stack([found["u"], found["v"]], axis=1))

    def blocked(self, rays: NDArray[np.float32], near: float, far: float) -> NDArray[np.bool_]:
        origin, direction = _halves(rays)
        if near > 0:
            origin = origin + np.float32(near) * direction  # its rays begin at their origin
        reach = np.full(len(origin), far - near, dtype=np.float32)
        return np.asarray(self._scene.run(origin, direction, reach, query="OCCLUDED") >= 0)


def _halves(rays: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    rays = np.asarray(rays, dtype=np.float32)
    return np.ascontiguousarray(rays[:, :3]), np.ascontiguousarray(rays[:, 3:])


@functools.cache
def _caster_type() -> type[Open3dCaster] | type[EmbreexCaster]:
    try:
        load_open3d()
    except M3dError as error:
        try:
            import embreex  # noqa: F401 - whether it is there
        except ImportError:
            raise error from None
        return EmbreexCaster
    return Open3dCaster
