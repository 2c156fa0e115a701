"""Calibrations as people save them: messages of ROS in text files, OpenCV's own YAML, bare and named numbers."""

from __future__ import annotations

from pathlib import Path

import pytest

from m3d_cli.camera import Distortion, DistortionModel
from m3d_cli.errors import CalibrationError
from m3d_cli.intrinsics.calibration.read import read_calibration

MESSAGE = """header:
  seq: 12
  frame_id: "CAMERA"
height: 720
width: 1280
distortion_model: "plumb_bob"
D: [0.0, 0.0, 0.0, 0.0, 0.0]
K: [915.4, 0.0, 640.9, 0.0, 914.2, 359.6, 0.0, 0.0, 1.0]
R: [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
---
"""
CAMERA = "camera_matrix: [[915.4, 0, 640.9], [0, 914.2, 359.6], [0, 0, 1]]\nimage_width: 1280\nimage_height: 720\n"
STEREO = """%YAML:1.0
Camera.fx: 435.2046959714599
Camera.fy: 435.2046959714599
Camera.cx: 367.4517211914062
Camera.cy: 252.2008514404297
Camera.width:752
Camera.height: 480
LEFT.height: 480
LEFT.width: 752
LEFT.D: !!opencv-matrix
   rows: 1
   cols: 5
   dt: d
   data:[-0.28340811, 0.07395907, 0.00019359, 1.76187114e-05, 0.0]
LEFT.K: !!opencv-matrix
   rows: 3
   cols: 3
   dt: d
   data: [458.654, 0.0, 367.215, 0.0, 457.296, 248.375, 0.0, 0.0, 1.0]
"""
OST = """[image]
width
1280
height
720
[narrow_stereo/{}]
camera matrix
915.4 0 640.9
0 914.2 359.6
0 0 1
distortion
0.1 0 0 0 0
"""


def read(tmp_path, text, name):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return read_calibration(path).find(Path("any.jpg"))


def numbers(found):
    return found.fx, found.fy, found.cx, found.cy, found.width, found.height


@pytest.mark.parametrize("name", ["camera_info.txt", "camera_info", "camera_info.yaml"])
def test_a_message_of_ros_is_read_from_a_file_of_any_name(tmp_path, name):
    assert numbers(read(tmp_path, MESSAGE * 3, name)) == (915.4, 914.2, 641.4, 360.1, 1280, 720)


def test_a_recording_in_a_text_file_may_be_long(tmp_path):
    assert read(tmp_path, MESSAGE * 10_000, "camera_info.txt").fx == 915.4


def test_a_line_k_does_not_hide_kittis_projections(tmp_path):
    text = "K: 915.4 0 640.9 0 914.2 359.6 0 0 1\nP2: 915.4 0 640.9 0 0 914.2 359.6 0 0 0 1 0\n"
    assert read(tmp_path, text, "calib.txt").fx == 915.4


def test_a_file_without_a_suffix_may_hold_bare_numbers(tmp_path):
    assert read(tmp_path, "915.4 914.2 640.9 359.6\n", "intrinsics").fx == 915.4


@pytest.mark.parametrize("empty", ["[]", "{rows: 0, cols: 0, data: []}", "{rows: 1, cols: 0, dt: d, data: []}"])
def test_an_empty_list_of_coefficients_is_no_distortion(tmp_path, empty):
    assert read(tmp_path, MESSAGE.replace("[0.0, 0.0, 0.0, 0.0, 0.0]", empty), "a.yaml").distortion is None


def test_an_empty_camera_matrix_is_refused(tmp_path):
    with pytest.raises(CalibrationError, match="no camera matrix"):
        read(tmp_path, "camera_matrix: []\n", "a.yaml")


@pytest.mark.parametrize("start", ["", "\ufeff", "# made by hand\n", "\n", "\r\n  # a\n\n"])
@pytest.mark.parametrize("header", ["%YAML:1.0\n---\n", "%YAML 1.2\n---\n", "---\n"])
def test_opencvs_header_counts_below_comments_and_blank_lines(tmp_path, start, header):
    assert numbers(read(tmp_path, start + header + CAMERA, "a.yml")) == (915.4, 914.2, 641.4, 360.1, 1280, 720)


def test_orb_slams_stereo_settings_without_spaces_are_those_of_the_recorded_images(tmp_path):
    found = read(tmp_path, STEREO, "EuRoC.yaml")
    assert numbers(found) == pytest.approx((458.654, 457.296, 367.715, 248.875, 752, 480))
    assert found.distortion.coefficients[:2] == (-0.28340811, 0.07395907)
    assert "LEFT.K" in found.notes[0]
    mono = read(tmp_path, STEREO.partition("LEFT")[0], "mono.yaml")
    assert (mono.fx, mono.width, mono.notes) == (435.2046959714599, 752, ())


def test_nine_numbers_are_a_matrix_or_those_of_droid_slam(tmp_path):
    """Oracle: DROID-SLAM's calib/euroc.txt."""
    found = read(tmp_path, "458.654 457.296 367.215 248.375 -0.2834 0.0739 0.00019 1.76e-05 0.0\n", "droid.txt")
    assert numbers(found)[:4] == pytest.approx((458.654, 457.296, 367.715, 248.875))
    assert found.distortion == Distortion(DistortionModel.BROWN, (-0.2834, 0.0739, 0.00019, 1.76e-05, 0.0))
    matrix = read(tmp_path, "915.4 0 640.9 0 914.2 359.6 0 0 1", "k.txt")
    assert (matrix.fx, matrix.cy, matrix.distortion) == (915.4, 360.1, None)
    with pytest.raises(CalibrationError, match="not of the form"):
        read(tmp_path, "915.4 3 640.9 5 914.2 359.6 0 0 1", "bad.txt")


@pytest.mark.parametrize("line", ["xi=1.4", "k4=0.1", "lens=1"])
def test_an_unknown_name_among_named_numbers_is_refused(tmp_path, line):
    with pytest.raises(CalibrationError, match=f"unknown names.*{line[:2]}"):
        read(tmp_path, f"fx=915.4\nfy=914.2\ncx=640.9\ncy=359.6\n{line}\n", "named.txt")


def test_named_numbers_may_give_the_size_by_opencvs_names(tmp_path):
    text = "fx=915.4\nfy=914.2\ncx=640.9\ncy=359.6\nimage_width=1280\nimage_height=720\n"
    assert numbers(read(tmp_path, text, "named.txt")) == (915.4, 914.2, 641.4, 360.1, 1280, 720)


def test_the_two_cameras_of_an_ost_file_are_refused_with_the_way_out(tmp_path):
    with pytest.raises(CalibrationError, match="2 cameras") as caught:
        read(tmp_path, OST.format("left") + OST.format("right"), "ost.txt")
    assert "keep one camera" in caught.value.hint
    assert read(tmp_path, OST.format("left"), "ost.txt").fx == 915.4
