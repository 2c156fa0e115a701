"""Furnished rooms seen from hand and eye height: living rooms, bedrooms, offices, kitchens, bathrooms."""

from __future__ import annotations

import math

import numpy as np

from m3d_cli.synthesis import mesh, texture
from m3d_cli.synthesis.assets import AssetLibrary, Model
from m3d_cli.synthesis.light import indoors
from m3d_cli.synthesis.scenery import Limits, Scene, Scenery, View, footprint, overlaps, towards
from m3d_cli.synthesis.scenes import clutter, shell
from m3d_cli.synthesis.scenes.shell import Shell

_KINDS = ("Living room", "Living room", "Bedroom", "Office", "Office", "Kitchen", "Kitchen", "Bathroom")
_LIMITS = Limits(near=0.3, median_low=0.7, median_high=12.0)
_NOT_FURNITURE = ("contemporary living", "carpet", "rug", "mat", "barnum", "sleeping bag", "hammock")


def furniture(library: AssetLibrary, category: str) -> tuple[Model, ...]:
    """Pieces that stand on the floor of a room of this category."""
    return tuple(
        model
        for model in library.models
        if model.category == category
        and max(model.size[:2]) >= 0.3
        and model.size[2] >= 0.35
        and model.elevation < 0.05
        and not any(word in model.name for word in _NOT_FURNITURE)
    )


def room(library: AssetLibrary, rng: np.random.Generator) -> Scene:
    """A furnished room and hand-held views of it."""
    scenery = Scenery(library, rng)
    house = Shell(*(float(v) for v in (rng.uniform(2.6, 6.2), rng.uniform(2.8, 7.5), rng.uniform(2.3, 3.1))))
    shell.build(scenery, house)
    kind = str(rng.choice(_KINDS))
    tops = _furnish(scenery, house, kind)
    hang(scenery, house, kind)
    small = clutter.lying_things(library, 0.5)
    for x, y, z, width, depth, yaw in tops:
        if rng.random() < 0.85:
            clutter.scatter(scenery, int(rng.integers(1, 12)), x, y, z, width, depth, yaw, models=small)
    people(scenery, house, int(rng.choice([0, 0, 0, 1, 1, 2])))
    litter(scenery, house)
    stage = scenery.stage(indoors(rng, house.width, house.depth, house.height))
    targets = [(x, y, z) for x, y, z, *_ in tops] or [(0.0, 0.0, 0.8)]

    def propose(draw: np.random.Generator) -> View:
        return _view(scenery, house, targets, draw)

    return Scene("synthetic/room", stage, propose, _LIMITS)


Top = tuple[float, float, float, float, float, float]


def _furnish(scenery: Scenery, house: Shell, kind: str) -> list[Top]:
    rng = scenery.rng
    tops: list[Top] = []
    _set_table(scenery, house, tops)
    pieces = [m for m in furniture(scenery.library, kind) if m.size[2] < house.height]
    others = [m for m in furniture(scenery.library, str(rng.choice(_KINDS))) if m.size[2] < house.height]
    wanted = int(rng.uniform(0.6, 1.6) * math.sqrt(house.width * house.depth) * 4)
    for _ in range(wanted):
        model = scenery.choose(pieces if rng.random() < 0.75 else others)
        if model is not None:
            _stand_somewhere(scenery, house, model, tops)
    return tops


def _stand_somewhere(scenery: Scenery, house: Shell, model: Model, tops: list[Top]) -> None:
    """Against a wall mostly, sometimes free; its top is remembered when things may be put on it."""
    rng = scenery.rng
    for _ in range(10):
        wall = int(rng.integers(shell.WALLS))
        room = (house.along(wall) - model.size[0]) / 2
        if room < 0 or model.size[1] > 2 * house.distance(wall) - 0.6:
            continue
        yaw = wall * math.pi / 2
        x, y = house.at(wall, float(rng.uniform(-room, room)), model.size[1] / 2 + 0.03)
        if rng.random() < 0.2 and max(model.size) < 1.2:
            x, y = shell.free_spot(scenery, house, max(model.size[:2]) / 2 + 0.1)
            yaw = float(rng.uniform(0, 2 * math.pi))
        if scenery.stand(model, x, y, yaw):
            height = model.drop_height if np.isfinite(model.drop_height) else model.size[2]
            if 0.3 < height < 1.5 and _has_top(model):
                tops.append((x, y, height, model.size[0] * 0.8, model.size[1] * 0.7, yaw))
            return


