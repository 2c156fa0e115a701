"""Corridors, large halls, bins seen from above and shelves seen from the front."""

from __future__ import annotations

import math

import numpy as np

from m3d_cli.synthesis import mesh, texture
from m3d_cli.synthesis.assets import AssetLibrary
from m3d_cli.synthesis.light import indoors
from m3d_cli.synthesis.scenery import Limits, Scene, Scenery, View, towards
from m3d_cli.synthesis.scenes import clutter, shell
from m3d_cli.synthesis.scenes.rooms import hand_held_focal, people
from m3d_cli.synthesis.scenes.shell import Shell


def corridor(library: AssetLibrary, rng: np.random.Generator) -> Scene:
    """A long narrow passage with doors and a few pieces along its walls."""
    scenery = Scenery(library, rng)
    house = Shell(*(float(v) for v in (rng.uniform(1.3, 3.2), rng.uniform(6, 30), rng.uniform(2.3, 3.2))))
    shell.build(scenery, house, openings=False)
    _line_walls(scenery, house)
    people(scenery, house, int(rng.integers(0, 3)))
    stage = scenery.stage(indoors(rng, house.width, house.depth, house.height))

    def propose(draw: np.random.Generator) -> View:
        x = float(draw.uniform(-0.5, 0.5) * (house.width - 0.6))
        y = float(draw.uniform(-0.5, 0.3) * (house.depth - 1.0))
        yaw = float(draw.normal(0, 0.35) + (math.pi if draw.random() < 0.2 else 0))
        z = float(draw.uniform(0.2, 0.6) if draw.random() < 0.2 else draw.uniform(1.0, 1.8))
        return View(hand_held_focal(draw), (x, y, z), yaw, float(draw.normal(-0.1, 0.12)), float(draw.normal(0, 0.04)))

    return Scene("synthetic/corridor", stage, propose, Limits(0.3, 0.7, 15.0))


def _line_walls(scenery: Scenery, house: Shell) -> None:
    rng = scenery.rng
    doors = [m for m in scenery.library.find("door") if m.opening and m.size[2] < house.height and m.size[1] < 0.2]
    doors = [m for m in doors if m.size[0] < 1.2]
    low = [m for m in scenery.library.models if max(m.size[:2]) > 0.3 and m.size[1] < 0.6 and 0.3 < m.size[2] < 2.0]
    low = [m for m in low if m.category in ("Office", "Living room", "Miscellaneous") and m.elevation < 0.01]
    y = -house.depth / 2 + 0.8
    same = scenery.choose(doors)
    while y < house.depth / 2 - 0.8 and same is not None:
        for wall in (1, 3):
            along = y if wall == 1 else -y
            yaw = wall * math.pi / 2
            piece = scenery.choose(low)
            if rng.random() < 0.5:
                px, py = house.at(wall, along, -same.size[1] / 2 + 0.05)
                scenery.put(same, px, py, 0, yaw, colour=0.1)
            elif piece is not None and piece.size[1] < house.width * 0.4 and rng.random() < 0.35:
                px, py = house.at(wall, along, piece.size[1] / 2 + 0.02)
                scenery.stand(piece, px, py, yaw)
        y += float(rng.uniform(1.4, 3.5))


def hall(library: AssetLibrary, rng: np.random.Generator) -> Scene:
    """A big indoor space: pillars, furniture, boxes, machines or cars, people."""
    scenery = Scenery(library, rng)
    house = Shell(*(float(v) for v in (rng.uniform(8, 22), rng.uniform(8, 30), rng.uniform(2.6, 7))))
    shell.build(scenery, house)
    step = float(rng.uniform(4, 8))
    thick = float(rng.uniform(0.25, 0.6))
    shade = [float(rng.uniform(0.3, 0.85))] * 3
    if rng.random() < 0.6:
        for x in np.arange(-house.width / 2 + step / 2, house.width / 2, step):
            for y in np.arange(-house.depth / 2 + step / 2, house.depth / 2, step):
                scenery.add(mesh.box(thick, thick, house.height, colour=shade).placed(float(x), float(y), 0))
                scenery.taken.append((float(x) - thick, float(y) - thick, float(x) + thick, float(y) + thick))
    category = ("Living room", "Office", "Miscellaneous", "Vehicles", "Exterior")[int(rng.integers(5))]
    pieces = [m for m in library.find(category=category) if 0.4 < max(m.size) < 6 and m.size[2] < house.height - 0.1]
    pieces = [m for m in pieces if m.elevation < 0.01 and m.size[2] > 0.3]
    for _ in range(rng.integers(8, 40)):
        model = scenery.choose(pieces)
        if model is not None:
            x, y = shell.free_spot(scenery, house, max(model.size[:2]) / 2 + 0.1)
            scenery.stand(model, x, y, float(rng.choice(4) * math.pi / 2 + rng.normal(0, 0.1)))
    people(scenery, house, int(rng.integers(0, 6)))
    stage = scenery.stage(indoors(rng, house.width, house.depth, house.height))

    def propose(draw: np.random.Generator) -> View:
        x, y = (float(v) for v in draw.uniform(-0.48, 0.48, 2) * (house.width, house.depth))
        z = float(draw.uniform(0.9, 1.8) if draw.random() < 0.8 else draw.uniform(1.8, house.height - 0.2))
        aim = draw.uniform(-0.3, 0.3, 2) * (house.width, house.depth)
        yaw, pitch = towards((x, y, z), (aim[0], aim[1], draw.uniform(0.5, 1.6)))
        return View(
            hand_held_focal(draw), (x, y, z), yaw, pitch + float(draw.normal(0, 0.06)), float(draw.normal(0, 0.03))
        )

    return Scene("synthetic/hall", stage, propose, Limits(0.4, 1.5, 25.0))


