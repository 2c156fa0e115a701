from __future__ import annotations

import numpy as np

from m3d_cli.camera import Camera
from m3d_cli.depthmap import facing


def test_normals_that_look_away_are_turned_and_others_stay():
    camera = Camera.centred(4, 3, 2.0)
    rng = np.random.default_rng(0)
    normals = rng.normal(size=(3, 4, 3)).astype(np.float32)
    turned = facing(normals, camera)
    towards = (turned * camera.rays()).sum(axis=2)
    assert (towards <= 0).all()
    kept = (normals * camera.rays()).sum(axis=2) <= 0
    np.testing.assert_array_equal(turned[kept], normals[kept])
    np.testing.assert_array_equal(turned[~kept], -normals[~kept])
