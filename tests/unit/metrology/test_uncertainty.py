"""The error of a measurement: first order against Monte Carlo, the focal rule, references, and honest coverage."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from m3d_cli.camera import FocalSource
from m3d_cli.depthmap import DepthErrorModel, DepthMap
from m3d_cli.errors import FocalError
from m3d_cli.metrology.adjustment import adjust
from m3d_cli.metrology.geometry.planes import fit_plane, polygon_region
from m3d_cli.metrology.geometry.scene import Scene
from m3d_cli.metrology.measurands import Kind, Measurand, Reference
from m3d_cli.metrology.measure_kinds import make
from m3d_cli.metrology.references import evidence_in, freed
from m3d_cli.metrology.request import Request
from m3d_cli.metrology.solve import Measurement, solve
from m3d_cli.metrology.uncertainty import Term, Uncertain, interval

NOISE = DepthErrorModel(scale_sigma=0.08, shape_sigma=0.02, shape_reach=0.6, object_sigma=0.03, relief_sigma=0.0)
DRAWS = 10_000


def room(world, focal_sigma=0.05, source=FocalSource.EXIF_35MM):
    """A floor 1.5 m below the camera, walls at 2 m to both sides, a back wall at 5 m, a crate on the floor."""
    scene = world()
    scene.camera = dataclasses.replace(scene.camera, focal_rel_sigma=focal_sigma, focal_source=source)
    scene.plane([0, 1, 0.0], 1.5).plane([1, 0, 0], 2.0).plane([-1, 0, 0], 2.0).plane([0, 0, 1], 5.0)
    return scene.box([-0.3, 0.9, 2.6], [0.4, 1.5, 3.2])


def wall_corners(scene, x):
    return tuple(scene.pick(x, y, z) for y, z in ((-0.8, 3.2), (0.8, 3.2), (0.8, 4.6), (-0.8, 4.6)))


def requests(scene):
    back = tuple(scene.pick(x, y, 5) for x, y in ((-1.2, -1.2), (1.2, -1.2), (1.2, 0.2), (-1.2, 0.2)))
    floor = tuple(scene.pick(x, 1.5, z) for x, z in ((0.8, 3.8), (0.8, 4.6), (1.8, 4.6), (1.8, 3.8)))
    left, right = scene.pick(-0.25, 0.95, 2.6), scene.pick(0.35, 0.95, 2.6)
    return {
        "distance": Measurand("m", Kind.DISTANCE, (left, back[2])),
        "width": Measurand("m", Kind.DISTANCE, (back[0], back[1])),
        "path": Measurand("m", Kind.PATH, (left, right, back[1], back[2])),
        "range": Measurand("m", Kind.RANGE, (back[0],)),
        "angle": Measurand("m", Kind.ANGLE, (left, back[0], back[1])),
        "height": Measurand("m", Kind.HEIGHT, (back[0], back[3])),
        "ground height": Measurand("m", Kind.HEIGHT, (scene.pick(-0.2, 0.9, 2.65),)),
        "plane": Measurand("m", Kind.PLANE, back),
        "area": Measurand("m", Kind.AREA, back),
        "plane-distance": Measurand("m", Kind.PLANE_DISTANCE, wall_corners(scene, -2), wall_corners(scene, 2)),
        "ground": Measurand("m", Kind.GROUND, floor),
        "box": Measurand("m", Kind.BOX, (scene.pick(-0.45, 0.62, 2.6), scene.pick(0.55, 1.05, 2.6))),
    }


def adjusted_of(depth, measure, references=()):
    """The pieces that `solve` puts together, for drawing: the adjustment and the quantity."""
    needs_ground = measure.kind is Kind.HEIGHT and len(measure.points) == 1
    items = (measure, Measurand("ground", Kind.GROUND, ())) if needs_ground else (measure,)
    scene = Scene(depth, Request(items, tuple(references)), NOISE)
    evidence = evidence_in(scene)
    plan = make(scene, measure)[0]
    elements = [*plan.elements, *(evidence.elements if evidence else ())]
    planes = scene.used_planes(elements, *plan.planes)
    uncertain = Uncertain(depth.camera, freed(NOISE, evidence), elements, planes)
    return adjust(uncertain, evidence.made(len(plan.elements)) if evidence else ()), plan.quantity


@pytest.mark.parametrize("with_reference", [False, True])
@pytest.mark.parametrize(
    "name",
    [
        "distance",
        "width",
        "path",
        "range",
        "angle",
        "height",
        "ground height",
        "plane",
        "area",
        "plane-distance",
        "ground",
        "box",
    ],
)
def test_propagation_agrees_with_ten_thousand_draws_and_the_interval_covers(world, name, with_reference):
    scene = room(world)
    reference = Reference("ref", (scene.pick(-0.25, 1.02, 2.6), scene.pick(0.35, 1.02, 2.6)), 0.6)
    depth = scene.map(scene.camera)
    adjusted, quantity = adjusted_of(depth, requests(scene)[name], [reference] if with_reference else [])
    split = adjusted.split(quantity)
    draws = np.random.default_rng(0).multivariate_normal(adjusted.errors, adjusted.covariance, DRAWS)
    drawn = np.array([quantity(adjusted.uncertain.state(errors)) for errors in draws])
    assert np.std(drawn) == pytest.approx(split.sigma, rel=0.05)
    # Were this draw the photo's truth, would its interval hold the value? One interval a draw, scaled to it.
    power = requests(scene)[name].kind.power
    low, high = interval(split, power)
    if power:
        covered = (drawn / (split.value / low) < split.value) & (split.value < drawn * (high / split.value))
    else:
        covered = (drawn - (split.value - low) < split.value) & (split.value < drawn + (high - split.value))
    # A camera that leans can only shorten a plumb line: that error has one side and its interval two.
    assert (0.92 if name == "height" else 0.93) < covered.mean() < 0.97


def test_a_wrong_focal_moves_depths_fully_and_fronto_parallel_widths_not_at_all(world):
    """The network's canonical depth stays; a focal length 20 % too long makes Z 20 % longer."""
    scene = room(world)
    depth = scene.map(scene.camera)
    wrong_camera = dataclasses.replace(scene.camera, fx=scene.camera.fx * 1.2, fy=scene.camera.fy * 1.2)
    wrong = DepthMap((depth.depth * np.float32(1.2)).astype(np.float32), wrong_camera)
    measurands = requests(scene)
    along = Measurand("along", Kind.DISTANCE, (scene.pick(-2, 0.3, 4.0), scene.pick(-2, 0.3, 4.9)))
    for measure, factor in ((measurands["width"], 1.0), (along, 1.2), (measurands["plane"], 1.2)):
        (right,) = solve(depth, Request((measure,)), NOISE, "p").results
        (other,) = solve(wrong, Request((measure,)), NOISE, "p").results
        assert other.value / right.value == pytest.approx(factor, abs=0.005)


