"""Float formats keep every bit, NaN included, and other programs read them."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from m3d_cli.atomic import write_bytes
from m3d_cli.camera import Camera
from m3d_cli.depthmap import DepthMap
from m3d_cli.errors import OutputError
from m3d_cli.formats import float_images as arrays


@pytest.fixture
def depth():
    values = np.random.default_rng(1).uniform(0.1, 200, (7, 5)).astype(np.float32)
    values[2, 3] = np.nan
    return values


def test_npy_is_read_by_numpy(tmp_path, depth):
    path = tmp_path / "d.npy"
    write_bytes(path, *arrays.encode_npy(depth))
    back = np.load(path, allow_pickle=False)
    assert back.dtype == np.float32
    np.testing.assert_array_equal(back, depth)


def test_npy_of_a_strided_view_is_right(tmp_path, depth):
    path = tmp_path / "d.npy"
    write_bytes(path, *arrays.encode_npy(depth[::-1, ::2]))
    np.testing.assert_array_equal(np.load(path), depth[::-1, ::2])


def test_npz_carries_the_camera_and_the_confidence(tmp_path, depth):
    path = tmp_path / "d.npz"
    camera = Camera.centred(5, 7, 6.0)
    write_bytes(path, arrays.encode_npz(DepthMap(depth, camera, np.full((7, 5), 0.5, dtype=np.float32))))
    with np.load(path, allow_pickle=False) as back:
        np.testing.assert_array_equal(back["depth"], depth)
        np.testing.assert_array_equal(back["K"], camera.matrix)
        assert (back["confidence"] == 0.5).all()
        assert set(back) == {"depth", "K", "confidence"}


def test_tiff_is_read_by_pillow_and_opencv(tmp_path, depth):
    import cv2

    path = tmp_path / "d.tiff"
    write_bytes(path, arrays.encode_tiff(depth))
    with Image.open(path) as image:
        assert image.mode == "F"
        np.testing.assert_array_equal(np.asarray(image), depth)
        assert "metres" in image.tag_v2[270]
    np.testing.assert_array_equal(cv2.imread(str(path), cv2.IMREAD_UNCHANGED), depth)


def test_pfm_is_read_by_opencv(tmp_path, depth):
    import cv2

    path = tmp_path / "d.pfm"
    write_bytes(path, *arrays.encode_pfm(depth))
    np.testing.assert_array_equal(cv2.imread(str(path), cv2.IMREAD_UNCHANGED), depth)


def test_exr_round_trip(tmp_path, depth):
    exr = pytest.importorskip("OpenEXR", reason="the exr extra is not installed")
    path = tmp_path / "d.exr"
    arrays.write_exr(path, depth)
    with exr.File(str(path)) as file:
        np.testing.assert_array_equal(file.channels()["Z"].pixels, depth)
    assert [p.name for p in tmp_path.iterdir()] == ["d.exr"]


def test_exr_without_its_package_says_what_to_install(tmp_path, depth, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "OpenEXR", None)
    with pytest.raises(OutputError, match="OpenEXR"):
        arrays.write_exr(tmp_path / "d.exr", depth)
