"""Cameras whose photos are no flat images: told by name, shape and XMP, and never taken as flat with confidence."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from m3d_cli.errors import CalibrationError, PhotoError
from m3d_cli.intrinsics.exif import ExifFacts
from m3d_cli.intrinsics.exif_sidecar import read_exif_sidecar
from m3d_cli.intrinsics.ladder import FocalFacts, UserFocal, recover_focal
from m3d_cli.intrinsics.sensors import Sensor
from m3d_cli.intrinsics.wide_lenses import bent_lens, sees_all_round
from m3d_cli.intrinsics.xmp import SpherePart, facts_of_packet
from m3d_cli.photos.load import CameraSources, read_facts
from m3d_cli.photos.projection import load_spherical, parse_projection
from tests.unit.intrinsics.test_xmp import packet

SPHERE = (
    'xmlns:{0}="http://ns.google.com/photos/1.0/panorama/" {0}:FullPanoWidthPixels="800" '
    '{0}:FullPanoHeightPixels="400" '
    '{0}:CroppedAreaLeftPixels="200" {0}:CroppedAreaTopPixels="100" {0}:CroppedAreaImageWidthPixels="400" '
    '{0}:CroppedAreaImageHeightPixels="200"'
)


def recovered(width, height, **exif):
    sensor = exif.pop("sensor", None)
    return recover_focal(FocalFacts(width, height, ExifFacts(width=width, height=height, **exif), sensor=sensor))


@pytest.mark.parametrize(
    "exif",
    [
        {"make": "GoPro", "model": "HERO9 Black", "focal_35mm": 15.0},
        {"make": "GoPro", "model": "HERO5", "focal_mm": 3.0, "sensor": Sensor(6.17, None, True, "table")},
        {"make": "DJI", "model": "DJI OSMO Action", "focal_35mm": 20.0},
        {"make": "PENTAX", "model": "K-5", "lens": "smc PENTAX-DA FISH-EYE 10-17mm", "focal_35mm": 18.0},
        {"make": "Parrot", "model": "Thermo", "projection": "fisheye", "focal_35mm": 20.0},
    ],
)
def test_a_lens_that_bends_lines_is_named_and_doubted(exif):
    found = recovered(4000, 3000, **exif)
    assert found.focal_rel_sigma > 0.2
    assert "--projection fisheye" in found.warnings[-1]


def test_below_17_mm_trust_is_never_high():
    wide, usual = (recovered(4000, 3000, make="Apple", focal_35mm=mm) for mm in (13.0, 24.0))
    assert wide.focal_rel_sigma > 0.1
    assert "so wide a lens" in wide.warnings[-1]
    assert usual.focal_rel_sigma < 0.05
    assert usual.warnings == ()


def test_what_the_user_says_of_a_wide_lens_is_believed():
    facts = FocalFacts(4000, 3000, ExifFacts(make="GoPro", model="HERO9", focal_35mm=15.0), user=UserFocal(pixels=1500))
    assert recover_focal(facts).focal_rel_sigma < 0.01


@pytest.mark.parametrize("model", ["RICOH THETA V", "Insta360 X3", "GoPro Max", "SM-C200", "Mi Sphere Camera"])
def test_an_all_round_camera_is_known_by_name_and_shape(model):
    exif = ExifFacts(model=model, focal_35mm=7.0)
    assert sees_all_round(exif, 5376, 2688)
    assert not sees_all_round(exif, 4000, 3000)
    assert not sees_all_round(ExifFacts(model="X-T3"), 5376, 2688)


def test_an_ordinary_lens_is_not_suspected():
    for model in ("Hero of the village", "Canon EOS 5D", "NIKON D90", "iPhone 12"):
        assert not bent_lens(ExifFacts(model=model, lens="EF24-105mm f/4L"))


def test_a_photo_twice_as_wide_as_high_of_which_nothing_is_known_may_be_all_round():
    found = recovered(5376, 2688)
    assert found.focal_rel_sigma > 0.5
    assert "--projection equirectangular" in found.warnings[0]


@pytest.mark.parametrize("prefix", ["GPano", "gp"])
def test_a_photo_sphere_needs_no_type_and_any_prefix(prefix):
    found = facts_of_packet(packet(SPHERE.format(prefix)))
    assert found.projection == "equirectangular"
    assert found.sphere_part == SpherePart((800, 400), 200, 100, (400, 200))
    assert not found.sphere_part.is_whole


def test_a_part_of_a_sphere_is_put_where_it_belongs(tmp_path):
    path = tmp_path / "part.jpg"
    Image.new("RGB", (200, 100), "teal").save(path, xmp=packet(SPHERE.format("GPano")))
    with pytest.raises(PhotoError, match="an equirectangular panorama, as its XMP says"):
        read_facts(path)
    camera = load_spherical(path, parse_projection("equirectangular", None)).camera
    assert camera.fx == pytest.approx(400 / (2 * np.pi))
    assert (camera.cx, camera.cy) == (100, 50)
    assert not camera.wraps
    # Straight ahead is its middle; behind and above, nothing was taken.
    u, v = camera.project(np.array([[0, 0, 1.0], [0, 0, -1.0], [0, -1.0, 0.01]]))
    assert (u[0], v[0]) == pytest.approx((100, 50))
    assert np.isnan(u[1:]).all()
    Image.new("RGB", (200, 90)).save(path, xmp=packet(SPHERE.format("GPano")))
    with pytest.raises(CalibrationError, match="but 400 x 200 for this part of a sphere"):
        load_spherical(path, parse_projection("equirectangular", None))


def sidecar(tmp_path, encoding="utf-8", **tags):
    path = tmp_path / "exif.json"
    path.write_bytes(json.dumps([{"SourceFile": "a.jpg", **tags}]).encode(encoding))
    return read_exif_sidecar(path).entries[0].facts


def test_exiftools_json_tells_crops_and_panoramas_too(tmp_path):
    sphere = sidecar(tmp_path, **{"XMP-GPano:ProjectionType": "equirectangular"})
    assert sphere.projection == "equirectangular"
    sides = {
        f"XMP-crs:Crop{side}": value for side, value in (("Left", 0.25), ("Top", 0), ("Right", 0.75), ("Bottom", 1))
    }
    cropped = sidecar(tmp_path, **{"XMP-crs:HasCrop": True, **sides})
    assert (cropped.crop.width, cropped.crop.height) == (0.5, 1)


@pytest.mark.parametrize(
    "tags",
    [
        {"FocalLength35efl": "4.2 mm (35 mm equivalent: 27.3 mm)"},
        {"FocalLength": "4.2 mm", "ScaleFactor35efl": 6.5},
        {"FocalLength35efl": "27.3 mm"},
    ],
)
def test_the_equivalent_that_exiftool_works_out_is_used(tmp_path, tags):
    assert sidecar(tmp_path, **tags).focal_35mm == pytest.approx(27.3)
    assert sidecar(tmp_path, FocalLengthIn35mmFormat=26, **tags).focal_35mm == 26
    assert sidecar(tmp_path, FocalLength="4.2 mm", FocalLength35efl="4.2 mm").focal_35mm is None


def test_json_in_the_utf_16_of_windows_is_read(tmp_path):
    assert sidecar(tmp_path, "utf-16", FocalLengthIn35mmFormat=26).focal_35mm == 26


def test_a_sidecars_panorama_is_refused_as_one(tmp_path):
    path = tmp_path / "a.jpg"
    Image.new("RGB", (200, 100)).save(path)
    sidecar(tmp_path, ProjectionType="equirectangular")
    with pytest.raises(PhotoError, match="equirectangular"):
        read_facts(path, CameraSources(sidecar=read_exif_sidecar(tmp_path / "exif.json")))
