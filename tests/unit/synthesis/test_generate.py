from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from m3d_cli.camera import Camera
from m3d_cli.synthesis import mesh, texture
from m3d_cli.synthesis.assets import AssetLibrary
from m3d_cli.synthesis.generate import MIXTURE, SCENES, Recipe, maker_of, render_many, render_sample
from m3d_cli.synthesis.light import indoors, many_lamps, of_temperature, outdoors
from m3d_cli.synthesis.render import Lamp, Lighting, Pose, Stage
from m3d_cli.synthesis.scenery import Scenery, View, footprint, overlaps, rotation, towards
from m3d_cli.synthesis.scenes.rooms import _set_table
from m3d_cli.synthesis.scenes.shell import Shell

WIDTH, HEIGHT = 56, 42


def stage_of(*parts: mesh.Part, indoor: bool = True) -> Stage:
    rng = np.random.default_rng(0)
    white = np.full((1, 128, 128, 4), 255, np.uint8)
    return Stage(mesh.merge(parts), white, indoors(rng, 4, 4, 3) if indoor else outdoors(rng))


def test_a_wall_ahead_has_one_depth() -> None:
    stage = stage_of(mesh.quad((-50, 3.0, -50), (100, 0, 0), (0, 0, 100)))
    camera = Camera.centred(WIDTH, HEIGHT, 40.0)
    pose = Pose(np.array([0.3, 0.5, 1.0]), rotation(0.0, 0.0, 0.2))
    radiance, depth, normals = stage.photograph(camera, pose, np.random.default_rng(0))
    np.testing.assert_allclose(depth, 2.5, rtol=1e-5)
    np.testing.assert_allclose(normals, np.broadcast_to([0.0, -math.sin(0.0), -1.0], normals.shape), atol=1e-6)
    assert radiance.shape == (HEIGHT, WIDTH, 3)
    assert np.isfinite(radiance).all()


def test_the_floor_follows_the_ground_plane_formula_and_the_sky_is_infinite() -> None:
    stage = stage_of(mesh.quad((-900, -900, 0), (1800, 0, 0), (0, 1800, 0)), indoor=False)
    camera = Camera(WIDTH, HEIGHT, 40.0, 40.0, 29.0, 20.0)
    depth = stage.photograph(camera, Pose(np.array([0, 0, 1.65]), rotation(0.4, 0, 0)), np.random.default_rng(0))[1]
    rows = np.arange(HEIGHT) + 0.5
    below = rows > 20.5
    wanted = 1.65 * 40.0 / (rows[below] - 20.0)  # z = f h / (v - cy)
    np.testing.assert_allclose(depth[below], np.tile(wanted[:, None], (1, WIDTH)), rtol=1e-4)
    assert np.isposinf(depth[rows < 19.9]).all()


def test_an_object_of_known_size_covers_the_right_pixels() -> None:
    stage = stage_of(mesh.box(0.5, 0.001, 1.0).placed(0, 4.0, 0))
    camera = Camera.centred(200, 150, 200.0)
    depth = stage.depth(camera, Pose(np.array([0, 0, 0.5]), rotation(0, 0, 0)))
    seen = np.isfinite(depth)
    assert abs(seen.any(axis=0).sum() - 25) <= 1  # 0.5 m at 4 m with f 200
    assert abs(seen.any(axis=1).sum() - 50) <= 1


def test_transparent_texels_let_the_ray_through() -> None:
    textures = np.full((2, 128, 128, 4), 255, np.uint8)
    textures[1, ..., 3] = 0
    parts = mesh.merge(
        [
            mesh.quad((-9, 1, -9), (18, 0, 0), (0, 0, 18), texture=1),
            mesh.quad((-9, 2, -9), (18, 0, 0), (0, 0, 18)),
        ]
    )
    stage = Stage(parts, textures, indoors(np.random.default_rng(0), 4, 4, 3))
    pose = Pose(np.zeros(3), rotation(0, 0, 0))
    depth = stage.photograph(Camera.centred(WIDTH, HEIGHT, 60.0), pose, np.random.default_rng(0))[1]
    np.testing.assert_allclose(depth, 2.0, rtol=2e-3)


