"""Every file that Pillow, libheif or a camera writes decodes to the same upright sRGB pixels."""

from __future__ import annotations

import re
import struct
import sys
import zlib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngImageFile

from m3d_cli.errors import PhotoError
from m3d_cli.photos import header as picture
from m3d_cli.photos.decode import decode, read_info
from m3d_cli.photos.sniff import ImageFormat

FORMATS = ("jpg", "png", "webp", "tif", "heic")
# Lossy formats store turned pixels through turned transforms; the difference is their rounding.
TOLERANCE = {"jpg": 10, "heic": 40, "png": 0, "webp": 0, "tif": 0}
MEAN_TOLERANCE = {"jpg": 1.0, "heic": 4.0, "png": 0, "webp": 0, "tif": 0}


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_eight_orientations_decode_to_the_same_upright_picture(save_photo, blocks, suffix, orientation):
    decoded = decode(save_photo(f"photo.{suffix}", orientation=orientation))
    assert decoded.image.shape == blocks.shape
    difference = np.abs(decoded.image.astype(int) - blocks)
    assert difference.max() <= TOLERANCE[suffix]
    assert difference.mean() <= MEAN_TOLERANCE[suffix]
    assert (decoded.info.width, decoded.info.height) == (64, 48)
    assert decoded.info.orientation == orientation


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_header_tells_the_upright_size_without_decoding(save_photo, suffix, orientation):
    info = read_info(save_photo(f"photo.{suffix}", orientation=orientation))
    assert (info.width, info.height) == (64, 48)
    stored = (48, 64) if orientation >= 5 else (64, 48)
    assert (info.stored_width, info.stored_height) == stored
    assert info.rotated_by_decoder == (suffix in ("tif", "heic"))


def test_the_header_of_a_png_is_read_without_its_pixels(save_photo, monkeypatch):
    path = save_photo("photo.png")

    def decoded(_):
        raise AssertionError("the pixels were decoded")

    monkeypatch.setattr(PngImageFile, "load", decoded)
    assert read_info(path).orientation == 1


def test_exif_behind_the_pixels_of_a_png_counts(save_photo, blocks):
    data = save_photo("photo.png", orientation=6).read_bytes()
    at = data.index(b"eXIf") - 4
    length = int.from_bytes(data[at : at + 4], "big") + 12
    chunk, end = data[at : at + length], data.index(b"IEND") - 4
    path = save_photo("late.png")
    path.write_bytes(data[:at] + data[at + length : end] + chunk + data[end:])
    assert read_info(path).orientation == 6
    assert (decode(path).image == blocks).all()


def test_avif_is_turned_upright_too(save_photo):
    info = read_info(save_photo("photo.avif", orientation=6))
    assert (info.format, info.width, info.height) == (ImageFormat.AVIF, 64, 48)
    assert decode(save_photo("photo.avif", orientation=6)).image.shape == (48, 64, 3)


def test_the_oldest_pillow_allowed_tells_turned_tiffs_upright():
    """Pillow reports the size of a TIFF already turned from 11.1 on."""
    project = (Path(__file__).parents[3] / "pyproject.toml").read_text(encoding="utf-8")
    oldest = re.search(r'"pillow>=(\d+)\.(\d+)', project)
    assert oldest
    assert tuple(map(int, oldest.groups())) >= (11, 1)


@pytest.mark.parametrize("orientation", [1, 6, 8])
def test_a_reduced_jpeg_is_at_least_as_large_as_asked_and_keeps_the_full_size_in_its_facts(save_photo, orientation):
    image = np.zeros((480, 640, 3), dtype=np.uint8)
    image[:, 320:] = 255
    path = save_photo("large.jpg", image=image, orientation=orientation)
    decoded = decode(path, at_least=(150, 100))
    assert decoded.image.shape == (120, 160, 3)
    assert (decoded.info.width, decoded.info.height) == (640, 480)
    assert decoded.image[:, :70].max() < 10
    assert decoded.image[:, 90:].min() > 245
    assert decode(path, at_least=(161, 100)).image.shape == (240, 320, 3)
    assert decode(path, at_least=(2000, 2000)).image.shape == (480, 640, 3)


