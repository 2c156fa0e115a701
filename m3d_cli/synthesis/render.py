"""Images and exact depth of a scene: ray casting, mip-mapped textures, lamps or sun with soft shadows, sky."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from m3d_cli.camera import Camera
from m3d_cli.synthesis.mesh import Part
from m3d_cli.synthesis.raycast import Hits, RayCaster
from m3d_cli.synthesis.texture import LEVEL_START, LEVELS, pyramid

_ALPHA_PASSES = 6  # leaves and grids one ray may go through
_TILE = 4  # interleaved samples: every tile of 4 x 4 pixels sends each of sixteen shadow rays once
_LIFT = 2e-3  # metres a shadow ray starts above its surface


@dataclass(frozen=True, slots=True)
class Lamp:
    """A glowing ball: position and radius in metres, linear RGB power (irradiance at one metre)."""

    position: tuple[float, float, float]
    radius: float
    power: tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Sky:
    """Light from outside: sun (direction towards it, colour), sky colours, clouds 0..1, haze per metre.

    ``brightness`` is what the open sky itself shows; ``seed`` shapes its clouds.
    """

    sun: tuple[float, float, float]
    sun_colour: tuple[float, float, float]
    zenith: tuple[float, float, float]
    horizon: tuple[float, float, float]
    clouds: float
    haze: float
    brightness: float
    seed: int


@dataclass(frozen=True, slots=True)
class Lighting:
    """All light of a scene; ``ambient_up`` falls on what looks up, ``ambient_down`` on what looks down.

    ``contact`` is the reach of the ambient shadows in metres.
    """

    lamps: tuple[Lamp, ...]
    sky: Sky
    ambient_up: tuple[float, float, float]
    ambient_down: tuple[float, float, float]
    contact: float


@dataclass(frozen=True, slots=True, eq=False)
class Pose:
    """Camera position (3,) in metres and rotation world_from_camera (3, 3)."""

    position: NDArray[np.float64]
    rotation: NDArray[np.float64]


class Shot(NamedTuple):
    """Linear RGB radiance (H, W, 3), depth along z (H, W) in metres, +inf where only sky is, and unit normals (H, W, 3)
    of what is seen, in camera axes and towards the camera, NaN where only sky is.
    """

    radiance: NDArray[np.float32]
    depth: NDArray[np.float32]
    normals: NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class _Surface:
    """What the rays of one image hit, flat over pixels; ``hit`` (N,) tells where there is anything.

    ``normals`` are those light falls on, smooth over a mesh's facets; ``facets`` are the facets' own.
    """

    hit: NDArray[np.bool_]
    distance: NDArray[np.float32]
    points: NDArray[np.float32]
    normals: NDArray[np.float32]
    facets: NDArray[np.float32]
    albedo: NDArray[np.float32]
    gloss: NDArray[np.float32]


class Stage:
    """A scene ready to be photographed: geometry, textures, light."""

    def __init__(self, part: Part, textures: NDArray[np.uint8], lighting: Lighting) -> None:
        self.part = part
        self.lighting = lighting
        self._caster = RayCaster(part.vertices, part.triangles)
        self._texels = pyramid(textures)
        corners = part.vertices[part.triangles]
        cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        area = np.linalg.norm(cross, axis=1)
        self._faces = (cross / np.maximum(area, 1e-12)[:, None]).astype(np.float32)
        self._smooth = _vertex_normals(part, cross)
        self._round = _round_triangles(part, self._faces, self._smooth)
        edge1, edge2 = part.uv[:, 1] - part.uv[:, 0], part.uv[:, 2] - part.uv[:, 0]
        uv_area = np.abs(edge1[:, 0] * edge2[:, 1] - edge1[:, 1] * edge2[:, 0])
        # Texels along one metre of the surface, from the ratio of areas.
        self._density = (np.sqrt(uv_area / np.maximum(area, 1e-9)) * 128).astype(np.float32)

    def depth(self, camera: Camera, pose: Pose) -> NDArray[np.float32]:
        """Distance along z of the first surface (transparent parts of leaves count), +inf where there is none."""
        rays = _rays(camera, pose)
        return self._caster.cast(rays).distance.reshape(camera.height, camera.width)

    def clear(self, position: NDArray[np.float64], radius: float) -> bool:
        """Whether nothing comes nearer than ``radius`` metres to ``position`` (along 26 directions)."""
        steps = np.array(np.meshgrid([-1, 0, 1], [-1, 0, 1], [-1, 0, 1])).reshape(3, -1).T.astype(np.float32)
        steps = steps[np.abs(steps).sum(axis=1) > 0]
        steps /= np.linalg.norm(steps, axis=1, keepdims=True)
        origin = np.tile(np.asarray(position, dtype=np.float32), (len(steps), 1))
        return not bool(self._caster.blocked(np.concatenate([origin, steps], axis=1), 0.0, radius).any())

    def photograph(self, camera: Camera, pose: Pose, rng: np.random.Generator) -> Shot:
        """The image that ``rng``'s shadows give, with depth and normals."""
        rays = _rays(camera, pose)
        surface = self._look(rays, camera)
        shape = (camera.height, camera.width)
        light = self._light(surface, rays[:, 3:], shape, rng)
        sky = self.lighting.sky
        colour = surface.albedo * light
        glowing = surface.gloss < 0
        colour[glowing] = surface.albedo[glowing] * -surface.gloss[glowing, None]
        reach = np.where(surface.hit, surface.distance, 0) * np.linalg.norm(rays[:, 3:], axis=1)
        veil = np.exp(-sky.haze * reach)[:, None].astype(np.float32)
        colour = colour * veil + np.asarray(sky.horizon, np.float32) * sky.brightness * (1 - veil)
        colour[~surface.hit] = sky_radiance(sky, rays[~surface.hit, 3:])
        facing = surface.facets @ pose.rotation.astype(np.float32)
        facing[~surface.hit] = np.nan
        return Shot(colour.reshape(*shape, 3), surface.distance.reshape(shape), facing.reshape(*shape, 3))

    def _look(self, rays: NDArray[np.float32], camera: Camera) -> _Surface:
        hits = self._caster.cast(rays)
        distance, triangle, weights = hits.distance, hits.triangle, hits.barycentric
        texels = self._texture(hits, rays, camera.focal)
        for _ in range(_ALPHA_PASSES):
            open_ = np.flatnonzero((triangle >= 0) & (texels[:, 3] < 110))
            if not len(open_):
                break
            further = rays[open_]
            start = distance[open_] + 1e-3
            further[:, :3] += further[:, 3:] * start[:, None]
            next_ = self._caster.cast(further)
            distance[open_], triangle[open_], weights[open_] = next_.distance + start, next_.triangle, next_.barycentric
            texels[open_] = self._texture(
                Hits(distance[open_], triangle[open_], weights[open_]), rays[open_], camera.focal
            )
        return self._surface(Hits(distance, triangle, weights), rays, texels)

    def _surface(self, hits: Hits, rays: NDArray[np.float32], texels: NDArray[np.float32]) -> _Surface:
        hit, triangle = hits.triangle >= 0, np.maximum(hits.triangle, 0)
        direction = rays[:, 3:]
        points = rays[:, :3] + direction * np.where(hit, hits.distance, 1.0)[:, None]
        normals = _shading_normals(self.part, self._faces, self._smooth, self._round, hits)
        facets = self._faces[triangle]
        for each in (normals, facets):
            away = np.einsum("ij,ij->i", each, direction) > 0
            each[away] = -each[away]
        albedo = _linear(texels[:, :3]) * self.part.colour[triangle]
        gloss = self.part.gloss[triangle]
        return _Surface(hit, hits.distance, points, normals, facets, albedo.astype(np.float32), gloss)

    def _texture(self, hits: Hits, rays: NDArray[np.float32], focal: float) -> NDArray[np.float32]:
        """RGBA (N, 4), 0..255, bilinear in the mip level whose texels are about as large as a pixel."""
        triangle = np.maximum(hits.triangle, 0)
        texture = self.part.texture[triangle]
        out = np.full((len(triangle), 4), 255, dtype=np.float32)
        some = np.flatnonzero((texture > 0) & (hits.triangle >= 0))
        if not len(some):
            return out
        triangle, texture = triangle[some], texture[some]
        u, v = hits.barycentric[some].T
        corner = self.part.uv[triangle]
        place = corner[:, 0] * (1 - u - v)[:, None] + corner[:, 1] * u[:, None] + corner[:, 2] * v[:, None]
        direction = rays[some, 3:]
        slope = np.abs(np.einsum("ij,ij->i", self._faces[triangle], direction)) / np.linalg.norm(direction, axis=1)
        texels = self._density[triangle] * hits.distance[some] / focal / np.sqrt(np.maximum(slope, 0.05))
        level = np.clip(np.rint(np.log2(np.maximum(texels, 1e-6)) - 0.2), 0, LEVELS - 1).astype(np.int64)
        out[some] = _bilinear(self._texels, texture, place, level)
        return out

    def _light(
        self,
        surface: _Surface,
        direction: NDArray[np.float32],
        shape: tuple[int, int],
        rng: np.random.Generator,
    ) -> NDArray[np.float32]:
        """Light on every pixel (N, 3): ambient with contact shadows, lamps, sun; highlights are folded in."""
        lighting, normals = self.lighting, surface.normals
        up = (normals[:, 2:3] + 1) / 2
        ambient = np.asarray(lighting.ambient_up, np.float32) * up
        ambient = ambient + np.asarray(lighting.ambient_down, np.float32) * (1 - up)
        light = ambient * self._openness(surface, shape, rng)[:, None]
        for lamp in lighting.lamps:
            target = np.asarray(lamp.position, np.float32)
            to_lamp = target - surface.points
            squared = np.maximum(np.einsum("ij,ij->i", to_lamp, to_lamp), 0.05)
            seen = self._visible(surface, shape, target, lamp.radius, rng)
            facing = _facing(normals, to_lamp, direction, surface.gloss, squared)
            light = light + (facing * seen / squared)[:, None] * np.asarray(lamp.power, np.float32)
        if max(lighting.sky.sun_colour) > 0:
            to_sun = np.broadcast_to(np.asarray(lighting.sky.sun, np.float32), normals.shape)
            seen = self._visible(surface, shape, to_sun[0] * 1000, 8.0, rng)
            facing = _facing(normals, to_sun, direction, surface.gloss, np.float32(1))
            light = light + (facing * seen)[:, None] * np.asarray(lighting.sky.sun_colour, np.float32)
        return light.astype(np.float32)

    def _visible(
        self,
        surface: _Surface,
        shape: tuple[int, int],
        target: NDArray[np.float32],
        radius: float,
        rng: np.random.Generator,
    ) -> NDArray[np.float32]:
        """How much of a ball is seen, 0..1, from every pixel."""
        offsets = _tiled(_ball_points(rng), shape) * np.float32(radius)
        points, normals = _halved(surface.points, shape), _halved(surface.normals, shape)
        origin = points + normals * _LIFT
        rays = np.concatenate([origin, target + offsets - origin], axis=1)
        seen = 1 - self._caster.blocked(rays, 0.0, 0.98).astype(np.float32)
        return _enlarged(seen, shape)

    def _openness(self, surface: _Surface, shape: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float32]:
        """Ambient occlusion 0.25..1 within the contact distance."""
        points, normals = _halved(surface.points, shape), _halved(surface.normals, shape)
        reach = self.lighting.contact * rng.uniform(0.5, 1.0)
        # A point on the unit ball added to the normal gives directions by the cosine law.
        direction = (normals * 1.02 + _tiled(_ball_points(rng), shape)) * np.float32(reach)
        rays = np.concatenate([points + normals * _LIFT, direction], axis=1)
        seen = 1 - self._caster.blocked(rays, 0.0, 1.0).astype(np.float32)
        return 0.25 + 0.75 * _enlarged(seen, shape)


