"""Pictures of solids in a room or on open ground: exact depth and normals, textures, one light with soft shadows.

Everything is computed for whole pictures at once in numpy, each solid inside the rectangle where it can be seen.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from m3d_cli.camera import Camera
from m3d_cli.synthesis.atlas import atlas
from m3d_cli.synthesis.render import Pose, Shot
from m3d_cli.synthesis.solids import Array, Box, Face, Rays, Solid, picture_rays, window_of

SIDES = 6
_LIFT = np.float32(2e-3)  # metres a shadow ray starts above its surface
_SHADOW_ROWS = 60  # shadows are computed for about this many rows, and never for all
_SOFT = 14  # pixels over which a shadow's edge fades
_NOISE = 512  # side of the noise that pictures cut theirs from
_GREY = 0.18
_KNEE = np.float32(0.9)


@dataclass(frozen=True, slots=True)
class Look:
    """A texture of the bank under a colour (linear RGB factor)."""

    texture: int
    colour: tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Thing:
    """A solid with one look, or one for each of a box's sides."""

    solid: Solid
    looks: tuple[Look, ...]


@dataclass(frozen=True, slots=True)
class Glow:
    """Where light comes from, its linear RGB strength there, and that of the light from everywhere.

    ``place`` is a lamp's position in metres, or a point far away in the sun's direction. A lamp's strength counts at
    the distance ``near``.
    """

    place: tuple[float, float, float]
    near: float
    colour: tuple[float, float, float]
    ambient: tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class ShapeStage:
    """Things in a ``room`` seen from inside, whose six looks are ``backdrop``'s; or on the ground z = 0 under the sky,
    without a room.
    """

    things: tuple[Thing, ...]
    room: Box | None
    backdrop: tuple[Look, ...]
    glow: Glow


class _Seen(NamedTuple):
    """What every pixel shows: ``points`` and ``normal`` (3, H, W) in world axes, place on the surface, index of its
    look.

    Where nothing is, depth is +inf and the point is the camera's own.
    """

    depth: Array
    points: Array
    normal: Array
    u: Array
    v: Array
    look: NDArray[np.int64]


def shoot(stage: ShapeStage, camera: Camera, pose: Pose) -> Shot:
    """Photograph a stage."""
    rays = picture_rays(camera, pose)
    seen = _look(stage, rays, *_cast(stage, rays, camera, pose))
    sky = ~np.isfinite(seen.depth)
    radiance = _albedo(stage, seen, rays, camera)
    _light(radiance, stage, seen)
    if stage.room is None:
        _paint_sky(radiance, sky, rays.way[2], stage.glow)
    normals = (seen.normal.reshape(3, -1).T @ pose.rotation.astype(np.float32)).reshape(*sky.shape, 3)
    normals[sky] = np.nan
    return Shot(radiance, seen.depth, normals)


def blocked(stage: ShapeStage, position: NDArray[np.float64], margin: float) -> bool:
    """Whether a thing comes nearer than ``margin`` metres to a position, by the balls around the things."""
    return any(
        np.linalg.norm(np.array(thing.solid.centre) - position) < thing.solid.reach + margin for thing in stage.things
    )


def _cast(stage: ShapeStage, rays: Rays, camera: Camera, pose: Pose) -> tuple[Array, NDArray[np.int16]]:
    """Depth (H, W), and what is there: 0 the room or ground, k the thing number k - 1."""
    depth = _ground_depth(rays) if stage.room is None else stage.room.span(rays).far
    which = np.zeros(depth.shape, dtype=np.int16)
    for number, thing in enumerate(stage.things, start=1):
        window = window_of(thing.solid, camera, pose)
        if window is None:
            continue
        distance = thing.solid.span(rays.within(window)).first()
        nearer = distance < depth[window]
        np.copyto(depth[window], distance, where=nearer)
        np.copyto(which[window], np.int16(number), where=nearer)
    return depth, which


def _ground_depth(rays: Rays) -> Array:
    down = rays.way[2]
    with np.errstate(divide="ignore"):
        return np.where(down < 0, -rays.start[2] / down, np.float32(np.inf))


def _look(stage: ShapeStage, rays: Rays, depth: Array, which: NDArray[np.int16]) -> _Seen:
    """The surfaces at the cast depths."""
    reach = np.where(np.isfinite(depth), depth, 0)
    points = np.stack([s + way * reach for s, way in zip(rays.start, rays.way, strict=True)])
    u, v = np.empty_like(depth), np.empty_like(depth)
    seen = _Seen(depth, points, np.empty_like(points), u, v, np.empty(depth.shape, dtype=np.int64))
    first = len(stage.backdrop)
    _put(seen, which == 0, _backdrop_face(stage.room), 0, many=stage.room is not None)
    for number, thing in enumerate(stage.things, start=1):
        _put(seen, which == number, thing.solid.face, first, many=len(thing.looks) == SIDES)
        first += len(thing.looks)
    return seen


def _put(seen: _Seen, where: NDArray[np.bool_], face_of: Callable[[Array], Face], first: int, *, many: bool) -> None:
    """Enter what the pixels ``where`` show; ``many`` says that every side has a look of its own."""
    index = np.flatnonzero(where)
    if not len(index):
        return
    face = face_of(seen.points.reshape(3, -1).take(index, axis=1))
    seen.normal.reshape(3, -1)[:, index] = face.normal
    seen.u.reshape(-1)[index], seen.v.reshape(-1)[index] = face.u, face.v
    seen.look.reshape(-1)[index] = first + face.side if many else first


