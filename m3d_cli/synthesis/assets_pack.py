"""From two Debian packages of furniture to one packed library (see ``assets``).

``sweethome3d-furniture`` and ``sweethome3d`` carry zipped catalogues: a properties file with true sizes in centimetres,
OBJ models with materials, and textures. Models keep their catalogue size exactly; very fine ones are thinned.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import zipfile
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
from numpy.typing import NDArray

from m3d_cli.atomic import atomic_write
from m3d_cli.errors import DatasetError
from m3d_cli.synthesis.assets import FORMAT, TEXTURE_SIZE, encode_textures, quantise
from m3d_cli.synthesis.wavefront import Material, ObjMesh, guessed_material, read_mtl, read_obj

PACKAGES = ("sweethome3d-furniture", "sweethome3d")
CENTIMETRE = 0.01
MAX_TRIANGLES = 9000
MAX_COARSE = 1800  # triangles of the copy that stands far away
_FINER = {"Vehicles": 26000}
_TREE = 2.4  # metres
_SEEN_FAR = ("Vehicles", "Exterior", "Characters")
_CATALOGUES = ("PluginFurnitureCatalog.properties", "com/eteks/sweethome3d/io/DefaultFurnitureCatalog.properties")
_SWATCHES = "com/eteks/sweethome3d/io/DefaultTexturesCatalog.properties"
_ENTRY = re.compile(r"^(\w+)#(\d+)=(.*)$", re.MULTILINE)
_TRANSPARENT = 0.45  # opacity below which a pane is left out
# Light sources and building blocks are not things one sees in a photo.
_UNWANTED = ("light source", "swimming pool", "escalator", "spiral staircase", "triangle")


@dataclass(frozen=True, slots=True, eq=False)
class _Geometry:
    vertices: NDArray[np.uint16]
    triangles: NDArray[np.uint16]
    uv: NDArray[np.float16]
    surface: NDArray[np.uint16]


@dataclass(frozen=True, slots=True, eq=False)
class _PackedModel:
    text: tuple[str, str, str, str]
    numbers: tuple[float, ...]
    fine: _Geometry
    coarse: _Geometry | None


class _Shelf:
    """Textures and surfaces collected while models are read; equal ones are kept once."""

    def __init__(self) -> None:
        self.textures: list[NDArray[np.uint8]] = [np.full((TEXTURE_SIZE, TEXTURE_SIZE, 4), 255, np.uint8)]
        self.surfaces: list[tuple[int, tuple[float, float, float], float]] = []
        self._texture_of: dict[tuple[str, str], int] = {}
        self._surface_of: dict[tuple[int, tuple[float, float, float], float], int] = {}

    def texture(self, archive: zipfile.ZipFile, name: str) -> int:
        key = (str(archive.filename), name)
        if key not in self._texture_of:
            image = _read_texture(archive, name)
            self._texture_of[key] = len(self.textures) if image is not None else 0
            if image is not None:
                self.textures.append(image)
        return self._texture_of[key]

    def surface(self, texture: int, colour: tuple[float, float, float], gloss: float) -> int:
        key = (texture, colour, round(gloss, 2))
        if key not in self._surface_of:
            self._surface_of[key] = len(self.surfaces)
            self.surfaces.append(key)
        return self._surface_of[key]


def fetch_assets(folder: Path) -> Path:
    """Download the packages with ``apt-get download`` and unpack them below ``folder``; needs no root."""
    apt, dpkg = shutil.which("apt-get"), shutil.which("dpkg")
    if apt is None or dpkg is None:
        raise DatasetError(
            "apt-get and dpkg are not here, so the models cannot be fetched",
            hint=f"on a Debian machine run 'apt-get download {' '.join(PACKAGES)}' and unpack both with 'dpkg -x'",
        )
    target = folder / "extracted"
    target.mkdir(parents=True, exist_ok=True)
    _run([apt, "download", *PACKAGES], folder)
    for package in sorted(folder.glob("*.deb")):
        _run([dpkg, "-x", str(package.resolve()), str(target.resolve())], folder)
    return target


def _run(command: list[str], folder: Path) -> None:
    try:
        # The commands are two constants found by shutil.which.
        subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)  # noqa: S603
    except subprocess.CalledProcessError as error:
        reason = (error.stderr or "").strip().splitlines()
        raise DatasetError(
            f"'{' '.join(command[:2])}' failed: {reason[-1] if reason else error.returncode}",
            hint="check the network and run 'apt-get update'",
        ) from error


def pack_assets(extracted: Path, out_file: Path) -> Path:
    """Pack every catalogue (.sh3f, .jar) below ``extracted`` into ``out_file`` (.npz)."""
    files = sorted([*extracted.rglob("*.sh3f"), *extracted.rglob("sweethome3d.jar")])
    if not files:
        raise DatasetError(f"{extracted}: no .sh3f catalogue in it", hint="fetch the Debian packages first")
    shelf = _Shelf()
    models: list[_PackedModel] = []
    swatches: list[tuple[str, str, int, float]] = []
    for file in files:
        try:
            with zipfile.ZipFile(file) as archive:
                models += _read_catalogue(archive, shelf)
                swatches += _read_swatches(archive, shelf)
        except zipfile.BadZipFile as error:
            raise DatasetError(f"{file}: damaged archive", hint="fetch the packages again") from error
    if not models:
        raise DatasetError(f"{extracted}: the catalogues hold no usable model")
    _save(out_file, models, swatches, shelf)
    return out_file


def _entries(text: str) -> list[dict[str, str]]:
    found: dict[int, dict[str, str]] = defaultdict(dict)
    for key, number, value in _ENTRY.findall(text):
        found[int(number)][key] = value.strip().encode("latin-1", "replace").decode("unicode_escape", "replace")
    return [found[number] for number in sorted(found)]


def _property(text: str, key: str) -> str:
    match = re.search(rf"^{key}=(.*)$", text, re.MULTILINE)
    return match.group(1).strip() if match else ""


def _read_catalogue(archive: zipfile.ZipFile, shelf: _Shelf) -> list[_PackedModel]:
    names = set(archive.namelist())
    catalogue = next((name for name in _CATALOGUES if name in names), None)
    if catalogue is None:
        return []
    text = archive.read(catalogue).decode("latin-1")
    licence = _property(text, "license") or "GPL-2+"  # the program's own catalogue falls under the program's licence
    found = [_read_model(archive, entry, licence, shelf) for entry in _entries(text)]
    return [model for model in found if model is not None]


def _read_model(archive: zipfile.ZipFile, entry: Mapping[str, str], licence: str, shelf: _Shelf) -> _PackedModel | None:
    name = entry.get("name", "").lower()
    path = entry.get("model", "").lstrip("/")
    if not path.endswith(".obj") or path not in archive.namelist() or any(word in name for word in _UNWANTED):
        return None
    mesh = read_obj(archive.read(path).decode("latin-1"))
    if not len(mesh.triangles):
        return None
    folder = str(PurePosixPath(path).parent)
    materials = _materials(archive, folder, mesh)
    mesh, materials = _without_panes(mesh, materials, entry.get("category", ""))
    surfaces = [_surface(archive, folder, material, shelf) for material in materials]
    upright = _upright(mesh.vertices, entry.get("modelRotation", ""))
    category = entry.get("category", "")
    of_triangle = np.array(surfaces, dtype=np.uint16)[mesh.material]
    fine = _geometry(upright, mesh, of_triangle, _FINER.get(category, MAX_TRIANGLES))
    # A tree thinned this much would lose its trunk.
    low = _numbers(entry)[2] < _TREE or category == "Vehicles"
    wants_coarse = low and category in _SEEN_FAR and len(fine.triangles) > MAX_COARSE * 1.3
    return _PackedModel(
        text=(name, category, entry.get("creator", ""), licence),
        numbers=_numbers(entry),
        fine=fine,
        coarse=_geometry(upright, mesh, of_triangle, MAX_COARSE) if wants_coarse else None,
    )


def _geometry(upright: NDArray[np.float32], mesh: ObjMesh, surface: NDArray[np.uint16], most: int) -> _Geometry:
    vertices, triangles, keep = _thinned(upright, mesh.triangles, most)
    uv = mesh.uv[keep]
    uv = np.clip(uv - np.floor(uv.min(axis=1, keepdims=True)), 0, 1000)
    return _Geometry(quantise(vertices), triangles.astype(np.uint16), uv.astype(np.float16), surface[keep])


def _numbers(entry: Mapping[str, str]) -> tuple[float, ...]:
    """Width, depth, height, drop height (NaN unknown), elevation in metres; 1 for doors and windows."""
    width, depth, height = (float(entry[key]) * CENTIMETRE for key in ("width", "depth", "height"))
    drop = float(entry.get("dropOnTopElevation", "nan")) * CENTIMETRE
    opening = float(entry.get("doorOrWindow") == "true")
    return width, depth, height, drop if drop > 0 else np.nan, float(entry.get("elevation", 0)) * CENTIMETRE, opening


def _materials(archive: zipfile.ZipFile, folder: str, mesh: ObjMesh) -> list[Material]:
    path = f"{folder}/{mesh.library}"
    known = read_mtl(archive.read(path).decode("latin-1")) if path in archive.namelist() else {}
    return [known.get(name) or guessed_material(name) for name in mesh.materials]


def _without_panes(mesh: ObjMesh, materials: list[Material], category: str) -> tuple[ObjMesh, list[Material]]:
    """Leave out glass that one looks through; keep it dark in vehicles, and keep things made of glass."""
    clear = np.array([material.opacity < _TRANSPARENT for material in materials])
    if category == "Vehicles":
        dark = Material(colour=(0.03, 0.035, 0.04), gloss=0.8)
        return mesh, [dark if pane else material for pane, material in zip(clear, materials, strict=True)]
    keep = ~clear[mesh.material]
    if keep.mean() < 0.3:
        return mesh, materials
    thinned = ObjMesh(
        mesh.vertices, mesh.triangles[keep], mesh.uv[keep], mesh.material[keep], mesh.materials, mesh.library
    )
    return thinned, materials


def _upright(vertices: NDArray[np.float32], rotation: str) -> NDArray[np.float32]:
    """Apply the catalogue's rotation and go from y up to z up (front towards -y)."""
    if rotation:
        vertices = vertices @ np.array(rotation.split(), dtype=np.float32).reshape(3, 3).T
    return np.stack([vertices[:, 0], -vertices[:, 2], vertices[:, 1]], axis=1)