def _ball_points(rng: np.random.Generator) -> NDArray[np.float32]:
    """Sixteen well-spread points on the unit ball (a turned Fibonacci spiral), in random order."""
    k = np.arange(_TILE * _TILE) + 0.5
    z = 1 - 2 * k / len(k)
    turn = k * 2.399963 + rng.uniform(0, 6.28)
    flat = np.sqrt(1 - z * z)
    points = np.stack([flat * np.cos(turn), flat * np.sin(turn), z], axis=1)
    return rng.permutation(points).astype(np.float32)


def _tiled(points: NDArray[np.float32], shape: tuple[int, int]) -> NDArray[np.float32]:
    """The sixteen points repeated in 4 x 4 tiles over the half-size image; a 4 x 4 mean then sees each once."""
    height, width = (shape[0] + 1) // 2, (shape[1] + 1) // 2
    tile = points.reshape(_TILE, _TILE, 3)
    repeats = (height // _TILE + 1, width // _TILE + 1, 1)
    return np.tile(tile, repeats)[:height, :width].reshape(-1, 3)


def _linear(coded: NDArray[np.float32]) -> NDArray[np.float32]:
    """8-bit sRGB to linear: a cubic within 0.01 of the power 2.2, a tenth of its cost."""
    unit = coded * np.float32(1 / 255)
    return np.asarray(unit * unit * (np.float32(0.75) + np.float32(0.25) * unit), dtype=np.float32)


def _rays(camera: Camera, pose: Pose) -> NDArray[np.float32]:
    direction = camera.rays().reshape(-1, 3) @ pose.rotation.T.astype(np.float32)
    origin = np.broadcast_to(pose.position.astype(np.float32), direction.shape)
    return np.concatenate([origin, direction], axis=1).astype(np.float32)


def _vertex_normals(part: Part, cross: NDArray[np.float32]) -> NDArray[np.float32]:
    sums = np.empty((len(part.vertices), 3), dtype=np.float32)
    for axis in range(3):
        weights = np.repeat(cross[:, axis], 3)
        sums[:, axis] = np.bincount(part.triangles.ravel(), weights, minlength=len(sums))
    return np.asarray(sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12), dtype=np.float32)


