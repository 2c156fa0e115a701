"""Scenes of boxes, cylinders and balls in true sizes: rooms, yards and table tops that need no models from outside.

A seed means one picture, always the same. Horizontal angles of view reach from 12 to 120 degrees.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from m3d_cli.camera import Camera
from m3d_cli.datasets.sample import Sample
from m3d_cli.depthmap import DepthMap
from m3d_cli.errors import DatasetError
from m3d_cli.photo import Photo
from m3d_cli.synthesis.atlas import atlas
from m3d_cli.synthesis.scenery import FAR, View, camera_of, focal_between, towards
from m3d_cli.synthesis.shape_stage import Glow, Look, ShapeStage, Thing, blocked, expose, shoot
from m3d_cli.synthesis.solids import Ball, Box, Cylinder, Solid

FIELD_OF_VIEW = (12.0, 120.0)  # degrees, across the picture
_TRIES = 24
_LEAST_SEEN = 0.1
_SUN_AWAY = 1000.0  # metres


class Props:
    """Collects the things of one scene and the ground they take."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.things: list[Thing] = []

    def look(self, kind: str, strength: float = 0.25) -> Look:
        """A texture of a kind, tinted."""
        numbers = atlas().numbers[kind]
        colour = np.exp(self.rng.normal(0, strength) + self.rng.normal(0, strength * 0.4, 3)).clip(0.3, 1.6)
        return Look(
            numbers[int(self.rng.integers(len(numbers)))], (float(colour[0]), float(colour[1]), float(colour[2]))
        )

    def add(self, solid: Solid, kind: str) -> None:
        """Put a solid where it says it is."""
        self.things.append(Thing(solid, (self.look(kind, 0.5),)))

    def between(self, low: float, high: float) -> float:
        """A number of the scene's own randomness."""
        return float(self.rng.uniform(low, high))


@dataclass(frozen=True, slots=True)
class ShapeScene:
    """A stage, how to draw a view of it, and how near its nearest surfaces may be, in metres."""

    stage: ShapeStage
    propose: Callable[[np.random.Generator], View]
    near: float


def _person(props: Props, x: float, y: float) -> None:
    tall = props.between(1.5, 1.9)
    props.add(Cylinder(x, y, 0, 0.21, tall - 0.28), "print")
    props.add(Ball(x, y, tall - 0.26, 0.13), "top")


def _table(props: Props, x: float, y: float) -> None:
    width, depth, yaw = props.between(0.9, 1.9), props.between(0.6, 0.95), props.between(0, math.pi)
    props.add(Cylinder(x, y, 0, 0.05, 0.71), "top")
    props.add(Box(x, y, 0.71, width, depth, 0.03, yaw), "top")
    for _ in range(int(props.rng.integers(0, 4))):
        _small(props, x + props.between(-0.2, 0.2), y + props.between(-0.2, 0.2), 0.74)


def _cabinet(props: Props, x: float, y: float) -> None:
    size = props.between(0.4, 1.2), props.between(0.35, 0.6), props.between(0.7, 2.1)
    props.add(Box(x, y, 0, *size, props.between(0, math.pi)), "top")


def _crate(props: Props, x: float, y: float) -> None:
    side = props.between(0.28, 0.6)
    props.add(Box(x, y, 0, side, side, side * props.between(0.6, 1.0), props.between(0, math.pi)), "print")


def _barrel(props: Props, x: float, y: float) -> None:
    props.add(Cylinder(x, y, 0, 0.29, 0.88), "facade")


def _football(props: Props, x: float, y: float) -> None:
    props.add(Ball(x, y, 0, 0.11), "print")


def _car(props: Props, x: float, y: float) -> None:
    yaw = props.between(0, math.pi)
    look = props.look("top", 0.8)
    for solid in (Box(x, y, 0.25, 4.4, 1.8, 0.65, yaw), Box(x, y, 0.9, 2.3, 1.6, 0.55, yaw)):
        props.things.append(Thing(solid, (look,)))


def _tree(props: Props, x: float, y: float) -> None:
    trunk, crown = props.between(1.8, 3.0), props.between(1.2, 2.4)
    props.add(Cylinder(x, y, 0, props.between(0.1, 0.25), trunk + 0.3), "top")
    green = (props.between(0.3, 0.6), props.between(0.7, 1.1), props.between(0.15, 0.35))
    props.things.append(Thing(Ball(x, y, trunk, crown), (Look(props.look("pavement").texture, green),)))


def _post(props: Props, x: float, y: float) -> None:
    props.add(Cylinder(x, y, 0, 0.06, float(props.rng.choice([1.1, 3.5, 6.0]))), "pavement")


def _house(props: Props, x: float, y: float) -> None:
    size = props.between(7, 14), props.between(6, 10), props.between(4, 10)
    props.add(Box(x, y, 0, *size, props.between(0, math.pi)), "facade")


