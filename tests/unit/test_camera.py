"""Intrinsics follow the pixels: golden numbers, and every step against the pixels or points it speaks of."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from m3d_cli.camera import Camera, FocalSource
from m3d_cli.errors import CalibrationError

FOCALS = st.floats(50, 5000)
SIZES = st.integers(1, 4000)


@st.composite
def cameras(draw):
    width, height = draw(SIZES), draw(SIZES)
    return Camera(width, height, draw(FOCALS), draw(FOCALS), draw(st.floats(0, width)), draw(st.floats(0, height)))


def seen_at(camera, point):
    return camera.project(np.array([point], dtype=np.float64))[0]


# How stored pixels (H, W) become upright, by EXIF's definition of each orientation.
UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.T,
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].T,
    8: lambda a: np.rot90(a, 1),
}


def test_a_centred_camera_has_its_principal_point_in_the_middle():
    camera = Camera.centred(640, 480, 500.0)
    assert (camera.fx, camera.fy, camera.cx, camera.cy) == (500, 500, 320, 240)
    assert (camera.focal_source, camera.focal_rel_sigma) == (FocalSource.USER, 0.005)
    assert camera.horizontal_fov == pytest.approx(65.2385, abs=1e-4)


@pytest.mark.parametrize(("fx", "fy"), [(1e9, 1e9), (1e-9, 1e-9), (500, 1e6), (1, 500), (73339, 73339), (1.396, 1.396)])
def test_a_photo_sees_between_half_a_degree_and_179_and_a_half(fx, fy):
    """320 px over the tangents of 0.25 and 89.75 degrees are 73,338.1 and 1.3963 px."""
    with pytest.raises(CalibrationError, match="degrees are possible"):
        Camera(640, 480, fx, fy, 320, 240).checked()


@pytest.mark.parametrize("focal", [73338, 1.397])
def test_the_widest_and_the_narrowest_photo_are_allowed(focal):
    camera = Camera.centred(640, 480, focal)
    assert camera.checked() is camera


def test_a_size_is_a_number_of_pixels():
    with pytest.raises(CalibrationError, match="at most"):
        Camera(10**400, 480, 500, 500, 320, 240)


def test_the_focal_length_is_the_mean_of_both():
    assert Camera(100, 100, 400, 500, 50, 50).focal == 450


def test_opencv_counts_from_the_centre_of_the_first_pixel():
    camera = Camera(640, 480, 500, 510, 320, 240)
    assert camera.opencv_matrix[0, 2] == 319.5
    assert camera.opencv_matrix[1, 2] == 239.5
    assert camera.matrix[0, 2] == 320
    again = Camera.from_opencv(640, 480, camera.opencv_matrix)
    assert (again.fx, again.fy, again.cx, again.cy) == (500, 510, 320, 240)
    assert again.focal_source is FocalSource.CALIBRATION


def test_projection_agrees_with_opencv():
    camera = Camera(640, 480, 500, 510, 300.25, 260.5)
    points = np.array([[0.1, -0.2, 2.0], [1.0, 1.0, 5.0]])
    theirs, _ = cv2.projectPoints(points, np.zeros(3), np.zeros(3), camera.opencv_matrix, None)
    np.testing.assert_allclose(camera.project(points), theirs[:, 0] + 0.5, atol=1e-9)


def test_golden_resize():
    small = Camera(4000, 3000, 3000, 3010, 2010, 1490).resized(1000, 600)
    assert (small.width, small.height) == (1000, 600)
    assert (small.fx, small.fy, small.cx, small.cy) == (750, 602, 502.5, 298)


@given(cameras(), SIZES, SIZES)
def test_resizing_back_gives_the_same_camera(camera, width, height):
    again = camera.resized(width, height).resized(camera.width, camera.height)
    assert (again.fx, again.fy) == pytest.approx((camera.fx, camera.fy))
    assert (again.cx, again.cy) == pytest.approx((camera.cx, camera.cy))


@given(cameras(), SIZES, SIZES)
def test_resizing_moves_a_point_with_the_picture(camera, width, height):
    point = (0.3, -0.2, 2.0)
    before, after = seen_at(camera, point), seen_at(camera.resized(width, height), point)
    np.testing.assert_allclose(after / (width, height), before / (camera.width, camera.height), rtol=1e-9, atol=1e-9)


@given(cameras(), *[st.integers(0, 500)] * 4)
def test_padding_shifts_points_and_cropping_undoes_it(camera, left, top, right, bottom):
    padded = camera.padded(left, top, right, bottom)
    point = (0.3, -0.2, 2.0)
    np.testing.assert_allclose(seen_at(padded, point), seen_at(camera, point) + np.array([left, top]), atol=1e-9)
    again = padded.cropped(left, top, camera.width, camera.height)
    assert (again.width, again.height) == (camera.width, camera.height)
    assert (again.cx, again.cy) == pytest.approx((camera.cx, camera.cy))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_each_orientation_moves_the_camera_as_it_moves_the_pixels(orientation):
    camera = Camera(7, 5, 40, 60, 3.2, 1.7)
    stored = np.arange(35).reshape(5, 7)
    upright = UPRIGHT[orientation](stored)
    turned = camera.rotated(orientation)
    assert (turned.height, turned.width) == upright.shape
    # Every pixel's ray, taken through the rotation pixel by pixel, is the ray of the turned camera there; mirrors flip
    # the sign of an axis and quarter turns swap the two.
    rays = camera.rays()[..., :2]
    for row, column in np.ndindex(upright.shape):
        y, x = np.argwhere(stored == upright[row, column])[0]
        expected = rays[y, x]
        if orientation >= 5:
            expected = expected[::-1]
        signs = (-1 if orientation in (2, 3, 6, 7) else 1, -1 if orientation in (3, 4, 7, 8) else 1)
        np.testing.assert_allclose(turned.rays()[row, column, :2], expected * signs, atol=1e-6)


@pytest.mark.parametrize(("orientation", "inverse"), [(1, 1), (2, 2), (3, 3), (4, 4), (5, 5), (6, 8), (7, 7), (8, 6)])
@given(camera=cameras())
def test_turning_back_gives_the_same_camera(orientation, inverse, camera):
    again = camera.rotated(orientation).rotated(inverse)
    assert (again.width, again.height, again.fx, again.fy) == (camera.width, camera.height, camera.fx, camera.fy)
    assert (again.cx, again.cy) == pytest.approx((camera.cx, camera.cy), abs=1e-9)


@pytest.mark.parametrize("orientation", [0, 9, -1])
def test_there_are_eight_orientations(orientation):
    with pytest.raises(CalibrationError):
        Camera.centred(4, 4, 4).rotated(orientation)


def test_square_pixels_grow_the_coarser_axis():
    square = Camera(1000, 800, 500, 400, 490, 410).square_pixelled()
    assert (square.width, square.height) == (1000, 1000)
    assert (square.fx, square.fy, square.cx, square.cy) == (500, 500, 490, 512.5)


@given(cameras())
def test_squared_pixels_are_square_but_for_rounding(camera):
    square = camera.square_pixelled()
    assert square.width >= camera.width - 1
    assert square.height >= camera.height - 1
    assert abs(square.fx / square.fy - 1) <= 0.5 / min(square.width, square.height) * 2.1


@pytest.mark.parametrize(("fy", "is_square"), [(100, True), (101, True), (99.1, True), (102, False), (98, False)])
def test_one_percent_still_counts_as_square(fy, is_square):
    assert Camera(10, 10, 100, fy, 5, 5).has_square_pixels is is_square


@given(cameras(), st.floats(0.1, 100))
def test_unprojecting_and_projecting_gives_the_pixel_back(camera, metres):
    pixels = np.array([[0.5, 0.5], [camera.width - 0.5, camera.height / 2]])
    points = camera.unproject(pixels, np.full(2, metres))
    assert points[:, 2] == pytest.approx(metres)
    np.testing.assert_allclose(camera.project(points), pixels, rtol=1e-7, atol=1e-6)


def test_rays_are_those_of_pixel_centres():
    camera = Camera(3, 2, 10, 20, 1.5, 1.0)
    rays = camera.rays()
    assert rays.dtype == np.float32
    assert rays.shape == (2, 3, 3)
    np.testing.assert_allclose(rays[0, 0], [-0.1, -0.025, 1])
    np.testing.assert_allclose(rays[1, 1], [0, 0.025, 1], atol=1e-7)


@pytest.mark.parametrize(
    ("width", "height", "fx", "fy", "cx"),
    [
        (0, 5, 1, 1, 1),
        (5, -1, 1, 1, 1),
        (5, 5, 0, 1, 1),
        (5, 5, 1, -1, 1),
        (5, 5, math.nan, 1, 1),
        (5, 5, 1, 1, math.inf),
    ],
)
def test_impossible_intrinsics_are_refused(width, height, fx, fy, cx):
    with pytest.raises(CalibrationError):
        Camera(width, height, fx, fy, cx, 1.0)


def test_another_focal_length_keeps_the_picture():
    other = Camera.centred(640, 480, 500).with_focal(750, FocalSource.ESTIMATED, 0.1)
    assert (other.fx, other.fy, other.cx) == (750, 750, 320)
    assert (str(other.focal_source), other.focal_rel_sigma) == ("estimated", 0.1)
