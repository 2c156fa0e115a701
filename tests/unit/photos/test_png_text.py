"""PNGs with megabytes of text are sound photos."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from m3d_cli.photos.decode import decode, read_info
from m3d_cli.photos.png_text import without_long_text

LONG = "edit " * 400_000


def saved(path, **texts):
    """A PNG with texts; `zip_` and `itxt_` before a name choose the kind of chunk."""
    info = PngImagePlugin.PngInfo()
    for name, text in texts.items():
        if name.startswith("itxt_"):
            info.add_itxt(name, text, zip=True)
        else:
            info.add_text(name, text, zip=name.startswith("zip_"))
    Image.fromarray(np.full((20, 30, 3), 90, np.uint8)).save(path, pnginfo=info)
    return path


@pytest.mark.parametrize("name", ["plain", "zip_history", "itxt_history"])
def test_long_text_of_every_kind_does_not_make_a_photo_damaged(tmp_path, name):
    path = saved(tmp_path / "a.png", **{name: LONG})
    assert (read_info(path).width, read_info(path).height) == (30, 20)
    assert (decode(path).image == 90).all()


def test_long_text_behind_the_pixels_is_left_out_too(tmp_path):
    path = saved(tmp_path / "a.png")
    data, body = path.read_bytes(), b"history\0" + LONG.encode()
    chunk = struct.pack(">I", len(body)) + b"tEXt" + body + struct.pack(">I", zlib.crc32(b"tEXt" + body))
    path.write_bytes(data[:-12] + chunk + data[-12:])
    assert (decode(path).image == 90).all()


def test_many_texts_that_are_too_long_together_are_left_out(tmp_path):
    texts = {f"zip_{number}": "word " * 199_000 for number in range(80)}
    assert (decode(saved(tmp_path / "a.png", **texts)).image == 90).all()


def test_short_text_stays_and_the_file_is_read_as_it_is(tmp_path):
    path = saved(tmp_path / "a.png", comment="hello", zip_history=LONG)
    with path.open("rb") as file:
        image = PngImagePlugin.PngImageFile(without_long_text(file))
        assert image.text == {"comment": "hello"}
    small = saved(tmp_path / "b.png", comment="hello")
    with small.open("rb") as file:
        assert without_long_text(file) is file
        assert file.tell() == 0


@pytest.mark.parametrize("data", [b"", b"\x89PNG\r\n\x1a\n", b"\x89PNG\r\n\x1a\n\xff\xff\xff\xffzTXt", b"x" * 40])
def test_what_is_no_png_comes_back_as_it_is(data):
    file = io.BytesIO(data)
    assert without_long_text(file).read() == data
