"""The focal ladder: golden numbers worked out by hand, and properties that hold for every photo."""

from __future__ import annotations

import dataclasses
import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from m3d_cli.camera import Camera, Distortion, DistortionModel, FocalSource
from m3d_cli.errors import CalibrationError, UsageError
from m3d_cli.intrinsics.exif import ExifFacts
from m3d_cli.intrinsics.ladder import ASSUMED_SIGMA, FocalFacts, UserFocal, recover_focal
from m3d_cli.intrinsics.sensors import Sensor
from m3d_cli.intrinsics.shared_focal import consensus

PHONE = ExifFacts(make="Apple", model="iPhone", focal_mm=4.25, focal_35mm=26, width=4032, height=3024)
# Canon PowerShot S40: 7.18 mm wide, pixels 3.13 micrometres; numbers of a real file.
COMPACT = ExifFacts(
    make="Canon", focal_mm=21.3125, plane_x=8114.2857, plane_y=8114.2857, plane_unit=2, width=2272, height=1704
)
APS = Sensor(None, 26.67, True, "lensfun")


def recovered(width, height, exif=None, **facts):
    return recover_focal(FocalFacts(width, height, exif or ExifFacts(), **facts))


def test_the_35_mm_equivalent_goes_by_the_diagonal():
    found = recovered(4032, 3024, PHONE)
    # 26 / 43.2666 * 5040
    assert found.focal == pytest.approx(3028.66, abs=0.01)
    assert found.focal_source is FocalSource.EXIF_35MM
    assert found.focal_rel_sigma == pytest.approx(math.hypot(0.5 / 26, 0.02))
    assert (found.cx, found.cy) == (2016, 1512)
    assert found.warnings == ()


def test_the_focal_plane_gives_pixels_per_millimetre():
    found = recovered(2272, 1704, COMPACT)
    # 21.3125 mm * 8114.2857 / 25.4 per mm
    assert found.focal == pytest.approx(6808.49, abs=0.01)
    assert found.focal_source is FocalSource.EXIF_FOCAL_PLANE


def test_the_focal_plane_follows_a_resize():
    assert recovered(568, 426, COMPACT).focal == pytest.approx(6808.49 / 4, abs=0.01)


def test_the_sensor_table_goes_by_diagonal_or_by_width():
    exif = ExifFacts(focal_mm=35, width=3888, height=2592)
    by_diagonal = recovered(3888, 2592, exif, sensor=APS)
    # 35 / 26.67 * 4672.78
    assert by_diagonal.focal == pytest.approx(6132.27, abs=0.1)
    assert (by_diagonal.focal_source, by_diagonal.focal_rel_sigma) == (FocalSource.SENSOR_TABLE, 0.03)
    by_width = recovered(2592, 3888, exif, sensor=Sensor(22.2, None, False, "table"))
    # 35 / 22.2 * 3888, the long side
    assert by_width.focal == pytest.approx(6129.73, abs=0.01)
    assert by_width.focal_rel_sigma == 0.05


def test_nothing_known_is_assumed_with_a_warning():
    found = recovered(4000, 3000)
    assert (found.focal, found.focal_source, found.focal_rel_sigma) == (2880, FocalSource.ASSUMED, ASSUMED_SIGMA)
    assert "assumed" in found.warnings[-1]
    assert found.is_assumed


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        (UserFocal(pixels=1200), 1200),
        (UserFocal(equivalent=26), 3028.66),
        (UserFocal(fov=90), 2016),
        (UserFocal(millimetres=4.25, sensor_width=5.7), 4.25 / 5.7 * 4032),
    ],
)
def test_the_users_word_comes_first(user, expected):
    found = recovered(4032, 3024, dataclasses.replace(PHONE, focal_35mm=27), user=user)
    assert found.focal == pytest.approx(expected, abs=0.01)
    assert found.focal_source is FocalSource.USER
    assert found.candidates[-1].source is FocalSource.EXIF_35MM


