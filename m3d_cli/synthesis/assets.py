"""A library of everyday objects in true size, packed in one file, and how to use its models as parts of a scene."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from m3d_cli.bounded_files import reading
from m3d_cli.errors import DatasetError
from m3d_cli.synthesis.mesh import Part

TEXTURE_SIZE = 128  # pixels; every texture of the library is square
FORMAT = 2
_UNIT = 65535.0  # vertices are stored as fractions of the model's box


@dataclass(frozen=True, slots=True)
class Model:
    """Catalogue entry: true size (width x, depth y, height z) and heights above the floor, in metres.

    ``drop_height`` is where objects may be put on it (NaN unknown), ``elevation`` where it hangs on the wall.
    """

    index: int
    name: str
    category: str
    creator: str
    licence: str
    size: tuple[float, float, float]
    drop_height: float
    elevation: float
    opening: bool


@dataclass(frozen=True, slots=True)
class Swatch:
    """A repeating surface texture: its index in the stack, category and true width in metres."""

    name: str
    category: str
    texture: int
    width: float


@dataclass(frozen=True, slots=True, eq=False)
class AssetLibrary:
    """Read-only arrays that forked processes share, and the catalogue.

    ``textures`` (T, 128, 128, 4) uint8 RGBA, texture 0 plain white. Model i owns ``vertices[vertex_start[i]:...]``
    (uint16 fractions of its box) and ``triangles``, ``uv``, ``surface`` from ``triangle_start[i]``; surfaces carry
    texture, colour, gloss. ``coarse_of[i]`` is the number of its simpler geometry.
    """

    models: tuple[Model, ...]
    swatches: tuple[Swatch, ...]
    textures: NDArray[np.uint8]
    coarse_of: NDArray[np.int64]
    vertex_start: NDArray[np.int64]
    vertices: NDArray[np.uint16]
    triangle_start: NDArray[np.int64]
    triangles: NDArray[np.uint16]
    uv: NDArray[np.float16]
    surface: NDArray[np.uint16]
    surface_texture: NDArray[np.int32]
    surface_colour: NDArray[np.float32]
    surface_gloss: NDArray[np.float32]

    def part(self, index: int, coarse: bool = False) -> Part:
        """Model ``index`` in metres, standing on z = 0, front towards -y; ``coarse`` is good from 30 m on."""
        piece = int(self.coarse_of[index]) if coarse else index
        v0, v1 = self.vertex_start[piece : piece + 2]
        t0, t1 = self.triangle_start[piece : piece + 2]
        size = np.array(self.models[index].size, dtype=np.float32)
        unit = self.vertices[v0:v1].astype(np.float32) / np.float32(_UNIT)
        unit[:, :2] -= 0.5
        surface = self.surface[t0:t1]
        return Part(
            vertices=unit * size,
            triangles=self.triangles[t0:t1].astype(np.int32),
            uv=self.uv[t0:t1].astype(np.float32),
            texture=self.surface_texture[surface],
            colour=self.surface_colour[surface],
            gloss=self.surface_gloss[surface],
        )

    def find(self, *words: str, category: str = "") -> tuple[Model, ...]:
        """Models whose name holds one of ``words`` (any case; all when none is given), in ``category`` if named."""
        wanted = tuple(word.lower() for word in words)
        return tuple(
            model
            for model in self.models
            if (not category or model.category == category)
            and (not wanted or any(word in model.name.lower() for word in wanted))
        )


def quantise(vertices: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Positions (N, 3) as fractions of their own box."""
    low, extent = vertices.min(axis=0), np.ptp(vertices, axis=0)
    fractions = (vertices - low) / np.maximum(extent, 1e-9)
    return np.asarray(np.rint(fractions * _UNIT), dtype=np.uint16)


def load_assets(file: Path) -> AssetLibrary:
    """Open a packed library; raises DatasetError when the file is missing, damaged or of another version."""
    if not file.exists():
        raise DatasetError(f"{file} is missing", hint="fetch and pack the models first")
    again = "pack it again"
    with reading(file, "the packed asset library", DatasetError, again), np.load(file, allow_pickle=False) as data:
        if int(data["format"]) != FORMAT:
            raise DatasetError(f"{file}: format {data['format']}, this m3d reads {FORMAT}", hint=again)
        return _library({name: data[name] for name in data.files})


def _library(data: dict[str, NDArray[np.generic]]) -> AssetLibrary:
    models = tuple(
        Model(i, str(row[0]), str(row[1]), str(row[2]), str(row[3]), (n[0], n[1], n[2]), n[3], n[4], bool(n[5]))
        for i, (row, n) in enumerate(zip(data["model_text"], data["model_numbers"].tolist(), strict=True))
    )
    swatches = tuple(
        Swatch(str(row[0]), str(row[1]), int(n[0]), float(n[1]))
        for row, n in zip(data["swatch_text"], data["swatch_numbers"], strict=True)
    )
    return AssetLibrary(
        models=models,
        swatches=swatches,
        textures=_decode_textures(data["texture_bytes"].astype(np.uint8), data["texture_start"].astype(np.int64)),
        coarse_of=data["coarse_of"].astype(np.int64),
        vertex_start=data["vertex_start"].astype(np.int64),
        vertices=data["vertices"].astype(np.uint16, copy=False),
        triangle_start=data["triangle_start"].astype(np.int64),
        triangles=data["triangles"].astype(np.uint16, copy=False),
        uv=data["uv"].astype(np.float16, copy=False),
        surface=data["surface"].astype(np.uint16, copy=False),
        surface_texture=data["surface_texture"].astype(np.int32),
        surface_colour=data["surface_colour"].astype(np.float32),
        surface_gloss=data["surface_gloss"].astype(np.float32),
    )


def _decode_textures(data: NDArray[np.uint8], start: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Textures as stored, one JPEG (opaque) or PNG (with alpha) each, to a stack."""
    stack = np.full((len(start) - 1, TEXTURE_SIZE, TEXTURE_SIZE, 4), 255, dtype=np.uint8)
    for i, (a, b) in enumerate(pairwise(start)):
        image = cv2.imdecode(data[a:b], cv2.IMREAD_UNCHANGED)
        if image is None:
            raise ValueError(f"texture {i} is damaged")
        stack[i, ..., : image.shape[2]] = image
    stack[..., :3] = stack[..., 2::-1]
    return stack


def encode_textures(stack: Sequence[NDArray[np.uint8]]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """RGBA textures (128, 128, 4) as one byte array and the start of each."""
    chunks = []
    for image in stack:
        opaque = bool((image[..., 3] == 255).all())
        bgr = np.ascontiguousarray(image[..., [2, 1, 0]] if opaque else image[..., [2, 1, 0, 3]])
        options = [cv2.IMWRITE_JPEG_QUALITY, 88] if opaque else [cv2.IMWRITE_PNG_COMPRESSION, 9]
        chunks.append(cv2.imencode(".jpg" if opaque else ".png", bgr, options)[1].ravel())
    start = np.cumsum([0] + [len(chunk) for chunk in chunks])
    return np.concatenate(chunks).astype(np.uint8), start.astype(np.int64)
