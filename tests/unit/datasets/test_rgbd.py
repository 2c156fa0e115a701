from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from m3d_cli.camera import Camera, FocalSource
from m3d_cli.datasets.rgbd import open_rgbd, open_rgbd_tree, write_rgbd
from m3d_cli.datasets.rgbd_frames import find_rgbd
from m3d_cli.datasets.sample import Sample
from m3d_cli.depthmap import DepthMap
from m3d_cli.errors import DatasetError
from m3d_cli.photo import Photo


def make_sample(depth: np.ndarray, source: str = "test/a") -> Sample:
    height, width = depth.shape
    camera = Camera(width, height, 30.0, 30.5, 16.25, 11.75, FocalSource.CALIBRATION, 0.005)
    image = np.full((height, width, 3), (200, 60, 20), np.uint8)
    return Sample(Photo(Path("x.jpg"), image, camera), DepthMap(depth.astype(np.float32), camera), source, sparse=False)


def make_depth(value: float = 2.5) -> np.ndarray:
    depth = np.full((24, 32), value)
    depth[0, 0], depth[0, 1] = np.nan, np.inf
    return depth


def write_source(folder: Path, **changes: object) -> Path:
    """A one-frame folder as other tools write it."""
    (folder / "rgb").mkdir(parents=True)
    (folder / "depth").mkdir()
    cv2.imwrite(str(folder / "rgb" / "0.jpg"), np.zeros((24, 32, 3), np.uint8))
    cv2.imwrite(str(folder / "depth" / "0.png"), np.full((24, 32), 1500, np.uint16))
    frame = {"id": "0", "w": 32, "h": 24, "fx": 30, "fy": 30, "cx": 15.5, "cy": 11.5}
    meta: dict[str, object] = {"source": folder.name, "split": "val", "depth_scale": 1000.0, "frames": [frame]}
    (folder / "meta.json").write_text(json.dumps(meta | changes))
    return folder


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    near, far = make_sample(make_depth(2.5)), make_sample(make_depth(90.0), "test/b")
    folder = write_rgbd([near, far], tmp_path / "out", source="test", licence="CC-0")
    assert (len(folder), folder.licence, folder.split, folder.sparse) == (2, "CC-0", "train", False)
    for index, (wanted, step) in enumerate([(near, 0.001), (far, 1 / 256)]):
        sample = open_rgbd(tmp_path / "out").read(index)
        assert sample.source == wanted.source
        assert sample.photo.camera == wanted.photo.camera
        assert np.isnan(sample.truth.depth[0, 0])
        assert sample.sky.sum() == 1
        assert sample.sky[0, 1]
        assert np.nanmax(np.abs(sample.truth.depth[1:] - wanted.truth.depth[1:])) <= step
        assert np.abs(sample.photo.image.astype(int) - wanted.photo.image).max() < 8  # red stays red: RGB, not BGR


def test_normals_are_read_back_where_a_frame_has_them(tmp_path: Path) -> None:
    plain = make_sample(make_depth())
    slanted = np.broadcast_to(np.array([0.6, 0.0, -0.8], dtype=np.float32), (24, 32, 3)).copy()
    slanted[0, 1] = np.nan
    camera = plain.photo.camera
    with_normals = replace(plain, truth=DepthMap(plain.truth.depth, camera, None, slanted))
    write_rgbd([plain, with_normals], tmp_path / "out")
    folder = open_rgbd(tmp_path / "out")
    assert folder.read(0).truth.normals is None
    found = folder.read(1).truth.normals
    assert found is not None
    np.testing.assert_allclose(found, slanted, atol=2e-5)
    frames = find_rgbd(tmp_path / "out")
    assert [frame.read_normals is None for frame in frames] == [True, False]
    np.testing.assert_array_equal(frames[1].read().truth.normals, found)
    (tmp_path / "out" / "normal" / "000001.png").write_bytes((tmp_path / "out" / "depth" / "000001.png").read_bytes())
    with pytest.raises(DatasetError, match=r"000001\.png: normals must be"):
        folder.read(1)


