"""Where no table knows a camera, its kind bounds the sensor: true focal lengths lie within 1.5 sigma."""

from __future__ import annotations

import math

import pytest

from m3d_cli.camera import FocalSource
from m3d_cli.intrinsics.exif import ExifFacts
from m3d_cli.intrinsics.ladder import FocalFacts, recover_focal
from m3d_cli.intrinsics.sensor_kinds import sensor_kind
from m3d_cli.intrinsics.sensors import Sensor


def recovered(width, height, sensor=None, **exif):
    return recover_focal(FocalFacts(width, height, ExifFacts(width=width, height=height, **exif), sensor=sensor))


@pytest.mark.parametrize(
    ("make", "model", "name"),
    [
        ("SONY", "DSC-H9", "a compact camera"),
        ("OLYMPUS IMAGING CORP.", "u1020,S1020", "a compact camera"),
        ("EASTMAN KODAK COMPANY", "KODAK DC240 ZOOM", "a compact camera"),
        ("SAMSUNG TECHWIN", "WB550", "a compact camera"),
        ("Canon", "Canon EOS 20D", "a camera with interchangeable lenses"),
        ("NIKON CORPORATION", "NIKON D750", "a camera with interchangeable lenses"),
        ("SONY", "ILCE-7M3", "a camera with interchangeable lenses"),
        ("SONY", "HDR-HC3", "a camcorder"),
        ("FLIR", "Vue Pro 640 9mm", "a thermal camera"),
        ("DJI", "XT2", "a thermal camera"),
        ("DJI", "FC6310", None),
        ("Sony", "D6603", None),
        ("samsung", "SM-S911B", None),
        ("RICOH", "RICOH THETA S", None),
        ("Jolla", "Jolla", None),
        ("", "", None),
    ],
)
def test_the_kind_of_a_camera_follows_from_its_name(make, model, name):
    found = sensor_kind(make, model, 640, 512)
    assert (found.name if found else None) == name


@pytest.mark.parametrize(
    ("make", "model", "millimetres", "size", "true"),
    [
        # 5.744 mm wide by the makers' data; 78 mm are the long end of a 15x zoom.
        ("SONY", "DSC-H9", 78.0, (1632, 1224), 22160),
        # 39 to 117 mm equivalents at 6.0 to 18.0 mm.
        ("EASTMAN KODAK COMPANY", "KODAK DC240 ZOOM DIGITAL CAMERA", 14.0, (640, 480), 14.0 * 39 / 6 / 43.2666 * 800),
        # 17 micrometre pixels.
        ("DJI", "XT2", 13.0, (640, 512), 764.7),
        ("Unheard", "Of", 50.0, (3000, 2000), 50 / 36 * 3000),
    ],
)
def test_known_millimetres_on_an_unknown_sensor_are_within_what_is_said(make, model, millimetres, size, true):
    found = recovered(*size, make=make, model=model, focal_mm=millimetres)
    assert found.focal_source is FocalSource.SENSOR_TABLE
    assert abs(math.log(found.focal / true)) < 1.5 * found.focal_rel_sigma
    assert f"off by {found.focal_rel_sigma:.0%}" in found.warnings[-1]


def test_a_phone_of_an_unknown_sensor_is_assumed_by_its_field_of_view():
    assert recovered(3264, 2448, make="Jolla", model="Jolla", focal_mm=4.0).is_assumed


@pytest.mark.parametrize(("model", "millimetres", "density", "true"), [
    # Resized by a viewer that rewrote the size: 2016 pixels became 640, 3040 became 640.
    ("FinePix A303", 5.7, 3884, 692),
    ("FinePix6800 ZOOM", 24.9, 1674, 2116),
])  # fmt: skip
def test_a_resolution_that_gives_a_sensor_of_another_kind_is_not_used(model, millimetres, density, true):
    exif = {"plane_x": density, "plane_y": density, "plane_unit": 3, "focal_mm": millimetres}
    found = recovered(640, 480, make="FUJIFILM", model=model, **exif)
    assert "focal plane resolution does not belong" in found.warnings[0]
    assert abs(math.log(found.focal / true)) < 1.5 * found.focal_rel_sigma


def test_a_thermal_camera_writes_the_width_of_its_sensor_as_its_resolution():
    """A FLIR Vue Pro 640: 640 pixels of 17 micrometres are 10.88 mm."""
    exif = {"plane_x": 10.88, "plane_y": 10.88, "plane_unit": 4, "focal_mm": 9.0}
    found = recovered(640, 512, make="FLIR", model="Vue Pro 640 9mm", **exif)
    assert found.focal == pytest.approx(529.4, abs=0.1)


@pytest.mark.parametrize("density", [31750 / 11, 2 * 31750 / 11])
def test_a_known_sensor_beats_a_resolution_that_contradicts_it(density):
    """A Canon EOS 20D: 3504 pixels over 22.5 mm, whatever an editor made of the resolution."""
    exif = {"plane_x": density, "plane_y": density, "plane_unit": 2, "focal_mm": 85.0}
    sensor = Sensor(22.5, None, True, "sensor table")
    found = recovered(3504, 2336, sensor, make="Canon", model="Canon EOS 20D", **exif)
    assert found.focal == pytest.approx(85 / 22.5 * 3504)
    assert "sensor size is used" in found.warnings[0]
