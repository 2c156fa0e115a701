"""Both ray casters see the same scene."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from numpy.typing import NDArray

from m3d_cli.synthesis.raycast import EmbreexCaster, Open3dCaster


@pytest.fixture
def scene() -> tuple[NDArray[np.float32], NDArray[np.int32], NDArray[np.float32]]:
    """Three hundred triangles in a box of 4 m and rays across it, some of which hit nothing."""
    rng = np.random.default_rng(0)
    corners = rng.uniform(-2, 2, (300, 1, 3)) + rng.uniform(-0.6, 0.6, (300, 3, 3))
    rays = np.concatenate([rng.uniform(-3, 3, (4000, 3)), rng.normal(size=(4000, 3))], axis=1)
    triangles = np.arange(900).reshape(300, 3).astype(np.int32)
    return corners.reshape(-1, 3).astype(np.float32), triangles, rays.astype(np.float32)


@pytest.mark.skipif(importlib.util.find_spec("embreex") is None, reason="needs embreex")
@pytest.mark.skipif(importlib.util.find_spec("open3d") is None, reason="needs open3d")
def test_embreex_and_open3d_agree(
    scene: tuple[NDArray[np.float32], NDArray[np.int32], NDArray[np.float32]],
) -> None:
    vertices, triangles, rays = scene
    one, other = Open3dCaster(vertices, triangles), EmbreexCaster(vertices, triangles)
    first, second = one.cast(rays), other.cast(rays)
    assert 0.2 < (first.triangle >= 0).mean() < 0.9
    np.testing.assert_array_equal(first.triangle, second.triangle)
    np.testing.assert_allclose(first.distance, second.distance, rtol=1e-5)
    seen = first.triangle >= 0
    np.testing.assert_allclose(first.barycentric[seen], second.barycentric[seen], atol=1e-5)
    for near, far in ((0.0, 1.0), (0.0, 0.3), (0.5, 2.0)):
        np.testing.assert_array_equal(one.blocked(rays, near, far), other.blocked(rays, near, far))