def test_the_principal_point_moves_by_half_a_pixel_on_the_way_in(tmp_path: Path) -> None:
    sample = open_rgbd(write_source(tmp_path / "a")).read(0)
    assert (sample.photo.camera.cx, sample.photo.camera.cy) == (16.0, 12.0)
    assert sample.truth.depth[3, 4] == np.float32(1.5)


def test_stored_intrinsics_are_in_the_opencv_convention(tmp_path: Path) -> None:
    write_rgbd([make_sample(make_depth())], tmp_path / "out")
    frame = json.loads((tmp_path / "out" / "meta.json").read_text())["frames"][0]
    assert (frame["cx"], frame["cy"]) == (15.75, 11.25)


def test_a_frame_may_have_its_own_split(tmp_path: Path) -> None:
    frame = {"w": 32, "h": 24, "fx": 30, "fy": 30, "cx": 15.5, "cy": 11.5}
    frames = [frame | {"id": "0"}, frame | {"id": "1", "split": "train", "intrinsics": "estimated"}]
    folder = open_rgbd(write_source(tmp_path / "a", frames=frames, depth_type="sparse"))
    assert [(frame.name, frame.split) for frame in folder.frames] == [("0", "val"), ("1", "train")]
    assert folder.frames[1].camera.focal_source is FocalSource.ESTIMATED
    assert folder.read(0).sparse


def test_a_tree_is_opened_in_the_order_of_names(tmp_path: Path) -> None:
    for name in ("b", "a"):
        write_source(tmp_path / name)
    assert [folder.source for folder in open_rgbd_tree(tmp_path)] == ["a", "b"]
    with pytest.raises(DatasetError, match="no folder"):
        open_rgbd_tree(tmp_path / "a")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"frames": [{"id": "0", "w": 32, "h": 24}]}, "fx"),
        ({"frames": [{"id": "0", "w": 32, "h": 24, "fx": float("nan"), "fy": 1, "cx": 1, "cy": 1}]}, "finite"),
        ({"depth_scale": 0}, "depth_scale"),
        ({"frames": 3}, "list 'frames'"),
    ],
)
def test_a_wrong_meta_file_is_named(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    with pytest.raises(DatasetError, match=message) as caught:
        open_rgbd(write_source(tmp_path / "a", **changes))
    assert "meta.json" in str(caught.value)


def test_missing_and_damaged_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"meta\.json is missing"):
        open_rgbd(tmp_path)
    folder = open_rgbd(write_source(tmp_path / "a"))
    (folder.root / "depth" / "0.png").write_bytes(b"")
    with pytest.raises(DatasetError, match=r"0\.png: not an image"):
        folder.read(0)
    cv2.imwrite(str(folder.root / "depth" / "0.png"), np.zeros((24, 32), np.uint8))
    with pytest.raises(DatasetError, match="16-bit"):
        folder.read(0)
    cv2.imwrite(str(folder.root / "depth" / "0.png"), np.zeros((12, 16), np.uint16))
    with pytest.raises(DatasetError, match=r"16 x 12 pixels, meta\.json says 32 x 24"):
        folder.read(0)
    (folder.root / "rgb" / "0.jpg").unlink()
    with pytest.raises(DatasetError, match=r"0\.jpg: the image cannot be read"):
        folder.read(0)


def test_an_interrupted_writing_leaves_no_folder(tmp_path: Path) -> None:
    def broken() -> object:
        yield make_sample(make_depth())
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError):
        write_rgbd(broken(), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    write_rgbd([make_sample(make_depth())], tmp_path / "out")
    with pytest.raises(DatasetError, match="exists already"):
        write_rgbd([], tmp_path / "out")


def test_a_sample_refuses_depth_that_is_not_positive() -> None:
    with pytest.raises(DatasetError, match="positive"):
        make_sample(np.zeros((24, 32)))


def test_other_files_in_place_of_an_unfinished_folder_are_kept(tmp_path: Path) -> None:
    own = tmp_path / "out.part" / "notes.txt"
    own.parent.mkdir()
    own.write_text("mine")
    with pytest.raises(DatasetError, match=r"out\.part: holds files that m3d did not write"):
        write_rgbd([make_sample(make_depth())], tmp_path / "out")
    assert own.read_text() == "mine"
