"""Rendered solids against planes, quadrics and cameras computed here by themselves."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest

from m3d_cli.camera import Camera
from m3d_cli.errors import DatasetError
from m3d_cli.synthesis import mesh
from m3d_cli.synthesis.render import Lamp, Lighting, Pose, Shot, Sky, Stage
from m3d_cli.synthesis.scenery import rotation
from m3d_cli.synthesis.scenes.shapes import FIELD_OF_VIEW, SHAPE_SCENES, Look, Props, render_shapes

WIDTH, HEIGHT = 64, 48
CAMERA = Camera(WIDTH, HEIGHT, 50.0, 52.0, 31.0, 25.0)
POSE = Pose(np.array([0.4, -0.3, 1.5]), rotation(0.3, -0.2, 0.1))
EYE = (0.4, -0.3, 1.5)
WHITE = Look(0, 1.0, (1.0, 1.0, 1.0))
DARK = Sky((0.0, 0.0, 1.0), (0.0,) * 3, (0.0,) * 3, (0.0,) * 3, 0.0, 0.0, 1.0, 0)
GROUND = mesh.quad((-600, -600, 0), (1200, 0, 0), (0, 1200, 0))
GRAZING = 0.2  # cosine of the steepest incidence at which round surfaces are compared
FACET_TURN = math.radians(6)  # a facet's normal differs by at most half its diagonal: 360 / 48 / sqrt(2) degrees


def stage_of(*parts: mesh.Part, lamp: tuple[float, float, float] = (0.0, 0.0, 9.0)) -> Stage:
    white = np.full((1, 128, 128, 4), 255, np.uint8)
    light = Lighting((Lamp(lamp, 0.05, (100.0,) * 3),), DARK, (0.2,) * 3, (0.2,) * 3, 0.3)
    return Stage(mesh.merge(parts), white, light)


def shoot(stage: Stage, camera: Camera = CAMERA, pose: Pose = POSE) -> Shot:
    return stage.photograph(camera, pose, np.random.default_rng(0))


def rays_of(camera: Camera, pose: Pose) -> np.ndarray:
    """World rays (H, W, 3) of length 1 along the optical axis, by the pinhole equation."""
    u, v = np.meshgrid(np.arange(camera.width) + 0.5, np.arange(camera.height) + 0.5)
    ray = np.stack([(u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy, np.ones_like(u)], axis=2)
    return ray @ pose.rotation.T


def first_root(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """The smaller t with a t^2 + 2 b t + c = 0; NaN where there is none."""
    with np.errstate(invalid="ignore"):
        return (-b - np.sqrt(b * b - a * c)) / a


def points_of(shot: Shot) -> np.ndarray:
    """World points (H, W, 3) of a shot's depth; far behind the camera where nothing is."""
    depth = np.where(np.isfinite(shot.depth), shot.depth, -1e6)
    return POSE.position + depth[..., None] * rays_of(CAMERA, POSE)


def normals_of(shot: Shot) -> np.ndarray:
    """World normals (H, W, 3)."""
    return np.nan_to_num(shot.normals) @ POSE.rotation.T


def assert_round(shot: Shot, depth: np.ndarray, normals: np.ndarray, least: int) -> None:
    """Depth within 0.1 % and normals within a facet's turn of those given (NaN where the surface is not seen)."""
    ray = rays_of(CAMERA, POSE)
    steep = -np.einsum("ijk,ijk->ij", normals, ray) / np.linalg.norm(ray, axis=2)
    compared = np.isfinite(depth) & (np.nan_to_num(steep) > GRAZING)
    assert compared.sum() > least
    np.testing.assert_allclose(shot.depth[compared], depth[compared], rtol=1e-3)
    cosine = np.einsum("ij,ij->i", normals_of(shot)[compared], normals[compared])
    assert cosine.min() > math.cos(FACET_TURN)


def test_ground_is_where_its_plane_says_and_faces_up() -> None:
    shot = shoot(stage_of(GROUND))
    known = np.isfinite(shot.depth)
    assert 0.2 < known.mean() < 1
    near = known & (shot.depth < 30)
    np.testing.assert_allclose(shot.depth[near], (-1.5 / rays_of(CAMERA, POSE)[..., 2])[near], rtol=1e-5)
    np.testing.assert_allclose(normals_of(shot)[known], np.broadcast_to([0, 0, 1], (known.sum(), 3)), atol=1e-6)
    assert np.isnan(shot.normals[~known]).all()


