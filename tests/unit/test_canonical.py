"""The canonical transform: golden numbers of THE equation, and geometry that inverts exactly."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from m3d_cli.camera import Camera
from m3d_cli.canonical import CanonicalSpec, CanonicalTransform, Variant
from m3d_cli.errors import UsageError

# The published ViT and ConvNeXt models: canonical focal 1000, inputs 616 x 1064 and 544 x 1216.
VIT = CanonicalSpec(focal=1000.0, height=616, width=1064)
CONVNEXT = CanonicalSpec(focal=1000.0, height=544, width=1216)
IMAGE = CanonicalSpec(focal=300.0, height=308, width=420, variant=Variant.IMAGE)


def test_golden_kitti_photo():
    # 1242 x 375, f 707.0493: s = min(616/375, 1064/1242) = 0.856683; 707.0493 * 0.856683 / 1000 = 0.605717.
    transform = CanonicalTransform.fit(Camera.centred(1242, 375, 707.0493), VIT)
    assert transform.scale == pytest.approx(0.8566828, abs=1e-7)
    assert (transform.inner_width, transform.inner_height) == (1064, 321)
    assert (transform.pad_left, transform.pad_top) == (0, 147)
    assert transform.depth_scale == pytest.approx(0.6057169, abs=1e-6)


def test_golden_nyu_photo():
    # 640 x 480, f 518.8579: s = min(544/480, 1216/640) = 1.1333...; 518.8579 * 1.13333 / 1000 = 0.588039.
    transform = CanonicalTransform.fit(Camera.centred(640, 480, 518.8579), CONVNEXT)
    assert transform.scale == pytest.approx(544 / 480)
    assert (transform.inner_width, transform.inner_height, transform.pad_left, transform.pad_top) == (725, 544, 245, 0)
    assert transform.depth_scale == pytest.approx(0.5880389, abs=1e-6)


def test_the_equation_in_metres():
    transform = CanonicalTransform.fit(Camera.centred(1242, 375, 707.0493), VIT)
    canonical = np.full((616, 1064), 10.0, dtype=np.float32)
    metric = transform.invert(canonical)
    assert metric.shape == (375, 1242)
    assert metric.dtype == np.float32
    np.testing.assert_allclose(metric, 6.057169, rtol=1e-6)


@given(st.integers(8, 3000), st.integers(8, 3000), st.floats(30, 9000))
def test_the_factor_s_counts(width, height, focal):
    """d = d_c * f * s / f_c with s the nominal min ratio, for any photo."""
    transform = CanonicalTransform.fit(Camera.centred(width, height, focal), VIT)
    expected = focal * min(616 / height, 1064 / width) / 1000
    assert transform.depth_scale == pytest.approx(expected, rel=1e-12)


@given(st.integers(20, 1500), st.integers(20, 1500), st.floats(30, 9000))
def test_a_photo_and_its_half_mean_the_same_depth(width, height, focal):
    whole = CanonicalTransform.fit(Camera.centred(2 * width, 2 * height, 2 * focal), VIT)
    half = CanonicalTransform.fit(Camera.centred(width, height, focal), VIT)
    assert half.depth_scale == pytest.approx(whole.depth_scale, rel=1e-12)
    assert (half.inner_width, half.inner_height) == (whole.inner_width, whole.inner_height)


@given(st.integers(8, 3000), st.integers(8, 3000))
def test_twice_the_focal_length_is_exactly_twice_the_depth(width, height):
    once = CanonicalTransform.fit(Camera.centred(width, height, 777.0), VIT)
    twice = CanonicalTransform.fit(Camera.centred(width, height, 1554.0), VIT)
    assert twice.depth_scale == 2 * once.depth_scale


def test_the_image_variant_resizes_to_the_canonical_focal_length_and_leaves_depth_alone():
    transform = CanonicalTransform.fit(Camera.centred(400, 300, 600.0), IMAGE)
    assert transform.scale == 0.5
    assert (transform.inner_width, transform.inner_height) == (200, 150)
    assert (transform.pad_left, transform.pad_top) == (110, 79)
    assert transform.depth_scale == 1.0


def test_the_image_variant_shrinks_what_would_not_fit_and_scales_depth_with_it():
    transform = CanonicalTransform.fit(Camera.centred(1680, 1232, 600.0), IMAGE)
    assert transform.scale == 0.25
    assert transform.depth_scale == pytest.approx(0.5)


@given(st.integers(1, 5000), st.integers(1, 5000), st.floats(30, 9000), st.sampled_from([VIT, CONVNEXT, IMAGE]))
def test_the_photo_always_lies_inside_the_network_input(width, height, focal, spec):
    transform = CanonicalTransform.fit(Camera.centred(width, height, focal), spec)
    rows, columns = transform.inner
    assert 0 <= rows.start < rows.stop <= spec.height
    assert 0 <= columns.start < columns.stop <= spec.width
    assert abs((spec.width - columns.stop) - columns.start) <= 1
    assert abs((spec.height - rows.stop) - rows.start) <= 1
    assert transform.depth_scale > 0


def test_the_border_has_the_pad_colour_and_the_photo_its_own():
    spec = CanonicalSpec(focal=100.0, height=60, width=84, pad_rgb=(1, 2, 3))
    image = np.full((120, 120, 3), 200, dtype=np.uint8)
    out = CanonicalTransform.fit(Camera.centred(120, 120, 100.0), spec).apply(image)
    assert out.shape == (60, 84, 3)
    assert (out[:, 12:72] == 200).all()
    assert (out[:, :12] == (1, 2, 3)).all()
    assert (out[:, 72:] == (1, 2, 3)).all()


@pytest.mark.parametrize("size", [(84, 56), (168, 112), (420, 280)])
def test_geometry_inverts_exactly_at_pixel_centres(size):
    """An image whose value is its own position comes back as that position: no half pixel is lost on the way."""
    width, height = size
    spec = CanonicalSpec(focal=100.0, height=56, width=84)
    transform = CanonicalTransform.fit(Camera.centred(width, height, 100.0), spec)
    # Positions of the network's pixel centres in the photo, +0.5 everywhere.
    u = (np.arange(84, dtype=np.float32) + 0.5) * width / 84
    canonical = np.broadcast_to(u, (56, 84)) / np.float32(transform.depth_scale)
    back = transform.invert(np.ascontiguousarray(canonical))
    own = np.arange(width, dtype=np.float32) + 0.5
    inside = (own >= u[0]) & (own <= u[-1])
    np.testing.assert_allclose(back[height // 2, inside], own[inside], rtol=1e-5)


def test_applying_and_inverting_gives_a_smooth_picture_back():
    width, height = 300, 200
    transform = CanonicalTransform.fit(Camera.centred(width, height, 150.0), CanonicalSpec(300.0, 308, 420))
    ramp = np.linspace(40, 200, width).astype(np.uint8)
    image = np.repeat(np.broadcast_to(ramp, (height, width))[..., None], 3, axis=2).copy()
    canonical = transform.apply(image)[..., 0].astype(np.float32) / np.float32(transform.depth_scale)
    np.testing.assert_allclose(transform.invert(canonical)[:, 5:-5], image[:, 5:-5, 0], atol=1.0)


def test_a_reduced_copy_of_the_photo_gives_the_same_input():
    rng = np.random.default_rng(3)
    small = rng.integers(0, 255, (77, 105, 3), dtype=np.uint8)
    large = small.repeat(8, axis=0).repeat(8, axis=1)
    transform = CanonicalTransform.fit(Camera.centred(840, 616, 500.0), CanonicalSpec(300.0, 77, 105))
    np.testing.assert_allclose(transform.apply(large).astype(int), transform.apply(small).astype(int), atol=1)


def test_without_antialiasing_a_photo_shrinks_as_the_published_pipeline_shrinks_it():
    rng = np.random.default_rng(5)
    image = rng.integers(0, 255, (240, 336, 3), dtype=np.uint8)
    spec = CanonicalSpec(focal=100.0, height=60, width=84, antialias=False)
    out = CanonicalTransform.fit(Camera.centred(336, 240, 100.0), spec).apply(image)
    np.testing.assert_array_equal(out, cv2.resize(image, (84, 60), interpolation=cv2.INTER_LINEAR))


def test_pixels_that_are_not_square_are_refused():
    with pytest.raises(UsageError, match="square"):
        CanonicalTransform.fit(Camera(100, 100, 100, 120, 50, 50), VIT)


def test_unknown_depth_stays_unknown():
    transform = CanonicalTransform.fit(Camera.centred(84, 56, 100.0), CanonicalSpec(100.0, 56, 84))
    assert np.isnan(transform.invert(np.full((56, 84), np.nan, dtype=np.float32))).all()
