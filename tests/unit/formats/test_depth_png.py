"""The depth PNG: what is written is what is read, and what does not fit is counted, never wrapped."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from m3d_cli.errors import OutputError
from m3d_cli.formats.depth_png import encode_depth_png, encode_steps, quantise, read_depth_png
from m3d_cli.formats.png16 import encode_png16

NAN = float("nan")


def depths(largest):
    values = st.one_of(st.floats(2**-10, largest, width=32), st.just(NAN))
    return hnp.arrays(np.float32, hnp.array_shapes(min_dims=2, max_dims=2, max_side=9), elements=values)


def test_golden_values_in_millimetres():
    depth = np.array([[1.0, 1.2344, 0.0004, NAN], [65.535, 65.5354, 65.536, 1e9]], dtype=np.float32)
    values, clipped = quantise(depth, 1000.0)
    np.testing.assert_array_equal(values, [[1000, 1234, 0, 0], [65535, 65535, 0, 0]])
    assert clipped == 2


def test_infinite_and_negative_depth_is_unknown():
    values, clipped = quantise(np.array([[np.inf, -np.inf, -3.0, 2.0]], dtype=np.float32), 1000.0)
    np.testing.assert_array_equal(values, [[0, 0, 0, 2000]])
    assert clipped == 0


def test_a_map_of_nothing_is_all_zeros():
    values, clipped = quantise(np.full((3, 4), NAN, dtype=np.float32), 1000.0)
    assert not values.any()
    assert clipped == 0


@given(depths(65))
@example(np.full((4, 1), 2.5, dtype=np.float32))
@example(np.full((1, 4), 2.5, dtype=np.float32))
@example(np.full((1, 1), 2.5, dtype=np.float32))
def test_every_value_is_the_nearest_step(depth):
    values, clipped = quantise(depth, 1000.0)
    known = np.isfinite(depth)
    exact = np.where(known, depth, 0).astype(np.float64) * 1000
    assert values.shape == depth.shape
    assert np.abs(values - exact).max() <= 0.5 + 1e-9
    assert clipped == 0


@pytest.mark.parametrize("scale", [1000.0, 256.0, 5000.0])
@given(depth=depths(12))
def test_what_is_written_is_read_back_to_half_a_step(tmp_path, scale, depth):
    path = tmp_path / "d.png"
    data, clipped = encode_depth_png(depth, scale)
    path.write_bytes(data)
    back = read_depth_png(path)
    assert back.scale == scale
    kept = np.isfinite(depth) & (depth * scale >= 0.5000001)
    np.testing.assert_allclose(back.depth[kept], depth[kept], atol=0.5 / scale * 1.001)
    assert clipped == 0


def test_a_kitti_scale_reaches_256_metres(tmp_path):
    path = tmp_path / "d.png"
    depth = np.array([[100.5, 255.99, 257.0]], dtype=np.float32)
    data, clipped = encode_depth_png(depth, 256.0)
    path.write_bytes(data)
    assert clipped == 1
    back = read_depth_png(path).depth
    np.testing.assert_allclose(back[0, :2], [100.5, 255.99], atol=1 / 512)
    assert np.isnan(back[0, 2])


def test_another_reader_sees_values_and_text(tmp_path):
    path = tmp_path / "d.png"
    data, _ = encode_depth_png(np.array([[1.5, NAN], [2.25, 3.0]], dtype=np.float32), 1000.0)
    path.write_bytes(data)
    with Image.open(path) as image:
        image.load()
        assert image.mode == "I;16"
        np.testing.assert_array_equal(np.asarray(image), [[1500, 0], [2250, 3000]])
        assert image.text == {
            "m3d:depth_scale": "1000",
            "m3d:unit": "millimetre",
            "m3d:invalid": "0",
            "m3d:depth_type": "z",
        }


def test_a_plain_16_bit_png_is_taken_for_millimetres_or_the_scale_given(tmp_path):
    path = tmp_path / "d.png"
    Image.fromarray(np.array([[2560]], dtype=np.uint16)).save(path)
    assert read_depth_png(path).depth[0, 0] == np.float32(2.56)
    assert read_depth_png(path, scale=256).depth[0, 0] == 10


@pytest.mark.parametrize(
    "text",
    [{"m3d:depth_scale": "ten"}, {"m3d:depth_scale": "0"}, {"m3d:depth_scale": "-1"}, {"m3d:depth_scale": "inf"}],
)
def test_a_scale_that_makes_no_sense_is_refused(tmp_path, text):
    path = tmp_path / "d.png"
    path.write_bytes(encode_png16(np.ones((2, 2), dtype=np.uint16), text))
    with pytest.raises(OutputError, match="scale"):
        read_depth_png(path)


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "d.png"
    Image.new("RGB", (3, 3)).save(path)
    with pytest.raises(OutputError, match="16-bit"):
        read_depth_png(path)
    path.write_bytes(encode_png16(np.ones((2, 2, 3), dtype=np.uint16), {}))
    with pytest.raises(OutputError, match="grey"):
        read_depth_png(path)
    path.write_bytes(b"")
    with pytest.raises(OutputError, match="not a PNG"):
        read_depth_png(path)
    with pytest.raises(OutputError, match="cannot be read"):
        read_depth_png(tmp_path / "none.png")


def test_mutated_files_give_a_depth_or_an_output_error(tmp_path):
    rng = np.random.default_rng(0)
    good, _ = encode_depth_png(rng.uniform(1, 9, (20, 30)).astype(np.float32))
    path = tmp_path / "d.png"
    refused = 0
    for index in range(300):
        data = bytearray(good)
        for position in rng.integers(0, len(data), 1 + index % 3):
            data[position] = rng.integers(0, 256)
        path.write_bytes(data[: rng.integers(1, len(data))] if index % 4 == 0 else data)
        try:
            read_depth_png(path)
        except OutputError:
            refused += 1
    # Checksums find nearly all of it; a byte may be replaced by itself.
    assert refused > 290


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), float("inf"), 1e300, 1e-300])
def test_a_scale_that_no_depth_has_is_refused(tmp_path, scale):
    path = tmp_path / "a.png"
    path.write_bytes(encode_steps(np.ones((2, 3), np.uint16), scale))
    with pytest.raises(OutputError, match=r"a\.png: its depth scale is not"):
        read_depth_png(path)
