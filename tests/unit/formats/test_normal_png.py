"""The normal PNG: directions survive to 16 bits, and unknown stays unknown."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from m3d_cli.errors import OutputError
from m3d_cli.formats.normal_png import encode_normal_png, read_normal_png
from m3d_cli.formats.png16 import decode_png16, encode_png16


def unit_normals(count, seed=0):
    n = np.random.default_rng(seed).normal(size=(count, 7, 3)).astype(np.float32)
    return n / np.linalg.norm(n, axis=2, keepdims=True)


def test_golden_values_in_red_green_blue_order():
    normals = np.array([[[0, 0, -1], [1, 0, 0], [0, -1, 0], [np.nan] * 3]], dtype=np.float32)
    stored = decode_png16(encode_normal_png(normals), "n")[..., ::-1]
    np.testing.assert_array_equal(stored[0], [[32768, 32768, 1], [65535, 32768, 32768], [32768, 1, 32768], [0, 0, 0]])


def test_what_is_written_is_read_within_half_a_step(tmp_path):
    normals = unit_normals(5)
    normals[2, 3] = np.nan
    path = tmp_path / "n.png"
    path.write_bytes(encode_normal_png(normals))
    np.testing.assert_allclose(read_normal_png(path), normals, atol=0.51 / 32767)


def test_another_reader_sees_the_same_picture(tmp_path):
    path = tmp_path / "n.png"
    path.write_bytes(encode_normal_png(unit_normals(4)))
    with Image.open(path) as picture:
        assert picture.size == (7, 4)
        assert "facing the camera" in picture.text["m3d:normal_axes"]


def test_a_grey_png_is_refused_by_name(tmp_path):
    path = tmp_path / "depth.png"
    path.write_bytes(encode_png16(np.ones((3, 3), dtype=np.uint16), {}))
    with pytest.raises(OutputError, match=r"depth\.png: not a 16-bit RGB PNG"):
        read_normal_png(path)