def test_a_flag_far_from_exif_is_questioned():
    assert "pixels of the upright file" in recovered(4032, 3024, PHONE, user=UserFocal(pixels=26)).warnings[0]
    assert recovered(4032, 3024, PHONE, user=UserFocal(pixels=3100)).warnings == ()


def test_the_users_sensor_width_goes_with_the_focal_length_in_exif():
    found = recovered(4032, 3024, PHONE, user=UserFocal(sensor_width=5.6))
    assert found.focal == pytest.approx(4.25 / 5.6 * 4032)
    assert found.focal_source is FocalSource.USER
    lost = recovered(4032, 3024, user=UserFocal(sensor_width=5.6))
    assert lost.is_assumed
    assert "of no use" in lost.warnings[0]


@pytest.mark.parametrize(
    "flags",
    [
        {"pixels": 1.0, "fov": 60.0},
        {"pixels": -1.0},
        {"pixels": math.nan},
        {"fov": 180.0},
        {"fov": 179.6},
        {"fov": 1e-9},
        {"millimetres": 4.0},
        {"sensor_width": 0.0},
    ],
)
def test_impossible_flags_are_refused(flags):
    with pytest.raises(UsageError):
        UserFocal(**flags)


@pytest.mark.parametrize("pixels", [1e9, 1e-9])
def test_a_focal_length_that_no_camera_has_is_refused_whoever_gives_it(pixels):
    with pytest.raises(CalibrationError, match="degrees are possible"):
        recovered(4032, 3024, PHONE, user=UserFocal(pixels=pixels))
    with pytest.raises(CalibrationError, match="degrees are possible"):
        recovered(4032, 3024, PHONE, user=UserFocal(equivalent=pixels))
    with pytest.raises(CalibrationError, match="degrees are possible"):
        recovered(4032, 3024, PHONE, intrinsics=Camera(4032, 3024, pixels, pixels, 2016, 1512))


def test_a_calibration_brings_its_principal_point_and_distortion():
    lens = Distortion(DistortionModel.BROWN, (0.1, 0, 0, 0))
    camera = Camera(4032, 3024, 3000, 3010, 2000, 1500, FocalSource.CALIBRATION, 0.005, lens)
    found = recovered(4032, 3024, PHONE, intrinsics=camera)
    assert (found.fx, found.fy, found.cx, found.cy) == (3000, 3010, 2000, 1500)
    assert found == camera


def test_a_crop_keeps_the_focal_length_of_the_whole_picture_and_loses_certainty():
    found = recovered(4032, 2268, PHONE)
    assert found.focal == pytest.approx(3028.66, abs=0.01)
    assert found.focal_rel_sigma > 0.08
    assert "cropped" in found.warnings[0]


@pytest.mark.parametrize(
    ("width", "height", "is_turned", "scale"),
    [
        (2400, 3000, False, 1.0),
        (1688, 3000, False, 1.0),
        (1200, 1500, False, 0.5),
        (3000, 2400, True, 1.0),
        # The whole upright image of a camera held upright, narrowed.
        (2250, 4000, True, 1.0),
        # An editor turned the pixels before it cut them: 4000 rows cannot come from 3000.
        (2250, 4000, False, 1.0),
        (4000, 2250, False, 1.0),
    ],
)
def test_a_crop_across_the_long_side_keeps_the_scale_of_the_side_left_whole(width, height, is_turned, scale):
    exif = ExifFacts(focal_35mm=26, width=4000, height=3000)
    found = recovered(width, height, exif, is_turned=is_turned)
    # 26 / 43.2666 * 5000
    assert found.focal == pytest.approx(3004.63 * scale, abs=0.01)
    assert "cropped" in found.warnings[0]