def test_the_focal_term_follows_the_rule(world):
    """dL / dln f = dZ^2 / L for a segment (metrology's rule for the label transform)."""
    scene = room(world, focal_sigma=0.01)
    a, b = np.array([-2, 0.3, 4.0]), np.array([1.0, -0.6, 5.0])
    measure = Measurand("m", Kind.DISTANCE, (scene.pick(*a), scene.pick(*b)))
    (found,) = solve(scene.map(scene.camera), Request((measure,)), NOISE, "p").results
    length = np.linalg.norm(b - a)
    assert found.sigma[Term.FOCAL] == pytest.approx(0.01 * (b - a)[2] ** 2 / length, rel=2e-3)
    assert found.sigma[Term.SCALE] == pytest.approx(NOISE.scale_sigma * length, rel=2e-3)


def test_a_reference_sets_the_scale_and_removes_the_common_terms(world):
    scene = room(world)
    depth = scene.map(scene.camera)
    shrunk = DepthMap((depth.depth * np.float32(0.8)).astype(np.float32), depth.camera)
    reference = Reference("crate", (scene.pick(-0.25, 0.95, 2.6), scene.pick(0.35, 0.95, 2.6)), 0.6)
    width = requests(scene)["width"]
    (plain,) = solve(shrunk, Request((width,)), NOISE, "p").results
    solution = solve(shrunk, Request((width,), (reference,)), NOISE, "p")
    (better,) = solution.results
    assert plain.value == pytest.approx(0.8 * 2.4, rel=1e-3)
    assert better.value == pytest.approx(2.4, rel=1e-3)
    assert solution.scale.factor == pytest.approx(1.25, rel=1e-3)
    # What is left is how far the scale is free beside the errors of the reference itself.
    assert better.sigma[Term.SCALE] < 0.03 * plain.sigma[Term.SCALE]
    assert better.high - better.low < plain.high - plain.low
    assert better.sigma[Term.REFERENCE] == pytest.approx(reference.tolerance * 2.4, rel=1e-2)


