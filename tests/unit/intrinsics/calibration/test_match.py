"""Intrinsics files of seven kinds, matched to photos and fitted to their size."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from m3d_cli.camera import Camera, Distortion, DistortionModel, FocalSource
from m3d_cli.errors import CalibrationError
from m3d_cli.intrinsics.calibration.match import Intrinsics, fit_to_photo, turned
from m3d_cli.intrinsics.calibration.read import read_calibration
from m3d_cli.open3d_import import load_open3d

K = np.array([[1000.0, 0, 499.5], [0, 1010, 374.5], [0, 0, 1]])
OURS = Intrinsics(1000, 1010, 500, 375)
SIZED = Intrinsics(1000, 1010, 500, 375, 1000, 750)


def write(tmp_path, name, content):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def for_all(path):
    return read_calibration(path).find(Path("any.jpg"))


def test_a_matrix_of_numpy_or_text_is_in_opencvs_pixel_grid(tmp_path):
    np.save(tmp_path / "k.npy", K)
    np.savetxt(tmp_path / "k.txt", K)
    np.savetxt(tmp_path / "comma.txt", K, delimiter=",")
    assert for_all(tmp_path / "k.npy") == for_all(tmp_path / "k.txt") == for_all(tmp_path / "comma.txt") == OURS
    assert for_all(write(tmp_path, "four.txt", "1000 1010 499.5 374.5")) == OURS


def test_our_own_json_and_yaml_say_the_same(tmp_path):
    fields = {"fx": 1000, "fy": 1010, "cx": 500, "cy": 375, "width": 1000, "height": 750}
    assert for_all(write(tmp_path, "k.json", fields)) == SIZED
    text = "".join(f"{key}: {value}\n" for key, value in fields.items())
    assert for_all(write(tmp_path, "k.yaml", text)) == SIZED
    assert for_all(write(tmp_path, "f.json", {"fx": 1000})) == Intrinsics(1000, 1000)


def test_distortion_is_a_list_of_browns_terms_or_names_its_model(tmp_path):
    brown = for_all(write(tmp_path, "b.json", {"fx": 9, "distortion": [0.1, 0.2]}))
    assert brown.distortion == Distortion(DistortionModel.BROWN, (0.1, 0.2, 0, 0))
    fisheye = {"model": "fisheye", "coefficients": [0.1]}
    found = for_all(write(tmp_path, "f.json", {"fx": 9, "distortion": fisheye}))
    assert found.distortion == Distortion(DistortionModel.FISHEYE, (0.1, 0, 0, 0))
    assert for_all(write(tmp_path, "n.json", {"fx": 9, "distortion": [0, 0]})).distortion is None


def test_patterns_are_tried_by_path_then_stem_then_glob(tmp_path):
    calibration = read_calibration(
        write(
            tmp_path,
            "k.json",
            {
                "left/*.jpg": {"fx": 3},
                "left/a.jpg": {"fx": 1},
                "b": {"fx": 2},
                "*.png": {"fx": 4},
            },
        )
    )
    assert calibration.find(Path("/photos/left/a.jpg"), Path("left/a.jpg")).fx == 1
    assert calibration.find(Path("/photos/left/c.jpg"), Path("left/c.jpg")).fx == 3
    assert calibration.find(Path("b.tif")).fx == 2
    assert calibration.find(Path("z.png")).fx == 4
    assert calibration.find(Path("z.tif")) is None


def test_a_list_with_patterns_is_read(tmp_path):
    path = write(tmp_path, "k.json", [{"pattern": "a.jpg", "fx": 1}, {"pattern": "", "fx": 2}])
    assert read_calibration(path).find(Path("a.jpg")).fx == 1
    assert read_calibration(path).find(Path("x.jpg")).fx == 2


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("SIMPLE_PINHOLE 1000 750 900 500 375", Intrinsics(900, 900, 500, 375, 1000, 750)),
        ("PINHOLE 1000 750 1000 1010 500 375", SIZED),
        (
            "SIMPLE_RADIAL 1000 750 900 500 375 0.1",
            Intrinsics(900, 900, 500, 375, 1000, 750, Distortion(DistortionModel.BROWN, (0.1, 0, 0, 0))),
        ),
        (
            "RADIAL 1000 750 900 500 375 0.1 0.2",
            Intrinsics(900, 900, 500, 375, 1000, 750, Distortion(DistortionModel.BROWN, (0.1, 0.2, 0, 0))),
        ),
        (
            "OPENCV 1000 750 1000 1010 500 375 1 2 3 4",
            Intrinsics(1000, 1010, 500, 375, 1000, 750, Distortion(DistortionModel.BROWN, (1, 2, 3, 4))),
        ),
        (
            "OPENCV_FISHEYE 1000 750 1000 1010 500 375 1 2 3 4",
            Intrinsics(1000, 1010, 500, 375, 1000, 750, Distortion(DistortionModel.FISHEYE, (1, 2, 3, 4))),
        ),
        (
            "FULL_OPENCV 1000 750 1000 1010 500 375 1 2 3 4 5 6 7 8",
            Intrinsics(1000, 1010, 500, 375, 1000, 750, Distortion(DistortionModel.BROWN, (1, 2, 3, 4, 5, 6, 7, 8))),
        ),
    ],
)
def test_colmap_models_are_read(tmp_path, line, expected):
    found = for_all(write(tmp_path, "cameras.txt", f"# comment\n7 {line}\n"))
    assert found == dataclasses.replace(expected, is_stored=True)


def test_colmaps_images_tell_the_camera_of_each_photo(tmp_path):
    write(tmp_path, "cameras.txt", "1 SIMPLE_PINHOLE 10 8 9 5 4\n2 SIMPLE_PINHOLE 10 8 7 5 4\n")
    images = "# comment\n1 1 0 0 0 0 0 0 1 sub/a b.jpg\n\n2 1 0 0 0 0 0 0 2 c.jpg\n1.0 2.0 -1\n"
    write(tmp_path, "images.txt", images)
    calibration = read_calibration(tmp_path / "cameras.txt")
    assert calibration.find(Path("x/sub/a b.jpg")).fx == 9
    assert calibration.find(Path("c.jpg")).fx == 7
    assert calibration.find(Path("d.jpg")) is None


def test_several_colmap_cameras_without_images_are_refused(tmp_path):
    path = write(tmp_path, "cameras.txt", "1 SIMPLE_PINHOLE 10 8 9 5 4\n2 SIMPLE_PINHOLE 10 8 7 5 4\n")
    with pytest.raises(CalibrationError, match=r"images\.txt"):
        read_calibration(path)


def test_nerfstudio_has_intrinsics_for_all_and_for_frames(tmp_path):
    data = {
        "camera_model": "OPENCV",
        "fl_x": 1000,
        "fl_y": 1010,
        "cx": 500,
        "cy": 375,
        "w": 1000,
        "h": 750,
        "k1": 0.1,
        "p2": 0.01,
        "frames": [{"file_path": "./images/a.jpg", "fl_x": 5}, {"file_path": "images/b.jpg"}],
    }
    calibration = read_calibration(write(tmp_path, "transforms.json", data))
    assert calibration.find(Path("images/a.jpg")).fx == 5
    assert calibration.find(Path("b.jpg")).fx == 1000
    found = calibration.find(Path("new.jpg"))
    assert (found.fy, found.cx, found.width) == (1010, 500, 1000)
    assert found.distortion == Distortion(DistortionModel.BROWN, (0.1, 0, 0, 0.01, 0))


def test_nerfstudios_angle_of_view_is_in_radians(tmp_path):
    found = for_all(write(tmp_path, "transforms.json", {"camera_angle_x": np.pi / 2, "w": 800, "h": 600}))
    assert found.fx == pytest.approx(400)


@pytest.mark.parametrize("suffix", ["yml", "yaml", "xml"])
def test_opencvs_own_storage_is_moved_by_half_a_pixel(tmp_path, suffix):
    path = tmp_path / f"camera.{suffix}"
    storage = cv2.FileStorage(str(path), cv2.FILE_STORAGE_WRITE)
    storage.write("image_width", 1000)
    storage.write("image_height", 750)
    storage.write("camera_matrix", K)
    storage.write("distortion_coefficients", np.array([[0.1, 0, 0, 0, 0.0]]))
    storage.release()
    found = for_all(path)
    assert (found.fx, found.fy, found.cx, found.cy, found.width, found.height) == (1000, 1010, 500, 375, 1000, 750)
    assert found.distortion == Distortion(DistortionModel.BROWN, (0.1, 0, 0, 0, 0))


@pytest.mark.parametrize(
    ("terms", "expected"),
    [
        ([0.1, 0.2], (0.1, 0.2, 0, 0)),
        ([0.1, 0.2, 0.3], (0.1, 0.2, 0.3, 0)),
        ([0.1, 0, 0, 0, 0, 0.6], (0.1, 0, 0, 0, 0, 0.6, 0, 0)),
    ],
)
def test_opencvs_storage_may_hold_any_number_of_coefficients(tmp_path, terms, expected):
    path = tmp_path / "camera.yml"
    storage = cv2.FileStorage(str(path), cv2.FILE_STORAGE_WRITE)
    storage.write("camera_matrix", K)
    storage.write("distortion_coefficients", np.array([terms]))
    storage.release()
    assert for_all(path).distortion == Distortion(DistortionModel.BROWN, expected)


def test_opencvs_storage_with_too_many_coefficients_is_refused(tmp_path):
    path = tmp_path / "camera.yml"
    storage = cv2.FileStorage(str(path), cv2.FILE_STORAGE_WRITE)
    storage.write("camera_matrix", K)
    storage.write("distortion_coefficients", np.full((1, 15), 0.1))
    storage.release()
    with pytest.raises(CalibrationError, match="15 coefficients"):
        read_calibration(path)


@pytest.mark.parametrize("distortion", ["dist_coeff", "dist_coeffs", "distCoeffs", "dist", "D"])
@pytest.mark.parametrize("matrix", ["camera_matrix", "mtx", "K"])
@pytest.mark.parametrize("terms", [[0.1, 0.2, 0, 0, 0], [[0.1, 0.2, 0, 0, 0]], [[0.1], [0.2], [0], [0], [0]]])
def test_a_python_dump_of_opencvs_result_is_read(tmp_path, matrix, distortion, terms):
    data = {matrix: K.tolist(), distortion: terms, "rms": 0.3}
    lens = Distortion(DistortionModel.BROWN, (0.1, 0.2, 0, 0, 0))
    assert for_all(write(tmp_path, "k.json", data)) == dataclasses.replace(OURS, distortion=lens)
    yaml = f"{matrix}: {K.tolist()}\n{distortion}: {terms}\nimage_width: 1000\nimage_height: 750\n"
    assert for_all(write(tmp_path, "k.yaml", yaml)) == dataclasses.replace(SIZED, distortion=lens)


def test_opencvs_storage_in_json_is_read(tmp_path):
    path = tmp_path / "camera.json"
    storage = cv2.FileStorage(str(path), cv2.FILE_STORAGE_WRITE)
    storage.write("cameraMatrix", K)
    storage.write("distCoeffs", np.array([[0.1, 0, 0, 0]]))
    storage.write("fisheye_model", 1)
    storage.release()
    lens = Distortion(DistortionModel.FISHEYE, (0.1, 0, 0, 0))
    assert for_all(path) == dataclasses.replace(OURS, distortion=lens)


def test_distortion_under_an_unknown_name_does_not_pass_for_none(tmp_path):
    with pytest.raises(CalibrationError, match="dist_koeff"):
        read_calibration(write(tmp_path, "k.json", {"camera_matrix": K.tolist(), "dist_koeff": [0.1]}))


def test_skew_that_is_left_out_is_told(tmp_path):
    skewed = K + np.array([[0, 12.5, 0], [0, 0, 0], [0, 0, 0]])
    np.savetxt(tmp_path / "k.txt", skewed)
    found = for_all(tmp_path / "k.txt")
    _, notes = fit_to_photo(found, 1000, 750, 1, "a.jpg")
    assert "skew of the calibration (12.5 px)" in notes[0]
    np.savetxt(tmp_path / "rounded.txt", K + 1e-9 * (skewed != K))
    assert for_all(tmp_path / "rounded.txt").notes == ()


def test_a_camera_info_file_of_ros_is_read(tmp_path):
    text = (
        "image_width: 1000\nimage_height: 750\ndistortion_model: equidistant\n"
        "camera_matrix:\n  rows: 3\n  cols: 3\n  data: [1000, 0, 499.5, 0, 1010, 374.5, 0, 0, 1]\n"
        "distortion_coefficients:\n  rows: 1\n  cols: 4\n  data: [0.1, 0, 0, 0]\n"
    )
    found = for_all(write(tmp_path, "info.yaml", text))
    assert (found.cx, found.width) == (500, 1000)
    assert found.distortion == Distortion(DistortionModel.FISHEYE, (0.1, 0, 0, 0))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("k.json", "{"),
        ("k.json", "[]"),
        ("k.json", "3"),
        ("k.json", '{"fx": -1}'),
        ("k.json", '{"fx": 1, "fz": 1}'),
        ("k.json", '{"fx": "NaN"}'),
        ("k.json", '{"fx": 1, "width": 0, "height": 1}'),
        ("k.json", '{"fx": 1, "distortion": [1,2,3,4,5,6,7,8,9,10,11,12,13,14,15]}'),
        ("k.json", '{"a.jpg": 3}'),
        ("k.yaml", "fx: [1"),
        ("k.txt", "1 2\n3 4\n"),
        ("k.txt", "1 0 0\n5 1 0\n0 0 1\n"),
        ("k.txt", "1 WRONG_MODEL 3 4 5"),
        ("k.txt", "1 PINHOLE 3 4 5"),
        ("k.npy", "no numpy"),
        ("k.xml", "<a/>"),
        ("k.yml", "%YAML:1.0\n---\nx: 1\n"),
        ("k.png", ""),
        ("transforms.json", '{"camera_angle_x": 4, "w": 8}'),
        ("transforms.json", '{"frames": []}'),
    ],
)
def test_a_bad_calibration_is_named(tmp_path, name, content):
    path = write(tmp_path, name, content)
    with pytest.raises(CalibrationError):
        read_calibration(path)


def test_a_missing_calibration_is_named(tmp_path):
    for name in ("none.json", "none.txt", "none.yml", "none.xml", "none.npy"):
        with pytest.raises(CalibrationError):
            read_calibration(tmp_path / name)


def test_a_calibration_of_the_photos_size_is_taken_as_it_is():
    camera, notes = fit_to_photo(SIZED, 1000, 750, 1, "a.jpg")
    assert camera == Camera(1000, 750, 1000, 1010, 500, 375, FocalSource.CALIBRATION, 0.005)
    assert notes == ()


def test_a_resized_photo_scales_its_calibration():
    camera, notes = fit_to_photo(SIZED, 500, 375, 1, "a.jpg")
    assert (camera.fx, camera.fy, camera.cx, camera.cy) == (500, 505, 250, 187.5)
    assert "scaled" in notes[0]


def test_another_shape_is_refused():
    with pytest.raises(CalibrationError, match="1000 x 750"):
        fit_to_photo(SIZED, 1000, 700, 1, "a.jpg")


@pytest.mark.parametrize(("orientation", "cx", "cy"), [(6, 325, 400), (8, 425, 600), (1, 325, 400)])
def test_an_upright_photo_turns_the_calibration_of_its_sensor(orientation, cx, cy):
    camera, notes = fit_to_photo(Intrinsics(1000, 1010, 400, 425, 1000, 750), 750, 1000, orientation, "a.jpg")
    assert (camera.fx, camera.fy, camera.cx, camera.cy) == (1010, 1000, cx, cy)
    assert "turned" in notes[0]


@pytest.mark.parametrize(
    ("orientation", "cx", "cy"), [(1, 22, 16), (2, 18, 16), (3, 18, 14), (4, 22, 14), (6, 14, 22), (8, 16, 18)]
)
def test_colmaps_cameras_are_of_the_stored_pixels(tmp_path, orientation, cx, cy):
    found = for_all(write(tmp_path, "cameras.txt", "1 PINHOLE 40 30 50 51 22 16\n"))
    size = (30, 40) if orientation >= 5 else (40, 30)
    camera, notes = fit_to_photo(found, *size, orientation, "a.jpg")
    assert (camera.width, camera.height) == size
    assert (camera.cx, camera.cy) == (cx, cy)
    assert bool(notes) is (orientation != 1)


def test_a_square_calibration_of_stored_pixels_turns_too():
    camera, _ = fit_to_photo(Intrinsics(50, 51, 22, 16, 40, 40, is_stored=True), 40, 40, 6, "a.jpg")
    assert (camera.fx, camera.fy, camera.cx, camera.cy) == (51, 50, 24, 22)


def test_colmaps_camera_of_an_upright_copy_is_taken_as_it_is():
    camera, notes = fit_to_photo(Intrinsics(50, 51, 22, 16, 40, 30, is_stored=True), 40, 30, 6, "a.jpg")
    assert (camera.cx, camera.cy, notes) == (22, 16, ())


@pytest.mark.parametrize(("orientation", "cx", "is_told"), [(3, 22, True), (3, 20, False), (1, 22, False)])
def test_other_calibrations_of_a_photo_stored_upside_down_are_told(orientation, cx, is_told):
    camera, notes = fit_to_photo(Intrinsics(50, 51, cx, 15, 40, 30), 40, 30, orientation, "a.jpg")
    assert (camera.cx, camera.cy) == (cx, 15)
    assert any("upright" in note for note in notes) is is_told


def test_without_a_size_the_principal_point_must_lie_in_the_middle_of_the_photo():
    camera, notes = fit_to_photo(OURS, 1000, 750, 1, "a.jpg")
    assert camera.cx == 500
    assert "size of the photo" in notes[0]
    with pytest.raises(CalibrationError, match="principal point"):
        fit_to_photo(OURS, 4000, 3000, 1, "a.jpg")
    centred, _ = fit_to_photo(Intrinsics(9, 9), 40, 30, 1, "a.jpg")
    assert (centred.cx, centred.cy) == (20, 15)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_tangential_distortion_turns_with_the_picture(orientation):
    """Oracle: turning the distorted point equals distorting the turned point."""
    lens = Distortion(DistortionModel.BROWN, (0.1, -0.05, 0.01, 0.02, 0.001))
    camera = Camera(1000, 750, 1000, 1010, 480, 390, FocalSource.CALIBRATION, 0.005, lens)
    upright = turned(camera, orientation)
    point = np.array([0.2, -0.1, 1.0])
    u, v = distorted(camera, point)
    x, y = turned_pixel(u, v, orientation)
    axes = turned_direction(point, orientation)
    assert distorted(upright, axes) == pytest.approx((x, y), abs=1e-6)


def distorted(camera, point):
    pixels, _ = cv2.projectPoints(
        point.reshape(1, 1, 3),
        np.zeros(3),
        np.zeros(3),
        camera.opencv_matrix,
        np.array(camera.distortion.coefficients),
    )
    return tuple(pixels.ravel() + 0.5)


def turned_pixel(u, v, orientation):
    width, height = (750, 1000) if orientation >= 5 else (1000, 750)
    if orientation >= 5:
        u, v = v, u
    return (width - u if orientation in (2, 3, 6, 7) else u), (height - v if orientation in (3, 4, 7, 8) else v)


def turned_direction(point, orientation):
    x, y, z = point
    if orientation >= 5:
        x, y = y, x
    return np.array([-x if orientation in (2, 3, 6, 7) else x, -y if orientation in (3, 4, 7, 8) else y, z])


def test_thin_prism_terms_cannot_be_turned():
    lens = Distortion(DistortionModel.BROWN, (0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0))
    camera = Camera(1000, 750, 1000, 1010, 480, 390, distortion=lens)
    with pytest.raises(CalibrationError, match="thin prism"):
        turned(camera, 6)


@pytest.mark.parametrize("layout", ["nested", "flat"])
def test_open3ds_matrix_stands_column_by_column(tmp_path, layout):
    columns = K.T if layout == "nested" else K.T.ravel()
    fields = {"width": 1000, "height": 750, "intrinsic_matrix": columns.tolist()}
    assert for_all(write(tmp_path, "camera_intrinsic.json", fields)) == SIZED
    fields["intrinsic_matrix"] = K.ravel().tolist()
    assert for_all(write(tmp_path, "rows.json", fields)) == SIZED
    np.savetxt(tmp_path / "columns.txt", K.T)
    assert for_all(tmp_path / "columns.txt") == OURS


def test_the_camera_that_open3d_writes_is_read(tmp_path):
    """Oracle: Open3D itself."""
    open3d = load_open3d()
    camera = open3d.camera.PinholeCameraIntrinsic(1000, 750, 1000.0, 1010.0, 499.5, 374.5)
    open3d.io.write_pinhole_camera_intrinsic(str(tmp_path / "camera.json"), camera)
    assert for_all(tmp_path / "camera.json") == SIZED


@pytest.mark.parametrize("centre", [(0.5, 0.5), (999.5, 0.0), (0, 750)])
def test_a_principal_point_in_a_corner_is_refused(centre):
    with pytest.raises(CalibrationError, match="corner"):
        fit_to_photo(Intrinsics(1000, 1000, *centre, 1000, 750), 1000, 750, 1, "a.jpg")
