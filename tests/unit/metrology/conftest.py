"""Exact depth of simple worlds, ray by ray: planes, boxes and stairs of known size."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from m3d_cli.camera import Camera, FocalSource
from m3d_cli.depthmap import DepthErrorModel, DepthMap
from m3d_cli.metrology.picks import Pick

CAMERA = Camera(800, 600, 700.0, 702.0, 395.0, 305.0, FocalSource.CALIBRATION, 0.005)


class World:
    """Surfaces seen by a camera; the nearest one wins."""

    def __init__(self, camera=CAMERA):
        self.camera = camera
        self.depth = np.full((camera.height, camera.width), np.inf)

    def plane(self, normal, offset, inside=None):
        """Add normal . X = offset where ``inside(points)`` holds."""
        rays = self.camera.rays().astype(np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            z = offset / (rays @ np.asarray(normal, dtype=np.float64))
        z[~(z > 0)] = np.inf
        if inside is not None:
            points = rays * np.where(np.isfinite(z), z, 0)[..., None]
            z[~inside(points)] = np.inf
        self.depth = np.minimum(self.depth, z)
        return self

    def box(self, low, high):
        """Add the solid box between two corners."""
        low, high = np.asarray(low), np.asarray(high)
        for axis in range(3):
            others = [a for a in range(3) if a != axis]
            normal = np.eye(3)[axis]
            for offset in (low[axis], high[axis]):

                def inside(p, others=others):
                    return ((p[..., others] >= low[others]) & (p[..., others] <= high[others])).all(axis=-1)

                self.plane(normal, offset, inside)
        return self

    def map(self, camera=None):
        depth = np.where(np.isfinite(self.depth), self.depth, np.nan).astype(np.float32)
        return DepthMap(depth, camera or self.camera)

    def smeared(self, cell):
        """The map as a network sees it whose pixels cover ``cell`` ones, enlarged again."""
        sharp = self.map()
        height, width = sharp.depth.shape
        size = (round(width / cell), round(height / cell))
        small = cv2.resize(sharp.depth, size, interpolation=cv2.INTER_AREA)
        return DepthMap(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR), sharp.camera)

    def pick(self, *point, side=None):
        """The pixel at which a point in metres is seen."""
        u, v = self.camera.project(np.array([point], dtype=np.float64))[0]
        return Pick(float(u), float(v), side)


@pytest.fixture
def exact():
    return DepthErrorModel.exact()


@pytest.fixture
def world():
    return World


@pytest.fixture
def camera():
    return CAMERA
