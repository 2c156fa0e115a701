"""Kitchens with rows of cabinets and offices with rows of desks, in their true sizes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from m3d_cli.synthesis import mesh, texture
from m3d_cli.synthesis.assets import AssetLibrary, Model
from m3d_cli.synthesis.light import indoors
from m3d_cli.synthesis.scenery import Limits, Scene, Scenery, View, towards
from m3d_cli.synthesis.scenes import clutter, shell
from m3d_cli.synthesis.scenes.rooms import hand_held_focal, people
from m3d_cli.synthesis.scenes.shell import Shell

_LIMITS = Limits(near=0.25, median_low=0.5, median_high=12.0)
# Kitchens are built in a grid that the trade has agreed on, in metres.
_MODULES = (0.3, 0.4, 0.45, 0.6, 0.6, 0.6, 0.8, 0.9)
_BASE_DEPTH, _TOP_DEPTH, _WALL_DEPTH = 0.56, 0.62, 0.34
_PLINTH, _TOP = 0.12, 0.04
_GAP = 0.004  # between fronts
_TALL = 2.1


def kitchen(library: AssetLibrary, rng: np.random.Generator) -> Scene:
    """Base and wall cabinets along one to three walls, appliances, things on the worktop, now and then an island."""
    scenery = Scenery(library, rng)
    house = Shell(*(float(v) for v in (rng.uniform(2.4, 5.0), rng.uniform(2.6, 6.0), rng.uniform(2.35, 3.0))))
    shell.build(scenery, house)
    style = _style(scenery)
    targets = [place for wall in _walls(rng) for place in _line(scenery, house, wall, style)]
    if min(house.width, house.depth) > 3.6 and rng.random() < 0.5:
        targets += _island(scenery, style)
    people(scenery, house, int(rng.choice([0, 0, 1])))
    stage = scenery.stage(indoors(rng, house.width, house.depth, house.height))

    def propose(draw: np.random.Generator) -> View:
        return _standing(draw, house, targets)

    return Scene("synthetic/kitchen", stage, propose, _LIMITS)


def _walls(rng: np.random.Generator) -> list[int]:
    """One wall, two opposite, an L or a U."""
    first = int(rng.integers(shell.WALLS))
    turns = ((0,), (0, 2), (0, 1), (0, 1, 3))[int(rng.integers(4))]
    return [(first + turn) % shell.WALLS for turn in turns]


Surface = tuple[int, float]
Finish = tuple[list[float], Surface | None, float]
Place = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class _Style:
    """What all cabinets of one kitchen share: fronts (colour, texture, gloss), worktop, and heights in metres."""

    fronts: Finish
    top: Surface
    height: float
    hung: float
    hung_from: float


def _style(scenery: Scenery) -> _Style:
    rng = scenery.rng
    heights = float(rng.uniform(0.74, 0.82)), float(rng.uniform(0.55, 0.9)), float(rng.uniform(1.35, 1.5))
    return _Style(_fronts(scenery), scenery.surface(texture.grain(rng)), *heights)


def _fronts(scenery: Scenery) -> Finish:
    rng = scenery.rng
    if rng.random() < 0.35:
        return [1.0, 1.0, 1.0], scenery.surface(texture.grain(rng)), float(rng.choice([0.0, 0.15]))
    colour = texture.wall_colour(rng) if rng.random() < 0.7 else texture.any_colour(rng, 0.6)
    return [float(c) for c in colour**2.2], None, float(rng.choice([0.0, 0.2, 0.5]))


def _line(scenery: Scenery, house: Shell, wall: int, style: _Style) -> list[Place]:
    """A row of cabinets along a wall, from one corner until the wall ends; returns the worktops' middles."""
    rng = scenery.rng
    along = -house.along(wall) / 2 + (_TOP_DEPTH + 0.02 if rng.random() < 0.5 else 0.02)
    end, yaw = house.along(wall) / 2 - 0.64, wall * math.pi / 2
    tall_left, tops = int(rng.integers(0, 3)), list[Place]()
    while (width := float(rng.choice(_MODULES))) + along < end:
        middle = along + width / 2
        x, y = house.at(wall, middle, _BASE_DEPTH / 2)
        along += width
        if not _reserve(scenery, x, y, width, yaw):
            continue
        if tall_left and width == 0.6 and house.height > _TALL + 0.1:
            tall_left -= 1
            scenery.add(_cabinet(width, _BASE_DEPTH, _TALL, style.fronts, doors=2).placed(x, y, 0, yaw))
            continue
        tops.append(_base(scenery, (x, y), width, yaw, style))
        if rng.random() < 0.75 and style.hung_from + style.hung < house.height:
            part = _cabinet(width, _WALL_DEPTH, style.hung, style.fronts, plinth=0.0)
            scenery.add(part.placed(*house.at(wall, middle, _WALL_DEPTH / 2), style.hung_from, yaw))
    return tops