def _has_top(model: Model) -> bool:
    words = (
        "table",
        "desk",
        "dresser",
        "chest",
        "cabinet",
        "shelves",
        "stand",
        "dish",
        "wash",
        "fridge",
        "piano",
        "tv unit",
    )
    return any(word in model.name for word in words) and (np.isfinite(model.drop_height) or "shel" not in model.name)


def _set_table(scenery: Scenery, house: Shell, tops: list[Top]) -> None:
    """A table or desk in the room with chairs round it."""
    rng = scenery.rng
    tables = [m for m in scenery.library.find("table", "desk") if 0.6 < m.size[0] < house.width - 1.4]
    tables = [m for m in tables if 0.6 < m.size[2] < 0.9 and 0.5 < m.size[1] < house.depth - 1.4]
    chairs = [m for m in scenery.library.find("chair") if m.size[2] > 0.7 and max(m.size[:2]) < 0.8]
    table = scenery.choose([m for m in tables if not np.isnan(m.drop_height) or "glass" not in m.name])
    if table is None or rng.random() < 0.25:
        return
    x = float(rng.uniform(-0.5, 0.5) * (house.width - table.size[0] - 1.2))
    y = float(rng.uniform(-0.5, 0.5) * (house.depth - table.size[1] - 1.2))
    if not scenery.stand(table, x, y):
        return
    own = scenery.taken[-1]
    height = table.drop_height if np.isfinite(table.drop_height) else table.size[2]
    tops.append((x, y, height, table.size[0] * 0.85, table.size[1] * 0.85, 0.0))
    chair = scenery.choose(chairs)
    for side in range(4):
        if chair is None or rng.random() < 0.25:
            continue
        # A chair's front is -y, so the chair beyond the table (+y side) faces it unturned.
        off = (table.size[1] if side % 2 == 0 else table.size[0]) / 2 + chair.size[1] * rng.uniform(0.25, 0.7)
        yaw = side * math.pi / 2
        place = (x - math.sin(yaw) * off, y + math.cos(yaw) * off)
        ground = footprint(chair, *place, yaw)
        # A chair may be pushed under its own table, but not into anything else.
        if not any(overlaps(ground, other) for other in scenery.taken if other != own):
            scenery.put(chair, *place, 0, yaw + float(rng.normal(0, 0.2)), colour=0.15)
            scenery.taken.append(ground)


def hang(scenery: Scenery, house: Shell, kind: str) -> None:
    """Wall cupboards, radiators, screens where the catalogue says they hang."""
    rng = scenery.rng
    fitting = [
        m
        for m in scenery.library.models
        if m.elevation > 0.1 and m.elevation + m.size[2] < house.height and not m.opening and m.size[1] < 0.6
        and m.category in (kind, "Miscellaneous", "Lights") and m.size[0] < 1.8 and "ceiling" not in m.name
    ]  # fmt: skip
    for _ in range(rng.integers(0, 6)):
        model = scenery.choose(fitting)
        wall = int(rng.integers(shell.WALLS))
        if model is None or model.size[0] > house.along(wall) - 0.2:
            continue
        room = (house.along(wall) - model.size[0]) / 2 - 0.05
        x, y = house.at(wall, float(rng.uniform(-room, room)), model.size[1] / 2 + 0.005)
        scenery.put(model, x, y, model.elevation, wall * math.pi / 2)


