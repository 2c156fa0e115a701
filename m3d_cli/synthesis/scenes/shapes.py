"""Scenes of boxes, cylinders and balls in true sizes: rooms, yards and table tops that need no models from outside.

A seed means one image, always the same. Horizontal angles of view reach from 12 to 120 degrees. The camera of a scene
is drawn before its things, so that round ones get as many facets as they need at their distance.
"""

from __future__ import annotations

import functools
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
from m3d_cli.synthesis import mesh, texture
from m3d_cli.synthesis.light import indoors, outdoors
from m3d_cli.synthesis.mesh import Part
from m3d_cli.synthesis.optics import develop
from m3d_cli.synthesis.render import Lighting, Stage
from m3d_cli.synthesis.render_pool import render_groups
from m3d_cli.synthesis.scenery import FAR, View, camera_of, focal_between, towards

FIELD_OF_VIEW = (12.0, 120.0)  # degrees, across the image
ROUNDNESS = 2e-4  # deviation of a round thing's facets, as a share of its distance from the camera
_LEAST_SEGMENTS = 48  # facets turn by at most 360 / 48 degrees, however far away
_TRIES = 24
_LEAST_SEEN = 0.1
_PREVIEW = (80, 60)  # pixels
_GROUND = 600.0  # metres of open ground on every side: more than any camera sees within `FAR`
_BANK_SEED = 20
# How many textures of each kind the bank holds.
_KINDS = MappingProxyType({"floor": 12, "wall": 12, "pavement": 8, "facade": 8, "top": 8, "print": 16})

Place = tuple[float, float, float]


@dataclass(frozen=True, slots=True, eq=False)
class _Bank:
    """Textures (T, 128, 128, 4), the first plain white; metres of one repeat (T,), and the numbers of each kind."""

    images: NDArray[np.uint8]
    widths: tuple[float, ...]
    numbers: Mapping[str, range]


@functools.cache
def _bank() -> _Bank:
    """The textures of all scenes, drawn once per process and always the same."""
    rng = np.random.default_rng(_BANK_SEED)
    white = texture.Surface(np.full((texture.SIZE, texture.SIZE, 4), 255, dtype=np.uint8), 1.0)
    surfaces = [white, *(_drawn(kind, rng) for kind, count in _KINDS.items() for _ in range(count))]
    ends = 1 + np.cumsum(list(_KINDS.values()))
    numbers = {kind: range(end - _KINDS[kind], end) for kind, end in zip(_KINDS, ends.tolist(), strict=True)}
    return _Bank(np.stack([s.image for s in surfaces]), tuple(s.width for s in surfaces), numbers)


def _drawn(kind: str, rng: np.random.Generator) -> texture.Surface:
    if kind == "print":
        return texture.Surface(texture.print_(rng), float(rng.uniform(0.15, 0.5)))
    makers = {
        "floor": texture.floor,
        "wall": texture.wall,
        "pavement": texture.pavement,
        "facade": texture.facade,
        "top": texture.grain,
    }
    return makers[kind](rng)


@dataclass(frozen=True, slots=True)
class Look:
    """A texture of the bank, the metres of one repeat, and the colour (linear RGB factor) over it."""

    texture: int
    tile: float
    colour: tuple[float, float, float]


class Props:
    """Collects the things of one scene, whose camera stands at ``eye``; ``gap`` is its distance from the nearest."""

    def __init__(self, rng: np.random.Generator, eye: Place) -> None:
        self.rng = rng
        self.eye = eye
        self.parts: list[Part] = []
        self.gap = math.inf

    def look(self, kind: str, strength: float = 0.5) -> Look:
        """A texture of a kind, tinted."""
        bank = _bank()
        number = bank.numbers[kind][int(self.rng.integers(_KINDS[kind]))]
        colour = np.exp(self.rng.normal(0, strength) + self.rng.normal(0, strength * 0.4, 3)).clip(0.3, 1.6)
        return Look(number, bank.widths[number], (float(colour[0]), float(colour[1]), float(colour[2])))

    def box(self, place: Place, size: Place, look: Look, yaw: float = 0.0) -> None:
        """A box of width, depth and height whose foot's middle is at ``place``, turned about the vertical."""
        self._approach(place, size[2], math.hypot(*size) / 2)
        part = mesh.box(*size, colour=look.colour, texture=look.texture, tile=look.tile)
        self.parts.append(part.placed(*place, yaw))

    def cylinder(self, place: Place, radius: float, height: float, look: Look) -> None:
        """An upright cylinder whose foot's middle is at ``place``."""
        segments = self._segments(radius, self._approach(place, height, math.hypot(radius, height / 2)))
        part = mesh.cylinder(
            radius, height, colour=look.colour, texture=look.texture, tile=look.tile, segments=segments
        )
        self.parts.append(part.placed(*place))

    def ball(self, place: Place, radius: float, look: Look) -> None:
        """A ball whose lowest point is at ``place``."""
        segments = self._segments(radius, self._approach(place, 2 * radius, radius))
        part = mesh.sphere(radius, colour=look.colour, texture=look.texture, tile=look.tile, segments=segments)
        self.parts.append(part.placed(*place))

    def between(self, low: float, high: float) -> float:
        """A number of the scene's own randomness."""
        return float(self.rng.uniform(low, high))

    def _approach(self, place: Place, height: float, reach: float) -> float:
        """Metres from the eye to the ball of radius ``reach`` around a thing."""
        distance = math.dist(self.eye, (place[0], place[1], place[2] + height / 2)) - reach
        self.gap = min(self.gap, distance)
        return distance

    def _segments(self, radius: float, distance: float) -> int:
        # Whatever comes nearer than a tenth of a metre is not photographed.
        return max(_LEAST_SEGMENTS, mesh.segments_within(ROUNDNESS * max(distance, 0.1), radius))


