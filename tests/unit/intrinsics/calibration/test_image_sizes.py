"""The size of the calibrated image: under every name, with swapped sides, with a region of interest, or missing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from m3d_cli.errors import CalibrationError
from m3d_cli.intrinsics.calibration.match import CALIBRATION_SIGMA, Intrinsics, fit_to_photo
from m3d_cli.intrinsics.calibration.read import read_calibration

K = [[915.4, 0, 640.9], [0, 914.2, 359.6], [0, 0, 1]]
FITTED = (732.32, 731.36, 513.12, 288.08)
INFO = """height: 720
width: 1280
distortion_model: "plumb_bob"
D: [0.0, 0.0, 0.0, 0.0, 0.0]
K: [915.4, 0.0, 640.9, 0.0, 914.2, 359.6, 0.0, 0.0, 1.0]
roi: {{x_offset: {}, y_offset: {}, height: {}, width: {}, do_rectify: False}}
"""


def read(tmp_path, content, name="k.json"):
    path = tmp_path / name
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return read_calibration(path).find(Path("any.jpg"))


def numbers(camera):
    return camera.fx, camera.fy, camera.cx, camera.cy


@pytest.mark.parametrize(
    "size",
    [
        {"image_size": [1280, 720]},
        {"imageSize": {"width": 1280, "height": 720}},
        {"image_size": {"rows": 1, "cols": 2, "dt": "i", "data": [1280, 720]}},
        {"resolution": [1280, 720]},
        {"resolution": "1280x720"},
        {"img_shape": [720, 1280]},
        {"image_shape": [720, 1280, 3]},
        {"img_shape": [1280, 720]},
        {"DIM": [1280, 720]},
        {"size": [[1280, 720]]},
        {"cols": 1280, "rows": 720},
        {"xres": 1280, "yres": 720},
        {"image_width_px": 1280, "image_height_px": 720},
        {"w": 1280, "h": 720, "dist": [0, 0, 0, 0, 0]},
        {"square_size": 0.025, "size": 0.025, "resolution": [1280, 720]},
        {"rows": 9, "cols": 6, "size": [9, 6], "image_size": [1280, 720]},
    ],
    ids=str,
)
def test_the_size_is_read_under_each_of_its_names(tmp_path, size):
    camera, _ = fit_to_photo(read(tmp_path, {"K": K, **size}), 1024, 576, 1, "a.png")
    assert numbers(camera) == pytest.approx(FITTED)
    assert camera.focal_rel_sigma == CALIBRATION_SIGMA


@pytest.mark.parametrize("board", [{"rows": 9, "cols": 6}, {"size": [9, 6]}])
def test_the_squares_of_a_board_are_no_size_of_the_image(tmp_path, board):
    found = read(tmp_path, {"K": K, **board})
    assert (found.width, found.height) == (None, None)


@pytest.mark.parametrize(
    "content",
    [
        {"camera_matrix": K, "image_width": 720, "image_height": 1280},
        {"fx": 915.4, "fy": 914.2, "cx": 641.4, "cy": 360.1, "width": 720, "height": 1280},
        {"cam0": {"intrinsics": [915.4, 914.2, 640.9, 359.6], "resolution": [720, 1280]}},
    ],
)
def test_swapped_sides_are_put_in_order_and_noted(tmp_path, content):
    camera, notes = fit_to_photo(read(tmp_path, content), 1280, 720, 1, "a.png")
    assert numbers(camera) == pytest.approx((915.4, 914.2, 641.4, 360.1))
    assert any("swapped" in note for note in notes)


@pytest.mark.parametrize(
    "intrinsics",
    [
        Intrinsics(900, 900, 640, 360, 1280, 720),
        Intrinsics(900, 900, 420, 300, 1280, 720),
        Intrinsics(900, 900, None, None, 720, 1280),
        Intrinsics(900, 900, 512, 512, 1024, 1024),
        Intrinsics(900, 900, 560, 500, 1280, 1024),
    ],
)
def test_sides_in_order_stay_so(intrinsics):
    _, notes = fit_to_photo(intrinsics, intrinsics.width, intrinsics.height, 1, "a.png")
    assert not any("swapped" in note for note in notes)


def test_a_principal_point_far_off_lowers_the_trust_in_a_calibration_with_a_size():
    camera, notes = fit_to_photo(Intrinsics(915, 914, 60, 650, 1280, 720), 1280, 720, 1, "a.png")
    assert camera.focal_rel_sigma >= 0.15
    assert "45% of a side from the middle" in notes[0]
    camera, _ = fit_to_photo(Intrinsics(915, 914, 500, 400, 1280, 720), 1280, 720, 1, "a.png")
    assert camera.focal_rel_sigma == CALIBRATION_SIGMA


def test_without_a_size_a_centre_beside_the_middle_widens_the_sigma_to_the_ratio_of_sizes():
    """KITTI's projection on a photo of 1024 x 576 pixels; and a calibration of 1280 x 720 on it."""
    camera, notes = fit_to_photo(Intrinsics(721.5, 721.5, 610.1, 173.4), 1024, 576, 1, "a.png")
    assert camera.focal_rel_sigma == 0.5
    assert any("another size" in note for note in notes)
    camera, _ = fit_to_photo(Intrinsics(915.4, 914.2, 641.4, 360.1), 1024, 576, 1, "a.png")
    assert camera.focal_rel_sigma == pytest.approx(np.log(1280 / 1024), abs=0.01)
    camera, _ = fit_to_photo(Intrinsics(721.5, 721.5, 610.1, 173.4), 1242, 375, 1, "a.png")
    assert camera.focal_rel_sigma == CALIBRATION_SIGMA


