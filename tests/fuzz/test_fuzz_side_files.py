"""Damaged side files (calibrations, EXIF sidecars, sensor tables, poses, TOML) end in a result or in an error that
names the file, within 2 s each. ``M3D_FUZZ=1000 pytest tests/fuzz/test_fuzz_side_files.py`` tries more of each.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from m3d_cli.errors import M3dError
from m3d_cli.formats.colmap import (
    ColmapCamera,
    ColmapImage,
    ColmapModel,
    ColmapPoints,
    write_colmap_binary,
    write_colmap_text,
)
from m3d_cli.formats.trajectories import read_trajectory
from m3d_cli.intrinsics.calibration.match import fit_to_photo
from m3d_cli.intrinsics.calibration.read import read_calibration
from m3d_cli.intrinsics.exif_sidecar import read_exif_sidecar
from m3d_cli.intrinsics.sensors import read_sensor_table
from m3d_cli.metrology.spec.read import read_sheet
from m3d_cli.training.config import read_config

_spec = importlib.util.spec_from_file_location("mutations", Path(__file__).with_name("mutations.py"))
mutations = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(mutations)

TRIES = int(os.environ.get("M3D_FUZZ", "60"))
# Of CPU: the bound is 2 s, on machines that may be several times slower than another day.
SECONDS = 8.0
ROW = "915.4 0 640.9 45 0 914.2 359.6 0 0 0 1 0"
MATRIX = [915.4, 0, 640.9, 0, 914.2, 359.6, 0, 0, 1]
POSE = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 4], [0, 0, 0, 1]]
STORAGE = """%YAML:1.0
---
image_width: 1280
camera_matrix: !!opencv-matrix
   rows: 3
   cols: 3
   dt: d
   data: [ 915.4, 0., 640.9, 0., 914.2, 359.6, 0., 0., 1. ]
distortion_coefficients: !!opencv-matrix
   rows: 1
   cols: 5
   dt: d
   data: [ 1.0e-01, 0., 0., 0., 0. ]
"""
XML = """<opencv_storage><camera_matrix type_id="opencv-matrix"><rows>3</rows><cols>3</cols><dt>d</dt>
<data>915.4 0. 640.9 0. 914.2 359.6 0. 0. 1.</data></camera_matrix><image_width>1280</image_width></opencv_storage>"""
METASHAPE = """<calibration><projection>frame</projection><width>1280</width><height>720</height><f>915.4</f>
<cx>0.9</cx><k1>-0.05</k1><p1>0.001</p1></calibration>"""
KALIBR = """cam0:
  camera_model: pinhole
  distortion_coeffs: [-0.28, 0.07, 0.0002, 2e-05]
  distortion_model: radtan
  intrinsics: [915.4, 914.2, 640.9, 359.6]
  resolution: [1280, 720]