@pytest.mark.parametrize("suffix", ["png", "webp", "tif"])
def test_other_formats_ignore_the_wish_for_a_smaller_copy(save_photo, blocks, suffix):
    decoded = decode(save_photo(f"photo.{suffix}"), at_least=(8, 8))
    assert decoded.image.shape == blocks.shape


def test_gray_becomes_three_equal_channels(save_photo):
    gray = np.arange(64, dtype=np.uint8).reshape(8, 8)
    decoded = decode(save_photo("gray.png", image=gray)).image
    assert (decoded == gray[..., None]).all()


def test_transparency_lies_over_white(save_photo):
    rgba = np.zeros((2, 3, 4), dtype=np.uint8)
    rgba[:, 0] = (200, 100, 0, 255)
    rgba[:, 1] = (200, 100, 0, 0)
    rgba[:, 2] = (0, 0, 0, 128)
    decoded = decode(save_photo("alpha.png", image=rgba)).image
    assert decoded[0].tolist() == [[200, 100, 0], [255, 255, 255], [127, 127, 127]]


def test_gray_with_transparency_lies_over_white(save_photo):
    pixels = Image.merge("LA", [Image.new("L", (2, 1), 10), Image.new("L", (2, 1), 0)])
    assert decode(save_photo("la.png", image=pixels)).image.tolist() == [[[255] * 3] * 2]


def test_a_palette_with_a_transparent_colour_lies_over_white(save_photo):
    pixels = Image.new("P", (2, 1))
    pixels.putpalette([255, 0, 0, 0, 0, 255])
    pixels.putpixel((1, 0), 1)
    assert decode(save_photo("p.png", image=pixels)).image.tolist() == [[[255, 0, 0], [0, 0, 255]]]
    assert decode(save_photo("t.png", image=pixels, transparency=0)).image.tolist() == [[[255] * 3, [0, 0, 255]]]


def test_a_palette_with_several_degrees_of_transparency_is_read(save_photo):
    pixels = Image.new("P", (2, 1))
    pixels.putpalette([0, 0, 0, 0, 0, 255])
    pixels.putpixel((1, 0), 1)
    decoded = decode(save_photo("t.png", image=pixels, transparency=bytes([0, 255]))).image
    assert decoded.tolist() == [[[255] * 3, [0, 0, 255]]]


def test_cmyk_becomes_rgb(save_photo):
    decoded = decode(save_photo("cmyk.jpg", image=Image.new("CMYK", (16, 16), (0, 255, 255, 0)))).image
    assert decoded[0, 0, 0] > 200
    assert decoded[0, 0, 1] < 60


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bit_gray_is_divided_by_257(save_photo, suffix):
    values = np.array([[0, 257, 32768, 65535]], dtype=np.uint16)
    decoded = decode(save_photo(f"deep.{suffix}", image=values)).image
    assert decoded[0, :, 0].tolist() == [0, 1, 128, 255]


def test_float_pixels_in_zero_to_one_are_scaled_and_others_refused(save_photo):
    unit = Image.fromarray(np.array([[0.0, 0.5, 1.0]], dtype=np.float32))
    assert decode(save_photo("unit.tif", image=unit)).image[0, :, 0].tolist() == [0, 128, 255]
    depth = Image.fromarray(np.array([[0.5, 12.0]], dtype=np.float32))
    with pytest.raises(PhotoError, match=r"depth\.tif.*no agreed brightness"):
        decode(save_photo("depth.tif", image=depth))


def test_thirty_two_bit_gray_beyond_sixteen_bits_is_refused(save_photo):
    with pytest.raises(PhotoError, match="do not fit 16 bits"):
        decode(save_photo("int.tif", image=Image.fromarray(np.array([[-1, 70000]], dtype=np.int32))))


def _swapped_profile() -> bytes:
    """A profile far from sRGB: CIE Lab has no RGB, so a linear gray one is built by ImageCms from XYZ."""
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes()


