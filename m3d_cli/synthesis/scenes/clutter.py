"""Small things that lie about: boxes, cans, bottles, bowls, mugs, books, papers, balls, screens, in true size."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np

from m3d_cli.synthesis import mesh, texture
from m3d_cli.synthesis.assets import AssetLibrary, Model
from m3d_cli.synthesis.mesh import Part
from m3d_cli.synthesis.scenery import Scenery, tint

_SMALL_CATEGORIES = ("Kitchen", "Office", "Bedroom", "Living room", "Miscellaneous", "Bathroom", "Lights")
_NOT_LYING = (
    "hood", "dispenser", "towel rack", "socket", "plug", "switch", "dimmer", "sensor", "detector", "cctv", "chair",
    "stool", "table", "cabinet", "hanger", "blind", "frame", "shower", "screen", "oven", "cooker", "lamp artwork",
    "spotlight", "doormat", "urinal", "light source",
)  # fmt: skip


def lying_things(library: AssetLibrary, largest: float) -> tuple[Model, ...]:
    """Models up to ``largest`` metres that may lie or stand on a table."""
    return tuple(
        model
        for model in library.models
        if model.category in _SMALL_CATEGORIES
        and 0.02 <= max(model.size) <= largest
        and model.elevation == 0
        and not model.opening
        and not any(word in model.name for word in _NOT_LYING)
    )


def _colour(rng: np.random.Generator) -> list[float]:
    return [float(c) for c in texture.any_colour(rng, 0.9) ** 2.2]


def _carton(scenery: Scenery) -> Part:
    rng = scenery.rng
    image = scenery.texture(texture.print_(rng))
    w, d, h = rng.uniform(0.05, 0.22), rng.uniform(0.03, 0.14), rng.uniform(0.04, 0.3)
    return mesh.box(w, d, h, texture=image, gloss=float(rng.choice([0.0, 0.15])))


def _plain_box(scenery: Scenery) -> Part:
    rng = scenery.rng
    sides = rng.uniform(0.025, 0.12, 3)
    return mesh.box(*sides, colour=_colour(rng), gloss=float(rng.choice([0.0, 0.3])))


def _can(scenery: Scenery) -> Part:
    rng = scenery.rng
    image = scenery.texture(texture.print_(rng))
    radius = rng.uniform(0.026, 0.055)
    return mesh.cylinder(radius, rng.uniform(0.07, 0.18), texture=image, gloss=0.4)


def _bottle(scenery: Scenery) -> Part:
    rng = scenery.rng
    r, h, neck = rng.uniform(0.028, 0.045), rng.uniform(0.18, 0.32), rng.uniform(0.012, 0.018)
    shoulder = rng.uniform(0.55, 0.75)
    colour = _colour(rng)
    body = mesh.lathe(
        [(0, 0), (r, 0), (r, h * shoulder), (r * 0.8, h * (shoulder + 0.07)), (neck, h * 0.85), (neck, h), (0, h)],
        colour=colour,
        gloss=0.6,
    )
    label = scenery.texture(texture.print_(rng))
    band = mesh.lathe([(r * 1.01, h * 0.12), (r * 1.01, h * shoulder * 0.85)], texture=label)
    cap = mesh.cylinder(neck * 1.15, 0.02, colour=_colour(rng)).placed(0, 0, h)
    return mesh.merge([body, band, cap])


def _bowl(scenery: Scenery) -> Part:
    rng = scenery.rng
    r, h, foot = rng.uniform(0.055, 0.15), rng.uniform(0.03, 0.09), rng.uniform(0.4, 0.6)
    arc = [(r * (foot + (1 - foot) * math.sin(a)), h * (1 - math.cos(a))) for a in np.linspace(0, math.pi / 2, 6)]
    inner = [(x - 0.004, z + 0.004) for x, z in reversed(arc)]
    return mesh.lathe([(0, 0), *arc, *inner, (0, 0.005)], colour=_colour(rng), gloss=0.4, segments=28)


def _mug(scenery: Scenery) -> Part:
    rng = scenery.rng
    r, h, colour = rng.uniform(0.035, 0.05), rng.uniform(0.07, 0.12), _colour(rng)
    taper = rng.choice([1.0, 1.0, 0.75])
    image = scenery.texture(texture.print_(rng)) if rng.random() < 0.3 else mesh.PLAIN
    wall = mesh.lathe([(r * taper, 0), (r, h)], colour=colour, texture=image, gloss=0.4)
    inside = mesh.lathe([(r - 0.003, h), ((r - 0.003) * taper, 0.006), (0, 0.006)], colour=colour, gloss=0.4)
    rim = mesh.lathe([(r, h), (r - 0.003, h)], colour=colour)
    parts = [wall, inside, rim]
    if rng.random() < 0.6:
        ring = mesh.lathe([(h * 0.3, -0.005), (h * 0.3, 0.005), (h * 0.22, 0.005), (h * 0.22, -0.005)], colour=colour)
        stand = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
        parts.append(ring.turned(stand).placed(r * 1.0, 0, h * 0.5))
    return mesh.merge(parts)


def _book(scenery: Scenery) -> Part:
    rng = scenery.rng
    w, d, h = rng.uniform(0.1, 0.24), rng.uniform(0.15, 0.31), rng.uniform(0.008, 0.05)
    cover = scenery.texture(texture.print_(rng))
    block = mesh.box(w * 0.98, d * 0.98, h * 0.98, colour=(0.8, 0.78, 0.7))
    lid = mesh.quad((-w / 2, -d / 2, h), (w, 0, 0), (0, d, 0), texture=cover, gloss=0.15)
    spine = mesh.quad((-w / 2, -d / 2, 0), (0, d, 0), (0, 0, h), colour=_colour(rng))
    return mesh.merge([block, lid, spine])


def _paper(scenery: Scenery) -> Part:
    image = scenery.texture(texture.page(scenery.rng))
    return mesh.quad((-0.105, -0.149, 0.001), (0.21, 0, 0), (0, 0.297, 0), texture=image)


def _ball(scenery: Scenery) -> Part:
    rng = scenery.rng
    r = rng.uniform(0.02, 0.11)
    arc = [(r * math.cos(a), r + r * math.sin(a)) for a in np.linspace(-math.pi / 2, math.pi / 2, 12)]
    image = scenery.texture(texture.print_(rng)) if rng.random() < 0.4 else mesh.PLAIN
    return mesh.lathe(arc, colour=_colour(rng), texture=image, gloss=float(rng.choice([0.0, 0.4])))


def _toy(scenery: Scenery) -> Part:
    rng = scenery.rng
    parts, z = [], 0.0
    for _ in range(rng.integers(2, 5)):
        w, d, h = rng.uniform(0.02, 0.09, 3)
        part = (
            mesh.box(w, d, h, colour=_colour(rng))
            if rng.random() < 0.6
            else mesh.cylinder(w / 2, h, colour=_colour(rng))
        )
        parts.append(part.placed(rng.uniform(-0.01, 0.01), rng.uniform(-0.01, 0.01), z, rng.uniform(0, 3)))
        z += float(h)
    return mesh.merge(parts)


def _cable(scenery: Scenery) -> Part:
    rng = scenery.rng
    points = np.cumsum(rng.normal(0, 0.025, (18, 2)), axis=0)
    colour = _colour(rng)
    parts = []
    for (ax, ay), (bx, by) in pairwise(points.tolist()):
        piece = mesh.box(math.hypot(bx - ax, by - ay), 0.005, 0.005, colour=colour)
        parts.append(piece.placed((ax + bx) / 2, (ay + by) / 2, 0, math.atan2(by - ay, bx - ax)))
    return mesh.merge(parts)


_MAKERS: tuple[Callable[[Scenery], Part], ...] = (
    _carton, _carton, _plain_box, _can, _can, _bottle, _bowl, _bowl, _mug, _mug, _book, _book, _paper, _ball, _toy,
    _cable,
)  # fmt: skip


def made_thing(scenery: Scenery) -> Part:
    """A procedural object of true size, standing on z = 0."""
    part = _MAKERS[int(scenery.rng.integers(len(_MAKERS)))](scenery)
    if scenery.rng.random() < 0.15 and part.size[2] > 0.03:  # lies on its side
        part = part.turned(np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]]))
    return part.grounded()


def monitor(scenery: Scenery) -> Part:
    """A flat screen on a foot, 0.4 to 0.75 m wide, its image towards -y."""
    rng = scenery.rng
    w = rng.uniform(0.4, 0.75)
    h, lift = w * rng.choice([0.5625, 0.625]), rng.uniform(0.08, 0.2)
    dark = [float(rng.uniform(0.01, 0.1))] * 3
    glow = -float(rng.uniform(0.5, 1.6)) if rng.random() < 0.7 else 0.5
    image = scenery.texture(texture.page(rng)) if glow < 0 else mesh.PLAIN
    shade = (1.0, 1.0, 1.0) if glow < 0 else (0.01, 0.01, 0.012)
    picture = mesh.quad(
        (-w * 0.48, -0.021, lift + h * 0.04),
        (w * 0.96, 0, 0),
        (0, 0, h * 0.92),
        texture=image,
        colour=shade,
        gloss=glow,
    )
    case = mesh.box(w, 0.04, h, colour=dark).placed(0, 0, lift)
    stem = mesh.box(0.06, 0.03, lift + 0.05, colour=dark).placed(0, 0.03, 0)
    foot = mesh.box(0.24, 0.18, 0.012, colour=dark)
    return mesh.merge([picture, case, stem, foot])


def keyboard(scenery: Scenery) -> Part:
    """A computer keyboard, 0.44 m wide."""
    shade = float(scenery.rng.choice([0.02, 0.1, 0.7]))
    parts = [mesh.box(0.44, 0.14, 0.015, colour=[shade] * 3)]
    for row in range(5):
        strip = mesh.box(0.42, 0.018, 0.01, colour=[shade * 0.7 + 0.03] * 3)
        parts.append(strip.placed(0, -0.05 + row * 0.024, 0.014))
    return mesh.merge(parts)


def scatter(
    scenery: Scenery,
    count: int,
    x: float,
    y: float,
    z: float,
    width: float,
    depth: float,
    yaw: float = 0.0,
    *,
    models: tuple[Model, ...] = (),
    tallest: float = 0.5,
) -> int:
    """Spread things over a flat top centred at (x, y, z) without overlap; returns how many found room.

    Library models and procedural things alternate; ``models`` empty means only the latter.
    """
    rng = scenery.rng
    circles: list[tuple[float, float, float]] = []
    c, s = math.cos(yaw), math.sin(yaw)
    for _ in range(count * 3):
        if len(circles) >= count:
            break
        part = _thing(scenery, models)
        extent = part.size
        radius = (
            float(max(extent[0], extent[1])) * 0.5 * (0.8 if min(extent[0], extent[1]) < 0.5 * max(extent[:2]) else 1)
        )
        u, v = rng.uniform(-1, 1, 2) * (np.array([width, depth]) / 2 - radius * 0.9)
        if extent[2] > tallest or radius * 1.8 > min(width, depth):
            continue
        if any((u - a) ** 2 + (v - b) ** 2 < (0.88 * (radius + r)) ** 2 for a, b, r in circles):
            continue
        circles.append((u, v, radius))
        # A sheet of paper lies a millimetre above the top, or the two would fight for the pixel.
        scenery.add(part.placed(x + c * u - s * v, y + s * u + c * v, z + 0.001, rng.uniform(0, 2 * math.pi)))
    return len(circles)


def _thing(scenery: Scenery, models: tuple[Model, ...]) -> Part:
    if models and scenery.rng.random() < 0.5:
        model = models[int(scenery.rng.integers(len(models)))]
        return scenery.library.part(model.index).tinted(tint(scenery.rng, 0.3))
    return made_thing(scenery)
