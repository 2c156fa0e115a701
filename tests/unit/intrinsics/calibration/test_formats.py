"""Calibration files as other programs write them: every format gives the same camera, or says why it cannot."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from m3d_cli.camera import Distortion, DistortionModel
from m3d_cli.errors import CalibrationError
from m3d_cli.formats.colmap import ColmapCamera, ColmapImage, ColmapModel, ColmapPoints, write_colmap_binary
from m3d_cli.intrinsics.calibration.match import Intrinsics, fit_to_photo
from m3d_cli.intrinsics.calibration.read import read_calibration

BROWN = Distortion(DistortionModel.BROWN, (-0.28, 0.07, 0.0002, 2e-05))
FISHEYE = Distortion(DistortionModel.FISHEYE, (0.05, -0.006, 0.0005, -0.0008))
# fx fy cx cy of these files are 915.4 914.2 640.9 359.6 in OpenCV's grid, half a pixel more in ours.
SIZED = Intrinsics(915.4, 914.2, 641.4, 360.1, 1280, 720)
UNSIZED = dataclasses.replace(SIZED, width=None, height=None)

KALIBR = """cam0:
  cam_overlaps: []
  camera_model: {model}
  distortion_coeffs: [{terms}]
  distortion_model: {lens}
  intrinsics: [915.4, 914.2, 640.9, 359.6]
  resolution: [1280, 720]
"""
ORB = """%YAML:1.0
#----------
File.version: "1.0"
Camera.type: "{model}"
{prefix}.fx: 915.4
{prefix}.fy: 914.2
{prefix}.cx: 640.9
{prefix}.cy: 359.6
{terms}Camera.width: 1280
Camera.height: 720
"""
VINS = """%YAML:1.0
---
model_type: {model}
image_width: 1280
image_height: 720
distortion_parameters:
   k1: -0.28
   k2: 7e-02
   p1: 2.0e-04
   p2: 2.0e-05
projection_parameters:
   {numbers}
"""
ROS = """header:
  stamp: {secs: 1, nsecs: 0}