def _backdrop_face(room: Box | None) -> Callable[[Array], Face]:
    """A room's sides turn their normals inwards; the ground's points upwards."""
    if room is None:
        return _ground_face
    outside = room.face

    def inside(points: Array) -> Face:
        face = outside(points)
        return face._replace(normal=-face.normal)

    return inside


def _ground_face(points: Array) -> Face:
    count = points.shape[1]
    normal = np.zeros((3, count), dtype=np.float32)
    normal[2] = 1
    return Face(normal, points[0], points[1], np.zeros(count, dtype=np.int64))


def _albedo(stage: ShapeStage, seen: _Seen, rays: Rays, camera: Camera) -> Array:
    looks = [*stage.backdrop, *(look for thing in stage.things for look in thing.looks)]
    textures = np.array([look.texture for look in looks])
    colours = np.array([look.colour for look in looks], dtype=np.float32)
    steep = np.abs(sum(seen.normal[axis] * way for axis, way in enumerate(rays.way)))
    depth = np.where(np.isfinite(seen.depth), seen.depth, 0)
    pixel = depth / np.float32(camera.focal) / np.sqrt(np.maximum(steep, np.float32(0.05)))
    painted = atlas().paint(textures[seen.look], seen.u, seen.v, pixel)
    albedo = np.take(colours, seen.look, axis=0)
    albedo *= np.asarray(cv2.LUT(painted, _linear_table()))
    return albedo


def _light(radiance: Array, stage: ShapeStage, seen: _Seen) -> None:
    """Multiply ``radiance`` (H, W, 3) by the light on every pixel."""
    towards = [np.float32(p) - q for p, q in zip(stage.glow.place, seen.points, strict=True)]
    squared = sum(part * part for part in towards)
    facing = sum(seen.normal[axis] * part for axis, part in enumerate(towards))
    strength = np.maximum(facing, 0) / (np.sqrt(squared) * squared)
    strength *= np.float32(stage.glow.near**2)
    strength *= _lit(stage.things, seen, towards)
    ambient = np.float32(0.7) + np.float32(0.3) * seen.normal[2]
    for channel, (colour, around) in enumerate(zip(stage.glow.colour, stage.glow.ambient, strict=True)):
        radiance[..., channel] *= strength * np.float32(colour) + ambient * np.float32(around)


def _lit(things: Sequence[Thing], seen: _Seen, towards: Sequence[Array]) -> Array:
    """Share of the light that reaches each pixel: 0 behind a thing, fading at its shadow's edge."""
    step = max(2, len(seen.depth) // _SHADOW_ROWS)
    coarse = (slice(None, None, step),) * 2
    start = [p[coarse] + n[coarse] * _LIFT for p, n in zip(seen.points, seen.normal, strict=True)]
    rays = Rays((start[0], start[1], start[2]), (towards[0][coarse], towards[1][coarse], towards[2][coarse]))
    dark = np.zeros(start[0].shape, dtype=np.bool_)
    for thing in things:
        span = thing.solid.span(rays)
        dark |= (span.near < span.far) & (span.far > 0) & (span.near < 1)
    soft = cv2.blur((~dark).astype(np.float32), (_SOFT // step,) * 2)
    height, width = seen.depth.shape
    return np.asarray(cv2.resize(soft, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.float32)


def _paint_sky(radiance: Array, sky: NDArray[np.bool_], up: Array, glow: Glow) -> None:
    """Brighter towards the horizon, in the colour of the light from everywhere."""
    bright = np.float32(2.2) - np.clip(up, 0, 1)
    for channel, colour in enumerate(glow.ambient):
        np.copyto(radiance[..., channel], bright * np.float32(colour), where=sky)


@functools.cache
def _linear_table() -> Array:
    return ((np.arange(256) / 255) ** 2.2).astype(np.float32)


@functools.cache
def _noise(down: int, across: int) -> Array:
    """The noise's sheet, repeated."""
    sheet = np.random.default_rng(0).standard_normal((_NOISE, _NOISE, 3), dtype=np.float32)
    return np.tile(sheet, (down, across, 1))


def expose(radiance: Array, rng: np.random.Generator) -> NDArray[np.uint8]:
    """8-bit sRGB (H, W, 3) of a plain camera: exposure by the median, colour cast, blur, noise, gamma."""
    gain = _GREY * np.exp(rng.normal(0, 0.3)) / max(float(np.median(radiance[::4, ::4, 1])), 1e-3)
    picture = radiance * (gain * np.exp(rng.normal(0, 0.05, 3))).astype(np.float32)
    picture = cv2.GaussianBlur(picture, (3, 3), float(rng.uniform(0.3, 0.7)))
    height, width = picture.shape[:2]
    grain = _grain(height, width, rng)
    picture += grain
    # In place from here on: fresh memory of this size costs more than the sums.
    shoulder = np.maximum(picture, _KNEE, out=grain)
    shoulder += 1 - _KNEE
    picture /= shoulder
    picture *= 4095
    np.clip(picture, 0, 4095, out=picture)
    table = (255 * np.linspace(0, 1, 4096) ** (1 / rng.uniform(2.0, 2.4)) + 0.5).astype(np.uint8)
    return np.asarray(table[picture.astype(np.uint16)])


def _grain(height: int, width: int, rng: np.random.Generator) -> Array:
    """Noise (height, width, 3) of some strength, from a random place of the noise's sheet."""
    top, left = rng.integers(_NOISE), rng.integers(_NOISE)
    sheet = _noise(1 + math.ceil(height / _NOISE), 1 + math.ceil(width / _NOISE))
    return sheet[top : top + height, left : left + width] * np.float32(np.exp(rng.uniform(-7.0, -4.2)))
