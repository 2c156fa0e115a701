"""Rooms as boxes: floor, ceiling, walls with windows and doors, skirting, pictures; centred on the origin."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from m3d_cli.synthesis import mesh, texture
from m3d_cli.synthesis.scenery import Scenery

# Wall number k faces yaw 90 k degrees: 0 at +y (seen looking +y), 1 at -x, 2 at -y, 3 at +x.
WALLS = 4
_INDOOR_FLOORS = ("wooden", "tiles", "marble")
_SEAM = 0.05  # metres
_CEILING_LAMPS = ((0.6, 0.6), (0.3, 0.3), (1.2, 0.3))  # metres


@dataclass(frozen=True, slots=True)
class Shell:
    """Inner size of a room in metres: x from -width/2 to width/2, y likewise with depth."""

    width: float
    depth: float
    height: float

    def along(self, wall: int) -> float:
        """Length of a wall."""
        return self.width if wall % 2 == 0 else self.depth

    def distance(self, wall: int) -> float:
        """From the middle of the room to a wall."""
        return (self.depth if wall % 2 == 0 else self.width) / 2

    def at(self, wall: int, along: float, off: float) -> tuple[float, float]:
        """Ground position ``along`` metres right of the wall's middle (seen from inside) and ``off`` before it."""
        yaw = wall * math.pi / 2
        x, y = along, self.distance(wall) - off
        return math.cos(yaw) * x - math.sin(yaw) * y, math.sin(yaw) * x + math.cos(yaw) * y


def build(scenery: Scenery, shell: Shell, openings: bool = True) -> None:
    """Add floor, ceiling and walls with whatever hangs in them."""
    rng = scenery.rng
    w, d, h = shell.width, shell.depth, shell.height
    floor = (scenery.swatch("Floor", *_INDOOR_FLOORS) if rng.random() < 0.25 else None) or scenery.surface(
        texture.floor(rng)
    )
    gloss = float(rng.choice([0.0, 0.0, 0.15, 0.4]))
    # Floor and ceiling reach past the walls, and walls past the corners, so that no ray slips through a seam.
    corner, along, across = (-w / 2 - _SEAM, -d / 2 - _SEAM), (w + 2 * _SEAM, 0, 0), (0, d + 2 * _SEAM, 0)
    scenery.add(mesh.quad((*corner, 0), along, across, texture=floor[0], tile=floor[1], gloss=gloss))
    white = [float(rng.uniform(0.5, 0.9))] * 3
    ceiling = scenery.surface(texture.plaster(rng))
    scenery.add(
        mesh.quad((*corner, h), along, across, texture=ceiling[0], tile=ceiling[1])
        if rng.random() < 0.3
        else mesh.quad((*corner, h), along, across, colour=white)
    )
    paper = _wallpaper(scenery)
    for wall in range(WALLS):
        own = _wallpaper(scenery) if rng.random() < 0.15 else paper
        _wall(scenery, shell, wall, own, openings)
    for _ in range(rng.integers(0, 3)):
        x, y = rng.uniform(-0.35, 0.35, 2) * (w, d)
        long, wide = _CEILING_LAMPS[int(rng.integers(len(_CEILING_LAMPS)))]
        panel = mesh.box(long, wide, 0.05, gloss=-float(rng.uniform(1, 4)))
        scenery.add(panel.placed(float(x), float(y), h - 0.05))


def _wallpaper(scenery: Scenery) -> tuple[int, float]:
    rng = scenery.rng
    own = scenery.swatch("Wall") if rng.random() < 0.1 else None
    return own or scenery.surface(texture.wall(rng))


def _wall(scenery: Scenery, shell: Shell, wall: int, paper: tuple[int, float], openings: bool) -> None:
    """A wall as panels around its window, plus door, skirting and pictures."""
    rng = scenery.rng
    length, height = shell.along(wall), shell.height
    hole = _window(scenery, shell, wall) if openings and rng.random() < 0.4 and length > 2.4 else None
    for a, b, low, high in _panels(length, height, hole):
        scenery.add(_panel(shell, wall, a, b, low, high, 0.0, paper))
    if hole is not None:
        scenery.add(_reveal(shell, wall, hole))
    if rng.random() < 0.6:
        x, y = shell.at(wall, 0, 0.008)
        strip = mesh.box(length, 0.015, float(rng.uniform(0.05, 0.14)), colour=[float(rng.uniform(0.1, 0.9))] * 3)
        scenery.add(strip.placed(x, y, 0, wall * math.pi / 2))
    if openings and hole is None and rng.random() < 0.45:
        _door(scenery, shell, wall)
        return
    for _ in range(rng.integers(0, 3) if hole is None else 0):
        _picture(scenery, shell, wall)


def _panels(
    length: float, height: float, hole: tuple[float, float, float, float] | None
) -> list[tuple[float, float, float, float]]:
    left, right, bottom, top = -length / 2 - _SEAM, length / 2 + _SEAM, -_SEAM, height + _SEAM
    if hole is None:
        return [(left, right, bottom, top)]
    a, b, low, high = hole
    panels = [(left, a, bottom, top), (b, right, bottom, top), (a, b, bottom, low), (a, b, high, top)]
    return [p for p in panels if p[1] - p[0] > 1e-3 and p[3] - p[2] > 1e-3]


