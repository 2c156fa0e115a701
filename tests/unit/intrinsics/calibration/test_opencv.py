"""OpenCV's storage is read by our own rules: what its own reader crashes on is refused."""

from __future__ import annotations

import subprocess
import sys

import cv2
import numpy as np
import pytest

from m3d_cli.errors import CalibrationError
from m3d_cli.intrinsics.calibration.read import read_calibration

HEAD = "%YAML:1.0\n---\ncamera_matrix: !!opencv-matrix\n"
DATA = "   data: [ 1000., 0., 499.5, 0., 1010., 374.5, 0., 0., 1. ]\n"
XML = "<?xml version='1.0'?><opencv_storage>{}</opencv_storage>"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("k.yml", f"{HEAD}   rows: 3\n   dt: d\n{DATA}"),
        ("k.yml", f"{HEAD}   rows: 3\n   cols: -1\n   dt: d\n{DATA}"),
        ("k.yml", f"{HEAD}   rows: -3\n   cols: -3\n   dt: d\n{DATA}"),
        ("k.yml", f"{HEAD}   rows: 3000000000\n   cols: 3\n   dt: d\n{DATA}"),
        ("k.yml", f"{HEAD}   rows: 3\n   cols: 3\n   dt: 2d\n{DATA}"),
        ("k.yml", f"{HEAD}   rows: 3\n   cols: 3\n   dt: d\n   data: [ 1 ]\n"),
        ("k.yml", f"{HEAD}   rows: 3\n   cols: 3\n   dt: d\n"),
        ("k.yml", f"{HEAD}   rows: 3\n   cols: x\n   dt: d\n{DATA}"),
        ("k.yml", "%YAML:1.0\n---\na: " + "[" * 100_000),
        ("k.yml", "%YAML:1.0\n---\n" + "".join(f"{' ' * level}a:\n" for level in range(1000))),
        ("k.json", '{"camera_matrix": {"type_id": "opencv-matrix", "rows": 3, "dt": "d", "data": [1]}}'),
        ("k.json", '{"camera_matrix": ' + '{"a": ' * 50_000 + "1" + "}" * 50_000 + "}"),
        ("k.xml", XML.format('<camera_matrix type_id="opencv-matrix"><rows>3</rows><data>1 2</data></camera_matrix>')),
        ("k.xml", "<?xml version='1.0'?><opencv_storage>" + "<a>" * 50_000),
        ("k.xml", "<!DOCTYPE a [<!ENTITY b 'bb'>]><opencv_storage>&b;</opencv_storage>"),
    ],
)
def test_a_matrix_that_lies_about_itself_is_refused(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(CalibrationError, match=name):
        read_calibration(tmp_path / name)


def test_opencvs_own_reader_never_sees_the_file(tmp_path, monkeypatch):
    path = tmp_path / "k.yml"
    path.write_text(f"{HEAD}   rows: 3\n   cols: 3\n   dt: d\n{DATA}")
    monkeypatch.delattr(cv2, "FileStorage")
    assert read_calibration(path).entries[0].intrinsics.fx == 1000
    code = "import sys, m3d_cli.intrinsics.calibration.read; sys.exit('cv2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("suffix", ["yml", "xml", "json"])
def test_every_type_that_opencv_writes_is_read(tmp_path, suffix):
    """Oracle: OpenCV's writer, with other values around the matrix."""
    path = tmp_path / f"k.{suffix}"
    storage = cv2.FileStorage(str(path), cv2.FILE_STORAGE_WRITE)
    storage.write("calibration_time", "Sat 28 Nov 2026 10:00:00")
    storage.write("nframes", 3)
    storage.write("image_width", 1000)
    storage.write("image_height", 750)
    storage.write("per_view_errors", np.array([[0.1], [0.25], [1e-7]], dtype=np.float32))
    storage.write("images", ["a b.jpg", "c.jpg"])
    storage.write("camera_matrix", np.array([[1000, 0, 499], [0, 1010, 374], [0, 0, 1]], dtype=np.int32))
    storage.write("distortion_coefficients", np.array([[1e-7, -0.25, 3.0]], dtype=np.float32))
    storage.release()
    found = read_calibration(path).entries[0].intrinsics
    assert (found.fx, found.fy, found.cx, found.cy, found.width, found.height) == (1000, 1010, 499.5, 374.5, 1000, 750)
    assert found.distortion.coefficients == pytest.approx((1e-7, -0.25, 3, 0))
