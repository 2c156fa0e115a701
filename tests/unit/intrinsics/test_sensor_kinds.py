"""Where no table knows a camera, its kind bounds the sensor: true focal lengths lie within 1.5 sigma."""

from __future__ import annotations

import math

import pytest

from m3d_cli.camera import FocalSource
from m3d_cli.intrinsics.exif import ExifFacts, facts_from_tags
from m3d_cli.intrinsics.ladder import FocalFacts, recover_focal
from m3d_cli.intrinsics.sensor_kinds import sensor_bounds, sensor_kind
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
        ("Canon", "Canon EOS 20D", "a camera with a large sensor"),
        ("NIKON CORPORATION", "NIKON D750", "a camera with a large sensor"),
        ("SONY", "ILCE-7M3", "a camera with a large sensor"),
        ("FUJIFILM", "FinePix X100", "a camera with a large sensor"),
        ("RICOH", "GR DIGITAL 3", "a compact camera"),
        ("SONY", "DSC-RX1", "a camera with a large sensor"),
        ("SONY", "DSC-RX100", "a compact camera"),
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
    found = sensor_kind(make, model, 640, 480)
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


def test_a_35_mm_equivalent_that_needs_a_larger_sensor_than_the_camera_s_is_not_used():
    """A Fuji X100 (28.4 mm) developed with a factor of 0.8 instead of 1.5: 18 mm are written, 35 are true."""
    sensor = Sensor(None, 28.4, True, "lensfun")
    found = recovered(2144, 1424, sensor, make="FUJIFILM", model="FinePix X100", focal_mm=23.0, focal_35mm=18.0)
    assert found.focal == pytest.approx(23 / 28.4 * math.hypot(2144, 1424))
    assert "larger sensor" in found.warnings[0]


@pytest.mark.parametrize(
    ("make", "model", "millimetres", "equivalent", "zoom", "factor"),
    [
        # 1/1.31": 12.2 mm in diagonal; that 24 mm included the zoom would need 24.9 mm.
        ("Google", "Pixel 8 Pro", 6.9, 24, 2.0, 2.0),
        # 1/1.57": 10.2 mm; that 72 mm did not include it would need 3.2 mm.
        ("samsung", "SM-S911B", 5.4, 72, 3.0, 1.0),
    ],
)
def test_the_bounds_of_a_phone_s_sensor_show_whether_the_zoom_is_included(
    make, model, millimetres, equivalent, zoom, factor
):
    exif = {"make": make, "model": model, "focal_mm": millimetres, "focal_35mm": equivalent, "digital_zoom": zoom}
    found = recovered(2000, 1500, **exif)
    assert found.focal == pytest.approx(factor * equivalent / 43.2666 * 2500, rel=1e-3)
    assert found.focal_rel_sigma < 0.06


@pytest.mark.parametrize(("millimetres", "equivalent"), [(539.0, 3000), (247.0, 1365)])
def test_the_long_end_of_a_superzoom_is_a_focal_length(millimetres, equivalent):
    """A Nikon P1000 and a Canon SX60 HS at their longest."""
    found = recovered(4608, 3456, make="Nikon", model="COOLPIX P1000", focal_mm=millimetres, focal_35mm=equivalent)
    assert found.focal_source is FocalSource.EXIF_35MM
    assert found.focal == pytest.approx(equivalent / 43.2666 * 5760)
    assert "unusual" in found.warnings[0]


@pytest.mark.parametrize(("year", "is_used"), [(2006, False), (2014, True), (None, True)])
def test_a_sensor_that_no_compact_had_in_that_year_is_no_evidence(year, is_used):
    exif = {"make": "SONY", "model": "DSC-ZZ1", "focal_mm": 10.4, "plane_x": 4148.0, "plane_unit": 3, "year": year}
    found = recovered(5472, 3648, **exif)
    assert (found.focal_source is FocalSource.EXIF_FOCAL_PLANE) is is_used