def _panel(
    shell: Shell, wall: int, a: float, b: float, low: float, high: float, off: float, paper: tuple[int, float]
) -> mesh.Part:
    (x0, y0), (x1, y1) = shell.at(wall, a, off), shell.at(wall, b, off)
    return mesh.quad((x0, y0, low), (x1 - x0, y1 - y0, 0), (0, 0, high - low), texture=paper[0], tile=paper[1])


def _reveal(shell: Shell, wall: int, hole: tuple[float, float, float, float]) -> mesh.Part:
    """The inner sides of a wall around its window."""
    a, b, low, high = hole
    thick, white = 0.4, (0.7, 0.7, 0.68)
    sides = [
        mesh.quad((a, 0, low), (0, thick, 0), (0, 0, high - low), colour=white),
        mesh.quad((b, 0, low), (0, thick, 0), (0, 0, high - low), colour=white),
        mesh.quad((a, 0, low), (b - a, 0, 0), (0, thick, 0), colour=white),
        mesh.quad((a, 0, high), (b - a, 0, 0), (0, thick, 0), colour=white),
    ]
    x, y = shell.at(wall, 0, 0)
    return mesh.merge(sides).placed(x, y, 0, wall * math.pi / 2)


def _window(scenery: Scenery, shell: Shell, wall: int) -> tuple[float, float, float, float] | None:
    """Hang a window in a wall; returns the hole it needs: from, to, sill, top."""
    fitting = [
        m
        for m in scenery.library.find("window")
        if m.opening and m.size[0] < shell.along(wall) - 0.3 and m.elevation + m.size[2] < shell.height - 0.05
    ]
    model = scenery.choose(fitting)
    if model is None:
        return None
    room = (shell.along(wall) - model.size[0]) / 2 - 0.1
    along = float(scenery.rng.uniform(-room, room))
    low = max(model.elevation, 0.02)
    x, y = shell.at(wall, along, -model.size[1] / 2 + 0.03)
    scenery.put(model, x, y, low, wall * math.pi / 2, colour=0.1)
    return along - model.size[0] / 2 + 0.01, along + model.size[0] / 2 - 0.01, low + 0.01, low + model.size[2] - 0.01


def _door(scenery: Scenery, shell: Shell, wall: int) -> None:
    fitting = [
        m
        for m in scenery.library.find("door")
        if m.opening and m.size[2] < min(shell.height - 0.02, 2.3) and m.size[1] < 0.3 and m.size[0] < 1.9
    ]
    model = scenery.choose([m for m in fitting if "garage" not in m.name and "elevator" not in m.name])
    if model is None or model.size[0] > shell.along(wall) - 0.4:
        return
    room = (shell.along(wall) - model.size[0]) / 2 - 0.1
    x, y = shell.at(wall, float(scenery.rng.uniform(-room, room)), -model.size[1] / 2 + 0.06)
    scenery.put(model, x, y, 0, wall * math.pi / 2, colour=0.4)
    scenery.taken.append((x - 0.5, y - 0.5, x + 0.5, y + 0.5))


def _picture(scenery: Scenery, shell: Shell, wall: int) -> None:
    rng = scenery.rng
    w, h = float(rng.uniform(0.2, 1.2)), float(rng.uniform(0.2, 0.9))
    room = (shell.along(wall) - w) / 2 - 0.1
    if room <= 0:
        return
    x, y = shell.at(wall, float(rng.uniform(-room, room)), 0.012)
    low = float(rng.uniform(1.0, max(1.05, min(1.9, shell.height - h))))
    image = scenery.texture(texture.print_(rng, 0.7) if rng.random() < 0.7 else texture.page(rng))
    frame = mesh.box(w + 0.04, 0.02, h + 0.04, colour=[float(c) for c in texture.any_colour(rng) ** 2.2])
    canvas = mesh.quad((-w / 2, -0.012, 0.02), (w, 0, 0), (0, 0, h), texture=image, gloss=0.1)
    scenery.add(mesh.merge([frame, canvas]).placed(x, y, low, wall * math.pi / 2))


def free_spot(scenery: Scenery, shell: Shell, margin: float) -> tuple[float, float]:
    """Somewhere on the floor where nothing stands, if twenty tries find it."""
    rng = scenery.rng
    x = y = 0.0
    for _ in range(20):
        x = float(rng.uniform(-0.5, 0.5) * (shell.width - 2 * margin))
        y = float(rng.uniform(-0.5, 0.5) * (shell.depth - 2 * margin))
        if scenery.free((x - margin, y - margin, x + margin, y + margin)):
            break
    return x, y


def inside(shell: Shell, x: float, y: float, margin: float) -> tuple[float, float]:
    """The nearest position at least ``margin`` from every wall."""
    half_x, half_y = max(0.05, shell.width / 2 - margin), max(0.05, shell.depth / 2 - margin)
    return float(np.clip(x, -half_x, half_x)), float(np.clip(y, -half_y, half_y))
