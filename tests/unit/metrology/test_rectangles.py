"""Rectangles of known size in a scene whose network is wrong: lengths on their plane, off it, and the focal length."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from m3d_cli.camera import FocalSource
from m3d_cli.depthmap import DepthErrorModel, DepthMap
from m3d_cli.metrology import targets
from m3d_cli.metrology.geometry.planar_targets import PlanarTarget
from m3d_cli.metrology.marker_specs import marker_spec
from m3d_cli.metrology.measurands import Kind, Measurand, Rectangle
from m3d_cli.metrology.picks import MeasureError
from m3d_cli.metrology.request import Request
from m3d_cli.metrology.solve import solve
from m3d_cli.metrology.targets import exact_planes
from m3d_cli.metrology.uncertainty import Term

NOISE = DepthErrorModel(scale_sigma=0.1, shape_sigma=0.03, shape_reach=0.6, object_sigma=0.05, relief_sigma=0.2)


def floor(world, focal_sigma=0.01, source=FocalSource.CALIBRATION):
    scene = world()
    scene.camera = dataclasses.replace(scene.camera, focal_rel_sigma=focal_sigma, focal_source=source)
    return scene.plane([0, 1, 0.0], 1.5).plane([0, 0, 1], 6.0)


def sheet(scene, x=-0.2, z=4.0, width=0.84, height=0.594, **options):
    corners = ((x, z), (x + width, z), (x + width, z + height), (x, z + height))
    return Rectangle("floor", tuple(scene.pick(a, 1.5, b) for a, b in corners), width, height, **options)


def wrong(depth, factor=1.3):
    """Depth that is too large by a factor, and recedes too little."""
    slant = np.linspace(1.15, 0.9, depth.depth.shape[0], dtype=np.float32)[:, None]
    return DepthMap((depth.depth * np.float32(factor) * slant).astype(np.float32), depth.camera)


def line(scene, a, b, on="floor"):
    return Measurand(f"{a}{b}", Kind.DISTANCE, (scene.pick(*a), scene.pick(*b)), on=on)


def test_lengths_on_the_plane_are_exact_whatever_the_network_says(world):
    scene = floor(world)
    ends = [((-0.9, 1.5, 3.8), (1.0, 1.5, 5.8)), ((0.5, 1.5, 3.7), (0.5, 1.5, 4.8))]
    request = Request(tuple(line(scene, a, b) for a, b in ends), rectangles=(sheet(scene, tolerance=0.0),))
    solution = solve(wrong(scene.map(scene.camera)), request, NOISE, "p")
    for found, (a, b) in zip(solution.results, ends, strict=True):
        true = float(np.linalg.norm(np.subtract(a, b)))
        assert found.value == pytest.approx(true, rel=1e-3)
        assert found.low < true < found.high
        assert found.high / found.low < 1.25
        assert max(found.sigma[Term.SCALE], found.sigma[Term.LOCAL]) < 0.1 * found.sigma[Term.PICK]


def test_off_the_plane_the_network_keeps_its_shape_and_loses_its_scale(world):
    scene = floor(world)
    depth = scene.map(scene.camera)
    tall = Measurand("wall", Kind.DISTANCE, (scene.pick(-1, 0, 6.0), scene.pick(1, 0, 6.0)))
    too_far = DepthMap((depth.depth * np.float32(1.3)).astype(np.float32), depth.camera)
    (plain,) = solve(too_far, Request((tall,)), NOISE, "p").results
    solution = solve(too_far, Request((tall,), rectangles=(sheet(scene),)), NOISE, "p")
    assert plain.value == pytest.approx(2.6, rel=0.01)
    assert solution.results[0].value == pytest.approx(2.0, rel=0.02)
    assert solution.scale.factor == pytest.approx(1 / 1.3, rel=0.02)


def test_an_unknown_focal_length_follows_from_a_large_rectangle(world):
    scene = floor(world, 0.25, FocalSource.ASSUMED)
    true = scene.camera
    scene_request = Request(
        (line(scene, (-0.9, 1.5, 3.8), (1.0, 1.5, 5.8)),),
        rectangles=(sheet(scene, x=-0.8, z=3.7, width=1.8, height=2.0, tolerance=0.0, pick_sigma=0.3),),
    )
    guessed = dataclasses.replace(true, fx=true.fx * 0.85, fy=true.fy * 0.85)
    depth = DepthMap(scene.map(true).depth, guessed)
    (found,) = solve(depth, scene_request, NOISE, "p").results
    length = float(np.hypot(1.9, 2.0))
    assert found.value == pytest.approx(length, rel=0.03)
    assert found.low < length < found.high


def test_one_pixel_of_noise_gives_the_spread_that_is_said(world):
    scene = floor(world)
    depth = scene.map(scene.camera)
    rng = np.random.default_rng(5)
    exact = sheet(scene, tolerance=0.0)
    measure = line(scene, (-0.9, 1.5, 3.8), (1.0, 1.5, 5.8))
    values, sigma = [], None
    for _ in range(60):
        moved = [dataclasses.replace(p, u=p.u + rng.normal(), v=p.v + rng.normal()) for p in exact.points]
        ends = [dataclasses.replace(p, u=p.u + rng.normal(), v=p.v + rng.normal()) for p in measure.points]
        request = Request(
            (dataclasses.replace(measure, points=tuple(ends)),),
            rectangles=(dataclasses.replace(exact, points=tuple(moved)),),
        )
        values.append(solve(depth, request, NOISE, "p").results[0].value)
    (found,) = solve(depth, Request((measure,), rectangles=(exact,)), NOISE, "p").results
    sigma = np.sqrt(sum(part**2 for term, part in found.sigma.items() if term is not Term.FOCAL))
    assert np.std(values) == pytest.approx(sigma, rel=0.25)


def test_corners_in_another_order_are_refused_with_the_reason(world):
    scene = floor(world)
    right = sheet(scene)
    with pytest.raises(MeasureError, match="crosses itself"):
        dataclasses.replace(right, points=tuple(right.points[i] for i in (0, 2, 1, 3)))
    turned = dataclasses.replace(right, points=tuple(right.points[i] for i in (1, 2, 3, 0)))
    measure = line(scene, (-0.9, 1.5, 3.8), (1.0, 1.5, 5.8))
    (refused,) = solve(scene.map(scene.camera), Request((measure,), rectangles=(turned,)), NOISE, "p").results
    assert "no view of a thing of that size" in refused.error.message
    assert "the first side first" in refused.error.hint


def test_a_marker_that_is_no_view_of_one_is_left_out_where_others_are_sound(world, monkeypatch):
    scene = floor(world)
    square = np.array([[0, 0], [0.4, 0], [0.4, 0.4], [0, 0.4]])
    spots = [(-1.0, 3.7), (0.4, 3.8), (-0.4, 4.6)]
    sound = [np.array([[(p := scene.pick(x + a, 1.5, z + b)).u, p.v] for a, b in square]) for x, z in spots]
    bent = sound[0] + np.array([[30, 0], [0, -25], [0, 0], [0, 40]])
    # A marker that was printed three times has one name.
    printed = tuple(PlanarTarget("marker 1", pixels, square, 0.3) for pixels in sound)
    seen = (PlanarTarget("marker 0", bent, square, 0.3), *printed)
    monkeypatch.setattr(targets, "find_markers", lambda image, spec: seen)
    request = Request(markers=(marker_spec("aruco4x4_50:0.4"),))
    image = np.zeros((600, 800, 3), np.uint8)
    planes = exact_planes(request, image, scene.map(scene.camera), NOISE)
    assert list(planes) == ["markers"]
    assert len(planes["markers"].outlines) == 3
    assert planes["markers"].found.q == pytest.approx([0, 1 / 1.5, 0], abs=0.01)
    monkeypatch.setattr(targets, "find_markers", lambda image, spec: seen[:1])
    with pytest.raises(MeasureError, match="marker 0"):
        exact_planes(request, image, scene.map(scene.camera), NOISE)


def test_a_plane_that_is_not_there_is_answered_with_those_that_are(world):
    scene = floor(world)
    request = Request((line(scene, (-0.9, 1.5, 3.8), (1.0, 1.5, 5.8), "desk"),), rectangles=(sheet(scene),))
    (refused,) = solve(scene.map(scene.camera), request, NOISE, "p").results
    assert "planes are: floor" in refused.error.hint
