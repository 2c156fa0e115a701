"""Coloured, textured triangle soup and the simple shapes scenes are built from.

World axes are x right, y away, z up, in metres; a furniture model stands on z = 0, centred, its front towards -y.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

PLAIN = 0  # texture 0 of every stack is plain white: the colour alone counts


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Triangles with their looks.

    ``vertices`` (N, 3) metres; ``triangles`` (M, 3) int32; ``uv`` (M, 3, 2) per corner; ``texture`` (M,) index in the
    stack; ``colour`` (M, 3) linear RGB factor; ``gloss`` (M,) 0 matt to 1 mirror-like, below 0 a glow of that strength.
    """

    vertices: NDArray[np.float32]
    triangles: NDArray[np.int32]
    uv: NDArray[np.float32]
    texture: NDArray[np.int32]
    colour: NDArray[np.float32]
    gloss: NDArray[np.float32]

    def placed(self, x: float, y: float, z: float, yaw: float = 0.0, scale: float = 1.0) -> Part:
        """The part scaled, turned by ``yaw`` radians about the vertical and moved."""
        c, s = math.cos(yaw), math.sin(yaw)
        turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]], dtype=np.float32) * np.float32(scale)
        moved = self.vertices @ turn.T + np.array([x, y, z], dtype=np.float32)
        return dataclasses.replace(self, vertices=moved)

    def turned(self, matrix: NDArray[np.float64]) -> Part:
        """The part multiplied by a (3, 3) matrix."""
        return dataclasses.replace(self, vertices=(self.vertices @ matrix.T).astype(np.float32))

    def grounded(self) -> Part:
        """The part moved so that it is centred in x and y and stands on z = 0."""
        low, high = self.vertices.min(axis=0), self.vertices.max(axis=0)
        shift = np.array([(low[0] + high[0]) / 2, (low[1] + high[1]) / 2, low[2]], dtype=np.float32)
        return dataclasses.replace(self, vertices=self.vertices - shift)

    def tinted(self, factor: NDArray[np.float64]) -> Part:
        """The part with its colours multiplied by ``factor`` (3,)."""
        return dataclasses.replace(self, colour=(self.colour * factor).astype(np.float32))

    def renumbered(self) -> tuple[Part, NDArray[np.intp]]:
        """The part with its textures numbered 0, 1, 2 ... and the numbers (T,) they had; `PLAIN` stays the first."""
        used, index = np.unique(np.append(self.texture, PLAIN), return_inverse=True)
        return dataclasses.replace(self, texture=index.reshape(-1)[:-1].astype(np.int32)), used.astype(np.intp)

    @property
    def size(self) -> NDArray[np.float32]:
        """Extent along x, y, z in metres."""
        return np.asarray(np.ptp(self.vertices, axis=0), dtype=np.float32)


def merge(parts: Sequence[Part]) -> Part:
    """All parts as one."""
    counts = np.cumsum([0] + [len(part.vertices) for part in parts[:-1]])
    return Part(
        vertices=np.concatenate([part.vertices for part in parts]),
        triangles=np.concatenate([part.triangles + start for part, start in zip(parts, counts, strict=True)]).astype(
            np.int32
        ),
        uv=np.concatenate([part.uv for part in parts]),
        texture=np.concatenate([part.texture for part in parts]),
        colour=np.concatenate([part.colour for part in parts]),
        gloss=np.concatenate([part.gloss for part in parts]),
    )


def repeated(part: Part, offsets: NDArray[np.float64]) -> Part:
    """Copies of a part moved by each of ``offsets`` (K, 3), as one."""
    count, step = len(offsets), len(part.vertices)
    moved = part.vertices[None] + offsets.astype(np.float32)[:, None]
    triangles = part.triangles[None] + (np.arange(count, dtype=np.int32) * step)[:, None, None]
    return Part(
        vertices=moved.reshape(-1, 3),
        triangles=triangles.reshape(-1, 3),
        uv=np.tile(part.uv, (count, 1, 1)),
        texture=np.tile(part.texture, count),
        colour=np.tile(part.colour, (count, 1)),
        gloss=np.tile(part.gloss, count),
    )


def _looks(
    count: int, texture: int, colour: Sequence[float], gloss: float
) -> tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.float32]]:
    return (
        np.full(count, texture, dtype=np.int32),
        np.tile(np.asarray(colour, dtype=np.float32), (count, 1)),
        np.full(count, gloss, dtype=np.float32),
    )


def quad(
    origin: Sequence[float],
    right: Sequence[float],
    up: Sequence[float],
    *,
    colour: Sequence[float] = (1.0, 1.0, 1.0),
    texture: int = PLAIN,
    tile: float | None = None,
    gloss: float = 0.0,
) -> Part:
    """Rectangle spanned by two edge vectors; the texture repeats every ``tile`` metres, or fills it once."""
    o, r, u = (np.asarray(v, dtype=np.float32) for v in (origin, right, up))
    vertices = np.stack([o, o + r, o + r + u, o + u])
    repeat = (1.0, 1.0) if tile is None else (float(np.linalg.norm(r)) / tile, float(np.linalg.norm(u)) / tile)
    corners = np.array([[0, 0], [repeat[0], 0], [repeat[0], repeat[1]], [0, repeat[1]]], dtype=np.float32)
    triangles = np.array([[0, 1, 2], [0, 2, 3]], dtype=np.int32)
    return Part(vertices, triangles, corners[triangles], *_looks(2, texture, colour, gloss))


