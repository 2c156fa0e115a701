"""From path to photo: pixels, camera and options together."""

from __future__ import annotations

import json
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from m3d_cli.camera import Camera, Distortion, DistortionModel, FocalSource
from m3d_cli.errors import CalibrationError, FocalError, PhotoError, UsageError
from m3d_cli.intrinsics.ladder import UserFocal
from m3d_cli.photos.load import UNDISTORTED, CameraSources, focal_required, load, load_photo, read_camera, read_facts
from m3d_cli.photos.undistort import undistort, undistorted_camera

PHONE = {0x920A: 4.25, 0xA405: 26, 0xA002: 64, 0xA003: 48}
PHOTOS = Path(__file__).parents[2] / "data" / "photos"


def intrinsics(tmp_path, **fields):
    path = tmp_path / "k.json"
    path.write_text(json.dumps(fields), encoding="utf-8")
    return CameraSources.from_files(intrinsics=path)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif", "heic"])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_format_and_orientation_do_not_change_the_camera(save_photo, suffix, orientation):
    photo = load_photo(save_photo(f"a.{suffix}", orientation=orientation, tags=PHONE))
    assert photo.image.shape == (48, 64, 3)
    assert photo.camera.focal == pytest.approx(26 / 43.2666 * 80)
    assert photo.camera.focal_source is FocalSource.EXIF_35MM


def test_half_the_pixels_are_half_the_focal_length(save_photo, blocks):
    whole = read_camera(save_photo("whole.jpg", tags=PHONE))
    half = read_camera(save_photo("half.jpg", image=blocks[::2, ::2], tags=PHONE))
    assert half.focal * 2 == pytest.approx(whole.focal)


def test_twice_the_focal_flag_is_exactly_twice_the_focal_length(save_photo):
    path = save_photo("a.jpg", tags=PHONE)
    once = load_photo(path, CameraSources(UserFocal(pixels=777.7))).camera
    twice = load_photo(path, CameraSources(UserFocal(pixels=2 * 777.7))).camera
    assert twice.focal == 2 * once.focal


def test_an_impossible_focal_length_is_refused_by_the_name_of_the_photo(save_photo, tmp_path):
    path = save_photo("a.jpg", tags=PHONE)
    for sources in (CameraSources(UserFocal(pixels=1e9)), intrinsics(tmp_path, fx=1e-9)):
        with pytest.raises(CalibrationError, match=r"a\.jpg: a focal length of .* degrees are possible"):
            read_camera(path, sources)


def test_a_reduced_copy_keeps_the_camera_of_the_full_picture(save_photo):
    path = save_photo("a.jpg", image=np.zeros((480, 640, 3), dtype=np.uint8), tags=PHONE)
    loaded = load(path, at_least=(100, 100))
    assert loaded.image.shape == (120, 160, 3)
    assert (loaded.camera.width, loaded.camera.height) == (640, 480)
    assert loaded.camera == read_camera(path)


def test_an_estimate_made_before_is_used_again(save_photo):
    path = save_photo("a.jpg", tags=PHONE)
    camera = read_camera(path, CameraSources(UserFocal(pixels=500)))
    assert load_photo(path, camera=camera).camera.focal == 500


def test_a_required_focal_length_that_is_unknown_is_an_error(save_photo, tmp_path):
    with pytest.raises(FocalError) as caught:
        read_camera(save_photo("bare.png"), CameraSources(require_focal=True))
    assert caught.value.exit_code == 7
    expected = focal_required(tmp_path / "bare.png")
    assert (caught.value.message, caught.value.hint) == (expected.message, expected.hint)
    assert read_camera(save_photo("a.jpg", tags=PHONE), CameraSources(require_focal=True))


def test_a_calibration_that_has_no_entry_for_the_photo_is_told(save_photo, tmp_path):
    options = intrinsics(tmp_path, **{"other.jpg": {"fx": 50}})
    camera = read_camera(save_photo("a.jpg", tags=PHONE), options)
    assert camera.focal_source is FocalSource.EXIF_35MM
    assert "no intrinsics for this photo" in camera.warnings[0]


def test_a_calibration_of_another_shape_fails_the_photo(save_photo, tmp_path):
    with pytest.raises(CalibrationError, match=r"a\.jpg"):
        read_camera(save_photo("a.jpg"), intrinsics(tmp_path, fx=50, width=100, height=20))