@dataclass(frozen=True, slots=True, eq=False)
class ShapeScene:
    """A view, what it may show, and how near its nearest surfaces may be, in metres."""

    view: View
    props: Props
    lighting: Lighting
    near: float

    @property
    def blocked(self) -> bool:
        """Whether the camera is in a thing or too near one, by the balls around the things."""
        return self.props.gap < self.near / 2

    def stage(self) -> Stage:
        """The scene with the textures that it uses."""
        part, used = mesh.merge(self.props.parts).renumbered()
        return Stage(part, _bank().images[used], self.lighting)


def _person(props: Props, x: float, y: float) -> None:
    tall = props.between(1.5, 1.9)
    props.cylinder((x, y, 0), 0.21, tall - 0.28, props.look("print"))
    props.ball((x, y, tall - 0.26), 0.13, props.look("top"))


def _table(props: Props, x: float, y: float) -> None:
    size = (props.between(0.9, 1.9), props.between(0.6, 0.95), 0.03)
    props.cylinder((x, y, 0), 0.05, 0.71, props.look("top"))
    props.box((x, y, 0.71), size, props.look("top"), props.between(0, math.pi))
    for _ in range(int(props.rng.integers(0, 4))):
        _small(props, x + props.between(-0.2, 0.2), y + props.between(-0.2, 0.2), 0.74)


def _cabinet(props: Props, x: float, y: float) -> None:
    size = props.between(0.4, 1.2), props.between(0.35, 0.6), props.between(0.7, 2.1)
    props.box((x, y, 0), size, props.look("top"), props.between(0, math.pi))


def _crate(props: Props, x: float, y: float) -> None:
    side = props.between(0.28, 0.6)
    props.box((x, y, 0), (side, side, side * props.between(0.6, 1.0)), props.look("print"), props.between(0, math.pi))


def _barrel(props: Props, x: float, y: float) -> None:
    props.cylinder((x, y, 0), 0.29, 0.88, props.look("facade"))


def _football(props: Props, x: float, y: float) -> None:
    props.ball((x, y, 0), 0.11, props.look("print"))


def _car(props: Props, x: float, y: float) -> None:
    look, yaw = props.look("top", 0.8), props.between(0, math.pi)
    props.box((x, y, 0.25), (4.4, 1.8, 0.65), look, yaw)
    props.box((x, y, 0.9), (2.3, 1.6, 0.55), look, yaw)


def _tree(props: Props, x: float, y: float) -> None:
    trunk, crown = props.between(1.8, 3.0), props.between(1.2, 2.4)
    props.cylinder((x, y, 0), props.between(0.1, 0.25), trunk + 0.3, props.look("top"))
    green = (props.between(0.3, 0.6), props.between(0.7, 1.1), props.between(0.15, 0.35))
    leaves = props.look("pavement")
    props.ball((x, y, trunk), crown, Look(leaves.texture, leaves.tile, green))


def _post(props: Props, x: float, y: float) -> None:
    props.cylinder((x, y, 0), 0.06, float(props.rng.choice([1.1, 3.5, 6.0])), props.look("pavement"))


def _house(props: Props, x: float, y: float) -> None:
    size = props.between(7, 14), props.between(6, 10), props.between(4, 10)
    props.box((x, y, 0), size, props.look("facade"), props.between(0, math.pi))


