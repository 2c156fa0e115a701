"""Picks at thin things, and regions that are no regions."""

from __future__ import annotations

import numpy as np
import pytest

from m3d_cli.camera import Camera
from m3d_cli.depthmap import DepthMap
from m3d_cli.measure.noise import DepthNoise
from m3d_cli.measure.planes import fit_plane, polygon_region
from m3d_cli.measure.reading import MeasureError, Pick, Side, read_depth

CAMERA = Camera.centred(4000, 3000, 3000.0)


def pole():
    """A pole of three pixels at 3 m before a wall at 10 m."""
    depth = np.full((3000, 4000), 10.0, dtype=np.float32)
    depth[:, 2000:2003] = 3.0
    return DepthMap(depth, CAMERA)


@pytest.mark.parametrize(("side", "metres"), [(None, 3.0), (Side.NEAR, 3.0), (Side.FAR, 10.0)])
def test_a_pick_on_a_thin_pole_reads_the_pole(side, metres):
    assert read_depth(pole(), Pick(2001.5, 1500.5, side), "pole").depth == pytest.approx(metres, rel=1e-3)


def wall(noise=0.0):
    rng = np.random.default_rng(0)
    camera = Camera.centred(400, 300, 300.0)
    depth = 5.0 * np.exp(rng.normal(0, noise, (300, 400))) if noise else np.full((300, 400), 5.0)
    return DepthMap(depth.astype(np.float32), camera)


def test_a_region_that_is_a_line_tells_no_plane():
    region = polygon_region(wall(), np.array([[100, 100.2], [300, 100.2], [300, 100.9]]))
    with pytest.raises(MeasureError, match="p: the region is too thin"):
        fit_plane(wall(), region, DepthNoise.exact(400), "p")


def test_noise_does_not_thin_out_a_wall():
    noisy = wall(0.05)
    region = polygon_region(noisy, np.array([[50, 50], [350, 50], [350, 250], [50, 250]]))
    plane = fit_plane(noisy, region, DepthNoise.exact(400), "p")
    assert plane.inliers > 0.9
    assert plane.distance == pytest.approx(5, rel=0.02)
    assert np.degrees(np.arccos(plane.normal[2])) < 1.5