def _thinned(
    vertices: NDArray[np.float32], triangles: NDArray[np.int32], most: int
) -> tuple[NDArray[np.float32], NDArray[np.int32], NDArray[np.int64]]:
    """Merge vertices on finer to coarser grids until few enough triangles are left; ``keep`` names the survivors."""
    low, extent = vertices.min(axis=0), float(np.ptp(vertices, axis=0).max()) or 1.0
    cells = 4096
    while True:
        grid = np.rint((vertices - low) / extent * cells).astype(np.int64)
        _, first, inverse = np.unique(grid, axis=0, return_index=True, return_inverse=True)
        merged = inverse.reshape(-1)[triangles]
        a, b, c = merged.T
        keep = np.flatnonzero((a != b) & (b != c) & (a != c))
        if len(keep) <= most and len(first) < 65536:
            return _compact(vertices[first], merged[keep], keep)
        cells = int(cells * 0.8)


def _compact(
    vertices: NDArray[np.float32], triangles: NDArray[np.int64], keep: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.int32], NDArray[np.int64]]:
    used, inverse = np.unique(triangles, return_inverse=True)
    return vertices[used], inverse.reshape(-1, 3).astype(np.int32), keep


def _surface(archive: zipfile.ZipFile, folder: str, material: Material, shelf: _Shelf) -> int:
    texture = shelf.texture(archive, f"{folder}/{material.texture}") if material.texture else 0
    red, green, blue = (round(channel, 2) for channel in material.colour)
    return shelf.surface(texture, (red, green, blue), material.gloss)