def test_every_pixel_of_a_room_lies_on_one_of_its_six_planes_with_that_planes_normal() -> None:
    shot = shoot(stage_of(mesh.box(4.0, 5.0, 2.5)))
    points, normals = points_of(shot), normals_of(shot)
    planes = [(0, -2.0), (0, 2.0), (1, -2.5), (1, 2.5), (2, 0.0), (2, 2.5)]
    off = np.stack([np.abs(points[..., axis] - place) for axis, place in planes])
    assert off.min(axis=0).max() < 1e-5
    inwards = np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]])
    clear = np.sort(off, axis=0)[1] > 1e-3
    np.testing.assert_allclose(normals[clear], inwards[off.argmin(axis=0)][clear], atol=1e-6)


@pytest.mark.parametrize(
    ("centre", "radius"), [((-0.3, 2.0, 1.1), 0.6), ((-0.5, 3.5, 1.6), 1.5), ((0.1, 0.6, 1.3), 0.2)]
)
def test_a_ball_has_the_depth_and_normals_of_a_sphere(centre: tuple[float, float, float], radius: float) -> None:
    props = Props(np.random.default_rng(0), EYE)
    props.ball((centre[0], centre[1], centre[2] - radius), radius, WHITE)
    ray, away = rays_of(CAMERA, POSE), POSE.position - centre
    depth = first_root((ray**2).sum(axis=2), ray @ away, np.full(ray.shape[:2], away @ away - radius**2))
    normals = (away + depth[..., None] * ray) / radius
    assert_round(shoot(stage_of(*props.parts)), depth, normals, 100)


@pytest.mark.parametrize(
    ("x", "y", "radius", "height"), [(-0.3, 2.2, 0.4, 0.9), (-0.9, 3.0, 0.05, 6.0), (-0.2, 1.5, 0.21, 1.4)]
)
def test_a_cylinder_has_the_depth_and_normals_of_a_round_one_and_a_flat_lid(
    x: float, y: float, radius: float, height: float
) -> None:
    props = Props(np.random.default_rng(0), EYE)
    props.cylinder((x, y, 0), radius, height, WHITE)
    shot = shoot(stage_of(*props.parts))
    ray, away = rays_of(CAMERA, POSE), POSE.position - (x, y, 0)
    square = np.full(ray.shape[:2], away[:2] @ away[:2] - radius**2)
    depth = first_root((ray[..., :2] ** 2).sum(axis=2), ray[..., :2] @ away[:2], square)
    place = away + depth[..., None] * ray
    # A pixel that sees the rim may show the side or the lid.
    side = (place[..., 2] > 0.01) & (place[..., 2] < height - 0.01)
    normals = place / radius * (1, 1, 0)
    assert_round(shot, np.where(side, depth, np.nan), normals, 30)
    if height > EYE[2]:
        return
    lid_depth = (height - EYE[2]) / ray[..., 2]
    lid = np.linalg.norm((away + lid_depth[..., None] * ray)[..., :2], axis=2) < 0.98 * radius
    lid &= ray[..., 2] < 0
    assert lid.sum() >= 2
    np.testing.assert_allclose(shot.depth[lid], lid_depth[lid], rtol=1e-5)
    np.testing.assert_allclose(normals_of(shot)[lid], np.broadcast_to([0, 0, 1], (lid.sum(), 3)), atol=1e-6)


def test_a_turned_box_has_the_depth_and_normals_of_its_nearest_slab() -> None:
    props = Props(np.random.default_rng(0), EYE)
    props.box((-0.5, 2.5, 0.2), (1.2, 0.8, 0.9), WHITE, 0.7)
    shot = shoot(stage_of(*props.parts))
    cos, sin = math.cos(0.7), math.sin(0.7)
    turn = np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]])
    ray, away = rays_of(CAMERA, POSE) @ turn.T, turn @ (POSE.position - (-0.5, 2.5, 0.65))
    ends = np.stack([(sign * np.array([0.6, 0.4, 0.45]) - away) / ray for sign in (-1, 1)])
    entry, leave = ends.min(axis=0), ends.max(axis=0).min(axis=2)
    depth, axis = entry.max(axis=2), entry.argmax(axis=2)
    inside = (leave - depth > 0.02) & (np.sort(entry, axis=2)[..., 1] < depth - 1e-3)
    assert inside.sum() > 100
    np.testing.assert_allclose(shot.depth[inside], depth[inside], rtol=1e-5)
    assert np.isposinf(shot.depth[depth > leave + 0.02]).all()
    wanted = -np.eye(3)[axis] * np.sign(np.take_along_axis(ray, axis[..., None], axis=2))
    np.testing.assert_allclose((normals_of(shot) @ turn.T)[inside], wanted[inside], atol=1e-5)