def test_a_sidecar_comes_before_the_exif_of_the_file(save_photo, tmp_path):
    path = tmp_path / "exif.json"
    path.write_text(json.dumps([{"SourceFile": "a.jpg", "FocalLengthIn35mmFormat": "52 mm"}]), encoding="utf-8")
    options = CameraSources.from_files(exif_json=path)
    assert read_camera(save_photo("a.jpg", tags=PHONE), options).focal == pytest.approx(52 / 43.2666 * 80)
    assert read_camera(save_photo("b.jpg", tags=PHONE), options).focal == pytest.approx(26 / 43.2666 * 80)


def test_a_sidecar_without_a_focal_length_leaves_that_of_the_file(save_photo, tmp_path):
    path = tmp_path / "exif.json"
    path.write_text(json.dumps([{"SourceFile": "a.jpg", "Make": "Acme"}]), encoding="utf-8")
    facts = read_facts(save_photo("a.jpg", tags=PHONE), CameraSources.from_files(exif_json=path))
    assert facts.exif.make == "Acme"
    assert facts.camera.focal == pytest.approx(26 / 43.2666 * 80)
    assert facts.camera.focal_source is FocalSource.EXIF_35MM


def test_a_sensor_table_of_the_user_counts(save_photo, tmp_path):
    path = tmp_path / "sensors.txt"
    path.write_text("Acme;One;6.4\n", encoding="utf-8")
    photo = save_photo("a.jpg", tags={0x920A: 8.0}, base={0x010F: "ACME", 0x0110: "Acme One"})
    camera = read_camera(photo, CameraSources.from_files(sensor_db=path))
    assert camera.focal == pytest.approx(8.0 / 6.4 * 64)


def test_flags_and_a_calibration_contradict_each_other(tmp_path):
    options = intrinsics(tmp_path, fx=50)
    with pytest.raises(UsageError, match="contradict"):
        CameraSources(UserFocal(pixels=1), calibration=options.calibration)


def test_options_travel_to_other_processes_and_their_digest_tells_them_apart(tmp_path):
    one, other = intrinsics(tmp_path, fx=50), intrinsics(tmp_path, fx=51)
    again = pickle.loads(pickle.dumps(one))  # noqa: S301 - our own bytes
    assert again == one
    assert again.digest == one.digest != other.digest
    assert again.calibration.find(Path("x.jpg")).fx == 50
    assert CameraSources().digest != CameraSources(UserFocal(pixels=1)).digest


def grid(camera: Camera) -> np.ndarray:
    """What a camera sees of a plane at z = 1 with a smooth pattern: values by analytic rays through its distortion."""
    v, u = np.mgrid[0 : camera.height, 0 : camera.width].astype(np.float64)
    pixels = np.stack([u, v], axis=-1).reshape(-1, 1, 2)
    lens = camera.distortion
    if lens is None:
        rays = (pixels.reshape(-1, 2) - camera.opencv_matrix[:2, 2]) / [camera.fx, camera.fy]
    elif lens.model is DistortionModel.FISHEYE:
        rays = cv2.fisheye.undistortPoints(pixels, camera.opencv_matrix, np.array(lens.coefficients)).reshape(-1, 2)
    else:
        rays = cv2.undistortPoints(pixels, camera.opencv_matrix, np.array(lens.coefficients)).reshape(-1, 2)
    values = 128 + 60 * np.sin(9 * rays[:, :1] + np.array([0, 1, 2])) + 60 * np.sin(7 * rays[:, 1:])
    return np.clip(values, 0, 255).reshape(camera.height, camera.width, 3).astype(np.uint8)


@pytest.mark.parametrize(
    "lens",
    [
        Distortion(DistortionModel.BROWN, (-0.2, 0.05, 0.002, -0.003)),
        Distortion(DistortionModel.BROWN, (0.1, 0.0, 0.0, 0.0)),
        Distortion(DistortionModel.FISHEYE, (0.05, -0.01, 0.0, 0.0)),
    ],
)
def test_an_undistorted_photo_is_what_its_pinhole_camera_sees(lens):
    camera = Camera(320, 240, 250, 255, 165, 118, FocalSource.CALIBRATION, 0.005, lens)
    pinhole = undistorted_camera(camera)
    assert pinhole.distortion is None
    assert pinhole.fx == pinhole.fy
    assert (pinhole.width, pinhole.height) == (320, 240)
    seen, expected = undistort(grid(camera), camera), grid(pinhole)
    error = np.abs(seen.astype(int) - expected)[3:-3, 3:-3]
    assert error.max() <= 6
    assert error.mean() < 1.2


