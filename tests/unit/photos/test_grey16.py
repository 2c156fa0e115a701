"""16-bit grey reaches the network with enough levels, in the range that its file declares or uses."""

from __future__ import annotations

import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from m3d_cli.photos.decode import decode
from m3d_cli.photos.grey16 import grey_bytes
from m3d_cli.photos.load import load


def ramp(low: int, high: int) -> np.ndarray:
    return np.linspace(low, high, 64 * 48).round().astype(np.uint16).reshape(48, 64)


def levels(image: np.ndarray) -> int:
    return len(np.unique(image))


def with_chunk(data: bytes, kind: bytes, body: bytes) -> bytes:
    """A PNG with one more chunk behind its header."""
    chunk = struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    return data[:33] + chunk + data[33:]


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_a_thermal_image_keeps_its_levels_with_a_warning(tmp_path, suffix):
    path = tmp_path / f"thermal.{suffix}"
    Image.fromarray(ramp(7500, 8000)).save(path)
    decoded = decode(path)
    assert levels(decoded.image) > 200
    (warning,) = decoded.warnings
    assert "values 7500 to 8000 are 0.8% of the range" in warning
    loaded = load(path)
    assert warning in loaded.camera.warnings


@pytest.mark.parametrize(("low", "high"), [(0, 65535), (0, 20000), (30000, 50000)])
def test_an_image_that_uses_its_range_is_divided_by_257(tmp_path, low, high):
    path = tmp_path / "full.png"
    values = ramp(low, high)
    Image.fromarray(values).save(path)
    decoded = decode(path)
    assert decoded.warnings == ()
    np.testing.assert_array_equal(decoded.image[..., 0], np.rint(values / 257).astype(np.uint8))


def test_dead_pixels_do_not_decide_the_range():
    values = ramp(7500, 8000)
    values[0, 0], values[-1, -1] = 0, 65535
    image, warning = grey_bytes(values, None)
    assert levels(image) > 200
    assert warning
    assert image[0, 0] == 0
    assert image[-1, -1] == 255


@pytest.mark.parametrize("value", [0, 7500, 65535])
def test_an_image_of_one_value_is_not_stretched(value):
    image, warning = grey_bytes(np.full((4, 4), value, np.uint16), None)
    assert warning == ""
    assert (image == round(value / 257)).all()


def test_the_range_that_a_tiff_declares_is_used(tmp_path):
    path = tmp_path / "declared.tif"
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[340], tags[341] = 4000, 8000
    tags.tagtype[340] = tags.tagtype[341] = 3
    values = ramp(4000, 8000)
    Image.fromarray(values).save(path, tiffinfo=tags)
    decoded = decode(path)
    assert decoded.warnings == ()
    assert (decoded.image.min(), decoded.image.max()) == (0, 255)


def test_a_declared_range_that_the_values_leave_is_not_believed():
    values = ramp(0, 65535)
    image, _ = grey_bytes(values, (100, 200))
    np.testing.assert_array_equal(image, np.rint(values / 257).astype(np.uint8))
    for odd in ((5, 5), (9, 3), (-1, 70000)):
        np.testing.assert_array_equal(grey_bytes(values, odd)[0], image)


def test_a_png_of_twelve_significant_bits_is_read_over_twelve(tmp_path):
    path = tmp_path / "twelve.png"
    Image.fromarray(ramp(0, 4095)).save(path)
    path.write_bytes(with_chunk(path.read_bytes(), b"sBIT", b"\x0c"))
    decoded = decode(path)
    assert decoded.warnings == ()
    assert decoded.image.max() == 255


def test_a_png_whose_twelve_bits_are_scaled_as_the_standard_says_is_divided_by_257(tmp_path):
    path = tmp_path / "scaled.png"
    values = ramp(0, 4095) * np.uint16(16)
    Image.fromarray(values).save(path)
    path.write_bytes(with_chunk(path.read_bytes(), b"sBIT", b"\x0c"))
    np.testing.assert_array_equal(decode(path).image[..., 0], np.rint(values / 257).astype(np.uint8))


def test_a_hot_spot_does_not_take_the_range():
    values = ramp(7500, 8000)
    values[:5, :5] = 60000
    image, warning = grey_bytes(values, None)
    assert levels(image[10:]) > 150
    assert "stretched" in warning


def test_16_bit_colours_that_use_few_levels_are_noted(tmp_path):
    path = tmp_path / "thermal.png"
    values = np.repeat(ramp(7500, 8500)[..., None], 3, axis=2).astype(np.uint16)
    cv2.imwrite(str(path), values)
    assert "of 256 levels are left" in decode(path).warnings[-1]
    cv2.imwrite(str(path), np.repeat(ramp(0, 65535)[..., None], 3, axis=2).astype(np.uint16))
    assert decode(path).warnings == ()
