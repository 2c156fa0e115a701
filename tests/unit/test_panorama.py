"""Photos that are not flat, cut into views and joined: against rooms whose range is known in every direction."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from m3d_cli.depthmap import DepthMap
from m3d_cli.panorama import Joined, Panel, View, cut, join, reduced, views_of
from m3d_cli.spherical import SphericalCamera

HALF_ROOM = np.array([2.0, 1.5, 3.0])
SPHERE = SphericalCamera.full_sphere(480, 240)


def range_of_room(directions: NDArray[np.floating]) -> NDArray[np.float64]:
    """Distance to the wall of a room round the camera, along each direction."""
    lengths = np.linalg.norm(directions, axis=-1, keepdims=True)
    return np.asarray(np.min(HALF_ROOM / np.maximum(np.abs(directions / lengths), 1e-9), axis=-1))


def joined(camera: SphericalCamera, scales: dict[int, float] | None = None, sky: bool = False) -> Joined:
    """The room seen by views whose depth is exact but for a scale each, unknown above the horizon with ``sky``."""
    panels = []
    for number, view in enumerate(views_of(camera)):
        rays = view.directions()
        depth = range_of_room(rays) / np.linalg.norm(rays, axis=-1) * (scales or {}).get(number, 1.0)
        if sky:
            depth[rays[..., 1] < 0] = np.nan
        seen = cut(np.zeros((camera.height, camera.width, 3), np.uint8), camera, view)[1]
        panels.append(Panel.of(view, DepthMap(depth.astype(np.float32), view.camera), seen))
    return join(camera, panels)


def errors(found: Joined) -> NDArray[np.float64]:
    """ln of found over true range where both are known."""
    directions = found.range.camera.directions()
    known = np.isfinite(found.range.range)
    return np.log(found.range.range[known] / range_of_room(directions[known]))


@pytest.mark.parametrize("camera", [SPHERE, SphericalCamera.equidistant(300, 300, 170)], ids=["sphere", "fisheye"])
def test_exact_views_give_the_exact_range(camera):
    found = joined(camera)
    seen = np.isfinite(camera.directions()[..., 0])
    assert np.isfinite(found.range.range[seen]).mean() > 0.97
    # Corners of the room are rounded by as much as a pixel of a view.
    assert np.abs(errors(found)).max() < 0.02
    assert np.abs(errors(found)).mean() < 5e-4
    assert found.spread < 1e-3


def test_views_of_other_scales_are_made_to_agree_about_their_mean():
    rng = np.random.default_rng(5)
    scales = {number: math.exp(0.1 * rng.standard_normal()) for number in range(len(views_of(SPHERE)))}
    found = joined(SPHERE, scales)
    assert errors(found).std() < 0.005
    assert abs(errors(found).mean() - np.mean(np.log(list(scales.values())))) < 0.01
    assert found.spread == pytest.approx(0.1, rel=0.4)


def test_what_no_view_knows_stays_unknown():
    found = joined(SPHERE, sky=True).range.range
    assert np.isnan(found[:110]).mean() > 0.99
    assert np.isfinite(found[130:]).all()


def test_views_cover_the_sphere_and_look_upright():
    views = views_of(SPHERE)
    directions = SPHERE.directions()
    covered = np.zeros(directions.shape[:2], bool)
    for view in views:
        panel = Panel(view, np.zeros((view.camera.height, view.camera.width), np.float32), np.ones((1, 1), bool))
        covered |= np.isfinite(panel.sampled(directions)[0])
        right = view.turn @ np.array([1, 0, 0], np.float32)
        assert abs(right[1]) < 1e-6
    assert covered.all()


def test_a_view_shows_the_pixels_of_its_directions():
    columns = np.broadcast_to(np.linspace(0, 255, 480), (240, 480))
    image = np.repeat(columns[..., None], 3, axis=2).astype(np.uint8)
    view = views_of(SPHERE)[0]
    pixels, seen = cut(image, SPHERE, view)
    assert seen.all()
    u, _ = SPHERE.project(view.directions())
    np.testing.assert_allclose(pixels[..., 0], (u - 0.5) / 479 * 255, atol=2)


def test_a_view_across_the_seam_has_no_border():
    image = np.full((240, 480, 3), 200, np.uint8)
    behind = next(view for view in views_of(SPHERE) if view.turn[2, 2] < -0.99)
    assert (cut(image, SPHERE, behind)[0] == 200).all()


def test_a_fisheye_is_cut_only_where_it_sees():
    views = views_of(SphericalCamera.equidistant(300, 300, 170))
    ahead = [view.turn @ np.array([0, 0, 1], np.float32) for view in views]
    assert 4 <= len(views) < len(views_of(SPHERE))
    assert min(axis[2] for axis in ahead) > -0.1


def test_a_large_photo_is_reduced_for_its_views():
    camera = SphericalCamera.full_sphere(8000, 4000)
    view = views_of(camera)[0]
    assert isinstance(view, View)
    assert view.camera.width == 1200
    small = reduced(np.zeros((400, 800, 3), np.uint8), camera, view.camera.focal)
    assert small.shape[1] / math.tau == pytest.approx(view.camera.focal, rel=0.01)
