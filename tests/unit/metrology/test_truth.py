"""Synthetic truth: every kind of measurement on exact depth, through memory, npz and the depth PNG."""

from __future__ import annotations

import numpy as np
import pytest

from m3d_cli.depthmap import DepthErrorModel, DepthMap
from m3d_cli.formats.depth_png import encode_depth_png, read_depth_png
from m3d_cli.formats.float_images import encode_npz
from m3d_cli.metrology.measurands import Kind, Measurand
from m3d_cli.metrology.picks import Pick, Side
from m3d_cli.metrology.request import Request
from m3d_cli.metrology.solve import Measurement, solve

HALF_MILLIMETRE = 5e-4


def through_memory(depth, folder):
    return depth


def through_npz(depth, folder):
    path = folder / "d.npz"
    path.write_bytes(encode_npz(depth))
    with np.load(path) as file:
        return DepthMap(file["depth"], depth.camera)


def through_png(depth, folder):
    path = folder / "d.png"
    path.write_bytes(encode_depth_png(depth.depth)[0])
    return DepthMap(read_depth_png(path).depth, depth.camera)


ROUTES = pytest.mark.parametrize("route", [through_memory, through_npz, through_png])


def measured(depth, exact, *measures, **options):
    solution = solve(depth, Request(tuple(measures), **options), exact, "photo")
    for result in solution.results:
        assert isinstance(result, Measurement), result.error
    return {result.name: result for result in solution.results}


def allowed(route, factor=1.0):
    """Half a millimetre, and the PNG's half millimetre of depth seen at an angle."""
    return HALF_MILLIMETRE * factor + (HALF_MILLIMETRE if route is through_png else 0)


@ROUTES
def test_lengths_on_a_slanted_wall(world, exact, tmp_path, route):
    normal = np.array([0.35, 0.2, 1.0])
    scene = world().plane(normal, 2.5)

    def on_wall(x, y):
        return np.array([x, y, 2.5 - normal[0] * x - normal[1] * y])

    a, b, c = on_wall(-0.5, -0.4), on_wall(0.6, -0.3), on_wall(0.2, 0.5)
    depth = route(scene.map(), tmp_path)
    picks = [scene.pick(*p) for p in (a, b, c)]
    found = measured(
        depth,
        exact,
        Measurand("ab", Kind.DISTANCE, tuple(picks[:2])),
        Measurand("abc", Kind.PATH, tuple(picks)),
        Measurand("corner", Kind.ANGLE, tuple(picks)),
        Measurand("to a", Kind.RANGE, (picks[0],)),
        Measurand("sheet", Kind.AREA, tuple(picks)),
        Measurand("wall", Kind.PLANE, tuple(scene.pick(*on_wall(x, y)) for x, y in ((-1, -0.7), (1, -0.7), (0, 0.8)))),
        Measurand("flat ab", Kind.DISTANCE, tuple(picks[:2]), on="wall"),
    )
    ab, bc = np.linalg.norm(b - a), np.linalg.norm(c - b)
    tolerance = allowed(route)
    assert found["ab"].value == pytest.approx(ab, abs=tolerance)
    assert found["flat ab"].value == pytest.approx(ab, abs=tolerance)
    assert found["abc"].value == pytest.approx(ab + bc, abs=2 * tolerance)
    assert found["to a"].value == pytest.approx(np.linalg.norm(a), abs=tolerance)
    assert found["to a"].details["depth along the axis (m)"] == pytest.approx(a[2], abs=tolerance)
    corner = np.degrees(np.arccos((a - b) @ (c - b) / ab / bc))
    assert found["corner"].value == pytest.approx(corner, abs=np.degrees(2 * tolerance / bc))
    area = np.linalg.norm(np.cross(b - a, c - a)) / 2
    assert found["sheet"].value == pytest.approx(area, abs=tolerance * (ab + bc))
    assert found["wall"].value == pytest.approx(2.5 / np.linalg.norm(normal), abs=tolerance)
    tilt = np.degrees(np.arccos(normal[1] / np.linalg.norm(normal)))
    assert found["wall"].details["tilt from level (degrees)"] == pytest.approx(tilt, abs=0.05)
    assert found["wall"].details["share of the region on it"] == 1