@pytest.mark.parametrize("size", [(1920, 1080), (1000, 1000)])
def test_a_shape_that_cameras_cut_from_their_sensor_widens_sigma(size):
    exif = dataclasses.replace(PHONE, width=size[0], height=size[1])
    found = recovered(*size, exif)
    assert found.focal_rel_sigma == pytest.approx(math.hypot(0.5 / 26, 0.02, 0.08))


def test_a_unit_that_was_confused_is_exchanged():
    exif = dataclasses.replace(COMPACT, make="", plane_unit=3)
    found = recovered(2272, 1704, dataclasses.replace(exif, plane_x=438.5, plane_y=438.5))
    # 2840 px diagonal / 438.5 per cm = 64.8 mm does not exist; per inch would be larger still: nothing is used.
    assert found.is_assumed
    per_inch_as_cm = dataclasses.replace(exif, plane_x=30000, plane_y=30000, plane_unit=3)
    # 2840 / 30000 * 10 = 0.95 mm does not exist, 2840 / 30000 * 25.4 = 2.4 mm does.
    swapped = recovered(2272, 1704, per_inch_as_cm)
    assert swapped.focal == pytest.approx(21.3125 * 30000 / 25.4)
    assert "unit" in swapped.warnings[0]


def test_pixels_that_are_not_square_turn_with_the_photo():
    exif = dataclasses.replace(COMPACT, plane_y=8114.2857 * 1.05)
    flat, upright = recovered(2272, 1704, exif), recovered(1704, 2272, exif, is_turned=True)
    assert flat.fy / flat.fx == pytest.approx(1.05)
    assert upright.fx / upright.fy == pytest.approx(1.05)
    nonsense = recovered(2272, 1704, dataclasses.replace(COMPACT, plane_y=1.0))
    assert nonsense.fx == nonsense.fy


@pytest.mark.parametrize("equivalent", [0.5, 2.0, 2000.0, 5000.0])
def test_an_impossible_equivalent_is_not_used(equivalent):
    assert recovered(4032, 3024, ExifFacts(focal_35mm=equivalent)).is_assumed


def test_an_equivalent_that_needs_a_sensor_that_does_not_exist_is_not_used():
    # A real file: an app wrote 177 mm for a phone's 3.99 mm lens.
    found = recovered(640, 480, ExifFacts(focal_mm=3.99, focal_35mm=177))
    assert found.is_assumed
    assert "0.98 mm diagonal" in found.warnings[0]


def test_an_unusual_equivalent_is_doubted():
    found = recovered(4032, 3024, ExifFacts(focal_35mm=500))
    assert found.focal_rel_sigma > 0.15
    assert "unusual" in found.warnings[0]


def test_digital_zoom_is_not_counted_twice_where_the_sensor_tells():
    sensor = Sensor(None, 6.0, True, "table")
    native = 4.0 / 6.0 * 43.2666  # 28.84 mm
    exif = ExifFacts(focal_mm=4.0, digital_zoom=2.0, width=4000, height=3000)
    expected = 2 * 4.0 / 6.0 * 5000
    included = recovered(4000, 3000, dataclasses.replace(exif, focal_35mm=2 * native), sensor=sensor)
    without = recovered(4000, 3000, dataclasses.replace(exif, focal_35mm=native), sensor=sensor)
    assert included.focal == pytest.approx(expected)
    assert without.focal == pytest.approx(expected)


def test_digital_zoom_of_an_apple_phone_is_in_its_equivalent():
    exif = ExifFacts(make="Apple", focal_mm=4.15, focal_35mm=57, digital_zoom=1.97)
    found = recovered(4032, 3024, exif)
    assert found.focal == pytest.approx(57 / 43.2666 * 5040)
    assert found.focal_rel_sigma < 0.05


def test_digital_zoom_without_any_evidence_widens_sigma():
    found = recovered(4000, 3000, ExifFacts(make="Acme", focal_mm=4.0, focal_35mm=56, digital_zoom=2.0))
    assert found.focal == pytest.approx(56 / 43.2666 * 5000)
    assert found.focal_rel_sigma > 0.3
    assert "digital zoom" in found.warnings[0]


