"""Cameras whose pixels are angles, and the way there and back."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from m3d_cli.errors import CalibrationError, OutputError
from m3d_cli.spherical import WIDEST_FISHEYE, Projection, RangeMap, SphericalCamera

LENS = SphericalCamera(
    Projection.FISHEYE, 640, 480, 300.0, 301.0, 312.0, 243.0, (0.02, -0.01, 0.002, 0.0003), WIDEST_FISHEYE
)
CAMERAS = (SphericalCamera.full_sphere(720, 360), SphericalCamera.equidistant(600, 500, 190), LENS)


@pytest.mark.parametrize("camera", CAMERAS, ids=lambda camera: f"{camera.projection} {camera.width}")
def test_every_pixel_is_found_again_along_its_direction(camera):
    directions = camera.directions()
    seen = np.isfinite(directions[..., 0])
    np.testing.assert_allclose(np.linalg.norm(directions[seen], axis=1), 1, atol=1e-6)
    u, v = camera.project(np.nan_to_num(directions))
    columns, rows = np.meshgrid(np.arange(camera.width) + 0.5, np.arange(camera.height) + 0.5)
    assert seen.mean() > 0.95
    np.testing.assert_allclose(u[seen], columns[seen], atol=1e-3)
    np.testing.assert_allclose(v[seen], rows[seen], atol=1e-3)


def test_the_middle_looks_ahead_the_quarters_sideways_and_the_top_up():
    camera = SphericalCamera.full_sphere(400, 200)
    u, v = camera.project(np.array([[0, 0, 1], [1, 0, 0], [-1, 0, 0], [0, -1, 0], [0, 1, 0]], dtype=float))
    np.testing.assert_allclose(u[:3], [200, 300, 100])
    np.testing.assert_allclose(v, [100, 100, 100, 0, 200])


def test_a_fisheye_lens_is_that_of_opencv():
    rng = np.random.default_rng(3)
    points = rng.normal(size=(200, 3)) * [1, 1, 0.3] + [0, 0, 1.2]
    points = points[points[:, 2] > 0.2]
    matrix = np.array([[300.0, 0, 312.0 - 0.5], [0, 301.0, 243.0 - 0.5], [0, 0, 1]])
    expected, _ = cv2.fisheye.projectPoints(points[:, None], np.zeros(3), np.zeros(3), matrix, np.array(LENS.terms))
    u, v = LENS.project(points)
    inside = np.isfinite(u)
    assert inside.sum() > 50
    np.testing.assert_allclose(np.stack([u, v], axis=1)[inside], expected[inside, 0] + 0.5, atol=2e-3)


def test_nothing_is_seen_behind_a_fisheye_or_beyond_its_reach():
    camera = SphericalCamera.equidistant(600, 600, 180)
    angles = np.radians([0, 80, 89, 124, 180])
    u, _ = camera.project(np.stack([np.sin(angles), np.zeros(5), np.cos(angles)], axis=1))
    np.testing.assert_array_equal(np.isfinite(u), [True, True, True, False, False])


def test_rows_are_those_of_the_whole():
    camera = CAMERAS[0]
    np.testing.assert_array_equal(camera.directions(slice(20, 40)), camera.directions()[20:40])


@pytest.mark.parametrize(("size", "words"), [((400, 300), "twice as wide as high"), ((1000, 200), "360 x 180")])
def test_other_shapes_are_no_full_sphere(size, words):
    with pytest.raises(CalibrationError, match=words):
        SphericalCamera.full_sphere(*size)


@pytest.mark.parametrize("field", [0.5, 300, math.nan])
def test_impossible_fields_of_view_are_refused(field):
    with pytest.raises(CalibrationError, match="does not see"):
        SphericalCamera.equidistant(600, 600, field)


def test_range_becomes_points_at_that_distance():
    camera = SphericalCamera.full_sphere(40, 20)
    points = RangeMap(np.full((20, 40), 3, np.float32), camera).points()
    np.testing.assert_allclose(np.linalg.norm(points, axis=2), 3, rtol=1e-6)
    with pytest.raises(OutputError, match="like its camera"):
        RangeMap(np.zeros((5, 5), np.float32), camera)