def _base(scenery: Scenery, at: tuple[float, float], width: float, yaw: float, style: _Style) -> Place:
    """A base cabinet with its worktop and what lies there; returns the middle of the worktop."""
    doors = int(scenery.rng.integers(1, 4))
    scenery.add(_cabinet(width, _BASE_DEPTH, style.height, style.fronts, doors=doors).placed(*at, 0, yaw))
    # The worktop stands over at the front, which faces -y before it is turned.
    over = (_TOP_DEPTH - _BASE_DEPTH) / 2
    image, tile = style.top
    plate = mesh.box(width, _TOP_DEPTH, _TOP, texture=image, tile=tile, gloss=0.2).placed(0, -over, 0)
    scenery.add(plate.placed(*at, style.height, yaw))
    _upon(scenery, *at, style.height + _TOP, width, yaw)
    return *at, style.height + _TOP


def _reserve(scenery: Scenery, x: float, y: float, width: float, yaw: float) -> bool:
    """Take the ground of one base cabinet, if it is free."""
    across = abs(math.cos(yaw)) > 0.5
    half_x, half_y = (width / 2, _BASE_DEPTH / 2) if across else (_BASE_DEPTH / 2, width / 2)
    rect = (x - half_x + 0.01, y - half_y + 0.01, x + half_x - 0.01, y + half_y - 0.01)
    if not scenery.free(rect):
        return False
    scenery.taken.append(rect)
    return True


def _cabinet(
    width: float, depth: float, height: float, fronts: Finish, *, doors: int = 1, plinth: float = _PLINTH
) -> mesh.Part:
    """A carcass with ``doors`` fronts one above the other, each with a handle; its front faces -y."""
    colour, surface, gloss = fronts
    inner = mesh.box(width, depth - 0.02, height - plinth, colour=[0.75 * c for c in colour]).placed(0, 0.01, plinth)
    parts = [inner]
    if plinth:
        parts.append(mesh.box(width, depth - 0.1, plinth, colour=(0.05, 0.05, 0.05)).placed(0, 0.05, 0))
    each = (height - plinth) / doors
    image, tile = surface or (mesh.PLAIN, 1.0)
    for k in range(doors):
        low = plinth + k * each
        door = mesh.box(width - 2 * _GAP, 0.018, each - 2 * _GAP, colour=colour, texture=image, tile=tile, gloss=gloss)
        parts.append(door.placed(0, -depth / 2 + 0.009, low + _GAP))
        handle = mesh.box(min(0.16, width * 0.6), 0.012, 0.012, colour=(0.4, 0.4, 0.4), gloss=0.5)
        parts.append(handle.placed(0, -depth / 2 - 0.02, low + each - 0.05))
    return mesh.merge(parts)


def _upon(scenery: Scenery, x: float, y: float, z: float, width: float, yaw: float) -> None:
    """A sink or hob as a thin plate, or things that lie about."""
    rng = scenery.rng
    drawn = rng.random()
    if drawn < 0.12 and width >= 0.45:
        dark = [0.02] * 3 if rng.random() < 0.5 else [0.45] * 3
        scenery.add(mesh.box(width * 0.85, 0.45, 0.008, colour=dark, gloss=0.6).placed(x, y, z, yaw))
        return
    if drawn < 0.6:
        small = clutter.lying_things(scenery.library, 0.4)
        clutter.scatter(scenery, int(rng.integers(1, 4)), x, y, z, width * 0.9, 0.4, yaw, models=small)


def _island(scenery: Scenery, style: _Style) -> list[Place]:
    """A free block of cabinets in the middle of the room; returns the worktops' middles."""
    count, yaw = int(scenery.rng.integers(2, 4)), float(scenery.rng.choice([0.0, math.pi / 2]))
    offs = [(k - (count - 1) / 2) * 0.6 for k in range(count)]
    return [_base(scenery, (off * math.cos(yaw), off * math.sin(yaw)), 0.6, yaw, style) for off in offs]


