"""Rendered solids against planes, quadrics and cameras computed here by themselves."""

from __future__ import annotations

import math

import numpy as np
import pytest

from m3d_cli.camera import Camera
from m3d_cli.errors import DatasetError
from m3d_cli.synthesis.render import Pose, Shot
from m3d_cli.synthesis.scenery import rotation
from m3d_cli.synthesis.scenes.shapes import FIELD_OF_VIEW, SHAPE_SCENES, render_shapes
from m3d_cli.synthesis.shape_stage import Glow, Look, ShapeStage, Thing, shoot
from m3d_cli.synthesis.solids import Ball, Box, Cylinder, Solid

WIDTH, HEIGHT = 64, 48
CAMERA = Camera(WIDTH, HEIGHT, 50.0, 52.0, 31.0, 25.0)
POSE = Pose(np.array([0.4, -0.3, 1.5]), rotation(0.3, -0.2, 0.1))
WHITE = Look(0, (1.0, 1.0, 1.0))
NOON = Glow((0.0, 0.0, 900.0), 900.0, (1.0, 1.0, 1.0), (0.2, 0.2, 0.2))


def stage_of(*solids: Solid, room: Box | None = None) -> ShapeStage:
    things = tuple(Thing(solid, (WHITE,)) for solid in solids)
    return ShapeStage(things, room, (WHITE,) * (6 if room else 1), NOON)


def points_of(shot: Shot, camera: Camera, pose: Pose) -> np.ndarray:
    """World points (H, W, 3) of a shot's depth, by the camera's own rays; far behind it where nothing is."""
    depth = np.where(np.isfinite(shot.depth), shot.depth, -1e6)
    ray = camera.rays().astype(np.float64)
    ray = ray / ray[..., 2:]
    return pose.position + depth[..., None] * ray @ pose.rotation.T


def normals_of(shot: Shot, pose: Pose) -> np.ndarray:
    """World normals (H, W, 3)."""
    return np.nan_to_num(shot.normals) @ pose.rotation.T


def test_ground_is_where_its_plane_says_and_faces_up() -> None:
    shot = shoot(stage_of(), CAMERA, POSE)
    known = np.isfinite(shot.depth)
    assert 0.2 < known.mean() < 1
    near = known & (shot.depth < 30)
    np.testing.assert_allclose(points_of(shot, CAMERA, POSE)[near][:, 2], 0, atol=2e-5)
    np.testing.assert_allclose(normals_of(shot, POSE)[known], np.broadcast_to([0, 0, 1], (known.sum(), 3)), atol=1e-6)
    assert np.isnan(shot.normals[~known]).all()


def test_every_pixel_of_a_room_lies_on_one_of_its_six_planes_with_that_planes_normal() -> None:
    room = Box(0, 0, 0, 4.0, 5.0, 2.5)
    shot = shoot(stage_of(room=room), CAMERA, POSE)
    points, normals = points_of(shot, CAMERA, POSE), normals_of(shot, POSE)
    planes = [(0, -2.0), (0, 2.0), (1, -2.5), (1, 2.5), (2, 0.0), (2, 2.5)]
    off = np.stack([np.abs(points[..., axis] - place) for axis, place in planes])
    assert off.min(axis=0).max() < 1e-5
    inwards = np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]])
    clear = np.sort(off, axis=0)[1] > 1e-3
    np.testing.assert_allclose(normals[clear], inwards[off.argmin(axis=0)][clear], atol=1e-6)


def test_a_ball_has_its_radius_everywhere_and_normals_from_its_centre() -> None:
    ball = Ball(-0.3, 2.0, 0.5, 0.6)
    shot = shoot(stage_of(ball), CAMERA, POSE)
    from_centre = points_of(shot, CAMERA, POSE) - ball.centre
    on_ball = np.abs(np.linalg.norm(from_centre, axis=2) - 0.6) < 1e-3
    assert on_ball.sum() > 100
    np.testing.assert_allclose(np.linalg.norm(from_centre[on_ball], axis=1), 0.6, atol=1e-5)
    np.testing.assert_allclose(normals_of(shot, POSE)[on_ball], from_centre[on_ball] / 0.6, atol=1e-4)


def test_a_turned_box_shows_sides_at_half_its_size() -> None:
    box = Box(-0.5, 2.5, 0.2, 1.2, 0.8, 0.9, yaw=0.7)
    shot = shoot(stage_of(box), CAMERA, POSE)
    points = points_of(shot, CAMERA, POSE) - box.centre
    turn = rotation_about_z(-0.7)
    local, normals = points @ turn.T, normals_of(shot, POSE) @ turn.T
    share = np.abs(local) / np.array([0.6, 0.4, 0.45])
    on_box = share.max(axis=2) < 1.05
    assert on_box.sum() > 100
    np.testing.assert_allclose(share.max(axis=2)[on_box], 1, atol=1e-4)
    clear = on_box & (np.sort(share, axis=2)[..., 1] < 0.98)
    axis = share.argmax(axis=2)[clear]
    wanted = np.eye(3)[axis] * np.sign(np.take_along_axis(local[clear], axis[:, None], axis=1))
    np.testing.assert_allclose(normals[clear], wanted, atol=1e-5)


