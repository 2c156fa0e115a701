"""Sensor sizes by camera name: exact, then unique, never a guess."""

from __future__ import annotations

import pytest

from m3d_cli.errors import CalibrationError
from m3d_cli.intrinsics.sensors import (
    FULL_FRAME_DIAGONAL,
    SensorRow,
    SensorTable,
    _unambiguous,
    normalised_make,
    normalised_model,
    read_sensor_table,
)

ROWS = (SensorRow("Canon", "Canon EOS 40D", 22.2), SensorRow("Acme", "One", 6.0), SensorRow("Acme", "One ", 7.0))


def test_the_database_of_lensfun_knows_cameras_by_exif_name():
    sensor = SensorTable().find("NIKON CORPORATION", "NIKON D70")
    assert sensor is not None
    assert sensor.diagonal == pytest.approx(FULL_FRAME_DIAGONAL / 1.525, rel=1e-3)
    assert sensor.exact


def test_a_name_spelled_differently_is_found_if_only_one_camera_has_it():
    sensor = SensorTable().find("Nikon", "D70")
    assert sensor is not None
    assert not sensor.exact
    assert sensor.diagonal == pytest.approx(28.37, abs=0.01)


@pytest.mark.parametrize("model", ["D7", "D", "", "D70000", "70"])
def test_part_of_a_name_is_never_enough(model):
    assert SensorTable().find("NIKON CORPORATION", model) is None


def test_a_name_listed_with_two_sensor_sizes_is_left_out():
    pairs = [(("acme", "one"), 1.5), (("acme", "one"), 1.51), (("acme", "two"), 1.5), (("acme", "two"), 2.0)]
    assert _unambiguous(pairs) == {("acme", "one"): 1.5}


def test_the_users_table_comes_first():
    sensor = SensorTable(ROWS).find("Canon", "Canon EOS 40D")
    assert sensor is not None
    assert (sensor.width, sensor.diagonal, sensor.exact) == (22.2, None, True)


def test_an_ambiguous_name_gives_nothing():
    assert SensorTable(ROWS, use_lensfun=False).find("ACME", "ONE") is not None
    assert SensorTable(ROWS, use_lensfun=False).find("Acme Corp", "Acme One") is None


@pytest.mark.parametrize(
    ("make", "model", "expected"),
    [
        ("NIKON CORPORATION", "NIKON D70", ("nikon", "d70")),
        ("Canon", "Canon EOS 40D", ("canon", "eos40d")),
        ("EASTMAN KODAK COMPANY", "KODAK DC240 ZOOM", ("kodak", "dc240zoom")),
        ("OLYMPUS IMAGING CORP.", "E-M1", ("olympus", "em1")),
        ("", "X", ("", "x")),
        ("SONY", "DSC-H9", ("sony", "dsch9")),
        ("Sony", "Sony Cyber-shot DSC-H9", ("sony", "dsch9")),
    ],
)
def test_names_are_normalised(make, model, expected):
    assert (normalised_make(make), normalised_model(make, model)) == expected


def test_a_sensor_table_is_read_with_and_without_a_source_column(tmp_path):
    path = tmp_path / "sensors.txt"
    path.write_text("# comment\nCanon;Canon EOS 40D;22.2\n\nAcme;Two;6.17;somewhere\n", encoding="utf-8")
    assert read_sensor_table(path) == (SensorRow("Canon", "Canon EOS 40D", 22.2), SensorRow("Acme", "Two", 6.17))


@pytest.mark.parametrize("line", ["Canon;EOS", "Canon;EOS;wide", "Canon;EOS;-3", "Canon;EOS;900", "", "a;b;nan"])
def test_a_bad_line_is_named(tmp_path, line):
    path = tmp_path / "sensors.txt"
    path.write_text(line, encoding="utf-8")
    with pytest.raises(CalibrationError, match=r"sensors\.txt"):
        read_sensor_table(path)


def test_a_missing_table_is_named(tmp_path):
    with pytest.raises(CalibrationError, match="cannot be read"):
        read_sensor_table(tmp_path / "none.txt")


def test_rows_that_cannot_be_true_are_skipped_and_counted(tmp_path, caplog):
    path = tmp_path / "cameraSensors.db"
    path.write_text("Blackberry;Blackberry Priv;0.28;x\nSony;Sony HDR-AS300;5.744;y\nSony;A\n", encoding="utf-8")
    rows = read_sensor_table(path)
    assert [row.width for row in rows] == [5.744]
    assert "2 of 3 rows are skipped: line 1: a sensor 0.28 mm wide does not exist" in caplog.text
    assert SensorTable(rows, use_lensfun=False).find("SONY", "HDR-AS300").width == 5.744


def test_opensfms_table_names_make_and_model_in_one_text(tmp_path):
    path = tmp_path / "sensor_data.json"
    path.write_text('{"Canon Canon EOS 40D": 22.2, "Konica Minolta DiMAGE X50": 5.75, "Odd": null}', encoding="utf-8")
    table = SensorTable(read_sensor_table(path), use_lensfun=False)
    assert table.find("Canon", "Canon EOS 40D").width == 22.2
    assert table.find("KONICA MINOLTA", "DiMAGE X50").width == 5.75
    assert table.find("Canon", "Canon EOS 4000D") is None
    path.write_text("[1]")
    with pytest.raises(CalibrationError, match=r"sensor_data\.json"):
        read_sensor_table(path)