def _small(props: Props, x: float, y: float, z: float) -> None:
    """Something that lies on tables."""
    kind = int(props.rng.integers(5))
    solids: tuple[Solid, ...] = (
        Cylinder(x, y, z, 0.033, 0.115),
        Cylinder(x, y, z, 0.042, 0.095),
        Ball(x, y, z, 0.0335),
        Box(
            x, y, z, props.between(0.05, 0.2), props.between(0.04, 0.12), props.between(0.05, 0.26), props.between(0, 3)
        ),
        Box(x, y, z, 0.15, 0.22, props.between(0.01, 0.04), props.between(0, 3)),
    )
    props.add(solids[kind], "print")


Maker = Callable[[Props, float, float], None]
_INDOORS: tuple[Maker, ...] = (_cabinet, _cabinet, _table, _table, _crate, _person, _football, _barrel)
_OUTDOORS: tuple[Maker, ...] = (_car, _car, _tree, _tree, _person, _person, _post, _house, _barrel, _crate)


def _scattered(props: Props, makers: tuple[Maker, ...], spots: Iterable[tuple[float, float]]) -> None:
    for x, y in spots:
        makers[int(props.rng.integers(len(makers)))](props, x, y)


def room(rng: np.random.Generator) -> ShapeScene:
    """A room with doors, furniture and people, seen at eye height."""
    props = Props(rng)
    house = Box(0, 0, 0, props.between(2.8, 7), props.between(3, 9), props.between(2.3, 3.1))
    reach = np.array([house.width, house.depth]) / 2
    spots = [(float(x), float(y)) for x, y in rng.uniform(-0.85, 0.85, (int(rng.integers(3, 9)), 2)) * reach]
    _scattered(props, _INDOORS, spots)
    _doors(props, house)
    stage = ShapeStage(tuple(props.things), house, _papered(props), _lamp(props, house))

    def propose(draw: np.random.Generator) -> View:
        x, y = (float(v) for v in draw.uniform(-0.92, 0.92, 2) * reach)
        eye = (x, y, float(draw.uniform(1.0, 1.8)))
        if draw.random() < 0.2:  # at whatever is there, near walls too
            yaw, pitch, roll = draw.uniform(0, 2 * math.pi), draw.normal(-0.12, 0.2), draw.normal(0, 0.05)
            return View(1.0, eye, float(yaw), float(pitch), float(roll))
        aim = (float(-x * draw.uniform(0.2, 1)), float(-y * draw.uniform(0.2, 1)), float(draw.uniform(0.4, 1.5)))
        return _aimed(draw, eye, aim)

    return ShapeScene(stage, propose, 0.4)


def _doors(props: Props, house: Box) -> None:
    """Doors and pictures: thin boxes on the walls."""
    for _ in range(int(props.rng.integers(1, 4))):
        along = props.between(-0.4, 0.4)
        side = -1 if props.rng.random() < 0.5 else 1
        door = props.rng.random() < 0.6
        wide, high, low = (0.86, 2.03, 0.0) if door else (props.between(0.3, 1.0), props.between(0.3, 0.8), 1.1)
        on_side = props.rng.random() < 0.5
        solid = (
            Box(side * house.width / 2, along * house.depth, low, 0.05, wide, high)
            if on_side
            else Box(along * house.width, side * house.depth / 2, low, wide, 0.05, high)
        )
        props.add(solid, "top" if door else "print")


def _papered(props: Props) -> tuple[Look, ...]:
    """Looks of a room's six sides."""
    wall, ceiling, floor = props.look("wall", 0.15), props.look("wall", 0.1), props.look("floor")
    return wall, wall, wall, wall, floor, ceiling


def _lamp(props: Props, house: Box) -> Glow:
    x, y = props.between(-0.35, 0.35) * house.width, props.between(-0.35, 0.35) * house.depth
    warmth = float(props.rng.normal(0.08, 0.14))
    tone = np.array([1 + warmth, 1.0, max(0.3, 1 - 1.3 * warmth)])
    lamp, around = tone * props.between(0.4, 1.0), tone * props.between(0.2, 0.6)
    return Glow((x, y, house.height - 0.2), house.height * 0.7, _triple(lamp), _triple(around))


def yard(rng: np.random.Generator) -> ShapeScene:
    """Open ground with cars, trees, people and houses under the sky."""
    props = Props(rng)
    count = int(rng.integers(8, 18))
    away = np.exp(rng.uniform(math.log(3.0), math.log(45.0), count))
    around = rng.normal(0, 0.55, count)
    spots = zip((away * np.sin(around)).tolist(), (away * np.cos(around)).tolist(), strict=True)
    _scattered(props, _OUTDOORS, spots)
    ground = (props.look("pavement"),)
    stage = ShapeStage(tuple(props.things), None, ground, _sun(props))

    def propose(draw: np.random.Generator) -> View:
        eye = (float(draw.uniform(-1, 1)), float(draw.uniform(-4, 0)), float(draw.uniform(1.3, 1.8)))
        pitch, roll = float(draw.normal(-0.05, 0.06)), float(draw.normal(0, 0.03))
        return View(1.0, eye, float(draw.normal(0, 0.35)), pitch, roll)

    return ShapeScene(stage, propose, 0.8)


