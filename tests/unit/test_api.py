"""What the Python API adds to what the commands do: keywords, and panoramas."""

from __future__ import annotations

import inspect
from pathlib import Path

import cv2
import numpy as np
import pytest

import m3d_cli as m3d

PALACE = Path(__file__).parents[1] / "data" / "photos" / "palace.jpg"


def test_an_unknown_keyword_is_a_type_error_as_anywhere_in_python():
    with pytest.raises(TypeError, match="unexpected keyword argument 'focus'"):
        m3d.load_photo(PALACE, focus=900)


def test_a_lens_may_be_given_in_each_way():
    assert m3d.load_photo(PALACE, focal=900).camera.focal == 900
    assert m3d.load_photo(PALACE, fov=60).camera.horizontal_fov == pytest.approx(60)
    assert m3d.load_photo(PALACE, focal_35mm=26, fov=None).camera.focal_source == "user"


def test_a_run_takes_panoramas(tmp_path):
    path = tmp_path / "sphere.png"
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 255, (40, 80, 3), dtype=np.uint8))
    options = {"model": "m3d-test-lite", "device": "cpu", "formats": ("npy",), "projection": "equirectangular"}
    (outcome,) = m3d.run([path], tmp_path / "out", **options)
    assert outcome.status == "done"
    assert np.load(tmp_path / "out" / "sphere.npy").shape == (40, 80)


def test_the_lens_stands_in_the_signature_that_an_editor_shows():
    for function in (m3d.run, m3d.measure, m3d.load_photo):
        (lens,) = (one for one in inspect.signature(function).parameters.values() if one.kind is one.VAR_KEYWORD)
        assert "Lens" in str(lens.annotation)