def bin_(library: AssetLibrary, rng: np.random.Generator) -> Scene:
    """An open box or tray of things seen from above at 0.4 to 1.1 m."""
    scenery = Scenery(library, rng)
    house = Shell(*(float(v) for v in (rng.uniform(3, 6), rng.uniform(3, 6), rng.uniform(2.5, 3.5))))
    shell.build(scenery, house)
    z = float(rng.choice([0.0, rng.uniform(0.4, 0.9)]))
    if z > 0:
        scenery.add(mesh.box(1.2, 0.9, z, texture=scenery.texture(texture.grain(rng).image), tile=1.0))
    w, d, h = (float(v) for v in (rng.uniform(0.3, 0.7), rng.uniform(0.25, 0.5), rng.uniform(0.04, 0.3)))
    colour = [float(c) for c in texture.any_colour(rng, 0.8) ** 2.2]
    scenery.add(mesh.box(w, d, 0.006, colour=colour).placed(0, 0, z))
    for x, y, sx, sy in ((0, d / 2, w, 0.006), (0, -d / 2, w, 0.006), (w / 2, 0, 0.006, d), (-w / 2, 0, 0.006, d)):
        scenery.add(mesh.box(sx, sy, h, colour=colour).placed(x, y, z))
    small = clutter.lying_things(library, 0.25)
    for layer in range(int(rng.integers(1, 4))):
        clutter.scatter(
            scenery,
            int(rng.integers(2, 12)),
            0,
            0,
            z + 0.006 + layer * 0.03,
            w * 0.95,
            d * 0.95,
            models=small,
            tallest=0.2,
        )
    stage = scenery.stage(indoors(rng, house.width, house.depth, house.height, contact=0.12))

    def propose(draw: np.random.Generator) -> View:
        distance, tilt = float(draw.uniform(0.4, 1.1)), math.radians(draw.uniform(55, 89.5))
        around = draw.uniform(0, 2 * math.pi)
        aim = (float(draw.uniform(-0.2, 0.2) * w), float(draw.uniform(-0.2, 0.2) * d), z + 0.02)
        flat = distance * math.cos(tilt)
        eye = (aim[0] + flat * math.cos(around), aim[1] + flat * math.sin(around), aim[2] + distance * math.sin(tilt))
        yaw, pitch = towards(eye, aim)
        focal = float(draw.uniform(0.75, 1.1))
        return View(focal, eye, yaw, pitch, float(draw.normal(0, 0.05)))

    return Scene("synthetic/bin", stage, propose, Limits(0.2, 0.3, 2.0))


def shelf(library: AssetLibrary, rng: np.random.Generator) -> Scene:
    """An open shelf with things on its boards, seen from the front at 0.4 to 2 m."""
    scenery = Scenery(library, rng)
    house = Shell(*(float(v) for v in (rng.uniform(3, 7), rng.uniform(3, 7), rng.uniform(2.5, 3.5))))
    shell.build(scenery, house, openings=False)
    w, d = float(rng.uniform(0.7, 1.6)), float(rng.uniform(0.25, 0.5))
    back = house.depth / 2 - 0.02
    colour = [float(c) for c in texture.wood_colour(rng) ** 2.2]
    heights = np.cumsum(rng.uniform(0.24, 0.42, 6)) - 0.15
    heights = heights[heights < 1.9]
    top = float(heights[-1]) + 0.4
    for side in (-1, 1):
        scenery.add(mesh.box(0.02, d, top, colour=colour).placed(side * w / 2, back - d / 2, 0))
    scenery.add(mesh.box(w, 0.008, top, colour=colour).placed(0, back - 0.004, 0))
    small = clutter.lying_things(library, 0.3)
    for z in heights:
        scenery.add(mesh.box(w, d, 0.02, colour=colour).placed(0, back - d / 2, float(z) - 0.02))
        clutter.scatter(
            scenery, int(rng.integers(3, 12)), 0, back - d / 2, float(z), w * 0.95, d * 0.95, models=small, tallest=0.26
        )
    stage = scenery.stage(indoors(rng, house.width, house.depth, house.height, contact=0.2))

    def propose(draw: np.random.Generator) -> View:
        aim = (float(draw.uniform(-0.4, 0.4) * w), back - d * 0.5, float(draw.choice(heights)) + 0.12)
        distance, side = float(draw.uniform(0.45, 2.0)), float(draw.normal(0, 0.35))
        eye = (
            aim[0] + distance * math.sin(side),
            aim[1] - distance * math.cos(side),
            float(np.clip(aim[2] + draw.normal(0.05, 0.25), 0.15, 2.0)),
        )
        yaw, pitch = towards(eye, aim)
        return View(hand_held_focal(draw), eye, yaw, pitch + float(draw.normal(0, 0.05)), float(draw.normal(0, 0.05)))

    return Scene("synthetic/shelf", stage, propose, Limits(0.2, 0.35, 3.0))