@pytest.mark.parametrize(("year", "largest"), [(2008, 7.3), (2011, 9.3), (2013, 13.5), (2024, 16.5), (None, 16.5)])
def test_phones_had_small_sensors_first(year, largest):
    assert sensor_bounds("NOKIA", "808", 4000, 3000, year) == (3.6, largest)


@pytest.mark.parametrize(
    ("date", "year"),
    [("2006:07:08 09:10:11", 2006), ("2006:01:01 00:00:00", None), ("0000:00:00 00:00:00", None), ("", None)],
)
def test_the_date_of_a_clock_that_was_never_set_says_nothing(date, year):
    assert facts_from_tags({"DateTimeOriginal": date}).year == year


@pytest.mark.parametrize(
    ("software", "size", "is_wide"),
    [
        ("Microsoft Windows Photo Viewer 6.1", (1000, 750), True),
        ("ACDSee Pro 5", (1000, 750), True),
        ("Ver.1.08", (1000, 750), False),
        # The camera's size was kept, so the resolution follows the resize.
        ("Microsoft Windows Photo Viewer 6.1", (500, 375), False),
    ],
)
def test_a_lone_focal_plane_resolution_is_doubted_where_an_editor_may_have_rewritten_the_size(software, size, is_wide):
    exif = ExifFacts(
        make="Unheard",
        model="Of",
        focal_mm=6.0,
        plane_x=4000.0,
        plane_unit=2,
        width=1000,
        height=750,
        software=software,
    )
    found = recover_focal(FocalFacts(*size, exif))
    assert found.focal_source is FocalSource.EXIF_FOCAL_PLANE
    assert (found.focal_rel_sigma > 0.4) is is_wide
    assert any("wrote this file" in warning for warning in found.warnings) is is_wide


@pytest.mark.parametrize(("density", "is_odd"), [(4237.0, False), (4237.0 * 1.15, True)])
def test_a_lone_resolution_is_doubted_where_no_such_sensor_exists(density, is_odd):
    """6000 pixels at 4237 per inch are 36 mm; 31 mm are the width of no camera's sensor."""
    found = recovered(6000, 4000, make="Canon", model="Canon EOS R99", focal_mm=50.0, plane_x=density, plane_unit=2)
    assert (found.focal_rel_sigma > 0.3) is is_odd
    assert any("which such cameras do not have" in one for one in found.warnings) is is_odd


@pytest.mark.parametrize(
    ("make", "model", "size", "name"),
    [
        ("DJI", "ZH20T", (640, 512), "a thermal camera"),
        ("DJI", "ZH20T", (4056, 3040), None),
        ("Canon", "PowerShot A80", (640, 512), "a compact camera"),
        ("OLYMPUS", "E-100RS", (1360, 1024), "a compact camera"),
        ("OLYMPUS", "E-410", (3648, 2736), "a camera with a large sensor"),
        ("PENTAX", "PENTAX Q7", (4000, 3000), "a compact camera"),
        ("Phase One", "P65+", (8984, 6732), "a medium format camera"),
        ("JVC", "GZ-MG505", (2560, 1920), "a camcorder"),
    ],
)
def test_size_and_make_name_the_kind_too(make, model, size, name):
    found = sensor_kind(make, model, *size)
    assert (found.name if found else None) == name


def test_a_square_photo_of_a_phone_was_cut_from_four_to_three():
    """26 mm over the diagonal of 4032 x 3024."""
    found = recovered(3024, 3024, make="Apple", model="iPhone 12", focal_35mm=26.0)
    assert found.focal == pytest.approx(26 / 43.2666 * 5040, rel=1e-3)
    assert "cut in the camera" in found.warnings[0]


def test_a_second_lens_of_a_phone_is_not_assumed_to_be_its_main_one():
    tele, main = (recovered(4000, 3000, make="HUAWEI", model="ELS-N39", focal_mm=mm) for mm in (18.0, 5.6))
    assert tele.focal_rel_sigma > 0.7
    assert tele.candidates == ()
    assert main.focal_rel_sigma == 0.25
