"""Open places: car parks, gardens and squares, seen at eye height or from a car."""

from __future__ import annotations

import math

import numpy as np

from m3d_cli.synthesis import mesh, texture
from m3d_cli.synthesis.assets import AssetLibrary
from m3d_cli.synthesis.light import outdoors
from m3d_cli.synthesis.scenery import Limits, Scene, View
from m3d_cli.synthesis.scenes import street_things as things
from m3d_cli.synthesis.scenes.street_things import OpenAir
from m3d_cli.synthesis.scenes.streets import ground, tree

_CENTRE = (-7.0, -7.0, 7.0, 7.0)  # metres: where the cameras are
_LIMITS = Limits(near=0.7, median_low=2.0, median_high=60.0)


def car_park(library: AssetLibrary, rng: np.random.Generator) -> Scene:
    """Rows of parked cars on asphalt with buildings around."""
    scenery = OpenAir(library, rng, _CENTRE)
    ground(scenery)
    image, tile = scenery.surface(texture.asphalt(rng))
    half = float(rng.uniform(15, 40))
    scenery.add(mesh.quad((-half, -half, 0.005), (2 * half, 0, 0), (0, 2 * half, 0), texture=image, tile=tile))
    cars = things.cars(library)
    density = float(rng.uniform(0.2, 0.9))
    white = [float(rng.uniform(0.5, 0.85))] * 3
    for row in np.arange(-half + 6, half - 4, 17.0):
        for front, yaw in ((0.0, 0.0), (5.2, math.pi)):
            for x in np.arange(-half + 3, half - 2, 2.5):
                scenery.add(
                    mesh.quad((float(x) - 1.25, row + front - 2.5, 0.012), (0.1, 0, 0), (0, 5, 0), colour=white)
                )
                model = scenery.choose(cars)
                if model is not None and rng.random() < density:
                    things.vehicle(scenery, model, float(x), float(row + front), yaw + float(rng.normal(0, 0.03)))
    _surround(scenery, half)
    _crowd(scenery, half, int(rng.integers(0, 8)))
    return _open_place("synthetic/carpark", scenery, half)


def garden(library: AssetLibrary, rng: np.random.Generator) -> Scene:
    """Lawn or paved court with garden furniture, trees, people and houses."""
    scenery = OpenAir(library, rng, _CENTRE)
    ground(scenery)
    half = float(rng.uniform(6, 18))
    image, tile = scenery.surface(texture.pavement(rng) if rng.random() < 0.6 else texture.grass(rng))
    scenery.add(mesh.quad((-half, -half, 0.005), (2 * half, 0, 0), (0, 2 * half, 0), texture=image, tile=tile))
    pieces = [m for m in library.find(category="Exterior") if 0.3 < max(m.size) < 4.5 and m.elevation < 0.01]
    pieces = [m for m in pieces if m.size[2] > 0.3]
    for _ in range(rng.integers(8, 26)):
        model = scenery.choose(pieces)
        if model is not None:
            x, y = (float(v) for v in rng.uniform(-half, half, 2))
            scenery.stand(model, x, y, float(rng.uniform(0, 6)))
    _surround(scenery, half)
    _crowd(scenery, half, int(rng.integers(0, 6)))
    return _open_place("synthetic/garden", scenery, half)


def _surround(scenery: OpenAir, half: float) -> None:
    rng = scenery.rng
    for side in range(4):
        turn = side * math.pi / 2
        if rng.random() < 0.5:
            width = float(rng.uniform(10, 30))
            part = things.building(scenery, width, 12.0)
            scenery.add(
                part.placed(float(rng.normal(0, 5)), half + 7 + float(rng.uniform(0, 10)), 0).placed(0, 0, 0, turn)
            )
        elif rng.random() < 0.6:
            scenery.add(things.fence(scenery, 2 * half).placed(0, half + 0.5, 0).placed(0, 0, 0, turn))
        for _ in range(rng.integers(1, 6)):
            x, y = float(rng.uniform(-half, half)), half + float(rng.uniform(1.5, 25))
            c, s = math.cos(turn), math.sin(turn)
            tree(scenery, c * x - s * y, s * x + c * y)


def _crowd(scenery: OpenAir, half: float, count: int) -> None:
    rng = scenery.rng
    for _ in range(count):
        model = scenery.choose(things.pedestrians(scenery.library))
        if model is not None:
            x, y = (float(v) for v in rng.uniform(-half, half, 2))
            scenery.stand(model, x, y, float(rng.uniform(0, 6)))


def _open_place(domain: str, scenery: OpenAir, half: float) -> Scene:
    stage = scenery.stage(outdoors(scenery.rng))
    reach = min(half * 0.95, _CENTRE[2])

    def propose(draw: np.random.Generator) -> View:
        x, y = (float(v) for v in draw.uniform(-reach, reach, 2))
        yaw = float(draw.uniform(0, 2 * math.pi))
        focal = math.exp(draw.uniform(math.log(0.45), math.log(1.4)))
        height = float(draw.uniform(1.2, 1.8))
        return View(focal, (x, y, height), yaw, float(draw.normal(-0.06, 0.1)), float(draw.normal(0, 0.03)))

    return Scene(domain, stage, propose, _LIMITS)
