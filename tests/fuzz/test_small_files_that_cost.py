"""Small files that would expand to gigabytes or minutes are refused by name, before they do."""

from __future__ import annotations

import io
import json
import struct
import time
import zipfile
import zlib

import cv2
import numpy as np
import pytest

from m3d_cli.datasets.annotations import find_annotations
from m3d_cli.datasets.depth_files import DepthRule, read_raw
from m3d_cli.datasets.frame import read_picture
from m3d_cli.datasets.rgbd import open_rgbd
from m3d_cli.errors import DatasetError, M3dError, OutputError, PoseError, UsageError
from m3d_cli.formats.depth_png import read_depth_png
from m3d_cli.formats.npy import read_npz
from m3d_cli.formats.trajectories import read_trajectory
from m3d_cli.metrology.spec.read import read_sheet
from m3d_cli.models.onnx_file import metadata_of
from m3d_cli.sequences.extract import _manifest
from m3d_cli.training.config import read_config

# Of CPU: bounds are 2 s where files are read, on machines that may be several times slower than another day.
MOST_SECONDS = 8.0


@pytest.fixture(autouse=True)
def quick():
    begin = time.process_time()
    yield
    assert time.process_time() - begin < 2 * MOST_SECONDS


def blank_png(width: int, height: int) -> bytes:
    """A 16-bit grey PNG of zeros, packed in pieces."""
    packer, row = zlib.compressobj(9), bytes(1 + 2 * width)
    body = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    chunks = ((b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 0, 0, 0, 0)), (b"IDAT", body), (b"IEND", b""))
    framed = [struct.pack(">I", len(b)) + kind + b + struct.pack(">I", zlib.crc32(kind + b)) for kind, b in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(framed)


def blank_npz(shape: tuple[int, ...]) -> bytes:
    """An npz of zeros that never were in memory."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": shape})
    buffer, left = io.BytesIO(), 4 * int(np.prod(shape))
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("depth.npy", "w") as file:
        file.write(header.getvalue())
        while left > 0:
            left -= file.write(bytes(min(left, 1 << 22)))
    return buffer.getvalue()


@pytest.fixture(scope="module")
def bomb_png() -> bytes:
    return blank_png(14_000, 9_000)


def test_a_png_of_many_blank_pixels_is_refused_by_every_reader_of_depth(tmp_path, bomb_png):
    path = tmp_path / "depth.png"
    path.write_bytes(bomb_png)
    assert len(bomb_png) < 300_000
    with pytest.raises(OutputError, match=r"depth\.png.*126000000 numbers"):
        read_depth_png(path)
    for read in (read_raw, DepthRule(1000.0).read, read_picture):
        with pytest.raises(DatasetError, match=r"depth\.png: .*numbers"):
            read(path)


def test_an_npz_of_many_blank_numbers_is_refused(tmp_path):
    path = tmp_path / "depth.npz"
    path.write_bytes(blank_npz((9_000, 9_000)))
    assert path.stat().st_size < 500_000
    with pytest.raises(DatasetError, match=r"depth\.npz: .*numbers"):
        read_raw(path)
    with pytest.raises(OutputError, match=r"depth\.npz: .*numbers"):
        read_npz(path, {"depth": (9_000, 9_000)})


def test_an_empty_depth_map_of_a_large_photo_is_no_bomb(tmp_path):
    (tmp_path / "a.png").write_bytes(blank_png(7_000, 6_000))
    assert read_depth_png(tmp_path / "a.png").depth.shape == (6_000, 7_000)


@pytest.mark.parametrize(
    "head", [b"\x93NUMPY\x01\x00\xff\xff", b"\x93NUMPY\x01\x00\x10\x00{'descr': [[[[", b"PK\x03\x04" + bytes(40), b""]
)
def test_damaged_numpy_files_are_refused_by_name(tmp_path, head):
    for name in ("depth.npy", "depth.npz"):
        (tmp_path / name).write_bytes(head)
        with pytest.raises(DatasetError, match=name):
            read_raw(tmp_path / name)


def test_a_numpy_file_in_any_order_and_type_reads_as_numpy_does(tmp_path):
    values = np.asfortranarray(np.arange(12, dtype=">i2").reshape(3, 4))
    np.save(tmp_path / "a.npy", values)
    np.savez_compressed(tmp_path / "b.npz", other=values, depth=values + 1)
    np.testing.assert_array_equal(read_raw(tmp_path / "a.npy"), values)
    np.testing.assert_array_equal(read_raw(tmp_path / "b.npz"), values + 1)
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object))
    with pytest.raises(DatasetError, match="not numbers"):
        read_raw(tmp_path / "objects.npy")


def test_what_opencv_raises_names_the_file(tmp_path, monkeypatch):
    def broken(*_):
        raise cv2.error("inside")

    monkeypatch.setattr(cv2, "imdecode", broken)
    (tmp_path / "a.tiff").write_bytes(b"II*\0" + bytes(100))
    with pytest.raises(DatasetError, match=r"a\.tiff"):
        read_raw(tmp_path / "a.tiff")


def coco(skeleton: list[list[int]], annotations: list[dict[str, object]]) -> str:
    images = [{"id": 1, "file_name": "a.jpg", "width": 100, "height": 100}]
    categories = [{"id": 1, "name": "c", "skeleton": skeleton}]
    return json.dumps({"images": images, "categories": categories, "annotations": annotations})


@pytest.mark.parametrize(
    ("skeleton", "keypoints"), [([[1, 2]] * 4000, [1, 1, 2, 5, 5, 2]), ([[1, 2]] * 4000, [1, 1, 0, 5, 5, 0])]
)
def test_a_coco_file_of_many_bones_is_refused(tmp_path, skeleton, keypoints):
    path = tmp_path / "coco.json"
    path.write_text(coco(skeleton, [{"image_id": 1, "category_id": 1, "keypoints": keypoints}] * 1000))
    assert path.stat().st_size < 170_000
    with pytest.raises(UsageError, match=r"coco\.json: skeletons of more than"):
        read_sheet(path)


def test_a_coco_file_of_many_shapes_on_an_image_is_refused(tmp_path):
    path = tmp_path / "coco.json"
    path.write_text(coco([], [{"image_id": 1, "segmentation": [[1, 1, 5, 1, 5, 5]] * 20} for _ in range(400)]))
    with pytest.raises(UsageError, match="more than 5000 shapes"):
        read_sheet(path)


@pytest.mark.parametrize(
    "text",
    [
        f"{'a.' * 20_000}a = 1",
        f"[{'a.' * 20_000}a]",
        f"x = {{{'a.' * 20_000}a = 1}}",
        "'b' . " + '"q".' * 10_000 + "a = 1",
        f"a = {'[' * 20_000}",
        f"a = {'9' * 5000}",
        f"{'a' * 100_000}",
    ],
    ids=["key", "table", "inline", "quoted", "deep", "long number", "long name"],
)
def test_toml_that_costs_is_refused_by_name(tmp_path, text):
    path = tmp_path / "a.toml"
    path.write_text(text)
    for read in (read_sheet, read_config):
        with pytest.raises(UsageError, match=r"a\.toml"):
            read(path)


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"frames": [' + "[]," * 1_200_000 + "1]}", '{"frames": 1e999}', "\udcff"]
)
def test_json_that_costs_is_refused_by_name(tmp_path, text):
    data = text.encode(errors="surrogateescape")
    (tmp_path / "transforms.json").write_bytes(data)
    with pytest.raises(PoseError, match=r"transforms\.json"):
        read_trajectory(tmp_path / "transforms.json")
    (tmp_path / "meta.json").write_bytes(data)
    for read, error in ((open_rgbd, DatasetError), (find_annotations, DatasetError)):
        with pytest.raises(error):
            read(tmp_path)
    (tmp_path / "clip.json").write_bytes(data)
    assert _manifest(tmp_path) is None or "clip" not in (_manifest(tmp_path) or {})


@pytest.mark.parametrize(
    "data",
    [
        b"\x72\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
        b"\x72\xff\xff\xff\x7f" + bytes(100),
        b"\x08\x01" * 1_000_000,
        b"\x08" * 50,
    ],
)
def test_onnx_headers_that_promise_too_much_state_nothing(tmp_path, data):
    (tmp_path / "a.onnx").write_bytes(data)
    assert metadata_of(tmp_path / "a.onnx") == {}


@pytest.mark.parametrize(
    "data", [b"", b"\0\0\0\x18ftypmp42" + bytes(60), b"\0\0\0\x08moov" * 50, b"RIFF\xff\xff\xff\xffAVI LIST"]
)
def test_what_is_no_video_is_refused_by_name(tmp_path, data):
    pytest.importorskip("av")
    from m3d_cli.sequences.clip import Clip

    path = tmp_path / "a.mp4"
    path.write_bytes(data)
    with pytest.raises(M3dError, match=r"a\.mp4"):
        list(Clip(path).frames())


@pytest.mark.parametrize("entry", ['"x"', "[]", '{"id": 1}', '{"id": 1, "w": 7, "h": 6, "fx": 1' + "0" * 400 + "}"])
def test_entries_of_an_rgbd_folder_that_are_no_frames_are_refused_by_name(tmp_path, entry):
    (tmp_path / "meta.json").write_text(f'{{"split": "train", "depth_scale": 1000, "frames": [{entry}]}}')
    with pytest.raises(DatasetError, match=r"meta\.json"):
        open_rgbd(tmp_path)