def _small(props: Props, x: float, y: float, z: float) -> None:
    """Something that lies on tables: a can, a mug, a ball, a packet or a book."""
    kind, look, place = int(props.rng.integers(5)), props.look("print"), (x, y, z)
    if kind == 0:
        props.cylinder(place, 0.033, 0.115, look)
    elif kind == 1:
        props.cylinder(place, 0.042, 0.095, look)
    elif kind == 2:
        props.ball(place, 0.0335, look)
    elif kind == 3:
        size = props.between(0.05, 0.2), props.between(0.04, 0.12), props.between(0.05, 0.26)
        props.box(place, size, look, props.between(0, math.pi))
    else:
        props.box(place, (0.15, 0.22, props.between(0.01, 0.04)), look, props.between(0, math.pi))


Maker = Callable[[Props, float, float], None]
_INDOORS: tuple[Maker, ...] = (_cabinet, _cabinet, _table, _table, _crate, _person, _football, _barrel)
_OUTDOORS: tuple[Maker, ...] = (_car, _car, _tree, _tree, _person, _person, _post, _house, _barrel, _crate)


def _scattered(props: Props, makers: tuple[Maker, ...], spots: Iterable[tuple[float, float]]) -> None:
    for x, y in spots:
        makers[int(props.rng.integers(len(makers)))](props, x, y)


def room(rng: np.random.Generator) -> ShapeScene:
    """A room with doors, furniture and people, seen at eye height."""
    size = float(rng.uniform(2.8, 7)), float(rng.uniform(3, 9)), float(rng.uniform(2.3, 3.1))
    view = _indoor_view(rng, size)
    props = Props(rng, view.position)
    spots = rng.uniform(-0.425, 0.425, (int(rng.integers(3, 9)), 2)) * size[:2]
    _scattered(props, _INDOORS, spots.tolist())
    _doors(props, size)
    _walls(props, size)
    return ShapeScene(view, props, indoors(rng, *size), 0.4)


def _indoor_view(rng: np.random.Generator, size: Place) -> View:
    x, y = (float(v) for v in rng.uniform(-0.46, 0.46, 2) * size[:2])
    eye = (x, y, float(rng.uniform(1.0, 1.8)))
    if rng.random() < 0.2:  # at whatever is there, near walls too
        yaw, pitch, roll = rng.uniform(0, 2 * math.pi), rng.normal(-0.12, 0.2), rng.normal(0, 0.05)
        return View(1.0, eye, float(yaw), float(pitch), float(roll))
    aim = (float(-x * rng.uniform(0.2, 1)), float(-y * rng.uniform(0.2, 1)), float(rng.uniform(0.4, 1.5)))
    return _aimed(rng, eye, aim)


def _doors(props: Props, size: Place) -> None:
    """Doors and pictures: thin boxes on the walls."""
    for _ in range(int(props.rng.integers(1, 4))):
        along, side = props.between(-0.4, 0.4), -0.5 if props.rng.random() < 0.5 else 0.5
        door = props.rng.random() < 0.6
        wide, high, low = (0.86, 2.03, 0.0) if door else (props.between(0.3, 1.0), props.between(0.3, 0.8), 1.1)
        look = props.look("top" if door else "print")
        if props.rng.random() < 0.5:
            props.box((side * size[0], along * size[1], low), (0.05, wide, high), look)
        else:
            props.box((along * size[0], side * size[1], low), (wide, 0.05, high), look)


def _walls(props: Props, size: Place) -> None:
    """A closed room around the origin: papered walls, floor, ceiling."""
    wall, ceiling, floor = props.look("wall", 0.15), props.look("wall", 0.1), props.look("floor", 0.25)
    w, d, h = size
    x, y = w / 2, d / 2
    for look, origin, right, up in (
        (wall, (-x, -y, 0), (w, 0, 0), (0, 0, h)),
        (wall, (x, -y, 0), (0, d, 0), (0, 0, h)),
        (wall, (x, y, 0), (-w, 0, 0), (0, 0, h)),
        (wall, (-x, y, 0), (0, -d, 0), (0, 0, h)),
        (floor, (-x, -y, 0), (w, 0, 0), (0, d, 0)),
        (ceiling, (-x, -y, h), (w, 0, 0), (0, d, 0)),
    ):
        props.parts.append(mesh.quad(origin, right, up, colour=look.colour, texture=look.texture, tile=look.tile))


