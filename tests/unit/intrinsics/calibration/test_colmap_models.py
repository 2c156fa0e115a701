"""COLMAP's cameras without the rest of the model, and the folder that holds them."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from m3d_cli.errors import CalibrationError
from m3d_cli.intrinsics.calibration.read import read_calibration

CAMERA = struct.pack("<iiQQ4d", 1, 1, 1280, 720, 915.4, 914.2, 641.4, 360.1)
OTHER = struct.pack("<iiQQ3d", 2, 0, 1280, 720, 700, 640, 360)
PIXELS, NO_PIXELS = struct.pack("<Q2dq", 1, 3.0, 4.0, -1), struct.pack("<Q", 0)


def cameras(*records):
    return struct.pack("<Q", len(records)) + b"".join(records)


def image(number, camera, name, pixels=NO_PIXELS):
    return struct.pack("<i7di", number, 1, 0, 0, 0, 0, 0, 0, camera) + name.encode() + b"\0" + pixels


def write(folder, **files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / f"{name}.bin").write_bytes(data)
    return folder / "cameras.bin"


def test_the_only_binary_camera_is_that_of_all_photos(tmp_path):
    found = read_calibration(write(tmp_path, cameras=cameras(CAMERA))).find(Path("any.jpg"))
    assert (found.fx, found.fy, found.cx, found.width, found.is_stored) == (915.4, 914.2, 641.4, 1280, True)


def test_images_say_whose_camera_is_whose_without_any_points(tmp_path):
    images = cameras(image(1, 1, "a.jpg", PIXELS), image(2, 2, "sub/b c.jpg"))
    calibration = read_calibration(write(tmp_path, cameras=cameras(CAMERA, OTHER), images=images))
    assert calibration.find(Path("a.jpg")).fx == 915.4
    assert calibration.find(Path("x/sub/b c.jpg")).fx == 700


def test_several_binary_cameras_without_images_are_refused(tmp_path):
    with pytest.raises(CalibrationError, match=r"2 cameras, and no images\.bin"):
        read_calibration(write(tmp_path, cameras=cameras(CAMERA, OTHER)))


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"cameras": cameras(struct.pack("<iiQQ", 1, 99, 8, 6))}, "camera model 99 is not supported"),
        ({"cameras": cameras(CAMERA)[:-3]}, "cannot be read"),
        ({"cameras": struct.pack("<Q", 2**63)}, "more than"),
        ({"cameras": cameras(CAMERA), "images": cameras(image(1, 7, "a.jpg"))}, "camera 7"),
        ({"cameras": cameras(CAMERA), "images": cameras(image(1, 1, "a.jpg"))[:-9]}, "cannot be read"),
    ],
)
def test_damaged_binary_cameras_are_named(tmp_path, files, message):
    with pytest.raises(CalibrationError, match=message) as caught:
        read_calibration(write(tmp_path, **files))
    assert str(tmp_path) in caught.value.message


@pytest.mark.parametrize("below", ["", "sparse/0", "sparse", "0"])
def test_the_folder_of_a_model_is_a_calibration(tmp_path, below):
    write(tmp_path / below, cameras=cameras(CAMERA))
    assert read_calibration(tmp_path).find(Path("any.jpg")).fx == 915.4


def test_a_folder_with_text_cameras_is_a_calibration(tmp_path):
    (tmp_path / "cameras.txt").write_text("1 PINHOLE 1280 720 915.4 914.2 641.4 360.1\n")
    assert read_calibration(tmp_path).find(Path("any.jpg")).fx == 915.4


def test_a_folder_without_cameras_says_what_was_looked_for(tmp_path):
    with pytest.raises(CalibrationError, match=r"cameras\.bin or cameras\.txt"):
        read_calibration(tmp_path)