def test_references_that_disagree_are_named_and_widen_what_depends_on_them(world):
    scene = room(world)
    depth = scene.map(scene.camera)
    ends = [(scene.pick(-0.25, y, 2.6), scene.pick(0.35, y, 2.6)) for y in (0.96, 1.04)]
    width = requests(scene)["width"]

    def solved(second):
        references = (Reference("a", ends[0], 0.6), Reference("b", ends[1], second))
        return solve(depth, Request((width,), references), NOISE, "p")

    assert not solved(0.602).scale.warnings
    assert "disagrees with the others by" in solved(0.625).results[0].warnings[-1]
    (agreed,), (torn,) = solved(0.602).results, solved(1.2).results
    assert torn.high / torn.low > 2 * agreed.high / agreed.low


def test_a_wrong_focal_length_is_no_contradiction_between_a_width_and_a_depth(world):
    scene = room(world, 0.25, FocalSource.ASSUMED)
    depth = scene.map(scene.camera)
    longer = DepthMap((depth.depth * np.float32(1.2)).astype(np.float32), depth.camera)
    across = Reference("across", (scene.pick(-0.25, 0.96, 2.6), scene.pick(0.35, 0.96, 2.6)), 0.6 * 1.2)
    along = Reference("along", (scene.pick(-2, 0.3, 4.0), scene.pick(-2, 0.3, 4.9)), 0.9)
    request = Request((requests(scene)["width"],), (across, along), allow_assumed_focal=True)
    (found,) = solve(longer, request, DepthErrorModel(0.1, 0.005, 0.005, 1.0, relief_sigma=0.0), "p").results
    assert isinstance(found, Measurement), found.error


def test_a_reference_in_the_sky_still_lets_angles_be_measured(world):
    scene = world().plane([0, 0, 1], 3.0, lambda p: p[..., 1] > -0.2)
    sky = Reference("sky", (scene.pick(0, -0.8, 3), scene.pick(0.3, -0.8, 3)), 1.0)
    corner = Measurand("corner", Kind.ANGLE, tuple(scene.pick(x, y, 3) for x, y in ((0.5, 0.2), (0, 0.2), (0, 0.6))))
    line = Measurand("line", Kind.DISTANCE, corner.points[:2])
    angle, refused = solve(scene.map(), Request((corner, line), (sky,)), NOISE, "p").results
    assert angle.value == pytest.approx(90, abs=0.2)
    assert "sky: the depth at" in refused.error.message


def test_two_references_are_surer_than_one(world):
    scene = room(world)
    depth = scene.map(scene.camera)
    refs = [Reference(str(y), (scene.pick(-0.25, y, 2.6), scene.pick(0.35, y, 2.6)), 0.6, 0.02) for y in (0.96, 1.04)]
    width = requests(scene)["width"]
    one = solve(depth, Request((width,), tuple(refs[:1])), NOISE, "p").scale
    two = solve(depth, Request((width,), tuple(refs)), NOISE, "p").scale
    assert two.rel_sigma < 0.95 * one.rel_sigma


def test_an_assumed_focal_is_refused_unless_allowed_or_made_up_for(world):
    scene = room(world, 0.25, FocalSource.ASSUMED)
    depth = scene.map(scene.camera)
    width = requests(scene)["width"]
    refused = solve(depth, Request((width,)), NOISE, "photo.jpg")
    assert isinstance(refused.error, FocalError)
    assert refused.error.message.startswith("photo.jpg: the focal length is assumed")
    assert [one.error for one in refused.results] == [refused.error]
    (allowed,) = solve(depth, Request((width,), allow_assumed_focal=True), NOISE, "photo.jpg").results
    assert isinstance(allowed, Measurement)
    exact = solve(depth, Request((width,), allow_assumed_focal=True), DepthErrorModel.exact(), "photo.jpg").results[0]
    assert exact.trust != "high"
    reference = Reference("crate", (scene.pick(-0.25, 0.95, 2.6), scene.pick(0.35, 0.95, 2.6)), 0.6)
    assert solve(depth, Request((width,), (reference,)), NOISE, "photo.jpg").error is None