def people(scenery: Scenery, house: Shell, count: int) -> None:
    """Standing people and now and then an animal."""
    models = [m for m in scenery.library.find(category="Characters") if 0.25 < m.size[2] < 1.95 and m.size[1] < 0.9]
    standing = [m for m in models if m.size[2] > 1.5 or m.size[2] < 0.6]
    for _ in range(count):
        model = scenery.choose(standing)
        if model is not None:
            x, y = shell.free_spot(scenery, house, 0.35)
            scenery.stand(model, x, y, float(scenery.rng.uniform(0, 2 * math.pi)), colour=0.2)


def litter(scenery: Scenery, house: Shell) -> None:
    """Rugs and things on the floor."""
    rng = scenery.rng
    if rng.random() < 0.35:
        w, d = (
            float(rng.uniform(0.8, min(3.0, house.width - 0.6))),
            float(rng.uniform(0.6, min(2.5, house.depth - 0.6))),
        )
        x, y = rng.uniform(-0.5, 0.5, 2) * (house.width - w, house.depth - d)
        rug = texture.carpet(rng)
        own = scenery.texture(rug.image)
        scenery.add(
            mesh.quad(
                (float(x) - w / 2, float(y) - d / 2, 0.006), (w, 0, 0), (0, d, 0), texture=own, tile=rug.width * 2
            )
        )
    for _ in range(rng.integers(0, 5)):
        x, y = shell.free_spot(scenery, house, 0.2)
        rect = (x - 0.15, y - 0.15, x + 0.15, y + 0.15)
        if scenery.free(rect):
            scenery.taken.append(rect)
            scenery.add(clutter.made_thing(scenery).placed(x, y, 0, float(rng.uniform(0, 6))))


def hand_held_focal(rng: np.random.Generator) -> float:
    """Focal length in image widths: depth cameras and phones mostly, the whole range sometimes."""
    if rng.random() < 0.55:
        return float(np.clip(rng.normal(0.85, 0.13), 0.55, 1.3))
    return float(np.exp(rng.uniform(math.log(0.42), math.log(1.5))))


def _view(scenery: Scenery, house: Shell, targets: list[tuple[float, float, float]], rng: np.random.Generator) -> View:
    style = rng.random()
    x = float(rng.uniform(-0.5, 0.5) * (house.width - 0.5))
    y = float(rng.uniform(-0.5, 0.5) * (house.depth - 0.5))
    roll = float(rng.normal(0, 0.06))
    if style < 0.12:  # a robot on the floor
        yaw, pitch, z = float(rng.uniform(0, 2 * math.pi)), float(rng.normal(0.03, 0.08)), float(rng.uniform(0.15, 0.5))
    elif style < 0.24:  # a camera high in a corner
        x, y = shell.inside(house, math.copysign(9, x), math.copysign(9, y), float(rng.uniform(0.15, 0.5)))
        z = float(rng.uniform(1.6, house.height - 0.2))
        yaw, pitch = towards((x, y, z), (x * 0.1, y * 0.1, rng.uniform(0.2, 1.2)))
    elif style < 0.6:  # at some furniture, held in the hand
        z = float(rng.uniform(0.8, 1.8))
        target = targets[int(rng.integers(len(targets)))]
        yaw, pitch = towards((x, y, z), (target[0], target[1], target[2] + rng.uniform(-0.3, 0.4)))
        yaw += float(rng.normal(0, 0.2))
    else:  # across the room
        z = float(rng.uniform(1.0, 1.75))
        yaw, pitch = towards((x, y, z), (-x * rng.uniform(0.3, 1), -y * rng.uniform(0.3, 1), rng.uniform(0.4, 1.5)))
        yaw += float(rng.normal(0, 0.4))
    pitch = float(np.clip(pitch + rng.normal(0, 0.08), -1.1, 0.5))
    return View(hand_held_focal(rng), (x, y, z), yaw, pitch, roll)
