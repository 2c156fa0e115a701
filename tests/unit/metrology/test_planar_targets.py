"""Poses of flat things of known size: exact input gives the exact plane, and the covariance is that of drawn errors."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from m3d_cli.camera import Camera
from m3d_cli.metrology.geometry.planar_targets import PlanarTarget, fit_targets
from m3d_cli.metrology.picks import MeasureError

CAMERA = Camera.centred(1600, 1200, 1250.0)
A4 = np.array([[0, 0], [0.297, 0], [0.297, 0.21], [0, 0.21]])
TURN = np.array([0.5, -0.45, 0.2])
SHIFT = np.array([-0.1, 0.05, 0.9])


def seen(places, camera=CAMERA, turn=TURN, shift=SHIFT):
    points = (cv2.Rodrigues(turn)[0] @ np.c_[places, np.zeros(len(places))].T).T + shift
    return camera.project(points)


def plane_of(turn=TURN, shift=SHIFT):
    normal = cv2.Rodrigues(turn)[0][:, 2]
    return normal / (normal @ shift)


def fitted(pixels, places=A4, sigma=1.0, focal_sigma=0.005, camera=CAMERA, **options):
    target = PlanarTarget("sheet", pixels, places, sigma, **options)
    return fit_targets([target], camera, focal_sigma=focal_sigma)


@pytest.mark.parametrize("turn", [TURN, np.array([0.0, 0.7, 0.0]), np.array([2.6, 0.3, 0.4])])
def test_exact_corners_give_the_exact_plane(turn):
    found = fitted(seen(A4, turn=turn))
    assert found.q == pytest.approx(plane_of(turn), rel=1e-6)
    assert found.log_focal == pytest.approx(0, abs=1e-6)
    assert found.misfit < 1e-5


def test_corners_may_go_round_either_way_from_either_end_of_the_first_side():
    pixels = seen(A4)
    for order in ((0, 1, 2, 3), (1, 0, 3, 2), (2, 3, 0, 1), (3, 2, 1, 0)):
        assert fitted(pixels[list(order)]).q == pytest.approx(plane_of(), rel=1e-6)


def test_the_covariance_is_that_of_drawn_errors():
    rng = np.random.default_rng(1)
    found = fitted(seen(A4), focal_sigma=0.02)
    draws = []
    for _ in range(250):
        true = Camera.centred(1600, 1200, 1250.0 * np.exp(0.02 * rng.standard_normal()))
        draws.append(fitted(seen(A4, true) + rng.standard_normal((4, 2)), focal_sigma=0.02).q)
    drawn = np.cov(np.array(draws).T)
    # The misfit of single draws widens their own covariance, not their spread.
    assert np.sqrt(np.diag(drawn)) == pytest.approx(np.sqrt(np.diag(found.covariance)[1:]), rel=0.12)


def test_the_error_of_the_size_goes_into_the_distance():
    sure, unsure = fitted(seen(A4), sigma=0.01), fitted(seen(A4), sigma=0.01, tolerance=0.02, batch="a")
    assert sure.distance_sigma < 0.004
    assert unsure.distance_sigma == pytest.approx(0.02, rel=0.3)


def test_a_rectangle_that_fills_a_third_of_the_image_gives_the_focal_length():
    unknown = Camera.centred(1600, 1200, 1000.0)
    found = fitted(seen(A4, shift=np.array([-0.1, -0.05, 0.45])), sigma=0.3, focal_sigma=0.25, camera=unknown)
    assert np.exp(found.log_focal) * 1000 == pytest.approx(1250, rel=0.03)
    assert np.sqrt(found.covariance[0, 0]) < 0.06


def test_a_small_square_says_little_of_the_focal_length_and_admits_it():
    square = np.array([[0, 0], [0.05, 0], [0.05, 0.05], [0, 0.05]])
    found = fitted(seen(square, shift=np.array([0.0, 0.0, 1.2])), square, focal_sigma=0.25)
    assert np.sqrt(found.covariance[0, 0]) > 0.1


def test_targets_on_one_plane_are_solved_together():
    offsets = np.array([[0, 0], [0.4, 0.1], [-0.3, 0.5], [0.5, 0.6]])
    square = np.array([[0, 0], [0.05, 0], [0.05, 0.05], [0, 0.05]])
    turned = [cv2.transform(square[None], cv2.getRotationMatrix2D((0, 0), 40.0 * i, 1)[:, :2])[0] for i in range(4)]
    rng = np.random.default_rng(2)
    pixels = [seen(turn + offset) + rng.normal(0, 0.3, (4, 2)) for turn, offset in zip(turned, offsets, strict=True)]
    tags = [PlanarTarget(str(i), pixels[i], square, 0.3, 0.002, "tags") for i in range(4)]
    together = fit_targets(tags, CAMERA, focal_sigma=0.005)
    assert together.q == pytest.approx(plane_of(), rel=0.02)
    alone = fit_targets(tags[:1], CAMERA, focal_sigma=0.005)
    assert together.distance_sigma < 0.6 * alone.distance_sigma


def test_a_plane_seen_from_afar_keeps_both_of_its_poses():
    square = np.array([[0, 0], [0.05, 0], [0.05, 0.05], [0, 0.05]])
    far = seen(square, turn=np.array([0.3, 0, 0]), shift=np.array([0.0, 0.0, 3.0]))
    found = fitted(far, square)
    assert found.rival is not None
    assert fitted(seen(A4)).rival is None


@pytest.mark.parametrize(
    ("pixels", "reason"),
    [
        (seen(A4)[[0, 2, 1, 3]], "seen by no camera in front of it"),
        (seen(A4)[[1, 2, 3, 0]], "no view of a thing of that size"),
        (seen(A4) + np.array([[0, 0], [0, 0], [0, 0], [90, -60]]), "no view of a thing of that size"),
        (np.array([[800, 600], [802, 600], [802, 602], [800, 602]]), "seen with 2 pixels across"),
        (np.array([[800, 600], [900, 600], [1000, 600], [1100, 600.5]]), "seen with"),
    ],
)
def test_points_that_are_not_the_corners_are_refused(pixels, reason):
    with pytest.raises(MeasureError, match=reason):
        fitted(np.asarray(pixels, dtype=np.float64))
