"""What lines a street: facades of true storeys, trees, vehicles, people, lamps, fences."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from numpy.typing import NDArray

from m3d_cli.synthesis import mesh, texture
from m3d_cli.synthesis.assets import AssetLibrary, Model
from m3d_cli.synthesis.mesh import Part
from m3d_cli.synthesis.scenery import Rect, Scenery, footprint, tint

_LARGE_VEHICLES = ("bus", "truck", "van")
_NOT_IN_TRAFFIC = ("fork lift", "toy", "skateboard", "tricycle", "stroller", "scooter", "bike", "bicycle", "yamaha")


class OpenAir(Scenery):
    """Scenery outdoors: cameras keep to ``zone``, and a few grown trees are shared by the whole scene."""

    def __init__(self, library: AssetLibrary, rng: np.random.Generator, zone: Rect) -> None:
        super().__init__(library, rng, zone)
        self.crowns = tuple(crown(self) for _ in range(4))


def cars(library: AssetLibrary) -> tuple[Model, ...]:
    """Passenger cars."""
    return tuple(
        m
        for m in library.find(category="Vehicles")
        if m.size[1] > 2.2 and not any(w in m.name for w in (*_LARGE_VEHICLES, *_NOT_IN_TRAFFIC))
    )


def large_vehicles(library: AssetLibrary) -> tuple[Model, ...]:
    """Buses, trucks and vans."""
    return tuple(m for m in library.find(*_LARGE_VEHICLES, category="Vehicles") if m.size[1] > 4)


def two_wheelers(library: AssetLibrary) -> tuple[Model, ...]:
    """Bicycles and motorcycles of adult size."""
    return tuple(m for m in library.find("bicycle", "yamaha", "scooter", category="Vehicles") if m.size[2] > 0.7)


def trees(library: AssetLibrary) -> tuple[Model, ...]:
    """Trees of 2.5 m and more."""
    return tuple(
        m for m in library.find(category="Exterior") if m.size[2] > 3.0 and "coconut" not in m.name and _plant(m)
    )


def shrubs(library: AssetLibrary) -> tuple[Model, ...]:
    """Hedges and bushes."""
    return library.find("hedge", "bush", category="Exterior")


def _plant(model: Model) -> bool:
    words = (
        "tree",
        "acacia",
        "bamboo",
        "ficus",
        "pine",
        "beech",
        "cypress",
        "maple",
        "poplar",
        "palm",
        "blossom",
        "sycamore",
    )
    return any(word in model.name for word in words)


def pedestrians(library: AssetLibrary) -> tuple[Model, ...]:
    """Standing people."""
    return tuple(
        m
        for m in library.find(category="Characters")
        if 1.5 < m.size[2] < 1.95 and m.size[1] < 0.8 and "horse" not in m.name and "sitting" not in m.name
    )


def vehicle(scenery: Scenery, model: Model, x: float, y: float, yaw: float) -> bool:
    """Stand a vehicle on the road in a colour that cars have; False when there is no room."""
    rect = footprint(model, x, y, yaw, 0.15)
    if not scenery.free(rect):
        return False
    scenery.taken.append(rect)
    part = scenery.library.part(model.index, coarse=scenery.is_far(x, y))
    scenery.add(_painted(part, scenery.rng).placed(x, y, 0, yaw))
    return True


def _painted(part: Part, rng: np.random.Generator) -> Part:
    """Most cars are white, grey, silver or black: the commonest bright plain colour is replaced."""
    plain = (part.texture == mesh.PLAIN) & (part.colour.max(axis=1) > 0.08)
    if plain.mean() < 0.15 or rng.random() < 0.15:
        return part.tinted(tint(rng, 0.4))
    key = (part.colour * 31).astype(np.int64) @ np.array([1024, 32, 1])
    body = plain & (key == np.bincount(key[plain]).argmax())
    grey = float(rng.choice([0.02, 0.06, 0.2, 0.4, 0.7, 0.85]))
    paint = np.full(3, grey) if rng.random() < 0.65 else texture.any_colour(rng, 0.9) ** 2.2
    colour, gloss = part.colour.copy(), part.gloss.copy()
    colour[body], gloss[body] = paint * np.exp(rng.normal(0, 0.08, 3)), 0.5
    return dataclasses.replace(part, colour=colour, gloss=gloss)


def building(scenery: Scenery, width: float, depth: float) -> Part:
    """A house of 1 to 7 storeys whose front is -y: windows, doors or shop fronts, and a roof."""
    rng = scenery.rng
    storeys = int(rng.choice([1, 2, 2, 3, 3, 4, 5, 7]))
    storey = float(rng.uniform(2.7, 3.6))
    height = storeys * storey + float(rng.uniform(0.2, 1.0))
    image, tile = scenery.surface(texture.facade(rng))
    parts = [mesh.box(width, depth, height, texture=image, tile=tile)]
    if storeys <= 3 and rng.random() < 0.7:
        parts.append(_roof(scenery, width, depth).placed(0, 0, height))
    looks = _window_looks(scenery)
    spacing, w, h = float(rng.uniform(1.7, 3.6)), float(rng.uniform(0.8, 1.6)), float(rng.uniform(1.1, 1.9))
    window = _pane(min(w, spacing - 0.4), h, looks, 0.06)
    ground = _pane(spacing * 0.85, storey * 0.75, looks, 0.12).placed(0, 0, -0.55) if rng.random() < 0.25 else window
    for face, length, off in ((0, width, depth / 2), (1, depth, width / 2), (3, depth, width / 2)):
        count = max(1, int((length - 0.6) / spacing))
        along = (np.arange(count) - (count - 1) / 2) * spacing
        door = int(rng.integers(count)) if face == 0 else -1
        if face == 0:
            parts.append(_door(scenery).placed(float(along[door]), -off, 0))
        lowest = [(x, -off, 0.85) for i, x in enumerate(along) if i != door]
        higher = [(x, -off, level * storey + 0.85) for level in range(1, storeys) for x in along]
        for pane, places in ((ground if face == 0 else window, lowest), (window, higher)):
            if places:
                parts.append(mesh.repeated(pane, np.array(places)).placed(0, 0, 0, face * math.pi / 2))
    return mesh.merge(parts)


def _window_looks(scenery: Scenery) -> tuple[list[float], list[float]]:
    rng = scenery.rng
    dark = float(rng.uniform(0.02, 0.15))
    frame = [float(rng.choice([0.75, 0.6, 0.2, 0.05]))] * 3
    return [dark, dark * 1.1, dark * 1.25], frame


def _pane(width: float, height: float, looks: tuple[list[float], list[float]], rim: float) -> Part:
    glass, frame = looks
    outer = mesh.box(width + 2 * rim, 0.06, height + 2 * rim, colour=frame).placed(0, 0, -rim)
    front = mesh.quad((-width / 2, -0.032, 0), (width, 0, 0), (0, 0, height), colour=glass, gloss=0.9)
    bar = mesh.box(0.05, 0.075, height, colour=frame)
    return mesh.merge([outer, front, bar])


def _door(scenery: Scenery) -> Part:
    rng = scenery.rng
    colour = [float(c) for c in texture.any_colour(rng, 0.7) ** 2.2]
    leaf = mesh.box(float(rng.uniform(0.9, 1.2)), 0.08, float(rng.uniform(2.0, 2.2)), colour=colour, gloss=0.1)
    return mesh.merge([leaf, mesh.box(1.4, 0.5, 0.14, colour=(0.3, 0.3, 0.3))])


def _roof(scenery: Scenery, width: float, depth: float) -> Part:
    rng = scenery.rng
    rise = depth / 2 * float(rng.uniform(0.5, 1.0))
    tile = texture.bricks(rng)
    image = scenery.texture(tile.image)
    over = 0.4
    x, y = width / 2 + 0.2, depth / 2 + over
    slopes = [
        mesh.quad((-x, -y, -0.1), (2 * x, 0, 0), (0, y, rise), texture=image, tile=3.0),
        mesh.quad((x, y, -0.1), (-2 * x, 0, 0), (0, -y, rise), texture=image, tile=3.0),
    ]
    gable = mesh.lathe([(depth / 2 * 1.414, 0), (1e-3, rise * 0.95)], segments=4, colour=(0.5, 0.48, 0.45))
    turned = gable.placed(0, 0, 0, math.pi / 4)
    squeezed = turned.turned(np.diag([width / depth, 1.0, 1.0]))
    return mesh.merge([*slopes, squeezed])


def lamp_post(scenery: Scenery, reach: float) -> Part:
    """A street lamp of 5 to 9 m whose arm reaches along -y, or a plain pole."""
    rng = scenery.rng
    height, shade = float(rng.uniform(4.5, 9)), [float(rng.uniform(0.08, 0.5))] * 3
    parts = [mesh.cylinder(0.08, height, colour=shade, segments=10)]
    if reach > 0:
        parts.append(mesh.box(0.08, reach, 0.08, colour=shade).placed(0, -reach / 2, height))
        parts.append(mesh.box(0.25, 0.6, 0.12, colour=(0.6, 0.6, 0.55)).placed(0, -reach, height - 0.05))
    return mesh.merge(parts)


def traffic_sign(scenery: Scenery) -> Part:
    """A sign on a post, its face towards -y, 0.6 m wide at 2.2 m."""
    rng = scenery.rng
    post = mesh.cylinder(0.03, 2.8, colour=(0.4, 0.4, 0.4), segments=8)
    image = scenery.texture(texture.print_(rng, 1.0))
    if rng.random() < 0.5:
        plate = mesh.quad((-0.3, -0.04, 2.2), (0.6, 0, 0), (0, 0, 0.6), texture=image)
        return mesh.merge([post, plate])
    disc = mesh.lathe([(0.3, 0), (1e-3, 0.005)], colour=[float(c) for c in texture.any_colour(rng, 1.0)])
    upright = disc.turned(np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]]))
    return mesh.merge([post, upright.placed(0, -0.04, 2.5)])


def fence(scenery: Scenery, length: float) -> Part:
    """Wall, railing or boards of 0.8 to 2.2 m along x."""
    rng = scenery.rng
    height = float(rng.uniform(0.8, 2.2))
    if rng.random() < 0.5:
        image, tile = scenery.surface(texture.facade(rng))
        return mesh.box(length, 0.25, height, texture=image, tile=tile)
    colour = [float(c) for c in texture.any_colour(rng, 0.4) ** 2.2]
    gap = float(rng.uniform(0.14, 0.3))
    bar = mesh.box(0.03 if gap > 0.2 else 0.1, 0.03, height, colour=colour)
    along = np.arange(-length / 2, length / 2, gap)
    bars = mesh.repeated(bar, np.stack([along, np.zeros_like(along), np.zeros_like(along)], axis=1))
    rails = [mesh.box(length, 0.05, 0.06, colour=colour).placed(0, 0.03, z) for z in (0.15, height - 0.15)]
    return mesh.merge([bars, *rails])


def crown(scenery: Scenery) -> Part:
    """A simple broad-leaved or conical tree of 4 to 14 m: trunk and lumps of foliage."""
    rng = scenery.rng
    height = float(rng.uniform(4, 14))
    trunk = mesh.cylinder(0.02 * height, height * 0.6, colour=(0.1, 0.07, 0.05), segments=8)
    leaf = scenery.texture(_foliage(rng))
    parts = [trunk]
    low, reach = float(rng.uniform(0.22, 0.4)), float(rng.uniform(0.14, 0.26)) * height
    for _ in range(rng.integers(14, 26)):
        r = height * float(rng.uniform(0.07, 0.14))
        arc = [(max(1e-3, r * math.cos(a)), r * math.sin(a)) for a in np.linspace(-math.pi / 2, math.pi / 2, 6)]
        lump = mesh.lathe(arc, texture=leaf, segments=8)
        rough = np.exp(rng.normal(0, 0.16, (len(lump.vertices), 1))).astype(np.float32)
        lump = dataclasses.replace(lump, vertices=lump.vertices * rough, uv=lump.uv * 3)
        # Lumps fill an egg between the lowest branch and the top.
        level = float(rng.uniform(0, 1))
        wide = reach * math.sin(math.pi * min(0.95, 0.2 + 0.7 * level))
        x, y = rng.uniform(-wide, wide, 2)
        parts.append(lump.placed(float(x), float(y), height * (low + (0.95 - low) * level), float(rng.uniform(0, 6))))
    return mesh.merge(parts)


def _foliage(rng: np.random.Generator) -> NDArray[np.uint8]:
    base = np.array([rng.uniform(0.12, 0.45), rng.uniform(0.25, 0.5), rng.uniform(0.05, 0.2)])
    image = texture.paint(base, texture.noise(rng, 0.4) * 0.35)
    image[..., 3] = np.where(texture.noise(rng, 0.5) > rng.uniform(-1.0, -0.2), 255, 0)
    return image
