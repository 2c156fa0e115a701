"""Calibration files with more than one camera or more than one message: which of them belongs to a photo."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from m3d_cli.errors import CalibrationError
from m3d_cli.intrinsics.calibration.match import camera_name
from m3d_cli.intrinsics.calibration.read import read_calibration
from m3d_cli.photos.load import CameraSources, read_camera

CAMERA = {"projection_type": "brown", "width": 40, "height": 30, "focal_x": 0.7, "focal_y": 0.7, "k1": 0.0}
KEY = "v2 {} 40 30 brown 0.6666"
MESSAGE = """header:
  seq: {}
height: 480
width: 640
distortion_model: "plumb_bob"
D: [0.0, 0.0, 0.0, 0.0, 0.0]
K: [515.5, 0.0, 320.0, 0.0, 516.5, 240.0, 0.0, 0.0, 1.0]
"""


def photo(folder, make, model):
    exif = Image.Exif()
    exif[0x010F], exif[0x0110] = make, model
    path = folder / f"{model}.jpg".replace(" ", "_")
    Image.new("RGB", (40, 30)).save(path, exif=exif)
    return path


def cameras(folder, **focals):
    path = folder / "cameras.json"
    path.write_text(json.dumps({name: {**CAMERA, "focal_x": focal} for name, focal in focals.items()}))
    return read_calibration(path)


def test_of_opensfms_cameras_each_belongs_to_the_photos_whose_exif_names_it(tmp_path):
    found = cameras(tmp_path, **{KEY.format("dji fc6310"): 0.7, KEY.format("canon eos 5d"): 0.8})
    sources = CameraSources(calibration=found)
    assert read_camera(photo(tmp_path, "DJI", "FC6310"), sources).fx == pytest.approx(28)
    assert read_camera(photo(tmp_path, "Canon", "Canon EOS 5D"), sources).fx == pytest.approx(32)
    other = read_camera(photo(tmp_path, "NIKON", "D750"), sources)
    assert other.is_assumed
    assert "cameras.json has no intrinsics for this photo" in other.warnings


@pytest.mark.parametrize("names", [("a", "b"), (KEY.format("dji fc6310"), KEY.format("dji fc6310") + "7")])
def test_cameras_that_no_photo_can_choose_between_are_refused(tmp_path, names):
    with pytest.raises(CalibrationError, match="2 cameras, and nothing here says which photo is whose"):
        cameras(tmp_path, **dict.fromkeys(names, 0.7))


def test_the_make_stands_once_in_a_cameras_name():
    assert camera_name("Canon", "Canon EOS 5D") == "canon eos 5d"
    assert camera_name("DJI ", "FC6310") == "dji fc6310"
    assert camera_name("DJI", " ") == ""


def test_the_first_of_many_recorded_messages_is_read_however_long_the_file_is(tmp_path):
    path = tmp_path / "camera_info.yaml"
    path.write_text("---\n".join(MESSAGE.format(i) for i in range(20_000)))
    assert path.stat().st_size > 2_000_000
    assert read_calibration(path).find(Path("a.png")).fx == 515.5


def test_a_first_document_that_never_ends_is_refused(tmp_path):
    path = tmp_path / "endless.yaml"
    path.write_text("a: 1\n" * 1_000_000)
    with pytest.raises(CalibrationError, match="larger than"):
        read_calibration(path)
