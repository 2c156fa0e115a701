"""16-bit PNG: what any decoder reads back, whoever packed it."""

from __future__ import annotations

import io
import sys
import types

import numpy as np
import pytest
from PIL import Image

from m3d_cli.formats import png16
from m3d_cli.formats.png16 import decode_png16, encode_png16, text_of


def pictures():
    rng = np.random.default_rng(0)
    yield rng.integers(0, 65536, (37, 53), dtype=np.uint16)
    yield rng.integers(0, 65536, (5, 1, 3), dtype=np.uint16)
    yield np.zeros((1, 1), np.uint16)
    yield np.asfortranarray(rng.integers(0, 65536, (20, 30), dtype=np.uint16))
    yield rng.integers(0, 65536, (20, 30, 3), dtype=np.uint16)[::2, ::-1]


@pytest.fixture(autouse=True)
def fresh_packer():
    """The choice between ISA-L and zlib is made anew, and forgotten again."""
    png16._packer.cache_clear()
    yield
    png16._packer.cache_clear()


@pytest.mark.parametrize("package", ["isal", "zlib"])
def test_other_decoders_read_the_same_values(package, monkeypatch):
    if package == "zlib":
        monkeypatch.setitem(sys.modules, "isal", None)
    for values in pictures():
        data = encode_png16(values, {"a": "1", "b": "zwei"})
        read = decode_png16(data, "x")
        np.testing.assert_array_equal(read if values.ndim == 2 else read[..., ::-1], values)
        assert text_of(data, "x") == {"a": "1", "b": "zwei"}
        with Image.open(io.BytesIO(data)) as image:
            assert image.size == values.shape[1::-1]
            if values.ndim == 2:
                np.testing.assert_array_equal(np.asarray(image, np.uint16), values)


def test_a_library_that_fails_to_load_once_changes_no_later_file_of_the_run(monkeypatch, caplog):
    values = np.arange(1200, dtype=np.uint16).reshape(30, 40)
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "isal", types.ModuleType("isal"))  # without what is imported from it
        patch.delitem(sys.modules, "isal.isal_zlib", raising=False)
        first = encode_png16(values, {})
    assert "ISA-L cannot be loaded" in caplog.text
    assert encode_png16(values, {}) == first


def test_a_smooth_surface_is_packed_well():
    v, u = np.mgrid[0:300, 0:400]
    values = (2000 + 3 * u + 5 * v).astype(np.uint16)
    assert len(encode_png16(values, {})) < values.nbytes / 20