def _sun(props: Props) -> Glow:
    azimuth, height = props.between(0, 2 * math.pi), math.radians(props.between(20, 70))
    flat = _SUN_AWAY * math.cos(height)
    place = (flat * math.cos(azimuth), flat * math.sin(azimuth), _SUN_AWAY * math.sin(height))
    sun, sky = (
        np.array([1.0, 0.95, 0.85]) * props.between(0.2, 1.2),
        np.array([0.8, 0.9, 1.0]) * props.between(0.4, 0.8),
    )
    return Glow(place, _SUN_AWAY, _triple(sun), _triple(sky))


def tabletop(rng: np.random.Generator) -> ShapeScene:
    """A table full of small things, seen from near."""
    props = Props(rng)
    house = Box(0, 0, 0, props.between(3, 6), props.between(3, 6), props.between(2.4, 3.0))
    width, depth = props.between(1.1, 2.2), props.between(0.7, 1.2)
    props.add(Box(0, 0, 0.71, width, depth, 0.03), "top")
    spots = rng.uniform(-0.45, 0.45, (int(rng.integers(4, 12)), 2)) * (width, depth)
    for x, y in spots.tolist():
        _small(props, x, y, 0.74)
    stage = ShapeStage(tuple(props.things), house, _papered(props), _lamp(props, house))

    def propose(draw: np.random.Generator) -> View:
        aim = (float(draw.uniform(-0.3, 0.3) * width), float(draw.uniform(-0.3, 0.3) * depth), 0.78)
        away, around, tilt = draw.uniform(0.5, 1.4), draw.uniform(0, 2 * math.pi), math.radians(draw.uniform(15, 65))
        flat = away * math.cos(tilt)
        eye = (aim[0] + flat * math.cos(around), aim[1] + flat * math.sin(around), aim[2] + away * math.sin(tilt))
        return _aimed(draw, eye, aim)

    return ShapeScene(stage, propose, 0.15)


def _aimed(draw: np.random.Generator, eye: tuple[float, float, float], aim: tuple[float, float, float]) -> View:
    yaw, pitch = towards(eye, aim)
    off = draw.normal(0, 0.06, 3)
    return View(1.0, eye, yaw + float(off[0]), pitch + float(off[1]), float(off[2]))


def _triple(values: NDArray[np.float64]) -> tuple[float, float, float]:
    return float(values[0]), float(values[1]), float(values[2])


SHAPE_SCENES: Mapping[str, Callable[[np.random.Generator], ShapeScene]] = MappingProxyType(
    {"room": room, "yard": yard, "tabletop": tabletop}
)
SHAPE_MIXTURE: Mapping[str, float] = MappingProxyType({"room": 0.45, "yard": 0.35, "tabletop": 0.2})


def render_shapes(
    seeds: Iterable[int],
    width: int,
    height: int,
    mixture: Mapping[str, float] = SHAPE_MIXTURE,
    field_of_view: tuple[float, float] = FIELD_OF_VIEW,
) -> Iterator[Sample]:
    """The pictures of ``seeds``, ``width`` x ``height`` pixels, with depth in metres (+inf sky) and normals.

    ``field_of_view`` bounds the horizontal angle in degrees; focal lengths between are drawn evenly by their logarithm.
    """
    names, shares = list(mixture), np.array(list(mixture.values()), dtype=float)
    for seed in seeds:
        rng = np.random.default_rng([seed, 7])
        name = names[int(rng.choice(len(names), p=shares / shares.sum()))]
        yield _photographed(name, seed, rng, camera_of(focal_between(field_of_view, rng), rng, width, height))


def _photographed(name: str, seed: int, rng: np.random.Generator, camera: Camera) -> Sample:
    """The first good view of the first scene that has one."""
    for _ in range(_TRIES):
        scene = SHAPE_SCENES[name](rng)
        pose = scene.propose(rng).pose
        if blocked(scene.stage, pose.position, scene.near / 2):
            continue
        shot = shoot(scene.stage, camera, pose)
        beyond = shot.depth > FAR
        if beyond.mean() > 1 - _LEAST_SEEN or shot.depth.min() < scene.near:
            continue
        shot.depth[beyond], shot.normals[beyond] = np.inf, np.nan
        photo = Photo(Path(f"shapes/{name}/{seed:08d}"), expose(shot.radiance, rng), camera)
        return Sample(photo, DepthMap(shot.depth, camera, None, shot.normals), f"shapes/{name}", sparse=False)
    raise DatasetError(f"seed {seed}: no usable view in {_TRIES} scenes", hint="leave this seed out")
