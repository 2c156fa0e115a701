"""Projects of Metashape: a photo gets the calibration of its own sensor, and the adjusted one before the initial."""

from __future__ import annotations

from pathlib import Path

import pytest

from m3d_cli.camera import DistortionModel
from m3d_cli.errors import CalibrationError
from m3d_cli.intrinsics.calibration.read import read_calibration

SIZE = '<resolution width="4000" height="3000"/>'
ADJUSTED = f'<calibration type="frame" class="adjusted">{SIZE}<f>2305.9</f></calibration>'
INITIAL = f'<calibration type="frame" class="initial">{SIZE}<f>2285.7</f></calibration>'
CAMERAS = '<camera id="0" sensor_id="0" label="a"/><camera id="1" sensor_id="1" label="b"/>'


def read(tmp_path, sensors, cameras=CAMERAS):
    return read_chunks(tmp_path, chunk(sensors, cameras))


def chunk(sensors, cameras):
    inner = "".join(f'<sensor id="{i}" type="frame">{SIZE}{one}</sensor>' for i, one in enumerate(sensors))
    return f"<chunk><sensors>{inner}</sensors><cameras>{cameras}</cameras></chunk>"


def read_chunks(tmp_path, *chunks):
    path = tmp_path / "cameras.xml"
    path.write_text(f"<document>{''.join(chunks)}</document>")
    return read_calibration(path)


def test_a_photo_of_an_uncalibrated_sensor_does_not_get_the_lens_of_another(tmp_path):
    calibration = read(tmp_path, ["", ADJUSTED])
    assert calibration.find(Path("a.jpg")) is None
    assert calibration.find(Path("b.jpg")).fx == 2305.9


def test_a_project_whose_photos_have_no_calibrated_sensor_is_refused(tmp_path):
    with pytest.raises(CalibrationError, match="no photo of this project has a calibrated sensor"):
        read(tmp_path, ["", ADJUSTED], '<camera id="0" sensor_id="0" label="a"/>')


def test_a_project_without_cameras_has_its_only_sensor_for_all_photos(tmp_path):
    assert read(tmp_path, [ADJUSTED], "").find(Path("any.jpg")).fx == 2305.9
    with pytest.raises(CalibrationError):
        read(tmp_path, ["", ADJUSTED], "")


@pytest.mark.parametrize("calibrations", [ADJUSTED + INITIAL, INITIAL + ADJUSTED])
def test_the_adjusted_calibration_counts_wherever_it_stands(tmp_path, calibrations):
    found = read(tmp_path, [calibrations, ""]).find(Path("a.jpg"))
    assert (found.fx, found.notes) == (2305.9, ())


def test_an_initial_calibration_alone_is_noted(tmp_path):
    found = read(tmp_path, [INITIAL]).find(Path("a.jpg"))
    assert found.fx == 2285.7
    assert "initial" in found.notes[0]


def test_sensors_of_two_chunks_do_not_mix(tmp_path):
    other = chunk([ADJUSTED.replace("2305.9", "1000")], '<camera id="0" sensor_id="0" label="c"/>')
    calibration = read_chunks(tmp_path, chunk([ADJUSTED, ""], CAMERAS), other)
    assert calibration.find(Path("a.jpg")).fx == 2305.9
    assert calibration.find(Path("c.jpg")).fx == 1000


def test_the_type_of_the_sensor_is_that_of_a_calibration_without_one(tmp_path):
    untyped = ADJUSTED.replace('type="frame" ', "")
    path = tmp_path / "cameras.xml"
    path.write_text(f'<document><sensor id="0" type="fisheye">{untyped}</sensor></document>')
    assert read_calibration(path).find(Path("a.jpg")).distortion.model is DistortionModel.FISHEYE


def test_higher_tangential_terms_are_refused_and_skew_is_noted(tmp_path):
    with pytest.raises(CalibrationError, match="p3"):
        read(tmp_path, [ADJUSTED.replace("</f>", "</f><p3>0.01</p3>")])
    found = read(tmp_path, [ADJUSTED.replace("</f>", "</f><b2>7</b2>")]).find(Path("a.jpg"))
    assert "skew" in found.notes[0]