def test_a_reduced_copy_is_undistorted_for_the_same_camera():
    lens = Distortion(DistortionModel.BROWN, (-0.2, 0.05, 0, 0))
    camera = Camera(640, 480, 500, 500, 320, 240, FocalSource.CALIBRATION, 0.005, lens)
    small = grid(camera.resized(320, 240))
    expected = grid(undistorted_camera(camera).resized(320, 240))
    error = np.abs(undistort(small, camera).astype(int) - expected)[3:-3, 3:-3]
    assert error.mean() < 1.2


def test_a_photo_with_a_distorting_lens_says_that_it_was_undistorted(save_photo, tmp_path):
    options = intrinsics(tmp_path, fx=60, cx=32, cy=24, width=64, height=48, distortion=[-0.1, 0, 0, 0])
    loaded = load(save_photo("a.jpg"), options)
    assert loaded.notes == (UNDISTORTED,)
    assert loaded.camera.distortion is None
    assert loaded.image.shape == (48, 64, 3)
    assert read_camera(save_photo("a.jpg"), options).distortion is not None


# At 180 degrees OpenCV answers with a focal length of a fraction of a pixel, and with no error.
HALF_SPACE = {"model": "fisheye", "coefficients": [0, 0, 0, 1e-9]}


def test_a_fisheye_that_no_flat_picture_can_hold_is_refused_from_the_header_on(save_photo, tmp_path):
    path = save_photo("a.png", image=np.zeros((300, 400, 3), dtype=np.uint8))
    options = intrinsics(tmp_path, fx=100, width=400, height=300, distortion=HALF_SPACE)
    for reader in (read_facts, load, load_photo):
        with pytest.raises(CalibrationError, match=r"a\.png.*cannot be taken out"):
            reader(path, options)


@pytest.mark.parametrize(
    ("focal", "cx", "is_possible"),
    [(90, 200, True), (79, 200, False), (7999, 200, True), (8001, 200, False), (300, 25, True), (300, 15, False)],
)
def test_a_straightened_camera_is_one_that_can_exist(monkeypatch, focal, cx, is_possible):
    matrix = np.array([[focal, 0, cx], [0, focal, 150], [0, 0, 1.0]])
    monkeypatch.setattr(cv2, "getOptimalNewCameraMatrix", lambda *_, **__: (matrix, None))
    camera = Camera(400, 300, 300, 300, 200, 150, distortion=Distortion(DistortionModel.BROWN, (0.1, 0, 0, 0)))
    if is_possible:
        assert undistorted_camera(camera).fx == focal
        return
    with pytest.raises(CalibrationError, match="principal point"):
        undistorted_camera(camera)


def test_a_focal_length_that_is_no_number_is_refused(monkeypatch):
    matrix = np.array([[np.nan, 0, 200], [0, np.nan, 150], [0, 0, 1.0]])
    monkeypatch.setattr(cv2, "getOptimalNewCameraMatrix", lambda *_, **__: (matrix, None))
    camera = Camera(400, 300, 300, 300, 200, 150, distortion=Distortion(DistortionModel.BROWN, (0.1, 0, 0, 0)))
    with pytest.raises(CalibrationError):
        undistorted_camera(camera)


def test_pixels_that_are_far_from_square_cost_a_part_of_the_picture_and_this_is_told(save_photo, tmp_path):
    path = save_photo("a.png")
    wide = intrinsics(tmp_path, fx=60, fy=120, width=64, height=48, distortion=[-0.01, 0, 0, 0])
    warnings = read_facts(path, wide).camera.warnings
    assert any("cuts off 50% of one side" in text or "cuts off 51% of one side" in text for text in warnings)
    usual = intrinsics(tmp_path, fx=60, fy=61, width=64, height=48, distortion=[-0.1, 0, 0, 0])
    assert not any("cuts off" in text for text in read_facts(path, usual).camera.warnings)


