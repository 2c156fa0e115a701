"""Roads outside the dense town: parkways between lawns and woods, suburbs, highways with rails, large empty lots."""

from __future__ import annotations

import math

import numpy as np

from m3d_cli.synthesis import mesh, texture
from m3d_cli.synthesis.assets import AssetLibrary
from m3d_cli.synthesis.light import outdoors
from m3d_cli.synthesis.mesh import Part
from m3d_cli.synthesis.scenery import Limits, Scene, View, tint
from m3d_cli.synthesis.scenes import street_things as things
from m3d_cli.synthesis.scenes.street_things import OpenAir
from m3d_cli.synthesis.scenes.streets import OWN, Street, ground, road, traffic, tree, view_from_car

_LIMITS = Limits(near=0.5, median_low=3.0, median_high=90.0)
_FIRST, _LAST = -110.0, 170.0  # metres of scenery along the road
_COPSE = 26.0  # metres of wood that one group of trees fills


def parkway(library: AssetLibrary, rng: np.random.Generator) -> Scene:
    """Cameras on a car on a road with wide verges, woods, scattered houses, poles, rails; often with the car's hood."""
    street = _draw_road(rng)
    lane = int(rng.integers(street.lanes // 2, street.lanes))
    own = street.lane_middle(lane)
    scenery = OpenAir(library, rng, (own - 0.5, OWN[0], own + 0.5, OWN[1]))
    ground(scenery)
    road(scenery, street)
    for side in (-1, 1):
        _roadside(scenery, street, side)
    traffic(scenery, street, own, float(rng.uniform(0.0, 0.3)))
    hood = _hood(scenery) if rng.random() < 0.5 else None
    if hood is not None:
        scenery.add(hood.placed(own, 0, 0))
    stage = scenery.stage(outdoors(rng))

    def propose(draw: np.random.Generator) -> View:
        if hood is None:
            return view_from_car(draw, own + float(draw.normal(0, 0.25)), float(draw.uniform(*OWN)))
        # A rig on the roof: each camera stands a step out from the middle in the direction it looks.
        view = view_from_car(draw, own, 0.0)
        step = float(draw.uniform(0.3, 0.7))
        return View(
            view.focal,
            (own - step * math.sin(view.yaw), step * math.cos(view.yaw), view.position[2]),
            view.yaw,
            view.pitch + float(draw.normal(-0.05, 0.04)),
            view.roll,
        )

    return Scene("synthetic/parkway", stage, propose, _LIMITS)


def _draw_road(rng: np.random.Generator) -> Street:
    return Street(
        lanes=int(rng.choice([2, 3, 4, 5, 6, 8], p=[0.3, 0.1, 0.25, 0.15, 0.12, 0.08])),
        lane=float(rng.uniform(3.0, 3.9)),
        parking=0.0,
        verge=float(rng.choice([rng.uniform(0.5, 3.0), rng.uniform(2.0, 14.0)])),
        pavement=float(rng.uniform(1.2, 2.0)),
        front=float(rng.uniform(4.0, 30.0)),
    )


def _roadside(scenery: OpenAir, street: Street, side: int) -> None:
    """What lies along one side (-1 left, 1 right), from the kerb outwards."""
    rng = scenery.rng
    edge = street.half + street.verge + street.pavement
    if rng.random() < 0.3:
        _rail(scenery, side * (street.half + float(rng.uniform(0.3, 1.0))))
    if rng.random() < 0.5:
        _poles(scenery, side * (edge + float(rng.uniform(-1.0, 3.0))))
    style = rng.random()
    if style < 0.45:
        _woods(scenery, side, edge + float(rng.uniform(1.0, 25.0)))
    elif style < 0.75:
        _suburb(scenery, street, side)
    else:
        _lot(scenery, side, edge + 1.0)
        _woods(scenery, side, edge + float(rng.uniform(25.0, 60.0)))
    for _ in range(int(rng.integers(0, 14))):
        x = side * (edge + float(rng.uniform(0.5, 14)))
        tree(scenery, x, float(rng.uniform(_FIRST, _LAST * 0.6)))
    for _ in range(int(rng.integers(0, 3))):
        sign = things.traffic_sign(scenery)
        turn = 0.0 if side > 0 else math.pi
        scenery.add(sign.placed(side * (street.half + 0.8), float(rng.uniform(-20, 70)), 0, turn))


def _woods(scenery: OpenAir, side: int, x: float) -> None:
    """Rows of tall trees one behind the other, undergrowth in front."""
    rng = scenery.rng
    dark = tint(rng, 0.25) * float(rng.uniform(0.5, 1.0))
    scale = float(rng.uniform(0.9, 1.9))
    sunk = float(rng.uniform(0.0, 2.5)) * scale  # branches down to the ground, as at the edge of a wood
    steps = np.arange(_FIRST, _LAST, _COPSE)
    for row in range(int(rng.integers(2, 4))):
        trees = [
            crown.tinted(dark).placed(
                float(rng.normal(0, 2)), float(rng.uniform(0, _COPSE)), -sunk, float(rng.uniform(0, 6)), scale
            )
            for crown in scenery.crowns
        ]
        spots = [(side * (x + 7.0 * row) + rng.normal(0, 1.5), y + rng.normal(0, 3), 0) for y in steps]
        scenery.add(mesh.repeated(mesh.merge(trees), np.array(spots)))
    shrub = scenery.choose(things.shrubs(scenery.library))
    if shrub is None or rng.random() < 0.3:
        return
    part = scenery.library.part(shrub.index, coarse=True).tinted(dark)
    size = float(rng.uniform(0.8, 2.0))
    spots = [(side * (x - 2) + rng.normal(0, 1.5), y, 0) for y in np.arange(_FIRST, _LAST, 4.5)]
    scenery.add(mesh.repeated(part.placed(0, 0, 0, 0, size), np.array(spots)))


def _suburb(scenery: OpenAir, street: Street, side: int) -> None:
    """Houses well apart behind lawns, with drives, trees and now and then a fence."""
    rng = scenery.rng
    designs = [(things.building(scenery, width, 10.0), width) for width in rng.uniform(9, 24, 3).tolist()]
    image, tile = scenery.surface(texture.pavement(rng))
    y = _FIRST
    while y < _LAST:
        part, width = designs[int(rng.integers(len(designs)))]
        x = side * (street.building_line + 5 + float(rng.uniform(0, 8)))
        scenery.add(part.placed(x, y + width / 2, 0, math.pi / 2 if side < 0 else -math.pi / 2))
        if rng.random() < 0.6:
            reach = abs(x) - street.half
            start = street.half if side > 0 else -street.half - reach
            scenery.add(mesh.quad((start, y + width, 0.14), (reach, 0, 0), (0, 3.2, 0), texture=image, tile=tile))
        for _ in range(int(rng.integers(0, 4))):
            near, far = street.half + street.verge, street.building_line
            tree(scenery, side * float(rng.uniform(near, far)), y + float(rng.uniform(0, width)))
        y += width + float(rng.uniform(6, 40))
    _woods(scenery, side, street.building_line + float(rng.uniform(18, 40)))


def _lot(scenery: OpenAir, side: int, x: float) -> None:
    """A large paved or gravel place beside the road with a few cars."""
    rng = scenery.rng
    image, tile = scenery.surface(texture.asphalt(rng))
    depth, length = float(rng.uniform(15, 60)), float(rng.uniform(40, 150))
    left = x if side > 0 else -x - depth
    scenery.add(mesh.quad((left, -length / 2, 0.02), (depth, 0, 0), (0, length, 0), texture=image, tile=tile))
    for _ in range(int(rng.integers(0, 12))):
        model = scenery.choose(things.cars(scenery.library))
        if model is not None:
            place = left + float(rng.uniform(3, depth - 3)), float(rng.uniform(-length / 2, length / 2))
            things.vehicle(scenery, model, *place, float(rng.choice([0, math.pi / 2, math.pi])))


def _rail(scenery: OpenAir, x: float) -> None:
    """A guard rail on posts, or a low concrete wall."""
    rng = scenery.rng
    length = _LAST - _FIRST
    grey = [float(rng.uniform(0.25, 0.6))] * 3
    if rng.random() < 0.3:
        wall = mesh.box(0.3, length, float(rng.uniform(0.7, 1.1)), colour=grey)
        scenery.add(wall.placed(x, (_FIRST + _LAST) / 2, 0))
        return
    beam = mesh.box(0.06, length, 0.31, colour=grey, gloss=0.3)
    scenery.add(beam.placed(x, (_FIRST + _LAST) / 2, 0.45))
    post = mesh.box(0.1, 0.1, 0.7, colour=grey)
    scenery.add(mesh.repeated(post, np.array([(x, y, 0) for y in np.arange(_FIRST, _LAST, 2.0)])))


def _poles(scenery: OpenAir, x: float) -> None:
    """Poles of a power line with its wires."""
    rng = scenery.rng
    height, spacing = float(rng.uniform(7, 12)), float(rng.uniform(25, 50))
    colour = [float(v) for v in np.array([0.2, 0.15, 0.1]) * rng.uniform(0.4, 1.5)]
    pole = mesh.merge(
        [
            mesh.cylinder(0.14, height, colour=colour, segments=8),
            mesh.box(2.2, 0.12, 0.12, colour=colour).placed(0, 0, height - 0.6),
        ]
    )
    start = float(rng.uniform(0, spacing))
    scenery.add(mesh.repeated(pole, np.array([(x, y, 0) for y in np.arange(_FIRST + start, _LAST, spacing)])))
    wire = mesh.box(0.02, _LAST - _FIRST, 0.02, colour=(0.02, 0.02, 0.02))
    for off in (-1.0, 0.0, 1.0):
        scenery.add(wire.placed(x + off, (_FIRST + _LAST) / 2, height - 0.45))


def _hood(scenery: OpenAir) -> Part:
    """The bodywork below a roof rig, front towards +y: hood, boot and flanks as a glossy flattened shell."""
    rng = scenery.rng
    grey = float(rng.choice([0.02, 0.05, 0.2, 0.5, 0.8]))
    colour = [grey] * 3 if rng.random() < 0.6 else [float(c) for c in texture.any_colour(rng, 0.9) ** 2.2]
    arc = [(max(1e-3, math.cos(a)), math.sin(a)) for a in np.linspace(0, math.pi / 2, 8)]
    shell = mesh.lathe(arc, colour=colour, segments=24, gloss=0.6)
    body = shell.turned(np.diag([0.95, 2.35, float(rng.uniform(0.85, 1.15))]))
    roof = shell.turned(np.diag([0.72, 1.1, float(rng.uniform(1.2, 1.34))]))
    return mesh.merge([body, roof])