def test_shadows_fall_where_the_lamp_is_hidden() -> None:
    floor = mesh.quad((-5, -5, 0), (10, 0, 0), (0, 10, 0))
    screen = mesh.quad((-1, -1, 1), (2, 0, 0), (0, 2, 0))
    dark = outdoors(np.random.default_rng(0)).sky
    light = Lighting(
        (Lamp((0, 0, 3), 0.05, (9, 9, 9)),), replace(dark, sun_colour=(0, 0, 0), haze=0), (0, 0, 0), (0, 0, 0), 0.5
    )
    stage = Stage(mesh.merge([floor, screen]), np.full((1, 128, 128, 4), 255, np.uint8), light)
    camera, down = Camera.centred(32, 32, 40.0), rotation(0, -math.pi / 2, 0)
    shadow = stage.photograph(camera, Pose(np.array([0, 0, 0.9]), down), np.random.default_rng(0))[0]
    lit = stage.photograph(camera, Pose(np.array([2.5, 0, 0.9]), down), np.random.default_rng(0))[0]
    assert shadow.max() == 0
    assert lit.min() > 0.1
    edge = stage.photograph(camera, Pose(np.array([1.5, 0, 0.9]), down), np.random.default_rng(0))[0][16, :, 0]
    # The shadow of the screen's rim at x = 1 falls at x = 1.5: the middle of the image.
    assert abs(np.flatnonzero(edge > edge.max() / 2)[0] - 16) <= 1