def _read_texture(archive: zipfile.ZipFile, name: str) -> NDArray[np.uint8] | None:
    if name not in archive.namelist():
        return None
    image = cv2.imdecode(np.frombuffer(archive.read(name), np.uint8), cv2.IMREAD_UNCHANGED)
    if image is None:
        return None
    if image.dtype == np.uint16:
        image = (image // 257).astype(np.uint8)
    if image.ndim == 2:
        image = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
    image = cv2.resize(image, (TEXTURE_SIZE, TEXTURE_SIZE), interpolation=cv2.INTER_AREA)
    out = np.full((TEXTURE_SIZE, TEXTURE_SIZE, 4), 255, np.uint8)
    out[..., :3] = image[..., 2::-1]
    if image.shape[2] == 4 and image[..., 3].min() < 128:
        out[..., 3] = image[..., 3]
    return out


def _read_swatches(archive: zipfile.ZipFile, shelf: _Shelf) -> list[tuple[str, str, int, float]]:
    if _SWATCHES not in archive.namelist():
        return []
    found = []
    for entry in _entries(archive.read(_SWATCHES).decode("latin-1")):
        texture = shelf.texture(archive, entry.get("image", "").lstrip("/"))
        width = float(entry.get("width", "100")) * CENTIMETRE
        found.append((entry.get("name", "").lower(), entry.get("category", ""), texture, width))
    return found


def _save(
    out_file: Path, models: list[_PackedModel], swatches: list[tuple[str, str, int, float]], shelf: _Shelf
) -> None:
    data, start = encode_textures(shelf.textures)
    coarse = [(i, model.coarse) for i, model in enumerate(models) if model.coarse is not None]
    pieces = [*(model.fine for model in models), *(piece for _, piece in coarse)]
    coarse_of = np.arange(len(models))
    coarse_of[[i for i, _ in coarse]] = len(models) + np.arange(len(coarse))
    with atomic_write(out_file) as file:
        np.savez_compressed(
            file,
            format=np.array(FORMAT),
            model_text=np.array([model.text for model in models]),
            model_numbers=np.array([model.numbers for model in models]),
            swatch_text=np.array([row[:2] for row in swatches] or np.empty((0, 2), "U1")),
            swatch_numbers=np.array([row[2:] for row in swatches] or np.empty((0, 2))),
            texture_bytes=data,
            texture_start=start,
            coarse_of=coarse_of,
            vertex_start=np.cumsum([0] + [len(piece.vertices) for piece in pieces]),
            vertices=np.concatenate([piece.vertices for piece in pieces]),
            triangle_start=np.cumsum([0] + [len(piece.triangles) for piece in pieces]),
            triangles=np.concatenate([piece.triangles for piece in pieces]),
            uv=np.concatenate([piece.uv for piece in pieces]),
            surface=np.concatenate([piece.surface for piece in pieces]),
            surface_texture=np.array([row[0] for row in shelf.surfaces]),
            surface_colour=np.array([row[1] for row in shelf.surfaces]),
            surface_gloss=np.array([row[2] for row in shelf.surfaces]),
        )
