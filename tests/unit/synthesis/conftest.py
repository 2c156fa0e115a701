"""A catalogue of a few boxes in the layout of the furniture packages, packed and loaded once."""

from __future__ import annotations

import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from m3d_cli.synthesis.assets import AssetLibrary, load_assets
from m3d_cli.synthesis.assets_pack import pack_assets

_CUBE = """mtllib cube.mtl
v 0 0 0
v 2 0 0
v 2 4 0
v 0 4 0
v 0 0 1
v 2 0 1
v 2 4 1
v 0 4 1
vt 0 0
vt 1 0
vt 1 1
vt 0 1
usemtl skin
f 1/1 2/2 3/3 4/4
f 5/1 6/2 7/3 8/4
f 1/1 2/2 6/3 5/4
f 4/1 3/2 7/3 8/4
usemtl plain
f 1 4 8 5
f -7 -6 -2 -3
"""
_MTL = """newmtl skin
Kd 0 0 0
map_Kd skin.png
newmtl plain
Kd 0.5 0.25 0.125
Ks 0.4 0.4 0.4
d 1.0
"""

# name, category, width, depth, height (centimetres), further properties
ROWS: tuple[tuple[str, str, float, float, float, str], ...] = (
    ("Table", "Living room", 120, 80, 74, "dropOnTopElevation#{n}=74"),
    ("Chair", "Living room", 45, 50, 90, ""),
    ("Desk", "Office", 140, 70, 75, ""),
    ("Cabinet", "Office", 80, 40, 120, ""),
    ("Cabinet", "Kitchen", 60, 60, 88, ""),
    ("Bed", "Bedroom", 140, 200, 60, ""),
    ("Bath", "Bathroom", 70, 170, 60, ""),
    ("Mug", "Kitchen", 8, 10, 9, ""),
    ("Window", "Doors and windows", 90, 20, 120, "elevation#{n}=90\ndoorOrWindow#{n}=true"),
    ("Door", "Doors and windows", 90, 14, 205, "doorOrWindow#{n}=true"),
    ("Male", "Characters", 55, 40, 182, ""),
    ("Sedan", "Vehicles", 185, 440, 150, ""),
    ("Bus", "Vehicles", 280, 1200, 310, ""),
    ("Maple", "Exterior", 400, 400, 700, ""),
    ("Hedge", "Exterior", 150, 60, 100, ""),
    ("Bench", "Exterior", 150, 60, 80, "modelRotation#{n}=0 0 1 0 1 0 -1 0 0"),
)


def write_catalogue(folder: Path) -> Path:
    """Write ``tiny.sh3f`` into ``folder`` and return its path."""
    skin = np.zeros((16, 16, 4), np.uint8)
    skin[..., 2], skin[..., 3] = 200, 255
    path = folder / "tiny.sh3f"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("cube/cube.obj", _CUBE)
        archive.writestr("cube/cube.mtl", _MTL)
        archive.writestr("cube/skin.png", cv2.imencode(".png", skin)[1].tobytes())
        archive.writestr("PluginFurnitureCatalog.properties", "license=CC-0\n" + "\n".join(_rows()))
    return path


def _rows() -> list[str]:
    return [
        f"name#{n}={name}\ncategory#{n}={category}\nmodel#{n}=/cube/cube.obj\nwidth#{n}={width}\ndepth#{n}={depth}\n"
        f"height#{n}={height}\ncreator#{n}=Nobody\n{more.format(n=n)}"
        for n, (name, category, width, depth, height, more) in enumerate(ROWS, start=1)
    ]


@pytest.fixture(scope="session")
def extracted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the tiny catalogue in it."""
    folder = tmp_path_factory.mktemp("assets")
    write_catalogue(folder)
    return folder


@pytest.fixture(scope="session")
def library(extracted: Path) -> AssetLibrary:
    """The tiny catalogue, packed and loaded."""
    return load_assets(pack_assets(extracted, extracted / "pack.npz"))