@pytest.mark.parametrize("radius", [0.033, 0.29, 2.4])
@pytest.mark.parametrize("error", [1e-5, 1e-3])
def test_chords_stay_within_the_error_allowed_and_need_no_more_than_two_spare(radius: float, error: float) -> None:
    count = mesh.segments_within(error, radius)
    assert radius * (1 - math.cos(math.pi / count)) <= error < radius * (1 - math.cos(math.pi / (count - 2)))


@pytest.mark.parametrize("segments", [16, 48])
def test_a_sphere_lies_as_far_outside_the_round_one_as_inside(segments: int) -> None:
    part = mesh.sphere(0.5, segments=segments)
    error = 0.5 * (1 - math.cos(math.pi / segments))
    corners = part.vertices[part.triangles].astype(np.float64)
    middle = (corners[:, 0] + corners[:, 2]) / 2  # the diagonal of every facet
    for points in (part.vertices, corners.mean(axis=1), middle):
        assert np.abs(np.linalg.norm(points - (0, 0, 0.5), axis=1) - 0.5).max() < 1.01 * error


def test_distant_things_have_fewer_facets() -> None:
    counts = []
    for y in (3.0, 9.0):
        props = Props(np.random.default_rng(0), EYE)
        props.ball((0.0, y, 0.5), 1.5, WHITE)
        counts.append(len(props.parts[0].triangles))
    assert counts[0] > 1.5 * counts[1]


def test_the_nearer_thing_hides_the_farther_whatever_their_order() -> None:
    near, far = mesh.box(0.5, 0.5, 2.5).placed(0, 2, 0), mesh.box(3.0, 0.5, 2.5).placed(-0.2, 4, 0)
    one, other = (shoot(stage_of(*parts)) for parts in ((near, far), (far, near)))
    np.testing.assert_array_equal(one.depth, other.depth)
    np.testing.assert_array_equal(one.normals, other.normals)


def test_a_shadow_is_darker_than_the_ground_around_it() -> None:
    down, camera = Pose(np.array([0.0, 0.0, 6.0]), rotation(0, -math.pi / 2, 0)), Camera.centred(96, 72, 60)
    board = mesh.box(1.0, 1.0, 0.1).placed(0, 0, 2.0)
    # The lamp stands at x = 4, z = 8: the board's shadow falls from x = -1.999 to -0.6, around column 35.
    row = shoot(stage_of(GROUND, board, lamp=(4.0, 0.0, 8.0)), camera, down).radiance[36, :, 1]
    assert row[35] < 0.6 * row[80]


def test_a_seed_gives_the_same_bytes_in_another_process() -> None:
    script = (
        "import hashlib; from m3d_cli.synthesis.scenes.shapes import render_shapes as r\n"
        "for s in r([4, 5], 64, 48):\n"
        "    t = s.truth; print(hashlib.sha256(b''.join((s.photo.image.tobytes(), t.depth.tobytes(),"
        " t.normals.tobytes()))).hexdigest())"
    )
    runs = {subprocess.run([sys.executable, "-c", script], capture_output=True, check=True).stdout for _ in range(2)}
    assert len(runs) == 1


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


def test_worker_processes_give_the_same_images_in_order() -> None:
    here, there = (list(render_shapes(range(3, 7), 64, 48, workers=workers)) for workers in (1, 2))
    for a, b in zip(here, there, strict=True):
        assert a.photo.path == b.photo.path
        np.testing.assert_array_equal(a.photo.image, b.photo.image)
        np.testing.assert_array_equal(a.truth.depth, b.truth.depth)


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
