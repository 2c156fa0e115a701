"""Close looks at table tops and desks full of small things."""

from __future__ import annotations

import math

import numpy as np

from m3d_cli.synthesis import mesh, texture
from m3d_cli.synthesis.assets import AssetLibrary
from m3d_cli.synthesis.light import indoors
from m3d_cli.synthesis.mesh import Part
from m3d_cli.synthesis.scenery import Limits, Scene, Scenery, View, towards
from m3d_cli.synthesis.scenes import clutter, shell
from m3d_cli.synthesis.scenes.rooms import furniture, litter
from m3d_cli.synthesis.scenes.shell import Shell

_LIMITS = Limits(near=0.16, median_low=0.25, median_high=3.5)
_DESK_LIMITS = Limits(near=0.2, median_low=0.4, median_high=4.0)


def table(scenery: Scenery, width: float, depth: float, height: float) -> Part:
    """A plain table: top with its own surface, four legs or a round foot."""
    rng = scenery.rng
    top_surface = texture.grain(rng) if rng.random() < 0.7 else texture.floor(rng)
    image, tile = scenery.surface(top_surface)
    gloss = float(rng.choice([0.0, 0.1, 0.3]))
    leg = [float(c) for c in texture.any_colour(rng, 0.3) ** 2.2]
    thick = float(rng.uniform(0.018, 0.05))
    if rng.random() < 0.2:
        radius = min(width, depth) / 2
        plate = mesh.lathe([(radius, height - thick), (radius, height)], colour=leg, segments=40)
        foot = mesh.cylinder(0.04, height - thick, colour=leg)
        disc = mesh.lathe([(radius, height), (1e-4, height)], colour=leg, segments=40)
        return mesh.merge([plate, disc, foot, mesh.cylinder(radius * 0.6, 0.02, colour=leg)])
    plate = mesh.box(width, depth, thick, texture=image, tile=tile, gloss=gloss).placed(0, 0, height - thick)
    legs = [
        mesh.box(0.05, 0.05, height - thick, colour=leg).placed(x * (width / 2 - 0.06), y * (depth / 2 - 0.06), 0)
        for x in (-1, 1)
        for y in (-1, 1)
    ]
    return mesh.merge([plate, *legs])


def _surroundings(scenery: Scenery, house: Shell, x: float, y: float, reach: float, count: int) -> None:
    """Chairs and furniture around the place where the table stands."""
    rng = scenery.rng
    scenery.taken.append((x - reach, y - reach, x + reach, y + reach))
    chairs = [m for m in scenery.library.find("chair") if m.size[2] > 0.6]
    pieces = [m for k in ("Office", "Living room", "Kitchen") for m in furniture(scenery.library, k)]
    for _ in range(count):
        model = scenery.choose(chairs if rng.random() < 0.5 else pieces)
        if model is not None and model.size[2] < house.height:
            fx, fy = shell.free_spot(scenery, house, max(model.size[:2]) / 2 + 0.05)
            scenery.stand(model, fx, fy, float(rng.uniform(0, 2 * math.pi)))
    litter(scenery, house)


def tabletop(library: AssetLibrary, rng: np.random.Generator) -> Scene:
    """Clutter on a table somewhere in a room, looked at from 0.4 to 1.4 m."""
    scenery = Scenery(library, rng)
    house = Shell(*(float(v) for v in (rng.uniform(3, 9), rng.uniform(3, 9), rng.uniform(2.4, 3.2))))
    shell.build(scenery, house)
    x, y = (float(v) for v in rng.uniform(-0.3, 0.3, 2) * (house.width, house.depth))
    width, depth, height = float(rng.uniform(0.6, 2.0)), float(rng.uniform(0.5, 1.1)), float(rng.uniform(0.4, 0.95))
    yaw = float(rng.uniform(0, math.pi))
    round_ = table(scenery, width, depth, height)
    scenery.add(round_.placed(x, y, 0, yaw))
    _surroundings(scenery, house, x, y, max(width, depth) * 0.6, int(rng.integers(0, 8)))
    reach_x, reach_y = float(round_.size[0]), float(round_.size[1])
    scale = 0.72 if abs(reach_x - reach_y) < 1e-3 else 0.95
    area = (min(reach_x * scale, 1.3), min(reach_y * scale, 1.0))
    small = clutter.lying_things(library, float(rng.choice([0.2, 0.35])))
    clutter.scatter(scenery, int(rng.integers(4, 26)), x, y, height, *area, yaw, models=small)
    stage = scenery.stage(indoors(rng, house.width, house.depth, house.height, contact=0.15))

    def propose(draw: np.random.Generator) -> View:
        along = draw.uniform(-0.35, 0.35, 2) * area
        c, s = math.cos(yaw), math.sin(yaw)
        target = (
            x + c * along[0] - s * along[1],
            y + s * along[0] + c * along[1],
            height + float(draw.uniform(0, 0.1)),
        )
        return _close_view(house, target, draw)

    return Scene("synthetic/tabletop", stage, propose, _LIMITS)