cam1: {camera_model: pinhole, intrinsics: [815.4, 914.2, 640.9, 359.6], resolution: [1280, 720]}
"""
VINS = (
    "%YAML:1.0\n---\nmodel_type: PINHOLE\nimage_width: 8\nprojection_parameters: {fx: 9e2, fy: 9e2, cx: 6e2, cy: 3e2}\n"
)
ORB = '%YAML:1.0\nCamera.type: "PinHole"\nCamera.fx: 915.4\nCamera.fy: 914.2\nCamera.cx: 640.9\nCamera.cy: 359.6\n'
ROS = (
    "height: 720\nwidth: 1280\ndistortion_model: plumb_bob\nD: [0.1, 0, 0, 0, 0]\n"
    "K: [915, 0, 640, 0, 914, 359, 0, 0, 1]\n"
    "roi: {x_offset: 320, y_offset: 180, height: 360, width: 640}\n---\n"
)
STELLA = "Camera:\n  model: fisheye\n  fx: 915\n  fy: 914\n  cx: 640\n  cy: 359\n  k1: 0.1\n  cols: 1280\n  rows: 720\n"
OST = "[image]\nwidth\n1280\nheight\n720\n[c]\ncamera matrix\n915 0 640\n0 914 359\n0 0 1\ndistortion\n0.1 0 0 0 0\n"
EXIF = [{"SourceFile": "a.jpg", "EXIF": {"FocalLength": "50.0 mm", "Model": "X"}, "File": {"ImageWidth": 1600}}]
FLICKR = {"photo": {"id": "6061409035", "exif": [{"tag": "FocalLength", "raw": {"_content": "24 mm"}}]}, "stat": "ok"}
SHEET = '[[photo]]\nmatch = "*.jpg"\nfocal = 100\n[[photo.measure]]\nkind = "line"\npoints = "1,2 3,4"\nname = "a"\n'
TRAIN = 'size = [48, 64]\nsteps = 10\n[data]\nroots = ["a"]\n[optimiser]\nlr = 1e-4\n'

JSONS = {
    "own.json": {"a/*.jpg": {"fx": 915.4, "cx": 640, "distortion": {"model": "fisheye", "coefficients": [0.1]}}},
    "transforms.json": {"camera_model": "OPENCV", "w": 1280, "h": 720, "fl_x": 915.4, "cx": 640, "cy": 360, "k1": 0.1}
    | {"frames": [{"file_path": "a.jpg", "transform_matrix": POSE}, {"file_path": "b.jpg", "transform_matrix": POSE}]},
    "blender.json": {"camera_angle_x": 0.7, "frames": [{"file_path": "./a", "transform_matrix": POSE}]},
    "opencv.json": {"K": {"rows": 3, "cols": 3, "dt": "d", "data": MATRIX}, "D": [[0.1], [0.2], [0], [0]]},
    "open3d.json": {"intrinsic": {"width": 1280, "height": 720, "intrinsic_matrix": MATRIX}},
    "record3d.json": {"w": 1280, "h": 720, "K": MATRIX, "perFrameIntrinsicCoeffs": [[915, 914, 640, 359]]},
    "realsense.json": {"width": 1280, "height": 720, "ppx": 640, "ppy": 359, "fx": 915, "fy": 914, "coeffs": [0, 0, 0]},
    "odm.json": {
        "v2": {"projection_type": "brown", "width": 1280, "height": 720, "focal_x": 0.7, "c_x": 0.1, "k1": 0.1}
    },
    "script.json": {"K": [[915, 0, 640], [0, 914, 359], [0, 0, 1]], "D": [[0.1], [0], [0], [0]], "DIM": [1280, 720]},
    "gs.json": [{"img_name": "a", "width": 1280, "height": 720, "fx": 915, "fy": 914}],
}
TEXTS = {
    "storage.yml": STORAGE,
    "storage.xml": XML,
    "metashape.xml": METASHAPE,
    "kalibr.yaml": KALIBR,
    "vins.yaml": VINS,
    "orb.yaml": ORB,
    "ost.txt": OST,
    "echo.txt": ROS + ROS,
    "stella.yaml": STELLA,
    "calib.txt": f"P0: {ROW}\nP_rect_02: {ROW}\nS_rect_02: 1280 720\n",
    "k.csv": "915.4,0,640.9\n0,914.2,359.6\n0,0,1\n",
    "cameras.txt": "1 OPENCV 1280 720 915.4 914.2 640.9 359.6 0.1 0 0 0\n",
}


def read_camera(path):
    for entry in read_calibration(path).entries:
        for size in ((1280, 720), (3000, 4000)):
            fit_to_photo(entry.intrinsics, *size, 6, str(path))


def tried(path, data, read):
    """Read damaged bytes: any error is one of m3d's and names the file or its folder."""
    path.write_bytes(data)
    begin = time.process_time()
    try:
        read(path)
    except M3dError as error:
        message = error.message
    else:
        message = str(path)
    assert str(path.parent) in message
    assert time.process_time() - begin < SECONDS


@pytest.mark.parametrize("name", [*JSONS, *TEXTS])
def test_damaged_calibrations(tmp_path, name):
    rng = mutations.seeded(name)
    path = tmp_path / name
    for _ in range(TRIES):
        if name in JSONS:
            text = json.dumps(mutations.revalued(JSONS[name], rng))
            text = mutations.reworded(text, rng) if rng.random() < 0.3 else text
        else:
            text = mutations.reworded(TEXTS[name], rng)
        data = text.encode("utf-8", "surrogatepass")
        tried(path, mutations.mutated(data, rng) if rng.random() < 0.5 else data, read_camera)
        if name.startswith(("transforms", "blender")):
            tried(path, data, read_trajectory)