def box(
    width: float,
    depth: float,
    height: float,
    *,
    colour: Sequence[float] = (1.0, 1.0, 1.0),
    texture: int = PLAIN,
    tile: float | None = None,
    gloss: float = 0.0,
) -> Part:
    """Closed box centred in x and y, standing on z = 0; each face carries the texture."""
    w, d, h = width, depth, height
    x, y = w / 2, d / 2
    faces = (
        ((-x, -y, 0), (w, 0, 0), (0, 0, h)),
        ((x, -y, 0), (0, d, 0), (0, 0, h)),
        ((x, y, 0), (-w, 0, 0), (0, 0, h)),
        ((-x, y, 0), (0, -d, 0), (0, 0, h)),
        ((-x, -y, h), (w, 0, 0), (0, d, 0)),
        ((-x, y, 0), (w, 0, 0), (0, -d, 0)),
    )
    return merge([quad(*face, colour=colour, texture=texture, tile=tile, gloss=gloss) for face in faces])


def segments_within(error: float, radius: float) -> int:
    """Number of chords (even) that stay within ``error`` metres of a circle: radius (1 - cos(pi / n)) <= error."""
    half = math.acos(1 - min(error / radius, 0.5))
    return 2 * math.ceil(math.pi / half / 2)


def lathe(
    profile: Sequence[tuple[float, float]],
    *,
    colour: Sequence[float] = (1.0, 1.0, 1.0),
    texture: int = PLAIN,
    tile: float | None = None,
    gloss: float = 0.0,
    segments: int = 24,
) -> Part:
    """Surface of revolution about z of a profile of (radius, height) points in metres, bottom first.

    The texture repeats about every ``tile`` metres, a whole number of times around, or covers the surface once.
    """
    radius, height = np.asarray(profile, dtype=np.float32).T
    angle = np.linspace(0, 2 * np.pi, segments + 1, dtype=np.float32)
    rows, columns = len(radius), segments + 1
    ring = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    vertices = np.empty((rows, columns, 3), dtype=np.float32)
    vertices[..., :2] = radius[:, None, None] * ring
    vertices[..., 2] = height[:, None]
    along = np.concatenate([[0], np.cumsum(np.hypot(np.diff(radius), np.diff(height)))])
    uv = np.empty((rows, columns, 2), dtype=np.float32)
    around = 1 if tile is None else max(1, round(2 * math.pi * float(radius.max()) / tile))
    uv[..., 0] = angle / (2 * np.pi) * around
    uv[..., 1] = (along / (tile or max(float(along[-1]), 1e-6)))[:, None]
    index = np.arange(rows * columns, dtype=np.int32).reshape(rows, columns)
    a, b, c, d = index[:-1, :-1].ravel(), index[:-1, 1:].ravel(), index[1:, 1:].ravel(), index[1:, :-1].ravel()
    triangles = np.concatenate([np.stack([a, b, c], axis=1), np.stack([a, c, d], axis=1)])
    flat_uv = uv.reshape(-1, 2)[triangles]
    # The seam's two columns coincide: sharing them keeps the shading smooth across it.
    index[:, -1] = index[:, 0]
    triangles = index.ravel()[triangles]
    return Part(vertices.reshape(-1, 3), triangles, flat_uv, *_looks(len(triangles), texture, colour, gloss))


def cylinder(
    radius: float,
    height: float,
    *,
    colour: Sequence[float] = (1.0, 1.0, 1.0),
    texture: int = PLAIN,
    tile: float | None = None,
    gloss: float = 0.0,
    segments: int = 20,
) -> Part:
    """Closed cylinder standing on z = 0, inscribed in the round one; the texture goes round its side.

    The lids carry the texture where it repeats every ``tile`` metres and are plain where it covers the side once.
    """
    side = lathe(
        [(radius, 0.0), (radius, height)], colour=colour, texture=texture, tile=tile, gloss=gloss, segments=segments
    )
    lids = [lathe([(radius, z), (0.0, z)], colour=colour, gloss=gloss, segments=segments) for z in (0.0, height)]
    if tile is not None:
        lids = [
            dataclasses.replace(
                lid,
                uv=lid.vertices[lid.triangles][..., :2] / np.float32(tile),
                texture=np.full_like(lid.texture, texture),
            )
            for lid in lids
        ]
    return merge([side, *lids])


def sphere(
    radius: float,
    *,
    colour: Sequence[float] = (1.0, 1.0, 1.0),
    texture: int = PLAIN,
    tile: float | None = None,
    gloss: float = 0.0,
    segments: int = 64,
) -> Part:
    """Sphere resting on z = 0, of ``segments`` meridians and half as many parallels.

    Its corners lie outside the round one by radius (1 - cos(pi / segments)), its facets inside by at most as much.
    """
    outer = radius * (2 - math.cos(math.pi / segments))
    angle = np.linspace(-math.pi / 2, math.pi / 2, segments // 2 + 1)
    profile = [(outer * math.cos(a), radius + outer * math.sin(a)) for a in angle.tolist()]
    profile[0], profile[-1] = (0.0, profile[0][1]), (0.0, profile[-1][1])
    return lathe(profile, colour=colour, texture=texture, tile=tile, gloss=gloss, segments=segments)