def _close_view(house: Shell, target: tuple[float, float, float], rng: np.random.Generator) -> View:
    """From 0.35 to 1.6 m (0.8 typical), 15 to 85 degrees above the table."""
    distance = float(np.clip(np.exp(rng.normal(math.log(0.8), 0.33)), 0.35, 1.7))
    angle = math.radians(rng.uniform(18, 62) if rng.random() < 0.85 else rng.uniform(62, 88))
    around = rng.uniform(0, 2 * math.pi)
    flat = distance * math.cos(angle)
    x, y = shell.inside(house, target[0] + flat * math.cos(around), target[1] + flat * math.sin(around), 0.1)
    z = min(target[2] + distance * math.sin(angle), house.height - 0.1)
    yaw, pitch = towards((x, y, z), target)
    focal = float(np.clip(rng.normal(0.95, 0.08), 0.7, 1.2)) if rng.random() < 0.5 else _wide_focal(rng)
    return View(
        focal,
        (x, y, z),
        yaw + float(rng.normal(0, 0.06)),
        pitch + float(rng.normal(0, 0.06)),
        float(rng.normal(0, 0.07)),
    )


def _wide_focal(rng: np.random.Generator) -> float:
    return float(np.exp(rng.uniform(math.log(0.5), math.log(1.4))))


def desk(library: AssetLibrary, rng: np.random.Generator) -> Scene:
    """A desk against a wall with screens, keyboard, lamp and clutter, seen by someone who sits or stands at it."""
    scenery = Scenery(library, rng)
    house = Shell(*(float(v) for v in (rng.uniform(2.5, 7), rng.uniform(2.8, 7), rng.uniform(2.4, 3.1))))
    shell.build(scenery, house)
    width, depth, height = float(rng.uniform(1.0, 2.2)), float(rng.uniform(0.55, 0.9)), float(rng.uniform(0.68, 0.8))
    back = house.depth / 2 - float(rng.choice([0.02, 0.02, rng.uniform(0.1, 1.0)]))
    x, y = float(rng.uniform(-0.5, 0.5) * (house.width - width)), back - depth / 2
    model = scenery.choose([m for m in library.find("desk") if m.size[2] < 0.85 and m.size[0] < house.width - 0.2])
    if model is not None and rng.random() < 0.4:
        width, depth, height = model.size
        x = float(np.clip(x, width / 2 - house.width / 2, house.width / 2 - width / 2))
        y = back - depth / 2
        scenery.put(model, x, y)
    else:
        scenery.add(table(scenery, width, depth, height).placed(x, y, 0))
    _equip(scenery, x, y, height, width, depth)
    _surroundings(scenery, house, x, y, max(width, depth) * 0.55, int(rng.integers(0, 7)))
    stage = scenery.stage(indoors(rng, house.width, house.depth, house.height, contact=0.2))

    def propose(draw: np.random.Generator) -> View:
        target = (
            x + draw.uniform(-0.4, 0.4) * width,
            y + draw.uniform(-0.3, 0.5) * depth,
            height + draw.uniform(0, 0.4),
        )
        distance = float(np.clip(np.exp(draw.normal(math.log(0.85), 0.4)), 0.35, 2.2))
        angle, around = math.radians(draw.uniform(-8, 50)), draw.normal(-math.pi / 2, 0.7)
        flat = distance * math.cos(angle)
        place = shell.inside(house, target[0] + flat * math.cos(around), target[1] + flat * math.sin(around), 0.1)
        eye = (*place, max(0.25, target[2] + distance * math.sin(angle)))
        yaw, pitch = towards(eye, target)
        focal = float(np.clip(draw.normal(0.93, 0.08), 0.7, 1.2)) if draw.random() < 0.5 else _wide_focal(draw)
        return View(
            focal, eye, yaw + float(draw.normal(0, 0.12)), pitch + float(draw.normal(0, 0.1)), draw.normal(0, 0.06)
        )

    return Scene("synthetic/desk", stage, propose, _DESK_LIMITS)


def _equip(scenery: Scenery, x: float, y: float, height: float, width: float, depth: float) -> None:
    rng = scenery.rng
    screens = int(rng.choice([0, 1, 2, 2, 3]))
    for k in range(screens):
        along = (k - (screens - 1) / 2) * 0.62
        if abs(along) < width / 2 - 0.15:
            part = clutter.monitor(scenery)
            scenery.add(part.placed(x + along, y + depth * 0.25, height, -along * 0.4 + float(rng.normal(0, 0.08))))
    if screens:
        board = clutter.keyboard(scenery).placed(
            x + float(rng.normal(0, 0.1)), y - depth * 0.25, height, rng.normal(0, 0.1)
        )
        scenery.add(board)
    laptops = [m for m in scenery.library.find("laptop", "ibook") if m.size[0] < 0.5]
    machine = scenery.choose(laptops)
    if machine is not None and not screens:
        scenery.put(machine, x, y - 0.05, height, float(rng.normal(0, 0.2)))
    small = clutter.lying_things(scenery.library, 0.35)
    low = 0.12 if screens else 0.4
    free = width / 2 - 0.35
    if free > 0.15:
        for side in (-1, 1):
            place = x + side * (width / 2 - free / 2)
            clutter.scatter(
                scenery, int(rng.integers(0, 7)), place, y, height, free, depth * 0.9, models=small, tallest=low * 3
            )
    lamp = scenery.choose([m for m in scenery.library.find("desk lamp", "work lamp") if m.size[2] < 0.6])
    if lamp is not None and rng.random() < 0.3:
        scenery.put(lamp, x - width * 0.42, y + depth * 0.3, height, float(rng.uniform(0, 6)))