def office(library: AssetLibrary, rng: np.random.Generator) -> Scene:
    """An open-plan office: rows of equal desks with chairs, screens and partitions."""
    scenery = Scenery(library, rng)
    house = Shell(*(float(v) for v in (rng.uniform(5, 12), rng.uniform(5, 16), rng.uniform(2.5, 3.4))))
    shell.build(scenery, house)
    width, depth, height = float(rng.choice([1.2, 1.4, 1.6, 1.8])), float(rng.choice([0.7, 0.8])), 0.73
    plan = _Row(_desk(scenery, width, depth, height), width, depth, height, scenery.choose(_chairs(library)))
    aisle, targets = float(rng.uniform(1.1, 1.9)), list[Place]()
    pitch = 2 * depth + 2 * aisle * 0.6
    for y in np.arange(-house.depth / 2 + aisle + depth, house.depth / 2 - aisle - depth / 2, pitch).tolist():
        screen = rng.random() < 0.6
        for x in np.arange(-house.width / 2 + aisle, house.width / 2 - aisle - width / 2, width + 0.02).tolist():
            for side in (0, 1):
                _workplace(scenery, plan, x + width / 2, y, side, targets)
            if screen:
                scenery.add(_partition(rng, width).placed(x + width / 2, y, height - 0.1))
    people(scenery, house, int(rng.integers(0, 4)))
    stage = scenery.stage(indoors(rng, house.width, house.depth, house.height))

    def propose(draw: np.random.Generator) -> View:
        return _standing(draw, house, targets)

    return Scene("synthetic/office", stage, propose, _LIMITS)


@dataclass(frozen=True, slots=True, eq=False)
class _Row:
    """What every workplace of an office has: a desk of one size and a chair."""

    desk: mesh.Part
    width: float
    depth: float
    height: float
    chair: Model | None


def _desk(scenery: Scenery, width: float, depth: float, height: float) -> mesh.Part:
    """A board on two side panels."""
    rng = scenery.rng
    image, tile = scenery.surface(texture.grain(rng))
    board = mesh.box(width, depth, 0.028, texture=image, tile=tile, gloss=0.1).placed(0, 0, height - 0.028)
    panel = mesh.box(0.04, depth * 0.9, height - 0.028, colour=[float(rng.uniform(0.05, 0.8))] * 3)
    return mesh.merge([board, *(panel.placed(side * (width / 2 - 0.05), 0, 0) for side in (-1, 1))])


def _chairs(library: AssetLibrary) -> list[Model]:
    return [m for m in library.find("chair") if m.size[2] > 0.7 and max(m.size[:2]) < 0.8]


def _workplace(scenery: Scenery, row: _Row, x: float, y: float, side: int, targets: list[Place]) -> None:
    """A desk whose user sits on the -y side, or, on ``side`` 1, on the +y side of the row's middle line."""
    rng, turn = scenery.rng, side * math.pi
    out = -1 if side == 0 else 1  # towards the user
    middle = y + out * (row.depth / 2 + 0.01)
    scenery.add(row.desk.placed(x, middle, 0, turn))
    scenery.taken.append((x - row.width / 2, middle - row.depth / 2, x + row.width / 2, middle + row.depth / 2))
    targets.append((x, middle, row.height + 0.1))
    for k in range(int(rng.choice([0, 1, 1, 2]))):
        part = clutter.monitor(scenery)
        scenery.add(part.placed(x + (k - 0.5) * 0.5, middle - out * row.depth * 0.25, row.height, turn))
    if rng.random() < 0.8:
        scenery.add(clutter.keyboard(scenery).placed(x, middle + out * row.depth * 0.2, row.height, turn))
    small = clutter.lying_things(scenery.library, 0.3)
    beside = x + row.width * 0.36
    clutter.scatter(scenery, int(rng.integers(0, 4)), beside, middle, row.height, 0.3, row.depth * 0.8, models=small)
    if row.chair is not None and rng.random() < 0.9:
        away = middle + out * (row.depth / 2 + float(rng.uniform(0.1, 0.5)))
        # A chair's front is -y: its sitter looks at the desk.
        facing = turn + math.pi + float(rng.normal(0, 0.4))
        scenery.put(row.chair, x + float(rng.normal(0, 0.08)), away, 0, facing, colour=0.1)


def _partition(rng: np.random.Generator, width: float) -> mesh.Part:
    colour = [float(c) for c in texture.any_colour(rng, 0.4) ** 2.2]
    return mesh.box(width, 0.03, float(rng.choice([0.4, 0.5, 0.6])), colour=colour)


def _standing(draw: np.random.Generator, house: Shell, targets: list[Place]) -> View:
    """From somewhere in the room at a row, or across the room."""
    x, y = (float(v) for v in draw.uniform(-0.5, 0.5, 2) * (house.width - 0.5, house.depth - 0.5))
    eye = (x, y, float(draw.uniform(1.1, 1.8)))
    if targets and draw.random() < 0.75:
        aim = targets[int(draw.integers(len(targets)))]
        yaw, pitch = towards(eye, (aim[0], aim[1], aim[2] + draw.uniform(-0.4, 0.5)))
    else:
        yaw, pitch = towards(eye, (-x * draw.uniform(0.3, 1), -y * draw.uniform(0.3, 1), draw.uniform(0.4, 1.5)))
    yaw, pitch = yaw + float(draw.normal(0, 0.2)), pitch + float(draw.normal(0, 0.08))
    return View(hand_held_focal(draw), eye, yaw, float(np.clip(pitch, -1.1, 0.5)), float(draw.normal(0, 0.05)))
