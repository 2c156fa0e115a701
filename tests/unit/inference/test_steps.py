"""Depth in 16-bit steps, made by torch: the values that the PNG's own rounding gives, and what is reported of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from m3d_cli.camera import Camera
from m3d_cli.depthmap import DepthMap, DepthSteps, sampling
from m3d_cli.formats.depth_png import quantise
from m3d_cli.inference.steps import in_steps

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize("scale", [1000.0, 256.0])
def test_steps_are_those_of_the_png_writer(scale):
    rng = np.random.default_rng(0)
    depth = rng.uniform(0.1, 300, (90, 120)).astype(np.float32)
    depth[rng.random(depth.shape) < 0.1] = NAN
    depth[0, :8] = (0.0005, 0.0015, 0.0025, 65.535, 65.5355, 65.536, INF, 1e-9)
    wanted, clipped = quantise(depth, scale)
    values, counts = in_steps(torch.from_numpy(depth), scale)
    np.testing.assert_array_equal(values.numpy(), wanted)
    known = np.isfinite(depth)
    assert counts.tolist() == pytest.approx([clipped, known.sum(), depth[known].min(), depth[known].max()])


def test_a_map_of_nothing_is_all_zero():
    values, counts = in_steps(torch.full((3, 4), NAN), 1000.0)
    assert not values.to(torch.int32).any()
    assert counts.tolist() == [0, 0, INF, -INF]


def test_steps_read_back_are_the_metres_of_the_file():
    depth = np.array([[1.2344, NAN], [70.0, 3.0]], dtype=np.float32)
    values, clipped = quantise(depth, 1000.0)
    found = DepthSteps(values, 1000.0, clipped, DepthMap(depth, CAMERA).summary, CAMERA).metres
    np.testing.assert_array_equal(found.depth, np.array([[1.234, NAN], [NAN, 3.0]], dtype=np.float32))


def test_large_maps_are_sampled_on_a_regular_grid():
    depth = np.zeros((1500, 2000), dtype=np.float32)
    sample = depth[sampling(depth.size)]
    assert 100_000 < sample.size < 400_000
    assert DepthMap(depth, Camera.centred(2000, 1500, 900.0)).summary.sample.shape == sample.shape


CAMERA = Camera.centred(2, 2, 5.0)
