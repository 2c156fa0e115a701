"""Wavefront OBJ and MTL text to arrays: triangles, corner texture coordinates and plain materials."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Exporters of the catalogue name some materials without describing them; these are the words that occur.
_NAMED_COLOURS = {
    "white": (0.9, 0.9, 0.9),
    "black": (0.05, 0.05, 0.05),
    "gray": (0.5, 0.5, 0.5),
    "grey": (0.5, 0.5, 0.5),
    "wood": (0.45, 0.28, 0.14),
    "brown": (0.35, 0.2, 0.1),
    "red": (0.6, 0.1, 0.08),
    "green": (0.15, 0.4, 0.12),
    "blue": (0.12, 0.2, 0.5),
    "yellow": (0.75, 0.65, 0.3),
    "bone": (0.8, 0.75, 0.65),
    "metal": (0.6, 0.6, 0.62),
    "glass": (0.6, 0.7, 0.75),
    "leaf": (0.12, 0.35, 0.08),
}


@dataclass(frozen=True, slots=True)
class Material:
    """Colour (linear RGB), opacity 0..1, gloss 0..1, and the file name of the texture or ''."""

    colour: tuple[float, float, float] = (0.7, 0.7, 0.7)
    opacity: float = 1.0
    gloss: float = 0.0
    texture: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class ObjMesh:
    """``vertices`` (N, 3); ``triangles`` (M, 3); ``uv`` (M, 3, 2); ``material`` (M,) indexes ``materials`` (names)."""

    vertices: NDArray[np.float32]
    triangles: NDArray[np.int32]
    uv: NDArray[np.float32]
    material: NDArray[np.int32]
    materials: tuple[str, ...]
    library: str


def read_obj(text: str) -> ObjMesh:
    """Parse an OBJ file; polygons become fans, lines and points are dropped."""
    positions: list[str] = []
    coordinates: list[str] = []
    corners: list[tuple[int, int]] = []
    material: list[int] = []
    names: dict[str, int] = {}
    current, library = 0, ""
    for line in text.splitlines():
        word, _, rest = line.strip().partition(" ")
        if word == "v":
            positions.append(" ".join(rest.split()[:3]))
        elif word == "vt":
            coordinates.append(" ".join(rest.split()[:2]))
        elif word == "f":
            polygon = [_corner(item, len(positions), len(coordinates)) for item in rest.split()]
            for i in range(1, len(polygon) - 1):
                corners += (polygon[0], polygon[i], polygon[i + 1])
                material.append(current)
        elif word == "usemtl":
            current = names.setdefault(rest.strip(), len(names))
        elif word == "mtllib":
            library = rest.strip()
    return _assemble(positions, coordinates, corners, material, tuple(names) or ("",), library)


def _corner(item: str, positions: int, coordinates: int) -> tuple[int, int]:
    """Zero-based vertex and texture-coordinate index; -1 where the corner has none. Negative numbers count back."""
    fields = item.split("/")
    vertex = int(fields[0])
    uv = int(fields[1]) if len(fields) > 1 and fields[1] else 0
    return (
        vertex - 1 if vertex > 0 else positions + vertex,
        uv - 1 if uv > 0 else (coordinates + uv if uv < 0 else -1),
    )


def _assemble(
    positions: list[str],
    coordinates: list[str],
    corners: list[tuple[int, int]],
    material: list[int],
    names: tuple[str, ...],
    library: str,
) -> ObjMesh:
    vertices = np.array(" ".join(positions).split(), dtype=np.float32).reshape(-1, 3)
    table = np.array([*" ".join(coordinates).split(), 0, 0], dtype=np.float32).reshape(-1, 2)
    index = np.array(corners, dtype=np.int32).reshape(-1, 3, 2)
    return ObjMesh(
        vertices=vertices,
        triangles=np.ascontiguousarray(index[..., 0]),
        uv=table[index[..., 1]],
        material=np.array(material, dtype=np.int32),
        materials=names,
        library=library,
    )


def read_mtl(text: str) -> dict[str, Material]:
    """Materials of an MTL file by name."""
    found: dict[str, Material] = {}
    name, fields = "", dict[str, str]()
    for line in [*text.splitlines(), "newmtl"]:
        word, _, rest = line.strip().partition(" ")
        if word != "newmtl":
            fields[word] = rest.strip()
            continue
        if name:
            found[name] = _material(fields)
        name, fields = rest.strip(), {}
    return found


def _material(fields: Mapping[str, str]) -> Material:
    shine = float(np.mean(_numbers(fields.get("Ks", "0"))))
    opacity = _numbers(fields.get("d", fields.get("Tr", "1")).removeprefix("-halo"))[0]
    texture = fields.get("map_Kd", "").replace("\\", "/").split("/")[-1].strip()
    red, green, blue = (_numbers(fields.get("Kd", "0.7 0.7 0.7")) * 3)[:3]
    if texture and red + green + blue < 0.3:
        red = green = blue = 1.0  # some exporters write black under a texture
    return Material((red, green, blue), opacity, min(1.0, shine), texture)


def _numbers(text: str) -> list[float]:
    return [float(word) for word in text.split()] or [0.0]


def guessed_material(name: str) -> Material:
    """A stable, plausible colour for a material that is only named."""
    for word, colour in _NAMED_COLOURS.items():
        if word in name.lower():
            return Material(colour)
    seed = zlib.crc32(name.encode())
    grey = 0.2 + 0.6 * (seed & 255) / 255
    warm = 0.12 * (((seed >> 8) & 255) / 255 - 0.3)
    return Material((min(1.0, grey + warm), grey, max(0.02, grey - warm)))
