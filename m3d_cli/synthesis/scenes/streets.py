"""Streets seen from a driving car (cameras all round) and from the pavement."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from m3d_cli.synthesis import mesh, texture
from m3d_cli.synthesis.assets import AssetLibrary
from m3d_cli.synthesis.light import outdoors
from m3d_cli.synthesis.scenery import Limits, Scene, View, tint
from m3d_cli.synthesis.scenes import street_things as things
from m3d_cli.synthesis.scenes.street_things import OpenAir

KERB = 0.13  # metres
_LIMITS = Limits(near=1.0, median_low=3.0, median_high=70.0)
_AHEAD = 130.0  # metres of street on either side of the origin
_EVERYWHERE = 900.0
OWN = (-14.0, 2.0)  # metres along its lane that the camera's car may be at
_STROLL = 8.0  # metres along the street that a walker may be from the origin
_RIG = (55, 60, 110, 115, 180)  # degrees: where the cameras of a car look besides ahead


@dataclass(frozen=True, slots=True)
class Street:
    """Cross-section in metres; the road runs along y with its middle at x = 0, traffic keeps to the right."""

    lanes: int
    lane: float
    parking: float
    verge: float
    pavement: float
    front: float

    @property
    def half(self) -> float:
        """From the middle to the kerb."""
        return self.lanes * self.lane / 2 + self.parking

    @property
    def building_line(self) -> float:
        """From the middle to the facades."""
        return self.half + self.verge + self.pavement + self.front

    def lane_middle(self, lane: int) -> float:
        """x of the middle of a lane, 0 the leftmost."""
        return (lane + 0.5 - self.lanes / 2) * self.lane


def town_street(rng: np.random.Generator) -> Street:
    """Cross-section of a street in a town."""
    return Street(
        lanes=int(rng.choice([1, 2, 2, 2, 3, 4, 6], p=[0.1, 0.25, 0.2, 0.1, 0.1, 0.15, 0.1])),
        lane=float(rng.uniform(2.7, 3.7)),
        parking=float(rng.choice([0.0, 2.2])),
        verge=float(rng.choice([0.0, 0.0, rng.uniform(0.5, 6.0)])),
        pavement=float(rng.uniform(1.2, 4.0)) if rng.random() < 0.85 else 0.4,
        front=float(rng.choice([0.0, 0.0, rng.uniform(1.0, 8.0), rng.uniform(5.0, 20.0)])),
    )


def ground(scenery: OpenAir, height: float = -0.02) -> None:
    """Grass, gravel or asphalt as far as one sees."""
    rng = scenery.rng
    kind = texture.grass(rng) if rng.random() < 0.7 else texture.asphalt(rng)
    image, tile = scenery.surface(kind)
    size = _EVERYWHERE
    scenery.add(mesh.quad((-size, -size, height), (2 * size, 0, 0), (0, 2 * size, 0), texture=image, tile=tile * 2))


def road(scenery: OpenAir, street: Street) -> None:
    """Carriageway, kerbs, verges, pavements and markings."""
    rng = scenery.rng
    image, tile = scenery.surface(texture.asphalt(rng))
    length = 2 * _EVERYWHERE
    half = street.half
    scenery.add(mesh.quad((-half, -length / 2, 0), (2 * half, 0, 0), (0, length, 0), texture=image, tile=tile))
    walk_image, walk_tile = scenery.surface(texture.pavement(rng))
    grass_image, grass_tile = scenery.surface(texture.grass(rng))
    kerb = KERB if rng.random() < 0.85 else 0.02
    for side in (-1, 1):
        strip = mesh.box(street.pavement, length, kerb, texture=walk_image, tile=walk_tile)
        scenery.add(strip.placed(side * (half + street.verge + street.pavement / 2), 0, 0))
        if street.verge > 0:
            lawn = mesh.box(street.verge, length, kerb, texture=grass_image, tile=grass_tile)
            scenery.add(lawn.placed(side * (half + street.verge / 2), 0, 0))
        edge = mesh.box(0.15, length, kerb + 0.01, colour=[float(rng.uniform(0.3, 0.6))] * 3)
        scenery.add(edge.placed(side * (half + 0.075), 0, 0))
    _markings(scenery, street)


def _markings(scenery: OpenAir, street: Street) -> None:
    rng = scenery.rng
    if rng.random() < 0.12:
        return
    paint = [float(rng.uniform(0.5, 0.85))] * 3
    dash, gap = float(rng.uniform(2, 4.5)), float(rng.uniform(3, 9))
    parts = []
    for line in range(1, street.lanes):
        x = (line - street.lanes / 2) * street.lane
        solid = line * 2 == street.lanes and rng.random() < 0.3
        if solid:
            parts.append(mesh.quad((x - 0.06, -150, 0.006), (0.12, 0, 0), (0, 300, 0), colour=paint))
            continue
        stroke = mesh.quad((x - 0.06, 0, 0.006), (0.12, 0, 0), (0, dash, 0), colour=paint)
        parts.append(mesh.repeated(stroke, np.array([(0, y, 0) for y in np.arange(-100, 160, dash + gap)])))
    if rng.random() < 0.6:
        for x in (-street.lanes * street.lane / 2 + 0.1, street.lanes * street.lane / 2 - 0.1):
            parts.append(mesh.quad((x - 0.06, -150, 0.006), (0.12, 0, 0), (0, 300, 0), colour=paint))
    if rng.random() < 0.3:
        start = float(rng.uniform(6, 40))
        stroke = mesh.quad((0, start, 0.007), (0.5, 0, 0), (0, 3.5, 0), colour=paint)
        parts.append(
            mesh.repeated(stroke, np.array([(x, 0, 0) for x in np.arange(-street.half + 0.3, street.half - 0.5)]))
        )
    for part in parts:
        scenery.add(part)


def _houses(scenery: OpenAir, street: Street, side: int, density: float) -> None:
    """A row of buildings, gaps with trees or fences, along one side (-1 left, 1 right)."""
    rng = scenery.rng
    y = -70.0
    # Few distinct houses, repeated: a street of one builder, and a light scene.
    designs = []
    for _ in range(4):
        width, depth = float(rng.uniform(7, 22)), float(rng.uniform(7, 14))
        designs.append((things.building(scenery, width, depth), width, depth))
    while y < _AHEAD:
        part, width, depth = designs[int(rng.integers(len(designs)))]
        if rng.random() < density:
            x = side * (street.building_line + depth / 2 + float(rng.choice([0, 0, rng.uniform(0, 3)])))
            scenery.add(part.placed(x, y + width / 2, 0, math.pi / 2 if side < 0 else -math.pi / 2))
            y += width + float(rng.choice([0.0, 0.0, rng.uniform(1, 8)]))
        else:
            _gap(scenery, street, side, y, width)
            y += width


def _gap(scenery: OpenAir, street: Street, side: int, y: float, width: float) -> None:
    rng = scenery.rng
    line = side * (street.building_line + 0.3)
    if rng.random() < 0.5:
        scenery.add(things.fence(scenery, width).placed(line, y + width / 2, 0, math.pi / 2))
    elif rng.random() < 0.6:
        hedge = scenery.choose(things.shrubs(scenery.library))
        if hedge is not None:
            for step in np.arange(0, width, hedge.size[0] * 0.95):
                part = scenery.library.part(hedge.index, coarse=True).tinted(tint(rng, 0.15))
                scenery.add(part.placed(line, y + float(step), 0, math.pi / 2))
    for _ in range(rng.integers(2, 6)):
        x = side * (street.building_line + float(rng.uniform(1.5, 18)))
        tree(scenery, x, y + float(rng.uniform(0, width)))


def _backdrop(scenery: OpenAir, side: int, line: float) -> None:
    """A closed row of trees, a slope or distant houses, so that the view rarely ends at a bare horizon."""
    rng = scenery.rng
    style = rng.random()
    if style < 0.5:
        x = side * (line + float(rng.uniform(18, 45)))
        copse = mesh.merge(
            [crown.placed(float(rng.normal(0, 3)), 6.0 * k, 0) for k, crown in enumerate(scenery.crowns)]
        )
        steps = np.arange(-90, _AHEAD + 40, 22.0)
        scenery.add(mesh.repeated(copse, np.array([(x + rng.normal(0, 4), y, 0) for y in steps])))
    elif style < 0.8:
        block = things.building(scenery, float(rng.uniform(15, 30)), 12.0)
        turned = block.placed(0, 0, 0, side * -math.pi / 2)
        spots = [
            (side * (line + rng.uniform(25, 60)), y, 0) for y in np.arange(-80, _AHEAD + 60, float(rng.uniform(32, 60)))
        ]
        scenery.add(mesh.repeated(turned, np.array(spots)))


def tree(scenery: OpenAir, x: float, y: float) -> None:
    """A tree from the library or a simple one."""
    rng = scenery.rng
    model = scenery.choose(things.trees(scenery.library))
    scale = float(rng.uniform(0.7, 1.2))
    if model is None or rng.random() < 0.5:
        grown = scenery.crowns[int(rng.integers(len(scenery.crowns)))]
        scenery.add(grown.tinted(tint(rng, 0.2)).placed(x, y, 0, float(rng.uniform(0, 6)), scale))
        return
    scenery.put(model, x, y, 0, float(rng.uniform(0, 6)), colour=0.25, scale=scale)


def furniture(scenery: OpenAir, street: Street) -> None:
    """Trees, lamps, signs, bins, people along the pavements."""
    rng = scenery.rng
    row, lamps = rng.random() < 0.5, rng.random() < 0.7
    spacing = float(rng.uniform(6, 14))
    post = things.lamp_post(scenery, float(rng.choice([0.0, 1.2, 2.0])))
    edge = street.half + 0.5
    for side in (-1, 1):
        for y in np.arange(-60, _AHEAD, spacing):
            if row and rng.random() < 0.7 and abs(y) > 3:
                tree(scenery, side * (edge + 0.3), float(y))
        if lamps:
            for y in np.arange(-50, _AHEAD, 28.0):
                scenery.add(post.placed(side * edge, float(y + 3), 0, -side * math.pi / 2))
        for _ in range(rng.integers(0, 4)):
            sign = things.traffic_sign(scenery)
            scenery.add(sign.placed(side * edge, float(rng.uniform(-20, 70)), 0, 0 if side > 0 else math.pi))
    extras = scenery.library.find("trash", "bench", "hydrant", "mailbox", "railing", "cone", category="Exterior")
    walkers, bikes = things.pedestrians(scenery.library), things.two_wheelers(scenery.library)
    for _ in range(rng.integers(0, 22)):
        side = int(rng.choice([-1, 1]))
        x = side * (street.half + street.verge + float(rng.uniform(0.5, max(0.6, street.pavement - 0.3))))
        kind = rng.random()
        model = scenery.choose(walkers if kind < 0.65 else bikes if kind < 0.8 else extras)
        if model is not None:
            scenery.stand(model, x, float(rng.uniform(-40, 80)), float(rng.uniform(0, 6)), z=KERB)


def traffic(scenery: OpenAir, street: Street, own: float, busy: float) -> None:
    """Vehicles in the lanes, parked cars, a cyclist; the camera's car keeps its room.

    ``busy`` is the chance of a vehicle in each place of a lane.
    """
    rng = scenery.rng
    cars, large = things.cars(scenery.library), things.large_vehicles(scenery.library)
    scenery.taken.append((own - 1.2, OWN[0] - 3.5, own + 1.2, OWN[1] + 3.5))
    for lane in range(street.lanes):
        away = lane >= street.lanes / 2 or street.lanes == 1
        y = -55.0 + float(rng.uniform(0, 15))
        while y < _AHEAD * 0.9:
            model = scenery.choose(large if rng.random() < 0.16 else cars)
            if model is None:
                return
            if rng.random() < busy:
                x = street.lane_middle(lane) + float(rng.normal(0, 0.2))
                # A model's front is -y; traffic on the right drives towards +y.
                things.vehicle(scenery, model, x, y, (math.pi if away else 0) + float(rng.normal(0, 0.02)))
            y += model.size[1] + float(rng.uniform(2, 30))
    if street.parking > 0 or rng.random() < 0.25:
        _parked(scenery, street)
    rider = scenery.choose(things.two_wheelers(scenery.library))
    if rider is not None and rng.random() < 0.4:
        scenery.stand(rider, street.half - 0.7, float(rng.uniform(6, 35)), math.pi)


def _parked(scenery: OpenAir, street: Street) -> None:
    rng = scenery.rng
    cars = things.cars(scenery.library)
    density = float(rng.uniform(0.3, 0.95))
    for side in (-1, 1):
        y = -55.0
        while y < 100:
            model = scenery.choose(cars)
            if model is None:
                return
            x = side * (street.half - model.size[0] / 2 - 0.15)
            if rng.random() < density:
                things.vehicle(scenery, model, x, y, math.pi if side > 0 else 0.0)
            y += model.size[1] + float(rng.uniform(0.7, 2.5))


def build(library: AssetLibrary, rng: np.random.Generator, driving: bool) -> tuple[OpenAir, Street, float]:
    """A street with everything on it; also tells the x of the lane kept free for the camera's car."""
    street = town_street(rng)
    lane = int(rng.integers(street.lanes // 2, street.lanes)) if street.lanes > 1 else 0
    own, edge = street.lane_middle(lane), street.building_line
    zone = (own - 0.5, OWN[0], own + 0.5, OWN[1]) if driving else (-edge, -_STROLL, edge, _STROLL)
    scenery = OpenAir(library, rng, zone)
    ground(scenery)
    road(scenery, street)
    density = float(rng.choice([0.3, 0.6, 0.85, 1.0]))
    for side in (-1, 1):
        _houses(scenery, street, side, density if rng.random() < 0.8 else 0.15)
        _backdrop(scenery, side, street.building_line)
    traffic(scenery, street, own, float(rng.uniform(0.05, 0.9)))
    furniture(scenery, street)
    _end(scenery, street)
    return scenery, street, own


def _end(scenery: OpenAir, street: Street) -> None:
    """What stands at the end of the street: a house, trees, or nothing."""
    rng = scenery.rng
    style = rng.random()
    if style < 0.35:
        width = float(rng.uniform(15, 40))
        part = things.building(scenery, width, 12.0)
        scenery.add(part.placed(float(rng.normal(0, 8)), float(rng.uniform(50, 130)) + 6, 0))
    for _ in range(12 if style < 0.75 else 0):
        tree(scenery, float(rng.uniform(-60, 60)), float(rng.uniform(125, 200)))
    del street


def drive(library: AssetLibrary, rng: np.random.Generator) -> Scene:
    """A camera on a car: ahead mostly, also to the sides and back."""
    scenery, _, own = build(library, rng, driving=True)
    stage = scenery.stage(outdoors(rng))

    def propose(draw: np.random.Generator) -> View:
        return view_from_car(draw, own + float(draw.normal(0, 0.25)), float(draw.uniform(*OWN)))

    return Scene("synthetic/drive", stage, propose, _LIMITS)


def view_from_car(draw: np.random.Generator, x: float, y: float) -> View:
    """One camera of a car at (x, y) that drives towards +y: ahead mostly, also to the sides and back."""
    yaw = math.radians(draw.choice([-1, 1]) * draw.choice(_RIG)) if draw.random() < 0.4 else 0.0
    wide = draw.random()
    focal = draw.normal(0.58, 0.03) if wide < 0.5 else math.exp(draw.uniform(math.log(0.5), math.log(1.2)))
    height = float(np.clip(draw.normal(1.62, 0.1), 1.35, 2.0))
    pitch = float(draw.normal(-0.01, 0.02))
    return View(
        float(np.clip(focal, 0.42, 1.3)),
        (x, y, height),
        yaw + float(draw.normal(0, 0.06)),
        pitch,
        draw.normal(0, 0.012),
    )


def walk(library: AssetLibrary, rng: np.random.Generator) -> Scene:
    """A person on the pavement or crossing, looking anywhere."""
    scenery, street, _ = build(library, rng, driving=False)
    stage = scenery.stage(outdoors(rng))

    def propose(draw: np.random.Generator) -> View:
        side = int(draw.choice([-1, 1]))
        x = side * (street.half + street.verge + float(draw.uniform(0.2, max(0.4, street.pavement))))
        if draw.random() < 0.15:
            x = float(draw.uniform(-street.half, street.half))
        focal = math.exp(draw.uniform(math.log(0.5), math.log(1.4)))
        place = (x, float(draw.uniform(-_STROLL, _STROLL)), KERB + float(draw.uniform(1.2, 1.8)))
        yaw, pitch = float(draw.uniform(0, 2 * math.pi)), float(draw.normal(-0.03, 0.1))
        return View(focal, place, yaw, pitch, float(draw.normal(0, 0.03)))

    return Scene("synthetic/walk", stage, propose, _LIMITS)
