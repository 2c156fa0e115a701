"""Corners where the edges of a blurred picture of a rectangle meet, whose true places are known."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from m3d_cli.metrology.geometry.sides import linear_light, refined_corners

# The polygon is filled to whole sixteenths of a pixel, borders included.
TOLERANCE = 0.12
CORNERS = np.array([[40.3, 52.8], [160.7, 44.1], [171.2, 150.6], [33.9, 139.2]])


def photo_of(inside=0.05, outside=0.8, blur=1.2, noise=0.0, corners=CORNERS):
    """A quadrilateral in linear light, sampled from 16 times as many pixels, blurred, then coded as sRGB."""
    fine = np.full((200 * 16, 200 * 16), outside, dtype=np.float32)
    cv2.fillPoly(fine, [np.rint(corners * 16).astype(np.int32)], inside)
    light = cv2.GaussianBlur(cv2.resize(fine, (200, 200), interpolation=cv2.INTER_AREA), (0, 0), blur)
    code = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055) * 255
    code += np.random.default_rng(1).normal(0, noise, code.shape) if noise else 0
    return np.clip(np.rint(code), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("options", [{}, {"blur": 2.0}, {"inside": 0.8, "outside": 0.05}, {"inside": 0.3}])
@pytest.mark.parametrize("is_dark_inside", [None, True])
def test_corners_are_where_the_edges_meet(options, is_dark_inside):
    is_dark = options.get("inside", 0.05) < options.get("outside", 0.8)
    start = CORNERS + np.array([[1.2, -0.9], [-1.0, 1.1], [0.8, 1.0], [-1.1, -0.7]])
    found = refined_corners(photo_of(**options), start, is_dark_inside=is_dark if is_dark_inside else None)
    assert np.abs(found - CORNERS).max() < TOLERANCE


def test_noise_moves_corners_by_a_fraction_of_a_pixel():
    found = refined_corners(photo_of(noise=4.0), CORNERS + 0.7)
    assert np.abs(found - CORNERS).max() < 0.25


def test_a_colour_photo_is_read_as_light():
    found = refined_corners(np.repeat(photo_of()[..., None], 3, axis=2), CORNERS - 0.5)
    assert np.abs(found - CORNERS).max() < TOLERANCE


@pytest.mark.parametrize("image", [np.full((200, 200), 90, dtype=np.uint8), photo_of(corners=CORNERS + 25)])
def test_where_no_edge_runs_along_a_side_nothing_is_moved(image):
    assert refined_corners(image, CORNERS) is None


def test_a_tiny_square_is_left_as_it_is():
    assert refined_corners(photo_of(), np.array([[40, 52], [43, 52], [43, 55], [40, 55.0]])) is None


def test_srgb_is_undone():
    assert linear_light(np.array([0, 188, 255], dtype=np.uint8)) == pytest.approx([0, 0.5029, 1], abs=1e-3)
