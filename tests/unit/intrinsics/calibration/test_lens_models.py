"""Lens models by name: Brown's, OpenCV's fisheye, or a refusal that names the way out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from m3d_cli.camera import Distortion, DistortionModel
from m3d_cli.errors import CalibrationError
from m3d_cli.intrinsics.calibration.match import fit_to_photo
from m3d_cli.intrinsics.calibration.read import read_calibration
from m3d_cli.photos.undistort import undistorted_camera

K = [[915.4, 0, 640.9], [0, 914.2, 359.6], [0, 0, 1]]
TERMS = [0.03, -0.01, 0.002, 0.0005]
OPENCV = {"image_width": 1280, "image_height": 720, "camera_matrix": K, "dist_coeffs": TERMS}
NERFSTUDIO = {"fl_x": 915.4, "fl_y": 914.2, "cx": 641.4, "cy": 360.1, "w": 1280, "h": 720, "k1": 0.02, "frames": []}
REALSENSE = {"width": 1280, "height": 720, "ppx": 640.9, "ppy": 359.6, "fx": 915.4, "fy": 914.2}
ORB = {"Camera.fx": 915.4, "Camera.fy": 914.2, "Camera.cx": 640.9, "Camera.cy": 359.6, "Camera.k1": 0.01}
KALIBR = {"camera_model": "pinhole", "intrinsics": [915.4, 914.2, 640.9, 359.6], "resolution": [1280, 720]}


def read(tmp_path, content, name="k.json"):
    path = tmp_path / name
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return read_calibration(path).find(Path("any.jpg"))


@pytest.mark.parametrize("key", ["distortion_model", "camera_model", "lens_model", "distortionModel"])
@pytest.mark.parametrize(
    "name", ["kannala_brandt", "FISHEYE", "Equidistant", "OPENCV_FISHEYE", "opencv_fisheye", "Kannala-Brandt", "KB4"]
)
def test_every_name_of_opencvs_fisheye_is_that(tmp_path, key, name):
    found = read(tmp_path, {**OPENCV, key: name})
    assert found.distortion == Distortion(DistortionModel.FISHEYE, tuple(TERMS))


@pytest.mark.parametrize(
    "name", ["plumb_bob", "rational_polynomial", "radtan", "Pinhole", "perspective", "BROWN", "", "radial-tangential"]
)
def test_every_name_of_browns_model_is_that(tmp_path, name):
    found = read(tmp_path, {**OPENCV, "distortion_model": name})
    assert found.distortion == Distortion(DistortionModel.BROWN, tuple(TERMS))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("camera_model", "omni"),
        ("camera_model", "double_sphere"),
        ("distortion_model", "division"),
        ("distortion_model", 7),
        ("xi", 1.4821),
        ("alpha", 0.6),
        ("model", "omni"),
    ],
)
def test_another_lens_model_beside_a_camera_matrix_is_refused(tmp_path, key, value):
    with pytest.raises(CalibrationError, match="is not supported"):
        read(tmp_path, {**OPENCV, key: value})
    matrix = {"w": 1280, "h": 720, "K": K}
    with pytest.raises(CalibrationError, match="is not supported"):
        read(tmp_path, {**matrix, "distortion_model": "", key: value})


def test_the_name_of_a_device_is_no_lens_model(tmp_path):
    assert read(tmp_path, {**OPENCV, "model": "D435", "type": "color"}).distortion.model is DistortionModel.BROWN


def test_two_names_that_contradict_each_other_are_refused(tmp_path):
    assert read(
        tmp_path, {**OPENCV, "camera_model": "pinhole", "distortion_model": "equidistant"}
    ).distortion.model is (DistortionModel.FISHEYE)
    with pytest.raises(CalibrationError, match="both a fisheye lens and another"):
        read(tmp_path, {**OPENCV, "camera_model": "fisheye", "distortion_model": "plumb_bob"})


def test_a_lens_beside_the_matrix_of_record3d_or_open3d_is_not_lost(tmp_path):
    found = read(tmp_path, {"w": 1280, "h": 720, "K": K, "dist": TERMS, "distortion_model": "fisheye"})
    assert (found.width, found.distortion.model) == (1280, DistortionModel.FISHEYE)
    with pytest.raises(CalibrationError, match="omni"):
        read(tmp_path, {"width": 1280, "height": 720, "intrinsic_matrix": K, "camera_model": "omni"})


def test_single_coefficients_beside_a_matrix_are_not_lost(tmp_path):
    with pytest.raises(CalibrationError, match=r"unknown keys \['k1'\]"):
        read(tmp_path, {"camera_matrix": K, "k1": 0.1, "k2": 0})


def test_dim_of_opencvs_fisheye_tutorial_means_a_fisheye_and_is_noted(tmp_path):
    found = read(tmp_path, {"K": K, "D": [[term] for term in TERMS], "DIM": [1280, 720]})
    assert found.distortion == Distortion(DistortionModel.FISHEYE, tuple(TERMS))
    assert "fisheye" in found.notes[0]
    named = read(tmp_path, {"K": K, "D": TERMS, "DIM": [1280, 720], "distortion_model": "radtan"})
    assert named.distortion.model is DistortionModel.BROWN


@pytest.mark.parametrize(
    "extra",
    [
        {"equirectangular": True},
        {"latlong": True},
        {"ftheta_p0": 0.0, "ftheta_p1": 0.001},
        {"k4": 0.1},
        {"camera_model": "OPENCV", "k4": 0.1},
        {"camera_model": "PINHOLE", "distortion_params": [0.1] * 12},
    ],
)
def test_lenses_of_instant_ngp_and_nerfstudio_that_are_no_pinhole_are_refused(tmp_path, extra):
    with pytest.raises(CalibrationError, match="is not supported"):
        read(tmp_path, {**NERFSTUDIO, **extra})
    blender = {"camera_angle_x": 1.2, "frames": [], **extra}
    with pytest.raises(CalibrationError, match="is not supported"):
        read(tmp_path, blender)


def test_nerfstudios_models_count_in_lower_case_too(tmp_path):
    found = read(tmp_path, {**NERFSTUDIO, "camera_model": "opencv_fisheye"})
    assert found.distortion == Distortion(DistortionModel.FISHEYE, (0.02, 0, 0, 0))
    found = read(tmp_path, {**NERFSTUDIO, "camera_model": "full_opencv", "k6": 0.5})
    assert found.distortion.coefficients[-1] == 0.5


@pytest.mark.parametrize(
    ("model", "lens"),
    [("fisheye", DistortionModel.FISHEYE), ("perspective", DistortionModel.BROWN), ("PinHole", DistortionModel.BROWN)],
)
def test_stella_vslam_names_its_model_and_its_size(tmp_path, model, lens):
    keys = {**ORB, "Camera.model": model, "Camera.cols": 1280, "Camera.rows": 720}
    found = read(tmp_path, keys)
    assert (found.fx, found.width, found.height, found.distortion.model) == (915.4, 1280, 720, lens)
    nested = {"Camera": {key.removeprefix("Camera."): value for key, value in keys.items()}, "Feature": {}}
    assert read(tmp_path, nested) == found


@pytest.mark.parametrize("model", ["equirectangular", "radial_division", "omni"])
def test_other_models_of_stella_vslam_are_refused(tmp_path, model):
    with pytest.raises(CalibrationError, match=f"{model}.* is not supported"):
        read(tmp_path, {**ORB, "Camera.model": model, "Camera.cols": 1280, "Camera.rows": 720})
    with pytest.raises(CalibrationError, match=f"{model}.* is not supported"):
        read(tmp_path, {"Camera.model": model, "Camera.cols": 1280, "Camera.rows": 720, "Camera.k4": 0.1})


def test_four_radial_terms_without_a_model_are_no_pinhole_of_orb_slam(tmp_path):
    with pytest.raises(CalibrationError, match="k4"):
        read(tmp_path, {**ORB, "Camera.k4": 0.001})


def test_kalibrs_coefficients_without_a_model_are_refused(tmp_path):
    with pytest.raises(CalibrationError, match="without a model"):
        read(tmp_path, {"cam0": {**KALIBR, "distortion_coeffs": [0.1, 0, 0, 0]}})
    assert read(tmp_path, {"cam0": {**KALIBR, "distortion_coeffs": [], "distortion_model": "none"}}).distortion is None


@pytest.mark.parametrize("model", ["Brown Conrady", "distortion.brown_conrady", "RS2_DISTORTION_BROWN_CONRADY", 4, "4"])
def test_a_model_of_realsense_counts_by_each_of_its_names(tmp_path, model):
    found = read(tmp_path, {**REALSENSE, "model": model, "coeffs": [*TERMS, 0.5]})
    assert found.distortion == Distortion(DistortionModel.BROWN, (*TERMS, 0.5))


@pytest.mark.parametrize(
    ("number", "name"), [(1, "modified_brown_conrady"), (2, "Inverse Brown Conrady"), (5, "Kannala Brandt4")]
)
def test_realsenses_numbers_of_models_are_librealsenses(tmp_path, number, name):
    """Oracle: rs2_distortion in rs_types.h."""
    terms = [0.01, -0.002, 0.0001, 0.0002, 0.0]
    found = read(tmp_path, {**REALSENSE, "model": number, "coeffs": terms})
    assert found == read(tmp_path, {**REALSENSE, "model": name, "coeffs": terms})
    with pytest.raises(CalibrationError, match="ftheta"):
        read(tmp_path, {**REALSENSE, "model": 3, "coeffs": terms})


@pytest.mark.parametrize(
    "content",
    [
        {**OPENCV, "distortion_model": "equidistant", "dist_coeffs": [0, 0, 0, 0]},
        {**NERFSTUDIO, "camera_model": "OPENCV_FISHEYE", "k1": 0},
        {"cam0": {**KALIBR, "distortion_model": "equidistant", "distortion_coeffs": [0, 0, 0, 0]}},
        {**REALSENSE, "model": "kannala_brandt4", "coeffs": [0, 0, 0, 0, 0]},
        {"fx": 915.4, "distortion": {"model": "equidistant", "coefficients": []}},
    ],
)
def test_a_fisheye_whose_terms_are_zero_is_equidistant_and_no_pinhole(tmp_path, content):
    assert read(tmp_path, content).distortion == Distortion(DistortionModel.FISHEYE, (0, 0, 0, 0))


@pytest.mark.parametrize(
    ("content", "way_out"),
    [
        ({"v2": {"projection_type": "spherical", "width": 1280, "height": 640}}, "--projection equirectangular"),
        ({**NERFSTUDIO, "camera_model": "EQUIRECTANGULAR"}, "--projection equirectangular"),
        ({**NERFSTUDIO, "camera_model": "FISHEYE624"}, "--projection fisheye --fov"),
        ({**OPENCV, "camera_model": "omni"}, "--projection fisheye --fov"),
        ({"cam0": {**KALIBR, "camera_model": "ds"}}, "--projection fisheye --fov"),
    ],
)
def test_a_lens_that_no_flat_image_fits_names_the_projection_that_does(tmp_path, content, way_out):
    with pytest.raises(CalibrationError) as caught:
        read(tmp_path, content)
    assert way_out in caught.value.hint


def test_a_fisheye_too_wide_for_a_flat_image_names_the_projection_that_takes_it(tmp_path):
    """TUM-VI's lens of 195 degrees."""
    item = {"camera_model": "pinhole", "intrinsics": [190.978, 190.973, 254.93, 256.897], "resolution": [512, 512]}
    item |= {"distortion_model": "equidistant", "distortion_coeffs": [0.0034, 0.0007, -0.0020, 0.0002]}
    camera, _ = fit_to_photo(read(tmp_path, {"cam0": item}), 512, 512, 1, "a.png")
    with pytest.raises(CalibrationError) as caught:
        undistorted_camera(camera)
    assert "--projection fisheye" in caught.value.hint