@ROUTES
def test_stairs_over_a_tilted_ground(world, exact, tmp_path, route):
    """Steps of 0.18 m rise; the camera looks down at them by 20 degrees from 1.5 m."""
    pitch = np.radians(20)
    down = np.array([0, np.cos(pitch), np.sin(pitch)])
    forward = np.array([0, -np.sin(pitch), np.cos(pitch)])
    scene = world().plane(down, 1.5)
    for step in range(1, 4):
        height, start = 1.5 - 0.18 * step, 2.0 + 0.3 * step

        def tread(p, start=start):
            return (p @ forward > start) & (np.abs(p[..., 0]) < 0.5)

        def riser(p, low=height + 0.18, high=height):
            return (p @ down < low) & (p @ down > high) & (np.abs(p[..., 0]) < 0.5)

        scene.plane(down, height, tread).plane(forward, start, riser)
    depth = route(scene.map(), tmp_path)

    def place(x, height, ahead):
        return x * np.array([1, 0, 0]) + (1.5 - height) * down + ahead * forward

    ground = tuple(scene.pick(*place(x, 0, z)) for x, z in ((-0.8, 2.2), (0.8, 2.2), (0.5, 1.75), (-0.5, 1.75)))
    first, third = scene.pick(*place(0, 0.18, 2.45)), scene.pick(*place(0.1, 0.54, 3.1))
    found = measured(
        depth,
        exact,
        Measurand("floor", Kind.GROUND, ground),
        Measurand("third step", Kind.HEIGHT, (third,)),
        Measurand("two steps", Kind.HEIGHT, (first, third)),
    )
    tolerance = allowed(route, 2)
    assert found["floor"].value == pytest.approx(1.5, abs=tolerance)
    assert found["third step"].value == pytest.approx(0.54, abs=tolerance)
    assert found["two steps"].value == pytest.approx(0.36, abs=tolerance)


@ROUTES
def test_a_room_is_as_wide_as_its_walls_are_apart(world, exact, tmp_path, route):
    scene = world().plane([1, 0, 0.02], 1.9).plane([-1, 0, -0.02], 1.4).plane([0, 0, 1], 6.0)
    depth = route(scene.map(), tmp_path)
    left = tuple(scene.pick(-1.47, y, z) for y, z in ((-0.6, 2.7), (0.6, 2.7), (0.6, 4), (-0.6, 4)))
    right = tuple(scene.pick(1.8, y, z) for y, z in ((-0.6, 3.6), (-0.6, 5), (0.6, 5), (0.6, 3.6)))
    found = measured(depth, exact, Measurand("room", Kind.PLANE_DISTANCE, left, right))
    apart = 3.3 / np.hypot(1, 0.02)
    assert found["room"].value == pytest.approx(apart, abs=allowed(route, 3))
    assert found["room"].details["angle between them (degrees)"] < 0.2


def quantum(scene, z):
    """Metres that one pixel covers at a depth: an end is known to half of it on either side."""
    return z / scene.camera.fx


@ROUTES
def test_a_box_before_a_wall_has_its_extents(world, exact, tmp_path, route):
    scene = world().plane([0, 0, 1], 3.0).box([-0.4, -0.25, 1.8], [0.1, 0.25, 2.4])
    depth = route(scene.map(), tmp_path)
    one, other = scene.pick(-0.55, -0.4, 1.8), scene.pick(0.3, 0.4, 1.8)
    found = measured(depth, exact, Measurand("crate", Kind.BOX, (one, other)))
    tolerance = allowed(route) + quantum(scene, 1.8)
    assert found["crate.width"].value == pytest.approx(0.5, abs=tolerance)
    assert found["crate.height"].value == pytest.approx(0.5, abs=tolerance)
    assert found["crate.depth"].value == pytest.approx(0.0, abs=allowed(route))
    assert found["crate.depth"].low == 0
    assert not any(found[f"crate.{part}"].warnings for part in ("width", "height", "depth"))