height: 720
width: 1280
distortion_model: "plumb_bob"
D: [-0.28, 0.07, 0.0002, 2e-05]
K: [915.4, 0.0, 640.9, 0.0, 914.2, 359.6, 0.0, 0.0, 1.0]
R: [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
P: [900.0, 0.0, 640.0, 0.0, 0.0, 900.0, 360.0, 0.0, 0.0, 0.0, 1.0, 0.0]
roi: {x_offset: 0, y_offset: 0, height: 0, width: 0, do_rectify: False}
---
"""
OST = """# oST version 5.0 parameters

[image]

width
1280

height
720

[narrow_stereo]

camera matrix
915.400000 0.000000 640.900000
0.000000 914.200000 359.600000
0.000000 0.000000 1.000000

distortion
-0.28 0.07 0.0002 2e-05

rectification
1 0 0
0 1 0
0 0 1

projection
900.1 0 640.9 0
0 901.1 359.0 0
0 0 1 0
"""
ROW = "915.4 0 640.9 {} 0 914.2 359.6 0 0 0 1 0"
KITTI = f"P0: {ROW.format(0)}\nP2: {ROW.format(45)}\nTr: 1 0 0 0 0 1 0 0 0 0 1 0\n"
RAW_KITTI = f"calib_time: 09-Jan-2012 13:57:47\nS_rect_02: 1.280000e+03 7.200000e+02\nP_rect_02: {ROW.format(45)}\n"
REALSENSE = {"width": 1280, "height": 720, "ppx": 640.9, "ppy": 359.6, "fx": 915.4, "fy": 914.2}
COLUMNS = [915.4, 0, 0, 0, 914.2, 0, 640.9, 359.6, 1]
ORB_TERMS = "".join(f"Camera1.{n}: {v}\n" for n, v in zip(("k1", "k2", "p1", "p2"), BROWN.coefficients, strict=True))
ORB_FISHEYE = "".join(f"Camera.k{n}: {v}\n" for n, v in enumerate(FISHEYE.coefficients, 1))


def write(tmp_path, name, content):
    path = tmp_path / name
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def for_all(path):
    return read_calibration(path).find(Path("any.jpg"))


def lens_of(intrinsics, lens):
    return dataclasses.replace(intrinsics, distortion=lens)


def trimmed(lens):
    """The model and its coefficients without the zeros at their end."""
    if lens is None:
        return None
    return lens.model, str(np.trim_zeros(np.array(lens.coefficients), "b").tolist())


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        (
            "kalibr.yaml",
            KALIBR.format(model="pinhole", lens="radtan", terms="-0.28, 0.07, 0.0002, 2e-05"),
            lens_of(SIZED, BROWN),
        ),
        (
            "kalibr.yaml",
            KALIBR.format(model="pinhole", lens="equidistant", terms="0.05, -0.006, 0.0005, -0.0008"),
            lens_of(SIZED, FISHEYE),
        ),
        ("kalibr.yaml", KALIBR.format(model="pinhole", lens="none", terms=""), SIZED),
        (
            "sensor.yaml",
            "sensor_type: camera\nT_BS: {cols: 4, rows: 4, data: [1]}\nresolution: [1280, 720]\ncamera_model: pinhole\n"
            "intrinsics: [915.4, 914.2, 640.9, 359.6] #fu, fv, cu, cv\ndistortion_model: radial-tangential\n"
            "distortion_coefficients: [-0.28, 0.07, 0.0002, 2e-05]\n",
            lens_of(SIZED, BROWN),
        ),
        ("orb.yaml", ORB.format(model="PinHole", prefix="Camera1", terms=ORB_TERMS), lens_of(SIZED, BROWN)),
        ("orb.yaml", ORB.format(model="KannalaBrandt8", prefix="Camera", terms=ORB_FISHEYE), lens_of(SIZED, FISHEYE)),
        (
            "vins.yaml",
            VINS.format(model="PINHOLE", numbers="{fx: 915.4, fy: 9.142e+02, cx: 640.9, cy: 359.6}"),
            lens_of(SIZED, BROWN),
        ),
        (
            "vins.yaml",
            VINS.format(
                model="KANNALA_BRANDT",
                numbers="{k2: 0.05, k3: -0.006, k4: 5e-4, k5: -8e-4, mu: 915.4, mv: 914.2, u0: 640.9, v0: 359.6}",
            ),
            lens_of(SIZED, FISHEYE),
        ),
        ("echo.yaml", ROS + ROS, lens_of(SIZED, BROWN)),
        ("ost.txt", OST, lens_of(SIZED, BROWN)),
        ("ost.ini", OST, lens_of(SIZED, BROWN)),
        ("calib.txt", KITTI, UNSIZED),
        ("calib_cam_to_cam.txt", RAW_KITTI, SIZED),
        ("k.csv", "915.4,0,640.9\n0,914.2,359.6\n0,0,1\n", UNSIZED),
        ("k.csv", "915.4,914.2,640.9,359.6\n", UNSIZED),
        ("k.txt", "915.4 0 640.9 0 914.2 359.6 0 0 1", UNSIZED),
        ("k.txt", "[[915.4, 0, 640.9],\n [0, 914.2, 359.6],\n [0, 0, 1]]", UNSIZED),
        ("k.txt", "915.4\n914.2\n640.9\n359.6\n", UNSIZED),
        ("droid.txt", "# EuRoC\n915.4 914.2 640.9 359.6 -0.28 0.07 0.0002 2e-05\n", lens_of(UNSIZED, BROWN)),
        ("realsense.json", {**REALSENSE, "model": "distortion.inverse_brown_conrady", "coeffs": [0.0] * 5}, SIZED),
        (
            "realsense.json",
            {**REALSENSE, "model": "distortion.brown_conrady", "coeffs": [*BROWN.coefficients, 0.5]},
            lens_of(SIZED, Distortion(DistortionModel.BROWN, (*BROWN.coefficients, 0.5))),
        ),
        (
            "realsense.json",
            {**REALSENSE, "model": "distortion.kannala_brandt4", "coeffs": [*FISHEYE.coefficients, 0]},
            lens_of(SIZED, FISHEYE),
        ),
        (
            "metadata.json",
            {"w": 1280, "h": 720, "fps": 60, "K": COLUMNS, "perFrameIntrinsicCoeffs": [], "poses": []},
            SIZED,
        ),
        ("azure.json", {"color_mode": "MJPG", "height": 720, "width": 1280, "intrinsic_matrix": COLUMNS}, SIZED),
        (
            "view.json",
            {
                "class_name": "PinholeCameraParameters",
                "intrinsic": {"height": 720, "width": 1280, "intrinsic_matrix": COLUMNS},
            },
            SIZED,
        ),
        (
            "polycam.json",
            {"fx": 915.4, "fy": 914.2, "cx": 641.4, "cy": 360.1, "width": 1280, "height": 720, "t_00": 1, "t_23": 0},
            SIZED,
        ),
        (
            "cameras.json",
            [
                {
                    "id": 0,
                    "img_name": "any",
                    "width": 1280,
                    "height": 720,
                    "position": [0, 0, 0],
                    "fy": 914.2,
                    "fx": 915.4,
                }
            ],
            Intrinsics(915.4, 914.2, None, None, 1280, 720),
        ),
    ],
    ids=lambda value: value if isinstance(value, str) and len(value) < 30 else "",
)
def test_the_same_camera_is_read_from_every_format(tmp_path, name, content, expected):
    found = for_all(write(tmp_path, name, content))
    for one, other in zip(dataclasses.astuple(found)[:6], dataclasses.astuple(expected)[:6], strict=True):
        assert one == (other if other is None else pytest.approx(other))
    assert trimmed(found.distortion) == trimmed(expected.distortion)


@pytest.mark.parametrize(
    ("name", "content", "model"),
    [
        ("kalibr.yaml", KALIBR.format(model="omni", lens="radtan", terms="0, 0, 0, 0"), "omni"),
        ("kalibr.yaml", KALIBR.format(model="pinhole", lens="fov", terms="0.9"), "fov"),
        ("orb.yaml", ORB.format(model="Sphere", prefix="Camera", terms=""), "Sphere"),
        ("vins.yaml", VINS.format(model="MEI", numbers="{gamma1: 1}"), "MEI"),
        ("cameras.json", {"v2": {"projection_type": "spherical", "width": 1280, "height": 640}}, "spherical"),
        ("t.json", {"camera_model": "EQUIRECTANGULAR", "fl_x": 640, "w": 1280, "h": 640}, "EQUIRECTANGULAR"),
        ("rs.json", {**REALSENSE, "model": "inverse_brown_conrady", "coeffs": [0.1, 0, 0, 0, 0]}, "inverse"),
        (
            "m.xml",
            "<calibration><projection>spherical</projection><width>8</width><height>6</height><f>9</f></calibration>",
            "spherical",
        ),
        ("m.xml", "<calibration><width>8</width><height>6</height><f>9</f><k4>0.1</k4></calibration>", "k4"),
    ],
)
def test_a_model_that_is_no_pinhole_with_opencvs_distortion_is_refused(tmp_path, name, content, model):
    with pytest.raises(CalibrationError, match=rf"{name}: .*{model}.* is not supported"):
        read_calibration(write(tmp_path, name, content))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("kalibr.yaml", "cam0:\n  intrinsics: [915.4, 914.2, 640.9]\n"),
        ("kalibr.yaml", "cam0:\n  intrinsics: [915.4, 914.2, 640.9, yes]\n"),
        ("kalibr.yaml", "cam0:\n  intrinsics: [1, 1, 1, 1]\n  resolution: [1280.5, 720]\n"),
        ("calib.txt", "P0: 1 2 3\n"),
        ("ost.txt", OST.replace("1280", "")),
        ("ost.txt", OST.replace("0.000000 914.200000 359.600000", "")),
        ("odm.json", {"a": {"projection_type": "brown", "width": 8, "height": 6, "focal_x": 1e30}}),
        ("odm.json", {name: {"projection_type": "brown", "width": 8, "height": 6, "focal": 1} for name in "ab"}),
        ("k.csv", "1,2,3\n4,5\n"),
        ("k.csv", "1,2,3,4,5\n"),
        ("m.xml", "<calibration><width>8</width><f>9</f></calibration>"),
        ("r3d.json", {"w": 8, "h": 6, "K": [[1, 2], [3]]}),
        ("gs.json", [{"img_name": "a", "fx": True, "fy": 1}]),
    ],
)
def test_a_damaged_file_of_a_known_format_is_named(tmp_path, name, content):
    with pytest.raises(CalibrationError, match=name):
        read_calibration(write(tmp_path, name, content))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.json", {"a": 1}),
        ("a.yaml", "a: 1\n"),
        ("a.xml", "<a/>"),
        ("a.txt", "hello world\n"),
        ("a.doc", ""),
        ("a.json", []),
    ],
)
def test_an_unknown_file_lists_what_was_looked_for(tmp_path, name, content):
    with pytest.raises(CalibrationError) as caught:
        read_calibration(write(tmp_path, name, content))
    for word in ("Kalibr", "COLMAP", "KITTI", "Metashape", "ORB-SLAM", "OpenCV", "nerfstudio", "4, 8 or 9 numbers"):
        assert word in caught.value.hint


def test_the_cameras_of_a_rig_are_told_apart_by_their_folders(tmp_path):
    first = KALIBR.format(model="pinhole", lens="none", terms="")
    other = first.replace("cam0", "cam1").replace("915.4", "815.4")
    rig = read_calibration(write(tmp_path, "camchain.yaml", first + other))
    assert rig.find(Path("/data/cam0/data/1.png"), Path("cam0/data/1.png")).fx == 915.4
    assert rig.find(Path("cam1/1.png")).fx == 815.4
    assert rig.find(Path("xcam1/1.png")) is None
    kitti = read_calibration(write(tmp_path, "calib.txt", KITTI + f"P3: {ROW.format(1).replace('915.4', '9')}\n"))
    assert kitti.find(Path("/kitti/training/image_2/000000.png")).fx == 915.4
    assert kitti.find(Path("drive/image_03/data/000000.png")).fx == 9
    assert kitti.find(Path("000000.png")) is None


def test_record3d_has_intrinsics_for_each_frame(tmp_path):
    rows = [[915.4, 914.2, 640.9, 359.6], [900, 900, 640, 360]]
    data = {"w": 1280, "h": 720, "K": COLUMNS, "perFrameIntrinsicCoeffs": rows}
    calibration = read_calibration(write(tmp_path, "metadata.json", data))
    assert calibration.find(Path("rgb/1.jpg")).fx == 900
    assert calibration.find(Path("rgb/7.jpg")).fx == 915.4


def test_blenders_angle_of_view_goes_with_the_width_of_the_photo(tmp_path):
    """Oracle: the focal length of NeRF's synthetic scenes, 1111.111 px at 800 px."""
    data = {"camera_angle_x": 0.6911112070083618, "frames": [{"file_path": "./train/r_0", "rotation": 0.01}]}
    found = read_calibration(write(tmp_path, "transforms_train.json", data)).find(Path("train/r_0.png"))
    camera, _ = fit_to_photo(found, 800, 800, 1, "r_0.png")
    assert (camera.fx, camera.fy) == pytest.approx((1111.111, 1111.111), abs=1e-3)
    assert (camera.cx, camera.cy) == (400, 400)
    camera, _ = fit_to_photo(found, 400, 300, 1, "r_0.png")
    assert (camera.fx, camera.cx, camera.cy) == pytest.approx((555.5555, 200, 150), abs=1e-3)


OPENSFM = {"projection_type": "brown", "width": 1280, "height": 720, "focal_x": 0.715, "focal_y": 0.714, "c_x": 0.0007}
OPENSFM |= {"c_y": -0.0005, "k1": -0.05, "k2": 0.06, "p1": 0.0005, "p2": -0.0008, "k3": -0.01}


def test_opensfm_projects_as_its_documentation_says(tmp_path):
    """Oracle: OpenSfM's camera models; normalised image coordinates are (u - (w - 1) / 2) / max(w, h)."""
    intrinsics = for_all(write(tmp_path, "cameras.json", {"v2 dji fc6310 1280 720 brown 0.6": OPENSFM}))
    x, y = 0.3, -0.2
    r2 = x * x + y * y
    radial = 1 - 0.05 * r2 + 0.06 * r2**2 - 0.01 * r2**3
    x_d = x * radial + 2 * 0.0005 * x * y - 0.0008 * (r2 + 2 * x * x)
    y_d = y * radial + 2 * -0.0008 * x * y + 0.0005 * (r2 + 2 * y * y)
    u = (0.715 * x_d + 0.0007) * 1280 + (1280 - 1) / 2
    v = (0.714 * y_d - 0.0005) * 1280 + (720 - 1) / 2
    assert projected(intrinsics, 1280, 720, (x, y)) == pytest.approx((u, v), abs=1e-6)
    single = {"projection_type": "perspective", "width": 4000, "height": 3000, "focal": 0.85, "k1": 0.1, "k2": 0.0}
    found = for_all(write(tmp_path, "models.json", {"a": single}))
    assert (found.fx, found.fy, found.cx, found.cy) == (3400, 3400, 2000, 1500)
    fisheye = {**single, "projection_type": "fisheye"}
    assert for_all(write(tmp_path, "f.json", {"a": fisheye})).distortion.model is DistortionModel.FISHEYE


METASHAPE = """<?xml version="1.0" encoding="UTF-8"?>
<calibration><projection>frame</projection><width>1280</width><height>720</height><f>914.2</f><cx>0.9</cx><cy>-0.4</cy>
<b1>1.2</b1><k1>-0.054</k1><k2>0.063</k2><k3>-0.02</k3><p1>0.0005</p1><p2>-0.0008</p2></calibration>"""


def test_metashape_projects_as_its_manual_says(tmp_path):
    """Oracle: the manual's appendix on camera models (u counts from the corner of the image)."""
    intrinsics = for_all(write(tmp_path, "calibration.xml", METASHAPE))
    x, y = 0.3, -0.2
    r2 = x * x + y * y
    radial = 1 - 0.054 * r2 + 0.063 * r2**2 - 0.02 * r2**3
    x_d = x * radial + 0.0005 * (r2 + 2 * x * x) + 2 * -0.0008 * x * y
    y_d = y * radial + -0.0008 * (r2 + 2 * y * y) + 2 * 0.0005 * x * y
    u, v = 1280 / 2 + 0.9 + x_d * 914.2 + x_d * 1.2, 720 / 2 - 0.4 + y_d * 914.2
    assert projected(intrinsics, 1280, 720, (x, y)) == pytest.approx((u - 0.5, v - 0.5), abs=1e-6)


def test_a_project_of_metashape_has_a_camera_for_each_label(tmp_path):
    sensor = '<sensor id="{}"><resolution width="8" height="6"/><calibration class="{}">{}</calibration></sensor>'
    body = '<resolution width="1280" height="720"/><f>{}</f><cx>0.9</cx><cy>-0.4</cy>'
    sensors = "".join(sensor.format(i, "adjusted", body.format(f)) for i, f in enumerate((915.4, 700)))
    cameras = '<camera id="0" sensor_id="0" label="a"/><camera id="1" sensor_id="1" label="b.jpg"/>'
    text = f"<document><chunk><sensors>{sensors}</sensors><cameras>{cameras}</cameras></chunk></document>"
    calibration = read_calibration(write(tmp_path, "cameras.xml", text))
    assert calibration.find(Path("x/a.JPG")).fx == 915.4
    assert calibration.find(Path("b.jpg")).fx == 700
    old = "<fx>915.4</fx><fy>914.2</fy><cx>641.4</cx><cy>360.1</cy><width>1280</width><height>720</height>"
    assert for_all(write(tmp_path, "photoscan.xml", f"<calibration>{old}</calibration>")) == SIZED


def test_colmaps_binary_cameras_are_read_with_the_images_beside_them(tmp_path):
    nothing = (np.zeros((0, 2)), np.zeros(0, dtype=np.int64))
    empty = np.zeros((0, 3))
    points = ColmapPoints(np.zeros(0, dtype=np.int64), empty, empty.astype(np.uint8), np.zeros(0))
    camera = ColmapCamera(1, "PINHOLE", 1280, 720, (915.4, 914.2, 641.4, 360.1))
    write_colmap_binary(ColmapModel((camera,), (ColmapImage(1, "a.jpg", 1, np.eye(4), *nothing),), points), tmp_path)
    found = read_calibration(tmp_path / "cameras.bin").find(Path("a.jpg"))
    assert found == dataclasses.replace(SIZED, is_stored=True)


def projected(intrinsics, width, height, direction):
    """Where OpenCV sees the direction (x / z, y / z), in its pixel grid."""
    camera, _ = fit_to_photo(intrinsics, width, height, 1, "a.jpg")
    point = np.array([[[*direction, 1.0]]])
    terms = np.array(camera.distortion.coefficients)
    pixels, _ = cv2.projectPoints(point, np.zeros(3), np.zeros(3), camera.opencv_matrix, terms)
    return tuple(pixels.ravel())