def test_two_that_agree_outvote_the_first():
    exif = dataclasses.replace(COMPACT, focal_35mm=150.0)
    sensor = Sensor(None, 8.9, True, "lensfun")
    found = recovered(2272, 1704, exif, sensor=sensor)
    assert found.focal_source is FocalSource.EXIF_FOCAL_PLANE
    assert "disagree" in found.warnings[0]


def test_one_that_agrees_with_the_first_confirms_it():
    exif = dataclasses.replace(COMPACT, focal_35mm=104.0)
    found = recovered(2272, 1704, exif, sensor=Sensor(None, 6.0, True, "lensfun"))
    assert found.focal_source is FocalSource.EXIF_35MM
    assert found.focal_rel_sigma < 0.03


def test_two_that_disagree_keep_the_first_with_less_certainty():
    found = recovered(4032, 3024, PHONE, sensor=Sensor(None, 5.0, True, "lensfun"))
    assert found.focal_source is FocalSource.EXIF_35MM
    assert found.focal_rel_sigma == pytest.approx(abs(math.log(26 / 43.2666 * 5.0 / 4.25)) / 2)
    assert "exif-35mm=3029 px, sensor-table=4284 px" in found.warnings[0]


def test_a_resolution_left_from_a_larger_picture_gives_way_to_the_sensor():
    # A real file: recorded at 2560 x 1600 with the resolution of 4000 pixels.
    exif = ExifFacts(focal_mm=7.4, plane_x=13745.7, plane_unit=2, width=2560, height=1600)
    found = recovered(2560, 1600, exif, sensor=Sensor(None, 9.39, True, "lensfun"))
    assert found.focal_source is FocalSource.SENSOR_TABLE
    assert found.focal == pytest.approx(2379, abs=2)


def test_a_fisheye_is_no_pinhole():
    assert recovered(4032, 3024, dataclasses.replace(PHONE, lens="8mm Fisheye")).focal_rel_sigma > 0.25


sizes = st.integers(1, 20_000)
maybe = st.none() | st.floats(1e-3, 1e5)
exifs = st.builds(
    ExifFacts,
    focal_mm=maybe,
    focal_35mm=maybe,
    plane_x=maybe,
    plane_y=maybe,
    plane_unit=st.sampled_from([None, 2, 3, 4, 5]),
    width=st.none() | sizes,
    height=st.none() | sizes,
    digital_zoom=maybe,
    make=st.sampled_from(["", "Apple", "Canon"]),
)
sensors = st.none() | st.builds(
    Sensor, st.none() | st.floats(1, 60), st.none() | st.floats(2, 60), st.booleans(), st.just("")
)


@given(sizes, sizes, exifs, sensors, st.booleans())
@example(1, 1, ExifFacts(focal_35mm=26, width=1, height=20_000), None, False)
def test_any_facts_give_a_camera_that_can_exist(width, height, exif, sensor, turned):
    found = recovered(width, height, exif, sensor=sensor, is_turned=turned)
    assert math.isfinite(found.focal)
    assert found.focal > 0
    assert 0 < found.focal_rel_sigma < 2
    assert found.width == width
    assert found.focal_source is not FocalSource.ASSUMED or found.warnings


@given(st.integers(100, 5000), st.integers(100, 5000), st.integers(2, 6), exifs, sensors)
def test_the_focal_length_follows_a_resize(width, height, factor, exif, sensor):
    exif = dataclasses.replace(exif, width=width * factor, height=height * factor)
    large = recovered(width * factor, height * factor, exif, sensor=sensor)
    small = recovered(width, height, exif, sensor=sensor)
    assert large.focal == pytest.approx(small.focal * factor)
    assert large.focal_source is small.focal_source