def _round_triangles(part: Part, faces: NDArray[np.float32], smooth: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Triangles (M,) of curved surfaces: their corners' normals lean away a little, not as over a sharp edge."""
    lean = np.stack([np.einsum("ij,ij->i", faces, smooth[part.triangles[:, k]]) for k in range(3)]).min(axis=0)
    return np.asarray((lean > 0.6) & (lean < 0.9995))


def _shading_normals(
    part: Part,
    faces: NDArray[np.float32],
    smooth: NDArray[np.float32],
    curved: NDArray[np.bool_],
    hits: Hits,
) -> NDArray[np.float32]:
    """Normals (N, 3): interpolated on curved surfaces, the face's own elsewhere."""
    triangle = np.maximum(hits.triangle, 0)
    normals = faces[triangle]
    bent = np.flatnonzero(curved[triangle])
    corner = smooth[part.triangles[triangle[bent]]]
    u, v = hits.barycentric[bent].T
    soft = corner[:, 0] * (1 - u - v)[:, None] + corner[:, 1] * u[:, None] + corner[:, 2] * v[:, None]
    normals[bent] = soft / np.maximum(np.linalg.norm(soft, axis=1, keepdims=True), 1e-6)
    return normals


def _bilinear(
    texels: NDArray[np.uint8], texture: NDArray[np.int32], uv: NDArray[np.float32], level: NDArray[np.int64]
) -> NDArray[np.float32]:
    size = (128 >> level).astype(np.int32)
    base = texture.astype(np.int64) * texels.shape[1] + LEVEL_START[level]
    scale = size.astype(np.float32)
    x = uv[:, 0] * scale - np.float32(0.5)
    y = -uv[:, 1] * scale - np.float32(0.5)
    x0, y0 = np.floor(x), np.floor(y)
    fx, fy = (x - x0)[:, None], (y - y0)[:, None]
    mask = size - 1
    left, top = x0.astype(np.int32) & mask, y0.astype(np.int32) & mask
    right, bottom = (left + 1) & mask, (top + 1) & mask
    upper, lower = base + top * size, base + bottom * size
    packed = texels.view(np.uint32).ravel()  # one gather a texel instead of four

    def fetch(index: NDArray[np.int64]) -> NDArray[np.float32]:
        return packed[index].view(np.uint8).reshape(-1, 4).astype(np.float32)

    above = fetch(upper + left)
    above += (fetch(upper + right) - above) * fx
    below = fetch(lower + left)
    below += (fetch(lower + right) - below) * fx
    above += (below - above) * fy
    return above


def _facing(
    normals: NDArray[np.float32],
    towards: NDArray[np.float32],
    view: NDArray[np.float32],
    gloss: NDArray[np.float32],
    squared: NDArray[np.float32] | np.float32,
) -> NDArray[np.float32]:
    """Lambert's cosine plus a Blinn highlight where the surface is glossy."""
    unit = towards / np.sqrt(squared)[..., None] if np.ndim(squared) else towards
    cosine = np.maximum(np.einsum("ij,ij->i", normals, unit), 0)
    shiny = np.flatnonzero((gloss > 0.05) & (cosine > 0))
    if len(shiny):
        half = unit[shiny] - view[shiny] / np.linalg.norm(view[shiny], axis=1, keepdims=True)
        half /= np.maximum(np.linalg.norm(half, axis=1, keepdims=True), 1e-6)
        peak = np.maximum(np.einsum("ij,ij->i", normals[shiny], half), 0) ** 60
        cosine[shiny] += 6 * gloss[shiny] * peak
    return np.asarray(cosine, dtype=np.float32)


def _halved(values: NDArray[np.float32], shape: tuple[int, int]) -> NDArray[np.float32]:
    return values.reshape(*shape, -1)[::2, ::2].reshape(-1, values.shape[-1])


def _enlarged(values: NDArray[np.float32], shape: tuple[int, int]) -> NDArray[np.float32]:
    """Mean over each tile's neighbourhood, at full size (H * W,)."""
    height, width = shape
    small = cv2.blur(values.reshape((height + 1) // 2, (width + 1) // 2), (_TILE, _TILE), anchor=(2, 2))
    small = cv2.blur(small, (3, 3))
    # The even-sized mean is centred half a sample up and left; samples sit on even pixels.
    matrix = np.array([[2, 0, -1], [0, 2, -1]], dtype=np.float64)
    full = cv2.warpAffine(small, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(full, dtype=np.float32).ravel()


def sky_radiance(sky: Sky, direction: NDArray[np.float32]) -> NDArray[np.float32]:
    """Radiance (N, 3) of the sky along directions (N, 3): gradient, sun glow and clouds."""
    unit = direction / np.maximum(np.linalg.norm(direction, axis=1, keepdims=True), 1e-6)
    height = np.clip(unit[:, 2:3], 0, 1) ** 0.5
    base = np.asarray(sky.horizon, np.float32) * (1 - height) + np.asarray(sky.zenith, np.float32) * height
    if sky.clouds > 0:
        plane = unit[:, :2] / np.maximum(unit[:, 2:3], 0.04)
        puff = _cloud(plane, sky.seed)
        fade = np.clip(unit[:, 2] * 6 - 0.3, 0, 1)  # near the horizon clouds melt into haze
        cover = (np.clip((puff - (1 - sky.clouds)) * 3, 0, 1) * fade)[:, None]
        base = base * (1 - cover) + np.float32(np.mean(sky.horizon) * 1.15) * (0.8 + 0.3 * puff[:, None]) * cover
    glow = np.maximum(unit @ np.asarray(sky.sun, np.float32), 0)[:, None] ** 80
    return np.asarray((base + glow * np.asarray(sky.sun_colour, np.float32) * 0.5) * sky.brightness, np.float32)


def _cloud(plane: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    """Smooth noise 0..1 over the cloud plane: a few sines with seeded directions."""
    rng = np.random.default_rng(seed)
    total = np.zeros(len(plane), dtype=np.float32)
    for octave in range(5):
        turn = rng.normal(0, 1.0 * 1.9**octave, (3, 2)).astype(np.float32)
        phase = rng.uniform(0, 6.28, 3).astype(np.float32)
        total += np.sin(plane @ turn.T + phase).prod(axis=1) / 1.6**octave
    return np.asarray(0.5 + 0.35 * total, dtype=np.float32)
