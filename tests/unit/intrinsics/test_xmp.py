"""Crops of editors and panoramas in XMP, and the shapes that phones cut from their sensors."""

from __future__ import annotations

import dataclasses

import pytest
from PIL import Image

from m3d_cli.camera import Distortion, DistortionModel, FocalSource
from m3d_cli.intrinsics.exif import ExifFacts, facts_from_tags, read_exif
from m3d_cli.intrinsics.ladder import FocalFacts, recover_focal
from m3d_cli.intrinsics.sensors import Sensor
from m3d_cli.intrinsics.xmp import Crop, XmpFacts, facts_of_packet
from m3d_cli.photos.header import opened

PACKET = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description rdf:about="" {}>{}</rdf:Description></rdf:RDF></x:xmpmeta>'
)
CROP = 'crs:HasCrop="True" crs:CropLeft="{}" crs:CropTop="{}" crs:CropRight="{}" crs:CropBottom="{}" crs:CropAngle="0"'
CENTRAL = CROP.format(0.25, 0.25, 0.75, 0.75)
PANORAMA = 'GPano:UsePanoramaViewer="True" GPano:ProjectionType="equirectangular"'
ELEMENTS = (
    "<crs:HasCrop>True</crs:HasCrop><crs:CropLeft>0.25</crs:CropLeft><crs:CropTop>0.25</crs:CropTop>"
    "<crs:CropRight>0.75</crs:CropRight><crs:CropBottom>0.75</crs:CropBottom>"
)


def packet(attributes="", elements=""):
    return PACKET.format(attributes, elements).encode()


def recovered(width, height, exif, **facts):
    return recover_focal(FocalFacts(width, height, exif, **facts))