@pytest.mark.parametrize(("yaw", "pitch", "roll"), [(0.0, 0.0, 0.0), (0.7, -0.3, 0.1), (3.0, 0.4, -0.2)])
def test_rotations_are_proper_and_look_where_they_say(yaw: float, pitch: float, roll: float) -> None:
    r = rotation(yaw, pitch, roll)
    np.testing.assert_allclose(r @ r.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(r) == pytest.approx(1)
    forward = r @ np.array([0, 0, 1.0])
    found = towards((1, 2, 3), tuple(np.array([1, 2, 3]) + 5 * forward))
    assert found == pytest.approx((math.atan2(math.sin(yaw), math.cos(yaw)), pitch))
    assert (r @ np.array([0, -1.0, 0]))[2] > 0  # the image's top is up


def test_a_turned_footprint_covers_the_turned_model(library: AssetLibrary) -> None:
    model = library.find("bus")[0]
    for yaw in (0.0, 0.3, math.pi / 2):
        x0, y0, x1, y1 = footprint(model, 1.0, 2.0, yaw)
        placed = library.part(model.index).placed(1.0, 2.0, 0, yaw).vertices
        np.testing.assert_allclose(placed[:, :2].min(axis=0), (x0, y0), atol=1e-4)
        np.testing.assert_allclose(placed[:, :2].max(axis=0), (x1, y1), atol=1e-4)


@pytest.mark.parametrize("name", SCENES)
def test_every_domain_gives_usable_pictures(library: AssetLibrary, name: str) -> None:
    sample = render_sample(library, 5, WIDTH, HEIGHT, Recipe({name: 1.0}))
    depth = sample.truth.depth
    known = np.isfinite(depth)
    assert sample.source.startswith("synthetic/")
    assert depth.shape == (HEIGHT, WIDTH)
    assert known.mean() > 0.05
    assert depth[known].min() > 0.05
    assert sample.photo.image.std() > 3
    assert not sample.sparse
    assert 30 < sample.photo.camera.horizontal_fov < 105


def test_scenes_come_in_the_shares_of_the_mixture() -> None:
    made = [maker_of(number) for number in range(3000)]
    for name, share in MIXTURE.items():
        assert abs(made.count(SCENES[name]) / 3000 - share) < 0.003
    assert sum(MIXTURE.values()) == pytest.approx(1)


@pytest.mark.parametrize("name", ["drive", "parkway"])
def test_a_driving_camera_stands_at_car_height(library: AssetLibrary, name: str) -> None:
    rng = np.random.default_rng(1)
    scene = SCENES[name](library, rng)
    views = [scene.propose(rng) for _ in range(200)]
    heights = np.array([view.position[2] for view in views])
    assert 1.3 < heights.min() < heights.max() < 2.05
    assert abs(np.mean([view.pitch for view in views])) < 0.08
    assert isinstance(views[0], View)


def test_one_seed_is_one_picture_alone_or_in_company(library: AssetLibrary) -> None:
    alone = render_sample(library, 9, WIDTH, HEIGHT)
    together = list(render_many(library, range(8, 11), WIDTH, HEIGHT))
    assert [s.photo.path.name for s in together] == ["00000008", "00000009", "00000010"]
    np.testing.assert_array_equal(alone.photo.image, together[1].photo.image)
    np.testing.assert_array_equal(alone.truth.depth, together[1].truth.depth)
    assert not np.array_equal(together[0].photo.image, together[1].photo.image)


def test_worker_processes_give_the_same_pictures_in_order(library: AssetLibrary) -> None:
    here = list(render_many(library, range(3, 7), WIDTH, HEIGHT))
    there = list(render_many(library, range(3, 7), WIDTH, HEIGHT, workers=2))
    for a, b in zip(here, there, strict=True):
        assert a.photo.camera == b.photo.camera
        np.testing.assert_array_equal(a.photo.image, b.photo.image)
        np.testing.assert_array_equal(a.truth.depth, b.truth.depth)


def test_the_mip_pyramid_keeps_the_mean() -> None:
    stack = np.random.default_rng(0).integers(0, 256, (2, 128, 128, 4)).astype(np.uint8)
    rows = texture.pyramid(stack)
    assert rows.shape == (2, sum(4**k for k in range(8)), 4)
    np.testing.assert_allclose(rows[:, -1], stack.reshape(2, -1, 4).mean(axis=1), atol=4)


def test_normals_of_a_mesh_fit_the_plane_through_neighbouring_points(library: AssetLibrary) -> None:
    sample = render_sample(library, 5, WIDTH, HEIGHT, Recipe({"kitchen": 1.0}))
    depth, normals, camera = sample.truth.depth.astype(np.float64), sample.truth.normals, sample.photo.camera
    assert normals is not None
    ray = camera.rays().astype(np.float64)
    points = depth[..., None] * ray / ray[..., 2:]
    across, down = points[1:-1, 2:] - points[1:-1, :-2], points[2:, 1:-1] - points[:-2, 1:-1]
    wanted = np.cross(across, down)
    wanted /= -np.linalg.norm(wanted, axis=2, keepdims=True)
    inner = normals[1:-1, 1:-1]
    around = np.stack([normals[1:-1, 2:], normals[1:-1, :-2], normals[2:, 1:-1], normals[:-2, 1:-1]])
    centre = points[1:-1, 1:-1]
    beside = np.abs(np.einsum("ijk,ijk->ij", points[1:-1, 2:] - centre, inner)) < 1e-3
    below = np.abs(np.einsum("ijk,ijk->ij", points[2:, 1:-1] - centre, inner)) < 1e-3
    before = np.abs(np.einsum("ijk,ijk->ij", points[1:-1, :-2] - centre, inner)) < 1e-3
    above = np.abs(np.einsum("ijk,ijk->ij", points[:-2, 1:-1] - centre, inner)) < 1e-3
    flat = (np.abs(around - inner).max(axis=(0, 3)) < 1e-4) & beside & below & before & above
    assert flat.mean() > 0.3
    np.testing.assert_allclose(np.einsum("ij,ij->i", inner[flat], wanted[flat]), 1, atol=1e-3)


def test_rich_light_changes_the_light_and_nothing_else(library: AssetLibrary) -> None:
    plain, rich = (
        render_sample(library, 5, WIDTH, HEIGHT, Recipe({"room": 1.0}, rich_light=light)) for light in (False, True)
    )
    np.testing.assert_array_equal(plain.truth.depth, rich.truth.depth)
    assert plain.photo.camera == rich.photo.camera
    assert not np.array_equal(plain.photo.image, rich.photo.image)


def test_outdoor_light_has_no_lamps_to_enrich() -> None:
    light = outdoors(np.random.default_rng(0))
    assert many_lamps(light, np.random.default_rng(1)) is light


# CIE 1931 chromaticities of black bodies; the first is standard illuminant A.
@pytest.mark.parametrize(
    ("kelvin", "x", "y"),
    [(2856, 0.4476, 0.4075), (4000, 0.3805, 0.3768), (6500, 0.3135, 0.3237), (9000, 0.2869, 0.2956)],
)
def test_glowing_bodies_have_the_chromaticity_of_the_cie_tables(kelvin: float, x: float, y: float) -> None:
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ of_temperature(
        kelvin
    )
    assert xyz[:2] / xyz.sum() == pytest.approx([x, y], abs=0.002)


def test_angles_of_view_stay_between_the_bounds_asked_for(library: AssetLibrary) -> None:
    recipe = Recipe({"room": 1.0}, field_of_view=(20.0, 30.0))
    for sample in render_many(library, range(4), WIDTH, HEIGHT, recipe=recipe):
        assert 19.9 < sample.photo.camera.horizontal_fov < 30.1


def test_chairs_stand_under_their_own_table_but_in_nothing_else(library: AssetLibrary) -> None:
    chairs = 0
    for seed in range(60):
        scenery = Scenery(library, np.random.default_rng(seed))
        along_walls = [(-3.0, -3.5, -1.3, 3.5), (1.3, -3.5, 3.0, 3.5), (-3.0, 1.5, 3.0, 3.5), (-3.0, -3.5, 3.0, -1.5)]
        scenery.taken.extend(along_walls)
        _set_table(scenery, Shell(6.0, 7.0, 2.5), [])
        placed = scenery.taken[len(along_walls) + 1 :]
        chairs += len(placed)
        assert not any(overlaps(chair, other) for chair in placed for other in along_walls)
    assert chairs > 0