def test_a_colour_profile_that_cannot_be_used_is_left_out(save_photo, blocks):
    decoded = decode(save_photo("xyz.png", icc_profile=_swapped_profile())).image
    assert (decoded == blocks).all()
    assert (decode(save_photo("junk.png", icc_profile=b"junk" * 40)).image == blocks).all()


def test_srgb_pixels_are_not_touched_by_their_own_profile(save_photo, blocks):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert (decode(save_photo("srgb.png", icc_profile=profile)).image == blocks).all()


def test_another_profile_is_converted_to_srgb(save_photo, blocks):
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    _swap_red_and_blue(profile)
    decoded = decode(save_photo("bgr.png", icc_profile=bytes(profile))).image
    assert np.abs(decoded.astype(int) - blocks[..., ::-1]).max() <= 3


def _swap_red_and_blue(profile: bytearray) -> None:
    """Exchange the primaries of an ICC profile and spoil its name, which makes sRGB into what is not."""
    red, blue = profile.index(b"rXYZ"), profile.index(b"bXYZ")
    profile[red : red + 4], profile[blue : blue + 4] = b"bXYZ", b"rXYZ"
    for name in (b"sRGB", "sRGB".encode("utf-16-be")):
        position = profile.find(name)
        while position >= 0:
            profile[position : position + len(name)] = b"\0" * (len(name) - 1) + b"x"
            position = profile.find(name)


def test_the_first_frame_of_an_animation_is_taken(tmp_path):
    first, second = Image.new("RGB", (8, 8), (255, 0, 0)), Image.new("RGB", (8, 8), (0, 0, 255))
    for suffix in ("gif", "webp", "png"):
        path = tmp_path / f"moving.{suffix}"
        first.save(path, save_all=True, append_images=[second], **({"lossless": True} if suffix == "webp" else {}))
        assert decode(path).image[0, 0].tolist() == [255, 0, 0]


def test_the_main_picture_of_a_multi_picture_file_is_taken(tmp_path):
    path = tmp_path / "pair.mpo"
    Image.new("RGB", (32, 16), (200, 0, 0)).save(path, save_all=True, append_images=[Image.new("RGB", (8, 8))])
    assert decode(path).image.shape == (16, 32, 3)
    assert decode(path, at_least=(4, 2)).image.shape[0] < 16


def test_one_pixel_is_a_picture(save_photo):
    for suffix in FORMATS[:4]:
        assert decode(save_photo(f"dot.{suffix}", image=np.zeros((1, 1, 3), dtype=np.uint8))).image.shape == (1, 1, 3)


def test_the_name_does_not_decide_the_format(save_photo, blocks):
    path = save_photo("photo.png")
    wrong = path.rename(path.with_suffix(".JPEG"))
    assert decode(wrong).info.format is ImageFormat.PNG


@pytest.mark.parametrize("suffix", [*FORMATS, "bmp"])
@pytest.mark.parametrize("part", [0.2, 0.5, 0.9])
def test_a_photo_cut_short_is_an_error_and_not_half_a_picture(save_photo, suffix, part):
    noise = np.random.default_rng(1).integers(0, 255, (120, 160, 3), dtype=np.uint8)
    path = save_photo(f"cut.{suffix}", image=noise)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * part)])
    with pytest.raises(PhotoError, match=rf"cut\.{suffix}"):
        decode(path)