def test_crop_and_projection_are_attributes_or_elements():
    crop = Crop(0.25, 0.25, 0.75, 0.75)
    assert facts_of_packet(packet(CENTRAL)) == XmpFacts(crop)
    assert facts_of_packet(b"\n" + packet("", ELEMENTS) + b"\0 ") == XmpFacts(crop)
    assert facts_of_packet(packet(PANORAMA)).projection == "equirectangular"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xfe",
        b"<a>" * 100_000,
        b'<!DOCTYPE a [<!ENTITY b "bb">]>' + packet(CENTRAL),
        packet(CENTRAL)[:-9],
        packet(CENTRAL.replace('"True"', '"False"')),
        packet(f'{CENTRAL} crs:AlreadyApplied="False"'),
        packet(CROP.format(0, 0, 1, 1)),
        packet(CROP.format(0.75, 0.25, 0.25, 0.75)),
        packet(CROP.format("nan", 0, 1, 1)),
        packet(CROP.format("x", 0, 1, 1)),
        packet('crs:HasCrop="True"'),
    ],
    ids=range(12),
)
def test_a_packet_without_a_crop_or_out_of_bounds_says_nothing(data):
    assert facts_of_packet(data) == XmpFacts()


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
def test_the_packet_is_found_in_every_format(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    image = Image.new("RGB", (32, 24))
    if suffix == "tif":
        image.save(path, tiffinfo={700: packet(CENTRAL)})
    elif suffix == "png":
        from PIL.PngImagePlugin import PngInfo

        info = PngInfo()
        info.add_itxt("XML:com.adobe.xmp", packet(CENTRAL).decode())
        image.save(path, pnginfo=info)
    else:
        image.save(path, xmp=packet(CENTRAL))
    assert read_exif(path, opened).crop == Crop(0.25, 0.25, 0.75, 0.75)


def test_a_central_crop_of_half_the_sides_doubles_the_scale_of_the_35_mm_rule():
    """A Nikon D750 at 50 mm: 50 / 36 of the 3024 pixels that half the width, 1512, was cut from."""
    exif = ExifFacts(focal_mm=50, focal_35mm=50, width=1512, height=1008, crop=Crop(0.25, 0.25, 0.75, 0.75))
    found = recovered(1512, 1008, exif)
    assert found.focal == pytest.approx(4200, rel=1e-3)
    assert (found.cx, found.cy) == (756, 504)
    assert "cropped in an editor" in found.warnings[0]


def test_a_crop_with_the_camera_s_pixels_agrees_with_the_sensor_and_moves_the_principal_point():
    """A Canon EOS-1D Mark III at 200 mm: 3888 pixels over 28.1 mm; the left 68 % were kept."""
    exif = ExifFacts(
        focal_mm=200,
        plane_x=144000 / 41,
        plane_y=144000 / 41,
        plane_unit=2,
        width=2659,
        height=1773,
        crop=Crop(0, 0.235849, 0.683962, 0.919811),
    )
    found = recovered(2659, 1773, exif, sensor=Sensor(None, 33.8, True, "lensfun"))
    assert found.focal_source is FocalSource.EXIF_FOCAL_PLANE
    assert found.focal == pytest.approx(200 / 28.1 * 3888, rel=0.01)
    assert found.cx == pytest.approx(3888 / 2, rel=1e-3)
    # An editor that keeps the camera's size says the same, at half the scale too.
    kept = dataclasses.replace(exif, width=3888, height=2592)
    assert recovered(2659, 1773, kept).focal == pytest.approx(found.focal, rel=0.01)
    assert recovered(1330, 886, kept).focal == pytest.approx(found.focal / 2, rel=0.01)


def test_a_portrait_cut_across_the_sides_is_measured_on_the_turned_image():
    # 2000 x 3000 of a landscape 6000 x 4000 that was turned: its height keeps half the width.
    exif = ExifFacts(focal_35mm=50, crop=Crop(0.25, 0.25, 0.75, 0.75), width=2000, height=3000)
    assert recovered(2000, 3000, exif).focal == pytest.approx(50 / 36 * 6000, rel=1e-3)
    turned = dataclasses.replace(exif, crop=Crop(0.1, 0, 0.9, 1))
    # 3600 of 4500 kept along the long side: 2000 x 3600 were 3:2 before only as 4500 x 3000 turned.
    assert recovered(3000, 3600, dataclasses.replace(turned, width=3000, height=3600)).focal == pytest.approx(
        50 / 36 * 4500, rel=1e-3
    )


@pytest.mark.parametrize("short", [1000, 924, 858])
def test_18_9_to_21_9_are_cut_from_the_whole_width_of_a_4_3_sensor(short):
    """A Galaxy S24 FE: 23 mm on 4000 x 3000; in 20:9 it writes 4000 x 1848, and still 23 mm."""
    found = recovered(2000, short, ExifFacts(make="samsung", focal_mm=5.4, focal_35mm=23, width=2000, height=short))
    assert found.focal == pytest.approx(23 / 43.2666 * 2500, rel=1e-3)
    assert found.focal_rel_sigma > 0.045
    assert "4:3" in found.warnings[0]


def test_a_strip_and_a_panorama_are_uncertain_whatever_exif_says():
    phone = ExifFacts(make="Google", focal_mm=4.44, focal_35mm=27)
    strip = recovered(4000, 1000, phone)
    assert strip.focal_rel_sigma > 0.25
    assert "panorama" in strip.warnings[0]
    sphere = recovered(2048, 1024, dataclasses.replace(phone, projection="equirectangular"))
    assert sphere.focal_rel_sigma > 0.5
    assert "panorama (equirectangular)" in sphere.warnings[-1]
    unknown = recovered(2048, 1024, ExifFacts(projection="equirectangular"))
    assert unknown.focal_rel_sigma > 0.5
    assert "panorama" in unknown.warnings[0]
    assert facts_from_tags({"CustomRendered": 6}).projection == "panorama"
    assert facts_from_tags({"CustomRendered": 1}).projection == ""


DRONE = (
    'drone-dji:CalibratedFocalLength="{}" drone-dji:CalibratedOpticalCenterX="2000.0" '
    'drone-dji:CalibratedOpticalCenterY="1500.0" drone-dji:RelativeAltitude="+30.0"'
)


@pytest.mark.parametrize(("size", "focal"), [((4000, 3000), 2372.266), ((1000, 750), 593.07), ((750, 1000), 593.07)])
def test_the_lens_of_a_drone_stands_in_pixels_of_its_whole_image(size, focal):
    xmp = facts_of_packet(packet(DRONE.format("2372.266")))
    exif = ExifFacts(make="DJI", model="FC9999", pixel_lens=xmp.lens)
    found = recovered(*size, exif)
    assert (found.focal_source, found.focal_rel_sigma) == (FocalSource.CALIBRATION, 0.02)
    assert found.focal == pytest.approx(focal, abs=0.01)
    assert found.warnings == ()


@pytest.mark.parametrize("text", ["0.000000", "-1", "x", "nan", "1e30"])
def test_a_drone_without_a_sound_lens_is_assumed(text):
    assert facts_of_packet(packet(DRONE.format(text))).lens is None
    assert facts_from_tags({"CalibratedFocalLength": 2372.266, "CalibratedOpticalCenterX": 2000}).pixel_lens is None


def test_exiftools_tags_hold_the_lens_of_a_drone_too():
    tags = {"CalibratedFocalLength": 2372.266, "CalibratedOpticalCenterX": 2000, "CalibratedOpticalCenterY": "1500"}
    facts = facts_from_tags(tags)
    assert facts.gives_focal
    assert (facts.pixel_lens.fx, facts.pixel_lens.long) == (2372.266, 4000)


# A Phantom 4 RTK of 5472 x 3648, numbers rounded.
DEWARP = "2018-09-05;3660.5,3658.5,-16.5,32.25,-0.265,0.11,0.0003,-0.0001,-0.04"
DEWARPED = f'drone-dji:DewarpData="{DEWARP}" drone-dji:DewarpFlag="{{}}"'


def test_a_drones_factory_calibration_gives_centre_and_distortion():
    exif = ExifFacts(make="DJI", model="FC6310R", width=5472, height=3648, pixel_lens=lens_of("0"))
    found = recovered(2736, 1824, exif)
    assert (found.focal_source, found.focal_rel_sigma) == (FocalSource.CALIBRATION, 0.01)
    assert (found.fx, found.fy) == pytest.approx((1830.25, 1829.25))
    assert (found.cx, found.cy) == pytest.approx((1368 - 8.25, 912 + 16.125))
    assert found.distortion == Distortion(DistortionModel.BROWN, (-0.265, 0.11, 0.0003, -0.0001, -0.04))


def test_pixels_that_the_drone_dewarped_have_no_distortion_left():
    found = recovered(5472, 3648, ExifFacts(pixel_lens=lens_of("1")))
    assert (found.fx, found.distortion) == (3660.5, None)
    turned = recovered(3648, 5472, ExifFacts(pixel_lens=lens_of("0")), is_turned=True)
    assert (turned.fx, turned.fy, turned.distortion) == (3658.5, 3660.5, None)


@pytest.mark.parametrize(
    "text",
    ["", "2018-09-05", DEWARP + ",1", DEWARP.replace("3660.5", "0"), DEWARP.replace("-0.265", "nan"), "a;b,c,d"],
)
def test_a_calibration_of_a_drone_that_cannot_be_is_not_used(text):
    assert facts_from_tags({"DewarpData": text}).pixel_lens is None


def lens_of(flag):
    return facts_of_packet(packet(DEWARPED.format(flag))).lens


IMAGING_MODEL = (
    "<Device:Cameras><rdf:Seq><rdf:li><Device:Camera><rdf:Description><Camera:ImagingModel>"
    '<rdf:Description ImagingModel:FocalLengthX="{}" ImagingModel:FocalLengthY="3010" '
    'ImagingModel:PrincipalPointX="0.51" ImagingModel:PrincipalPointY="0.5" ImagingModel:ImageWidth="4000" '
    'ImagingModel:ImageHeight="3000"/></Camera:ImagingModel></rdf:Description></Device:Camera></rdf:li>'
    '<rdf:li><Device:Camera><rdf:Description><Camera:ImagingModel><rdf:Description ImagingModel:FocalLengthX="9"/>'
    "</Camera:ImagingModel></rdf:Description></Device:Camera></rdf:li></rdf:Seq></Device:Cameras>"
)


def test_a_depth_photo_of_a_phone_states_the_lens_of_its_first_camera():
    xmp = facts_of_packet(packet("", IMAGING_MODEL.format("3000")))
    found = recovered(2000, 1500, ExifFacts(make="Google", pixel_lens=xmp.lens))
    assert (found.fx, found.fy, found.cx, found.cy) == pytest.approx((1500, 1505, 1020, 750))
    assert found.focal_source is FocalSource.CALIBRATION
    # Some writers give parts of a side, and not all of the same side.
    assert facts_of_packet(packet("", IMAGING_MODEL.format("0.75"))).lens is None


def test_a_corner_that_was_cut_out_keeps_the_middle_of_the_camera_outside():
    exif = ExifFacts(focal_35mm=26.0, width=4000, height=3000, crop=Crop(0.0, 0.6, 0.4, 1.0))
    found = recovered(1600, 1200, exif)
    assert (found.cx, found.cy) == pytest.approx((2000, -300))
    assert found.focal == pytest.approx(26 / 43.2666 * 5000, rel=1e-3)
