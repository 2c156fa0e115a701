"""What the user says of photos that are not flat."""

from __future__ import annotations

import json
import math

import cv2
import numpy as np
import pytest

from m3d_cli.errors import CalibrationError, UsageError
from m3d_cli.intrinsics.calibration.read import read_calibration
from m3d_cli.photos.projection import load_spherical, parse_projection
from m3d_cli.spherical import Projection


def test_names_become_projections_and_flat_is_none():
    assert parse_projection(None, 60) is None
    assert parse_projection("flat", None) is None
    assert parse_projection("Equirectangular", None).kind is Projection.EQUIRECTANGULAR
    assert parse_projection("fisheye", 180).field_of_view == 180


@pytest.mark.parametrize(
    ("name", "field", "words"), [("mercator", None, "unknown"), ("equirectangular", 90, "360 x 180 degrees")]
)
def test_other_names_and_contradictions_are_refused(name, field, words):
    with pytest.raises(UsageError, match=words):
        parse_projection(name, field)


def test_a_photo_of_another_shape_is_named(save_photo):
    path = save_photo("a.jpg")
    with pytest.raises(CalibrationError, match=r"a\.jpg: 64 x 48 pixels are no equirectangular"):
        load_spherical(path, parse_projection("equirectangular", None))


def test_a_fisheye_needs_a_lens(save_photo):
    with pytest.raises(CalibrationError, match=r"a\.jpg: the lens of a fisheye") as caught:
        load_spherical(save_photo("a.jpg"), parse_projection("fisheye", None))
    assert "--fov" in caught.value.hint


def test_black_corners_end_what_a_fisheye_sees(save_photo):
    image = np.zeros((200, 300, 3), np.uint8)
    cv2.circle(image, (150, 100), 100, (200, 180, 160), -1)
    choice = parse_projection("fisheye", 240)
    photo = load_spherical(save_photo("circle.png", image=image), choice)
    assert math.degrees(photo.camera.reach) == pytest.approx(80, abs=1)
    whole = load_spherical(save_photo("full.png", image=np.full((200, 300, 3), 90, np.uint8)), choice)
    assert math.degrees(whole.camera.reach) > 119


def test_a_calibrated_fisheye_has_its_terms(save_photo, tmp_path):
    path = save_photo("a.png", image=np.full((480, 640, 3), 90, np.uint8))
    lens = {"fl_x": 300, "fl_y": 300, "cx": 322, "cy": 241, "w": 640, "h": 480, "camera_model": "OPENCV_FISHEYE"}
    terms = {"k1": 0.03, "k2": -0.002, "k3": 0.001, "k4": 0.0}
    (tmp_path / "transforms.json").write_text(json.dumps(lens | terms | {"frames": []}))
    calibration = read_calibration(tmp_path / "transforms.json")
    camera = load_spherical(path, parse_projection("fisheye", None), calibration).camera
    assert camera.terms == (0.03, -0.002, 0.001, 0.0)
    assert (camera.fx, camera.cx, camera.cy) == (300, 322, 241)


def test_what_had_to_be_adapted_of_a_fisheyes_calibration_is_noted(save_photo, tmp_path):
    path = save_photo("a.png", image=np.full((240, 320, 3), 90, np.uint8))
    lens = {"fl_x": 300, "fl_y": 300, "cx": 322, "cy": 241, "w": 640, "h": 480, "camera_model": "OPENCV_FISHEYE"}
    (tmp_path / "transforms.json").write_text(json.dumps({**lens, "k1": 0.03, "frames": []}))
    calibration = read_calibration(tmp_path / "transforms.json")
    photo = load_spherical(path, parse_projection("fisheye", None), calibration)
    assert photo.notes == ("calibration scaled from 640 x 480 pixels",)
    assert photo.camera.fx == 150
