"""Previews: near is warm, far is cold, the bar says how many metres."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from m3d_cli.errors import UsageError
from m3d_cli.formats.previews import LONGEST, UNKNOWN_GREY, PreviewStyle, encode_preview, render_preview


def ramp(height=300, width=400):
    return np.broadcast_to(np.geomspace(1, 20, width, dtype=np.float32), (height, width)).copy()


def test_near_is_warm_and_far_is_cold():
    picture = render_preview(ramp(), PreviewStyle()).astype(int)
    near, far = picture[150, 30], picture[150, 370]
    assert near[0] > near[2] + 60
    assert far[2] > far[0]


def test_unknown_pixels_are_grey():
    depth = ramp()
    depth[100:120, 100:120] = np.nan
    assert (render_preview(depth, PreviewStyle())[110, 110] == UNKNOWN_GREY).all()


def test_a_fixed_range_gives_one_depth_one_colour_in_every_picture():
    style = PreviewStyle(vmin=1.0, vmax=20.0)
    whole = render_preview(ramp(), style)
    half = render_preview(np.ascontiguousarray(ramp()[:, 200:]), style)
    np.testing.assert_array_equal(half[0, 0], whole[0, 200])


def test_a_large_map_becomes_a_picture_to_look_at():
    picture = render_preview(np.ones((3000, 4000), dtype=np.float32), PreviewStyle())
    assert picture.shape[0] == LONGEST * 3 // 4
    assert picture.shape[1] < LONGEST * 1.25


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (500, 1), (3, 2)])
def test_any_shape_has_a_preview(shape):
    data = encode_preview(np.full(shape, 2.0, dtype=np.float32), PreviewStyle())
    assert cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) is not None


def test_a_map_of_nothing_has_a_preview():
    assert render_preview(np.full((50, 60), np.nan, dtype=np.float32), PreviewStyle()).shape[2] == 3


def test_the_other_colour_map_looks_different():
    one, other = (render_preview(ramp(), PreviewStyle(colour_map=name)) for name in ("turbo", "viridis"))
    assert (one != other).any()


@pytest.mark.parametrize(
    "style",
    [{"colour_map": "rainbow"}, {"vmin": 2.0, "vmax": 1.0}, {"vmin": 0.0}, {"vmax": -1.0}, {"vmin": float("nan")}],
)
def test_impossible_styles_are_usage_errors(style):
    with pytest.raises(UsageError):
        PreviewStyle(**style)