@given(st.integers(100, 5000), st.integers(100, 5000), exifs, sensors)
def test_a_turned_photo_has_its_focal_lengths_turned(width, height, exif, sensor):
    flat = recovered(width, height, exif, sensor=sensor)
    upright = recovered(height, width, exif, sensor=sensor, is_turned=True)
    assert (flat.fx, flat.fy) == pytest.approx((upright.fy, upright.fx))


@given(st.floats(10, 1e5), exifs, sensors)
def test_twice_the_focal_flag_is_exactly_twice_the_focal_length(focal, exif, sensor):
    once = recovered(4000, 3000, exif, sensor=sensor, user=UserFocal(pixels=focal))
    twice = recovered(4000, 3000, exif, sensor=sensor, user=UserFocal(pixels=2 * focal))
    assert twice.focal == 2 * once.focal
    assert twice.focal_rel_sigma == once.focal_rel_sigma


def test_a_photo_that_lost_its_exif_gets_the_focal_length_of_the_others():
    known = recovered(4032, 3024, PHONE)
    lost = recovered(2016, 1512)
    shared = consensus([known, lost])
    assert shared[0].focal == pytest.approx(known.focal)
    assert shared[1].focal == pytest.approx(known.focal / 2)
    assert shared[1].focal_source is FocalSource.EXIF_35MM
    assert shared[1].focal_rel_sigma == known.focal_rel_sigma
    assert "other photos" in shared[1].warnings[0]


def test_one_wrong_tag_gives_way_to_the_common_focal_length():
    wrong = recovered(4032, 3024, dataclasses.replace(PHONE, focal_35mm=52))
    shared = consensus([*[recovered(4032, 3024, PHONE)] * 4, wrong])
    assert shared[-1].focal == pytest.approx(shared[0].focal)
    assert "gave way" in shared[-1].warnings[-1]


def test_a_zoomed_series_has_no_common_focal_length():
    series = [
        recovered(4032, 3024, dataclasses.replace(PHONE, focal_35mm=mm, focal_mm=None)) for mm in (24, 35, 50, 85)
    ]
    shared = consensus(series)
    assert [one.focal for one in shared] == [one.focal for one in series]
    assert all("differ too much" in one.warnings[-1] for one in shared)


def test_the_users_word_is_not_voted_on():
    mine = recovered(4032, 3024, user=UserFocal(pixels=3100))
    shared = consensus([mine, *[recovered(4032, 3024, PHONE)] * 3])
    assert shared[0] == mine
    assert shared[1].focal == pytest.approx(3100)


def calibrated(focal, lens=None):
    camera = Camera(4032, 3024, focal, focal, 2100, 1500, FocalSource.CALIBRATION, 0.005, lens)
    return recovered(4032, 3024, PHONE, intrinsics=camera)


def test_a_calibration_of_some_photos_does_not_make_the_others_calibrated():
    lens = Distortion(DistortionModel.BROWN, (-0.2, 0, 0, 0))
    shared = consensus([calibrated(3000, lens), recovered(4032, 3024, PHONE), recovered(4032, 3024)])
    assert shared[0] == calibrated(3000, lens)
    for other in shared[1:]:
        assert other.focal == pytest.approx(3000)
        assert other.focal_source is FocalSource.EXIF_35MM
        assert other.focal_rel_sigma == recovered(4032, 3024, PHONE).focal_rel_sigma


def test_a_focal_length_borrowed_from_a_calibration_is_less_certain_than_it():
    shared = consensus([calibrated(3000), recovered(4032, 3024)])
    assert shared[1].focal == pytest.approx(3000)
    assert shared[1].focal_source is FocalSource.ESTIMATED
    assert shared[1].focal_rel_sigma == pytest.approx(math.hypot(0.005, 0.03))


def test_no_photo_knows_its_focal_length_and_none_is_made_up():
    lost = recovered(4000, 3000)
    assert consensus([lost, lost]) == (lost, lost)
    assert consensus([]) == ()
