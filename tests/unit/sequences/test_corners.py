"""Corners give the motion between views however far apart, with metres of the first view alone, or nothing."""

from __future__ import annotations

import numpy as np
import pytest

from m3d_cli.camera import Camera
from m3d_cli.depthmap import DepthMap
from m3d_cli.open3d_import import load_open3d
from m3d_cli.sequences.corners import Corners, SharedCorners, find_corners, shared_corners
from m3d_cli.sequences.frames import View
from m3d_cli.sequences.rgbd_match import RgbdView, information, judged, matches, prepared
from m3d_cli.trajectory import angles, inverse, matrices

CAMERA = Camera.centred(320, 240, 260)


def seen(room, pose: np.ndarray, factor: float = 1.0) -> RgbdView:
    image, depth = room.look(CAMERA, pose)
    return prepared(View(DepthMap(factor * depth, CAMERA), image), 8.0)


def step(metres: float, degrees: float) -> np.ndarray:
    half = np.radians(degrees) / 2
    return matrices(np.array([[metres, 0.0, 0.1]]), np.array([[0.0, np.sin(half), 0.0, np.cos(half)]]))[0]


@pytest.mark.parametrize("turned", [0.0, 25.0])
def test_corners_find_a_motion_that_nothing_told(papered, turned: float) -> None:
    motion = step(0.3, turned)
    first, second = seen(papered, np.eye(4)), seen(papered, motion)
    found = shared_corners(first.corners, second.corners, first.depth, CAMERA).motion()
    assert found is not None
    error = inverse(motion) @ found
    assert np.linalg.norm(error[:3, 3]) < 0.03
    assert np.degrees(angles(error)) < 0.5


def test_metres_come_from_the_first_view_alone(papered) -> None:
    """A network gives each image its own scale; the second's must not stretch the way between them."""
    motion = step(0.3, 5.0)
    first, second = seen(papered, np.eye(4)), seen(papered, motion, 1.12)
    (found,) = matches(first, second, (np.eye(4),), 8.0)
    assert np.linalg.norm((inverse(motion) @ found.motion)[:3, 3]) < 0.03
    assert not judged(first, second, motion).is_believed


def test_views_of_different_places_share_no_motion(papered) -> None:
    first, second = seen(papered, np.eye(4)), seen(papered, np.diag([-1.0, 1.0, -1.0, 1.0]))
    assert matches(first, second, (np.eye(4),), 8.0) == []


def test_a_picture_without_pattern_has_no_corners() -> None:
    plain = find_corners(np.full((120, 160), 90, np.uint8))
    assert plain.pixels.shape == (0, 2)
    assert shared_corners(plain, plain, np.ones((120, 160), np.float32), CAMERA).motion() is None


def test_corners_without_depth_do_not_count(papered) -> None:
    view = seen(papered, np.eye(4))
    nowhere = np.zeros_like(view.depth)
    assert len(shared_corners(view.corners, view.corners, nowhere, CAMERA).points) == 0


def test_a_corner_lies_where_its_pixel_is() -> None:
    """The middle of a round spot, counted from the corner of the top-left pixel."""
    rows, columns = np.indices((101, 141))
    spot = np.exp(-((columns + 0.5 - 75.5) ** 2 + (rows + 0.5 - 45.5) ** 2) / (2 * 4.0**2))
    found = find_corners(np.rint(30 + 190 * spot).astype(np.uint8))
    assert np.linalg.norm(found.pixels - (75.5, 45.5), axis=1).min() < 0.05


@pytest.mark.parametrize("spread", [(0.0, 0.0, 0.0), (1.0, 0.0, 0.0)])
def test_corners_in_one_place_or_on_one_line_say_nothing(spread: tuple[float, float, float]) -> None:
    points = np.array([0.0, 0.0, 2.0]) + np.linspace(-1, 1, 40)[:, None] * np.array(spread)
    pixels = CAMERA.project(points)
    assert SharedCorners(points, pixels, CAMERA).motion() is None


def test_wrong_pairs_are_outvoted() -> None:
    rng = np.random.default_rng(3)
    points = rng.uniform((-2, -1.5, 2), (2, 1.5, 6), (120, 3))
    motion = step(0.4, 12.0)
    second = inverse(motion)
    pixels = CAMERA.project(points @ second[:3, :3].T + second[:3, 3])
    pixels[:60] += rng.uniform(20, 90, (60, 2))
    shared = SharedCorners(points, pixels, CAMERA)
    found = shared.motion()
    assert found is not None
    np.testing.assert_allclose(found, motion, atol=1e-3)
    assert shared.explained(found) == 60
    assert shared.explained(np.eye(4)) < 5


def test_corners_of_nothing_pair_with_nothing() -> None:
    one = Corners(np.array([[5.5, 5.5]]), np.ones((1, 128), np.float32))
    assert len(shared_corners(one, one, np.ones((240, 320), np.float32), CAMERA).points) == 0


def test_the_information_of_exact_depth_is_open3ds(papered) -> None:
    motion = step(0.05, 2.0)
    first, second = seen(papered, np.eye(4)), seen(papered, motion)
    o3d = load_open3d()
    image = o3d.t.geometry.Image
    matrix, pose = o3d.core.Tensor(CAMERA.opencv_matrix), o3d.core.Tensor(motion)
    expected = o3d.t.pipelines.odometry.compute_odometry_information_matrix(
        image(second.depth), image(first.depth), matrix, pose, 0.5, 1.0, 8.0
    ).numpy()
    found = information(first, second, motion)
    np.testing.assert_allclose(found, expected, atol=0.03 * np.abs(expected).max())
    np.testing.assert_allclose(np.diag(found), np.diag(expected), rtol=0.05)


def test_information_does_not_follow_the_scale_of_the_second_depth(papered) -> None:
    """A network's image 10 per cent too deep holds its motion no less firmly."""
    first, second, deep = (seen(papered, np.eye(4)), *(seen(papered, np.eye(4), scale) for scale in (1.0, 1.1)))
    exact, off = (np.trace(information(first, view, np.eye(4))[3:, 3:]) for view in (second, deep))
    assert off == pytest.approx(exact, rel=0.02)