def test_a_cylinder_is_round_and_has_a_flat_lid() -> None:
    barrel = Cylinder(-0.3, 2.2, 0.0, 0.4, 0.9)
    shot = shoot(stage_of(barrel), CAMERA, POSE)
    points, normals = points_of(shot, CAMERA, POSE), normals_of(shot, POSE)
    out = np.hypot(points[..., 0] + 0.3, points[..., 1] - 2.2)
    lid = (np.abs(points[..., 2] - 0.9) < 1e-4) & (out < 0.39)
    side = (np.abs(out - 0.4) < 1e-4) & (points[..., 2] > 0.01) & (points[..., 2] < 0.89)
    assert lid.sum() > 20
    assert side.sum() > 50
    np.testing.assert_allclose(normals[lid], np.broadcast_to([0, 0, 1], (lid.sum(), 3)), atol=1e-6)
    wanted = np.stack([points[..., 0] + 0.3, points[..., 1] - 2.2, np.zeros_like(out)], axis=2)[side] / 0.4
    np.testing.assert_allclose(normals[side], wanted, atol=1e-3)


def rotation_about_z(angle: float) -> np.ndarray:
    cos, sin = math.cos(angle), math.sin(angle)
    return np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])


def test_the_nearer_thing_hides_the_farther_whatever_their_order() -> None:
    near, far = Box(0.0, 2.0, 0, 0.5, 0.5, 2.5), Box(-0.2, 4.0, 0, 3.0, 0.5, 2.5)
    one, other = (shoot(stage_of(*solids), CAMERA, POSE) for solids in ((near, far), (far, near)))
    np.testing.assert_array_equal(one.depth, other.depth)
    np.testing.assert_array_equal(one.normals, other.normals)


def test_a_shadow_is_darker_than_the_ground_around_it() -> None:
    down = Pose(np.array([0.0, 0.0, 6.0]), rotation(0, -math.pi / 2, 0))
    shaded = shoot(stage_of(Box(0, 0, 2.0, 1.0, 1.0, 0.1)), Camera.centred(96, 72, 60), down)
    lamp = Glow((4.0, 0.0, 8.0), 8.0, (1.0, 1.0, 1.0), (0.1, 0.1, 0.1))
    aside = ShapeStage(stage_of(Box(0, 0, 2.0, 1.0, 1.0, 0.1)).things, None, (WHITE,), lamp)
    moved = shoot(aside, Camera.centred(96, 72, 60), down)
    ground = np.isclose(moved.depth, 6.0, atol=1e-3)
    assert np.isclose(shaded.depth, 6.0, atol=1e-3).sum() == ground.sum()
    # The lamp stands at x = 4, z = 8: the board's shadow falls from x = -1.999 to -0.6, around column 35.
    row = moved.radiance[36, :, 1]
    assert row[35] < 0.6 * row[80]


@pytest.mark.parametrize("name", SHAPE_SCENES)
def test_scenes_are_sensible_pictures_with_unit_normals_towards_the_camera(name: str) -> None:
    for sample in render_shapes(range(6), WIDTH, HEIGHT, {name: 1.0}):
        depth, normals = sample.truth.depth, sample.truth.normals
        known = np.isfinite(depth)
        assert known.mean() > 0.09
        assert depth.min() > 0.1
        assert sample.photo.image.std() > 2
        assert sample.source == f"shapes/{name}"
        assert normals is not None
        np.testing.assert_allclose(np.linalg.norm(normals[known], axis=1), 1, atol=1e-5)
        assert (np.einsum("ij,ij->i", normals[known], sample.photo.camera.rays()[known]) < 1e-4).all()


def test_one_seed_is_one_picture() -> None:
    alone = next(render_shapes([5], WIDTH, HEIGHT))
    among = list(render_shapes(range(4, 7), WIDTH, HEIGHT))[1]
    np.testing.assert_array_equal(alone.photo.image, among.photo.image)
    np.testing.assert_array_equal(alone.truth.depth, among.truth.depth)
    assert alone.photo.camera == among.photo.camera
    assert alone.photo.path.name == "00000005"


def test_cameras_reach_from_twelve_to_a_hundred_and_twenty_degrees_unless_bounded() -> None:
    angles = [sample.photo.camera.horizontal_fov for sample in render_shapes(range(80), 32, 24)]
    assert min(angles) < 15
    assert max(angles) > 110
    assert all(FIELD_OF_VIEW[0] - 1 < angle < FIELD_OF_VIEW[1] + 1 for angle in angles)
    bounded = render_shapes(range(8), 32, 24, field_of_view=(50.0, 50.0))
    assert all(sample.photo.camera.fx == pytest.approx(16 / math.tan(math.radians(25))) for sample in bounded)


def test_a_seed_without_a_view_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("m3d_cli.synthesis.scenes.shapes.FAR", 0.01)
    with pytest.raises(DatasetError, match="seed 3: no usable view"):
        next(render_shapes([3], 32, 24))