def test_a_file_that_is_no_photo_is_an_error_of_that_photo(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(b"nothing")
    with pytest.raises(PhotoError, match=r"a\.jpg"):
        read_facts(path)


@pytest.mark.parametrize(
    ("name", "source", "size"),
    [
        ("palace.jpg", FocalSource.EXIF_35MM, (640, 427)),
        ("flower.jpg", FocalSource.SENSOR_TABLE, (640, 427)),
        ("rocket.webp", FocalSource.EXIF_FOCAL_PLANE, (640, 427)),
        ("portrait.png", FocalSource.ASSUMED, (384, 384)),
        ("cameraman.jpg", FocalSource.EXIF_35MM, (512, 512)),
        ("indoor/coffee.jpg", FocalSource.EXIF_35MM, (600, 400)),
        ("indoor/cat.heic", FocalSource.EXIF_35MM, (451, 300)),
    ],
)
def test_the_sample_photos_load(name, source, size):
    photo = load_photo(PHOTOS / name)
    assert (photo.camera.width, photo.camera.height) == size
    assert photo.camera.focal_source is source


def test_photos_are_decoded_in_threads_as_one_by_one():
    photos = sorted(path for path in PHOTOS.rglob("*") if path.is_file())
    alone = [load(path).image for path in photos]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda path: load(path).image, photos * 4))
    assert all((a == b).all() for a, b in zip(alone * 4, together, strict=True))


def side_files(tmp_path, tags, rows="Acme;One;6.17\n"):
    (tmp_path / "tags.json").write_text(json.dumps(tags))
    (tmp_path / "sensors.txt").write_text(rows)
    return CameraSources.from_files(exif_json=tmp_path / "tags.json", sensor_db=tmp_path / "sensors.txt")


def test_a_side_file_that_gives_nothing_for_a_photo_is_reported(save_photo, tmp_path):
    photo = save_photo("a.jpg", tags=PHONE)
    sources = side_files(tmp_path, [{"SourceFile": "b.jpg", "FocalLength": 5}])
    assert read_camera(photo, sources).warnings == (
        "tags.json has no entry for this photo",
        "sensors.txt has no row for a photo that does not name its camera",
    )
    sources = side_files(tmp_path, [{"SourceFile": "a.jpg", "Make": "Acme", "Model": "Two"}])
    assert read_camera(photo, sources).warnings == (
        "the entry of this photo in tags.json has no focal length",
        "sensors.txt has no row for the camera Acme Two",
    )
    sources = side_files(tmp_path, [{"SourceFile": "a.jpg", "Make": "Acme", "Model": "One", "FocalLength": 4.25}])
    assert not any("json" in warning or "sensors.txt" in warning for warning in read_camera(photo, sources).warnings)


DEWARPED = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description drone-dji:DewarpFlag="0" drone-dji:DewarpData="2018-09-05;66.9,66.9,-0.3,0.6,{},0.11,0,0,-0.04"/>'
    "</rdf:RDF></x:xmpmeta>"
)


@pytest.mark.parametrize(("k1", "is_possible"), [(-0.265, True), (-1.9, False)])
def test_the_distortion_that_a_drone_states_is_removed_where_it_can_be(tmp_path, k1, is_possible):
    path = tmp_path / "drone.jpg"
    Image.new("RGB", (100, 66)).save(path, xmp=DEWARPED.format(k1).encode())
    photo = load(path)
    assert photo.camera.distortion is None
    assert photo.distorted.fx == pytest.approx(66.9)
    assert (photo.distorted.distortion is not None) is is_possible
    assert any("lens distortion is not used" in one for one in photo.camera.warnings) is not is_possible
    # What `m3d exif` reports and what the outputs have differ, so both are said.
    straight = f"with a focal length of {photo.camera.focal:.0f} px"
    assert any(straight in one for one in photo.camera.warnings) is is_possible


@pytest.mark.parametrize("k1", [-0.7, -1.0, -1.9])
def test_a_calibration_that_folds_the_image_over_is_refused(k1):
    lens = Distortion(DistortionModel.BROWN, (k1, 0.0, 0.0, 0.0, 0.0))
    camera = Camera(100, 66, 66.9, 66.9, 50.0, 33.0, distortion=lens)
    with pytest.raises(CalibrationError, match="folds the image over"):
        undistorted_camera(camera)