@pytest.mark.parametrize("content", [b"", b"hello", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF\0\0\0\0WEBPVP8 "])
def test_what_is_no_picture_is_refused_by_name(tmp_path, content):
    path = tmp_path / "not.jpg"
    path.write_bytes(content)
    with pytest.raises(PhotoError, match=r"not\.jpg"):
        decode(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(PhotoError, match="no such file"):
        decode(tmp_path / "none.jpg")
    with pytest.raises(PhotoError, match="directory"):
        decode(tmp_path)


def test_a_camera_raw_says_which_package_it_needs(tmp_path, monkeypatch):
    monkeypatch.setattr(picture, "can_read_raw", lambda: False)
    path = tmp_path / "photo.NEF"
    path.write_bytes(b"II*\0" + bytes(100))
    with pytest.raises(PhotoError, match="rawpy") as caught:
        decode(path)
    assert caught.value.code == "RAW_UNSUPPORTED"


class _Raw:
    """What rawpy gives for an image of 6 x 4 pixels taken with the camera on its side."""

    sizes = SimpleNamespace(width=6, height=4, flip=6)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def postprocess(self, *, use_camera_wb, output_bps):
        assert (use_camera_wb, output_bps) == (True, 8)
        return np.full((6, 4, 3), 7, dtype=np.uint8)


def test_a_camera_raw_is_developed_where_rawpy_is_installed(tmp_path, monkeypatch):
    monkeypatch.setattr(picture, "can_read_raw", lambda: True)
    monkeypatch.setitem(sys.modules, "rawpy", SimpleNamespace(imread=lambda _: _Raw()))
    path = tmp_path / "photo.NEF"
    path.write_bytes(b"II*\0" + bytes(100))
    decoded = decode(path)
    assert decoded.image.shape == (6, 4, 3)
    assert (decoded.info.width, decoded.info.height, decoded.info.orientation) == (4, 6, 6)
    assert read_info(path) == decoded.info


def test_a_camera_raw_that_rawpy_refuses_is_an_error_of_that_photo(tmp_path, monkeypatch):
    class Refused(Exception):
        """Like LibRaw's own errors, no OSError."""

    def refuse(_):
        raise Refused("unsupported file format")

    monkeypatch.setattr(picture, "can_read_raw", lambda: True)
    monkeypatch.setitem(sys.modules, "rawpy", SimpleNamespace(imread=refuse))
    path = tmp_path / "photo.NEF"
    path.write_bytes(b"II*\0" + bytes(100))
    with pytest.raises(PhotoError, match="unsupported file format"):
        decode(path)


@pytest.mark.parametrize(
    "error", [SyntaxError, ValueError, struct.error, IndexError, zlib.error, MemoryError, KeyError]
)
def test_whatever_a_decoder_raises_becomes_an_error_that_names_the_photo(save_photo, monkeypatch, error):
    def fail(_):
        raise error("broken")

    monkeypatch.setattr(PngImageFile, "load", fail)
    with pytest.raises(PhotoError, match=r"photo\.png"):
        decode(save_photo("photo.png"))


def test_exif_that_cannot_be_read_does_not_cost_the_photo(save_photo, monkeypatch, blocks):
    def fail(_):
        raise struct.error("broken")

    monkeypatch.setattr(picture, "header_exif", fail)
    assert (decode(save_photo("photo.png", orientation=1)).image == blocks).all()


def test_a_picture_beyond_the_limit_is_refused_before_it_is_decoded(save_photo, monkeypatch):
    path = save_photo("big.png", image=np.zeros((100, 100, 3), dtype=np.uint8))
    monkeypatch.setattr(picture, "MAX_PIXELS", 9_999)
    with pytest.raises(PhotoError, match="100 x 100") as caught:
        decode(path)
    assert caught.value.code == "PHOTO_TOO_LARGE"


def test_pillows_own_limit_does_not_apply(save_photo, monkeypatch, blocks):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    assert (decode(save_photo("photo.png")).image == blocks).all()


def test_a_header_that_promises_what_the_file_cannot_hold_is_refused(save_photo):
    path = save_photo("bomb.bmp")
    data = bytearray(path.read_bytes())
    data[18:26] = (20_000).to_bytes(4, "little") * 2
    path.write_bytes(data)
    with pytest.raises(PhotoError, match=r"bomb\.bmp: the header promises 20000 x 20000 pixels"):
        decode(path)


def test_the_error_names_the_way_out(tmp_path):
    path = tmp_path / "bad.jpg"
    path.write_bytes(b"\xff\xd8\xff" + bytes(50))
    with pytest.raises(PhotoError) as caught:
        decode(path)
    assert "copy it again" in caught.value.hint


def test_decoding_gives_an_array_that_may_be_written(save_photo: object, tmp_path: Path) -> None:
    image: NDArray[np.uint8] = decode(save_photo("photo.jpg")).image  # type: ignore[operator]
    image[0, 0] = 0
    assert image.flags.c_contiguous
