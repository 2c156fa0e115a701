"""Picks at thin things, and regions that are no regions."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from m3d_cli.camera import Camera
from m3d_cli.depthmap import DepthErrorModel, DepthMap
from m3d_cli.metrology.geometry.depth_reading import read_depth
from m3d_cli.metrology.geometry.planes import fit_plane, polygon_region
from m3d_cli.metrology.picks import MeasureError, Pick, Side

CAMERA = Camera.centred(4000, 3000, 3000.0)


def pole():
    """A pole of three pixels at 3 m before a wall at 10 m."""
    depth = np.full((3000, 4000), 10.0, dtype=np.float32)
    depth[:, 2000:2003] = 3.0
    return DepthMap(depth, CAMERA)


@pytest.mark.parametrize(("side", "metres"), [(None, 3.0), (Side.NEAR, 3.0), (Side.FAR, 10.0)])
def test_a_pick_on_a_thin_pole_reads_the_pole(side, metres):
    assert read_depth(pole(), Pick(2001.5, 1500.5, side), "pole").depth == pytest.approx(metres, rel=1e-3)


@pytest.mark.parametrize("cell", [1, 2, 6, 16])
def test_an_edge_is_found_however_many_pixels_the_network_blurs_it_over(cell):
    """A wall at 3 m ends at column 192, and another one stands at 4 m."""
    small = np.full((288 // cell, 384 // cell), 4.0, dtype=np.float32)
    small[:, : 192 // cell] = 3.0
    depth = DepthMap(cv2.resize(small, (384, 288), interpolation=cv2.INTER_LINEAR), Camera.centred(384, 288, 300.0))
    rim = 192 - max(1, cell // 4)
    found = read_depth(depth, Pick(rim, 150), "p", cell)
    assert found.depth == pytest.approx(3.0, rel=1e-3)
    assert found.other_depth == pytest.approx(4.0, rel=0.1)
    far = read_depth(depth, Pick(rim, 150, Side.FAR), "p", cell)
    assert far.depth == pytest.approx(4.0, rel=1e-3)
    assert read_depth(depth, Pick(192 - 3 * cell - 1, 150), "p", cell).other_depth is None


def test_a_floor_seen_at_a_grazing_angle_has_no_edge():
    """Two network rows apart it lies a tenth farther away, and yet is one plane."""
    camera = Camera.centred(400, 320, 300.0)
    rows = np.arange(320) + 0.5 - camera.cy
    depth = np.where(rows > 10, 1.5 * 300 / np.maximum(rows, 1), np.nan)
    floor = DepthMap(np.repeat(depth[:, None], 400, axis=1).astype(np.float32), camera)
    found = read_depth(floor, Pick(200, 160 + 30), "p", 4)
    assert found.other_depth is None
    assert found.depth == pytest.approx(1.5 * 300 / 30, rel=1e-3)


def wall(noise=0.0):
    rng = np.random.default_rng(0)
    camera = Camera.centred(400, 300, 300.0)
    depth = 5.0 * np.exp(rng.normal(0, noise, (300, 400))) if noise else np.full((300, 400), 5.0)
    return DepthMap(depth.astype(np.float32), camera)


def test_a_region_that_is_a_line_defines_no_plane():
    region = polygon_region(wall(), np.array([[100, 100.2], [300, 100.2], [300, 100.9]]))
    with pytest.raises(MeasureError, match="p: the region is too thin"):
        fit_plane(wall(), region, DepthErrorModel.exact(), "p")


def test_noise_does_not_thin_out_a_wall():
    noisy = wall(0.05)
    region = polygon_region(noisy, np.array([[50, 50], [350, 50], [350, 250], [50, 250]]))
    plane = fit_plane(noisy, region, DepthErrorModel.exact(), "p")
    assert plane.inliers > 0.9
    assert 1 / np.linalg.norm(plane.q) == pytest.approx(5, rel=0.02)
    assert np.degrees(np.arccos(plane.normal[2])) < 1.5