def test_weights_that_nobody_measured_give_no_interval_unless_allowed_or_made_up_for(world):
    scene = room(world)
    depth, width = scene.map(scene.camera), requests(scene)["width"]
    unknown = dataclasses.replace(DepthErrorModel.exact(), errors_known=False)
    refused = solve(depth, Request((width,)), unknown, "photo.jpg")
    assert "nobody measured the errors" in refused.error.message
    assert "--allow-unknown-errors" in refused.error.hint
    (allowed,) = solve(depth, Request((width,), allow_unknown_errors=True), unknown, "photo.jpg").results
    assert "the interval is a guess" in allowed.warnings[0]
    assert allowed.trust != "high"
    reference = Reference("crate", (scene.pick(-0.25, 0.95, 2.6), scene.pick(0.35, 0.95, 2.6)), 0.6)
    (scaled_one,) = solve(depth, Request((width,), (reference,)), unknown, "photo.jpg").results
    assert scaled_one.warnings
    assert (
        solve(depth, Request((width,)), dataclasses.replace(unknown, errors_known=True), "p").results[0].trust == "high"
    )


def test_nearby_points_share_their_shape_error_and_distant_ones_do_not(world):
    scene = room(world)
    depth = scene.map(scene.camera)
    near = Measurand("near", Kind.ANGLE, tuple(scene.pick(x, y, 5) for x, y in ((-0.1, 0), (0, 0), (0, 0.1))))
    covariance = NOISE.covariance(
        np.array([[0, 0], [1, 0], [5000, 0]], dtype=float) / 800, np.ones(3), np.zeros(3), np.ones(3)
    )
    assert covariance[0, 1] == pytest.approx(NOISE.shape_sigma**2 + NOISE.object_sigma**2, rel=0.01)
    between_equals = NOISE.object_sigma**2
    assert covariance[0, 2] == pytest.approx(between_equals, rel=0.1)
    far = NOISE.covariance(np.array([[0, 0], [5000, 0]], dtype=float) / 800, np.array([1, 5]), np.zeros(2), np.ones(2))
    assert far[0, 1] < 1e-3 * far[0, 0]
    assert solve(depth, Request((near,)), NOISE, "p").results[0].value == pytest.approx(90, abs=0.1)
    adjusted, quantity = adjusted_of(depth, near)
    assert math.isfinite(interval(adjusted.split(quantity), 0)[0])


def test_a_network_that_flattens_relief_makes_slanted_planes_unsure_and_facing_ones_not(world):
    """The camera's distance from a floor follows its slope; that from a wall which it faces does not."""
    scene = room(world)
    depth = scene.map(scene.camera)
    flattening = dataclasses.replace(NOISE, relief_sigma=0.2)
    for name, grows in (("ground", True), ("plane", False)):
        request = Request((requests(scene)[name],))
        usual, more = (solve(depth, request, noise, "p").results[0].sigma[Term.LOCAL] for noise in (NOISE, flattening))
        assert (more > 1.5 * usual) is grows
        assert grows or more == pytest.approx(usual, rel=0.02)


def test_the_error_of_relief_is_that_share_of_a_planes_slope(world):
    scene = world().plane([0, 1, 0.0], 1.5).plane([0, 0, 1], 9.0)
    floor = tuple(scene.pick(x, 1.5, z) for x, z in ((-1, 3.8), (-1, 6.6), (1, 6.6), (1, 3.8)))
    region = polygon_region(scene.map(), np.array([[p.u, p.v] for p in floor]))
    noise = dataclasses.replace(DepthErrorModel.exact(), relief_sigma=0.1)
    plane = fit_plane(scene.map(), region, noise, "floor")
    # The floor is 1 / 1.5 of y / z and nothing else: a tenth of that, and of what holds its middle in place.
    assert np.sqrt(plane.covariance[1, 1]) == pytest.approx(0.1 / 1.5, rel=0.01)
    assert np.sqrt(plane.covariance[0, 0]) < 1e-3
    assert plane.covariance[1, 2] < 0


def test_a_place_the_network_doubts_errs_more():
    noise = dataclasses.replace(NOISE, confidence_errors=((0.5, 2.0), (0.8, 1.0), (0.9, 0.5)))
    assert noise.factors([0.2, 0.5, 0.65, 0.95, None]) == pytest.approx([2, 2, 1.5, 0.5, 1])
    pixels, depths, own = np.array([[0.0, 0], [300, 0]]), np.ones(2), np.array([0.01, 0.02])
    usual = noise.covariance(pixels, depths, own, np.ones(2)) - np.diag(own**2)
    doubted = noise.covariance(pixels, depths, own, np.array([2.0, 0.5])) - np.diag(own**2)
    assert doubted == pytest.approx(usual * np.array([[4, 1], [1, 0.25]]))
    assert NOISE.factors([0.1, 0.9]) == pytest.approx([1, 1])