def yard(rng: np.random.Generator) -> ShapeScene:
    """Open ground with cars, trees, people and houses under the sky."""
    eye = (float(rng.uniform(-1, 1)), float(rng.uniform(-4, 0)), float(rng.uniform(1.3, 1.8)))
    yaw, pitch, roll = (float(rng.normal(*spread)) for spread in ((0, 0.35), (-0.05, 0.06), (0, 0.03)))
    props = Props(rng, eye)
    count = int(rng.integers(8, 18))
    away = np.exp(rng.uniform(math.log(3.0), math.log(45.0), count))
    around = rng.normal(0, 0.55, count)
    spots = zip((away * np.sin(around)).tolist(), (away * np.cos(around)).tolist(), strict=True)
    _scattered(props, _OUTDOORS, spots)
    look, side = props.look("pavement", 0.25), 2 * _GROUND
    props.parts.append(
        mesh.quad(
            (-_GROUND, -_GROUND, 0),
            (side, 0, 0),
            (0, side, 0),
            colour=look.colour,
            texture=look.texture,
            tile=look.tile,
        )
    )
    return ShapeScene(View(1.0, eye, yaw, pitch, roll), props, outdoors(rng), 0.8)


def tabletop(rng: np.random.Generator) -> ShapeScene:
    """A table full of small things, seen from near."""
    size = float(rng.uniform(3, 6)), float(rng.uniform(3, 6)), float(rng.uniform(2.4, 3.0))
    width, depth = float(rng.uniform(1.1, 2.2)), float(rng.uniform(0.7, 1.2))
    view = _near_view(rng, width, depth)
    props = Props(rng, view.position)
    spots = rng.uniform(-0.45, 0.45, (int(rng.integers(4, 12)), 2)) * (width, depth)
    for x, y in spots.tolist():
        _small(props, x, y, 0.74)
    props.box((0, 0, 0.71), (width, depth, 0.03), props.look("top"))
    _walls(props, size)
    return ShapeScene(view, props, indoors(rng, *size), 0.15)


def _near_view(rng: np.random.Generator, width: float, depth: float) -> View:
    aim = (float(rng.uniform(-0.3, 0.3) * width), float(rng.uniform(-0.3, 0.3) * depth), 0.78)
    away, around, tilt = rng.uniform(0.5, 1.4), rng.uniform(0, 2 * math.pi), math.radians(rng.uniform(15, 65))
    flat = away * math.cos(tilt)
    eye = (aim[0] + flat * math.cos(around), aim[1] + flat * math.sin(around), aim[2] + away * math.sin(tilt))
    return _aimed(rng, eye, aim)


def _aimed(draw: np.random.Generator, eye: Place, aim: Place) -> View:
    yaw, pitch = towards(eye, aim)
    off = draw.normal(0, 0.06, 3)
    return View(1.0, eye, yaw + float(off[0]), pitch + float(off[1]), float(off[2]))


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
    workers: int = 1,
) -> Iterator[Sample]:
    """The images of ``seeds``, ``width`` x ``height`` pixels, with depth in metres (+inf sky) and normals.

    ``field_of_view`` bounds the horizontal angle in degrees; focal lengths between are drawn evenly by their logarithm.
    """
    render = functools.partial(_render_shape, size=(width, height), mixture=dict(mixture), field_of_view=field_of_view)
    return render_groups(render, ([seed] for seed in seeds), workers)


def _render_shape(
    seeds: list[int], size: tuple[int, int], mixture: Mapping[str, float], field_of_view: tuple[float, float]
) -> list[Sample]:
    names, shares = list(mixture), np.array(list(mixture.values()), dtype=float)
    samples = []
    for seed in seeds:
        rng = np.random.default_rng([seed, 7])
        name = names[int(rng.choice(len(names), p=shares / shares.sum()))]
        samples.append(_photographed(name, seed, rng, camera_of(focal_between(field_of_view, rng), rng, *size)))
    return samples


def _photographed(name: str, seed: int, rng: np.random.Generator, camera: Camera) -> Sample:
    """The first good view of the first scene that has one."""
    preview = camera.resized(*_PREVIEW)
    for _ in range(_TRIES):
        scene = SHAPE_SCENES[name](rng)
        if scene.blocked:
            continue
        stage, pose = scene.stage(), scene.view.pose
        if not _useful(stage.depth(preview, pose), scene.near):
            continue
        shot = stage.photograph(camera, pose, rng)
        if not _useful(shot.depth, scene.near):
            continue
        beyond = shot.depth > FAR
        photo = Photo(Path(f"shapes/{name}/{seed:08d}"), develop(shot.radiance, ~beyond, rng), camera)
        shot.depth[beyond], shot.normals[beyond] = np.inf, np.nan
        return Sample(photo, DepthMap(shot.depth, camera, None, shot.normals), f"shapes/{name}", sparse=False)
    raise DatasetError(f"seed {seed}: no usable view in {_TRIES} scenes", hint="leave this seed out")


def _useful(depth: NDArray[np.float32], near: float) -> bool:
    return bool((depth > FAR).mean() <= 1 - _LEAST_SEEN and depth.min() >= near)