def test_the_region_of_interest_of_ros_moves_the_principal_point(tmp_path):
    """sensor_msgs/CameraInfo: K is of the full resolution, from which the region is cut."""
    found = read(tmp_path, INFO.format(320, 180, 360, 640), "info.yaml")
    camera, notes = fit_to_photo(found, 640, 360, 1, "a.png")
    assert numbers(camera) == pytest.approx((915.4, 914.2, 321.4, 180.1))
    assert any("region of interest" in note for note in notes)
    whole, _ = fit_to_photo(found, 1280, 720, 1, "a.png")
    assert numbers(whole) == pytest.approx((915.4, 914.2, 641.4, 360.1))
    with pytest.raises(CalibrationError, match="region of interest 640 x 360"):
        fit_to_photo(found, 320, 180, 1, "a.png")
    edge = read(tmp_path, INFO.format(0, 0, 360, 640), "info.yaml")
    assert fit_to_photo(edge, 640, 360, 1, "a.png")[0].focal_rel_sigma == CALIBRATION_SIGMA


@pytest.mark.parametrize("roi", [(0, 0, 0, 0), (0, 0, 720, 1280)])
def test_a_region_of_everything_is_none(tmp_path, roi):
    camera, _ = fit_to_photo(read(tmp_path, INFO.format(*roi), "info.yaml"), 640, 360, 1, "a.png")
    assert camera.fx == pytest.approx(915.4 / 2)


def test_a_region_outside_of_the_image_is_refused(tmp_path):
    with pytest.raises(CalibrationError, match="does not lie in the image"):
        read(tmp_path, INFO.format(900, 180, 360, 640), "info.yaml")


def test_blenders_principal_point_scales_with_the_photo_as_its_angle_of_view_does(tmp_path):
    found = read(tmp_path, {"camera_angle_x": 1.2208, "cx": 644, "cy": 361, "frames": []})
    for width, height in ((1280, 720), (1024, 576), (320, 180)):
        camera, _ = fit_to_photo(found, width, height, 1, "a.png")
        assert camera.fx == pytest.approx(914.9 * width / 1280, abs=0.1)
        assert camera.cx / width == pytest.approx(0.5, abs=0.004)
        assert camera.cy / height == pytest.approx(0.5, abs=0.004)
        assert camera.focal_rel_sigma == CALIBRATION_SIGMA
    camera, _ = fit_to_photo(found, 1280, 960, 1, "a.png")
    assert camera.focal_rel_sigma >= 0.15