@ROUTES
def test_the_visible_depth_of_a_box_is_that_of_its_side(world, exact, tmp_path, route):
    """Seen from the left and from above, before a wall."""
    scene = world().plane([0, 0, 1], 4.0).box([0.5, 0.35, 1.8], [0.8, 0.6, 2.2])
    depth = route(scene.map(), tmp_path)
    one, other = scene.pick(0.3, 0.2, 1.8), scene.pick(0.95, 0.7, 1.8)
    found = measured(depth, exact, Measurand("crate", Kind.BOX, (one, other)))
    tolerance = allowed(route) + quantum(scene, 2.2)
    assert found["crate.width"].value == pytest.approx(0.8 - 0.5, abs=tolerance)
    assert found["crate.height"].value == pytest.approx(0.6 - 0.35, abs=tolerance)
    # A pixel of the side face, which is seen at a grazing angle, covers much more of its depth.
    assert found["crate.depth"].value == pytest.approx(0.4, abs=allowed(route) + 2.2 * quantum(scene, 2.2) / 0.5)


@pytest.mark.parametrize("cell", [2, 4, 8])
def test_a_box_that_the_network_smeared_has_its_extents(world, cell):
    scene = world().plane([0, 0, 1], 3.0).box([-0.4, -0.25, 1.8], [0.1, 0.25, 2.4])
    one, other = scene.pick(-0.55, -0.4, 1.8), scene.pick(0.3, 0.4, 1.8)
    noise = DepthErrorModel(0, 0, 0, cell=cell, relief_sigma=0)
    found = measured(scene.smeared(cell), noise, Measurand("crate", Kind.BOX, (one, other)))
    tolerance = HALF_MILLIMETRE + cell * quantum(scene, 1.8)
    assert found["crate.width"].value == pytest.approx(0.5, abs=tolerance)
    assert found["crate.height"].value == pytest.approx(0.5, abs=tolerance)
    assert not found["crate.width"].warnings


def test_edges_give_a_warning_and_a_person_chooses_the_side(world, exact):
    scene = world().plane([0, 0, 1], 3.0).box([-0.4, -0.25, 1.8], [0.1, 0.25, 1.81])
    rim = scene.camera.project(np.array([[0.1, 0.0, 1.8]]))[0]
    tops = scene.pick(-0.3, 0.0, 1.8)
    found = measured(
        scene.map(),
        exact,
        Measurand("as it is", Kind.RANGE, (Pick(rim[0] - 1, rim[1]),)),
        Measurand("near", Kind.RANGE, (Pick(rim[0] + 1, rim[1], Side.NEAR),)),
        Measurand("far", Kind.RANGE, (Pick(rim[0] - 1, rim[1], Side.FAR),)),
        Measurand("width", Kind.DISTANCE, (tops, Pick(float(rim[0]), float(rim[1]), Side.NEAR))),
    )
    depth = "depth along the axis (m)"
    assert found["as it is"].details[depth] == pytest.approx(1.8, abs=1e-4)
    assert "is on an edge: 1.800 m here, 3.000 m beyond it" in found["as it is"].warnings[0]
    assert found["as it is"].sigma["local"] > 0.3
    assert found["near"].details[depth] == pytest.approx(1.8, abs=1e-4)
    assert found["far"].details[depth] == pytest.approx(3.0, abs=1e-4)
    assert not found["near"].warnings
    assert found["width"].value == pytest.approx(0.4, abs=HALF_MILLIMETRE)