@pytest.mark.parametrize(
    ("name", "text", "read"),
    [
        ("tags.json", json.dumps(EXIF), read_exif_sidecar),
        ("flickr.json", json.dumps(FLICKR), read_exif_sidecar),
        ("sensors.txt", "Acme;One;6.17;source\nAcme;Two;36\n", read_sensor_table),
        ("tum.txt", "0 0 0 0 0 0 0 1\n1 0 0 0 0 0 0 1\n", read_trajectory),
        ("kitti.txt", "1 0 0 0 0 1 0 0 0 0 1 0\n", read_trajectory),
        ("poses.log", "0 0 1\n" + "\n".join(" ".join(map(str, row)) for row in POSE) + "\n", read_trajectory),
        ("sheet.toml", SHEET, read_sheet),
        ("train.toml", TRAIN, read_config),
    ],
    ids=lambda value: value if isinstance(value, str) and "." in value and " " not in value else "",
)
def test_other_damaged_side_files(tmp_path, name, text, read):
    rng = mutations.seeded(name)
    for _ in range(TRIES):
        data = mutations.reworded(text, rng).encode("utf-8", "surrogatepass")
        tried(tmp_path / name, mutations.mutated(data, rng) if rng.random() < 0.5 else data, read)


@pytest.mark.parametrize("write", [write_colmap_text, write_colmap_binary])
def test_damaged_colmap_models(tmp_path, write):
    rng = mutations.seeded(write.__name__)
    pixels = (np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([7, -1]))
    images = tuple(ColmapImage(n, f"{n}.jpg", 1, np.eye(4), *pixels) for n in (1, 2))
    points = ColmapPoints(np.array([7]), np.ones((1, 3)), np.zeros((1, 3), np.uint8), np.zeros(1))
    camera = ColmapCamera(1, "OPENCV", 1280, 720, (915.4, 914.2, 641.4, 360.1, 0.1, 0, 0, 0))
    (tmp_path / "sound").mkdir()
    write(ColmapModel((camera,), images, points), tmp_path / "sound")
    files = sorted((tmp_path / "sound").iterdir())
    for _ in range(TRIES):
        folder = tmp_path / "damaged"
        shutil.copytree(tmp_path / "sound", folder, dirs_exist_ok=True)
        victim = rng.choice(files)
        data = mutations.mutated(victim.read_bytes(), rng)
        tried(folder / victim.name, data, lambda path: read_trajectory(path.parent))
        tried(folder / victim.name, data, lambda path: read_camera(path.with_name(f"cameras{path.suffix}")))


def test_a_dotted_key_and_nested_tables_without_end_are_refused(tmp_path):
    for text in ("a" + ".a" * 20_000 + " = 1", "a = " + "[" * 100_000, "a = " + "{a=" * 50_000, "x = 1\n" * 1_000_000):
        for name, read in (("sheet.toml", read_sheet), ("train.toml", read_config)):
            with pytest.raises(M3dError, match=name):
                read(tmp_path / name) if (tmp_path / name).write_text(text) else None


def test_counts_that_a_model_cannot_hold_are_refused(tmp_path):
    for name in ("cameras", "images", "points3D"):
        (tmp_path / f"{name}.bin").write_bytes(bytes(8))
    for name in ("cameras", "images", "points3D"):
        for count in (2**63, 2**64 - 1, 10**9):
            (tmp_path / f"{name}.bin").write_bytes(count.to_bytes(8, "little") + bytes(100))
            with pytest.raises(M3dError, match=f"{name}.bin: .*cannot hold"):
                read_trajectory(tmp_path)
        (tmp_path / f"{name}.bin").write_bytes(bytes(8))


@pytest.mark.parametrize("read", [read_calibration, read_exif_sidecar])
def test_more_photos_than_anyone_has_are_refused_in_time(tmp_path, read):
    path = tmp_path / "side.json"
    if read is read_calibration:
        path.write_text(json.dumps({f"{number}.jpg": {"fx": 1} for number in range(150_000)}))
    else:
        path.write_text(json.dumps([{"SourceFile": f"{number}.jpg"} for number in range(300_000)]))
    begin = time.process_time()
    with pytest.raises(M3dError, match=r"side\.json: .*more than 100,000"):
        read(path)
    assert time.process_time() - begin < SECONDS


@pytest.mark.parametrize(
    ("name", "text"), [("k.txt", "1 "), ("k.csv", "1,2\n"), ("cameras.txt", "1 X\n"), ("calib.txt", "P0: 1\n")]
)
def test_endless_text_is_refused_in_time(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text * (11_000_000 // len(text)))
    begin = time.process_time()
    with pytest.raises(M3dError, match=name):
        read_calibration(path)
    assert time.process_time() - begin < 2 * SECONDS
