"""Rooms: NYU, ScanNet, DIODE, iBims-1, ETH3D, 7-Scenes, TUM RGB-D, Hypersim, each from a miniature tree."""

from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from m3d_cli.camera import FocalSource
from m3d_cli.datasets.frame import Frame
from m3d_cli.datasets.layouts import find_layout
from m3d_cli.datasets.selection import find_frames
from m3d_cli.datasets.tum import associate
from m3d_cli.errors import DatasetError

from .layout_files import encoded, hdf5, npy, picture, png16, text

VGA = (640, 480)


def found(layout: str, root: Path) -> tuple[Frame, ...]:
    return find_frames(find_layout(layout), root)


def test_nyu_exported_pictures_take_the_official_test_split(tmp_path: Path) -> None:
    for split, number in (("train", 1), ("test", 45)):
        picture(tmp_path / split / "bathroom" / f"rgb_{number:05}.jpg", *VGA)
        png16(tmp_path / split / "bathroom" / f"sync_depth_{number:05}.png", 2.5, 1000, VGA)
    [frame] = found("nyu", tmp_path)
    sample = frame.read()
    assert (frame.name, frame.source, frame.split, frame.sparse) == ("test/bathroom/rgb_00045", "nyu", "test", False)
    # The toolbox's 518.857901 519.469611 325.582449 253.736166, half a pixel on.
    camera = sample.photo.camera
    assert (camera.fx, camera.fy) == (518.857901, 519.469611)
    assert (camera.cx, camera.cy) == pytest.approx((326.082449, 254.236166))
    assert np.unique(sample.truth.depth).tolist() == [2.5]
    assert sample.photo.image[0, 0].tolist() == pytest.approx([120, 0, 0], abs=3)


def test_nyu_labelled_mat_is_read_upright_and_split(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (3, 3, 640, 480), dtype=np.uint8)
    depths = rng.uniform(1, 9, (3, 640, 480)).astype(np.float32)
    hdf5(tmp_path / "nyu_depth_v2_labeled.mat", images=images, depths=depths)
    # MATLAB counts from 1.
    savemat(tmp_path / "splits.mat", {"trainNdxs": np.array([[1], [3]]), "testNdxs": np.array([[2]])})
    [frame] = found("nyu", tmp_path)
    sample = frame.read()
    assert (frame.name, frame.split) == ("rgb_00001", "test")
    assert sample.truth.depth[7, 11] == depths[1, 11, 7]
    assert sample.photo.image[7, 11].tolist() == images[1, :, 11, 7].tolist()
    (tmp_path / "splits.mat").unlink()
    assert len(found("nyu", tmp_path)) == 3
    (tmp_path / "splits.mat").write_bytes(b"no mat")
    with pytest.raises(DatasetError, match=r"splits\.mat"):
        found("nyu", tmp_path)
    (tmp_path / "nyu_depth_v2_labeled.mat").write_bytes(b"no mat")
    with pytest.raises(DatasetError, match=r"labeled\.mat"):
        found("nyu", tmp_path)


def test_scannet_depth_is_brought_to_the_pictures_size(tmp_path: Path) -> None:
    scene = tmp_path / "scene0000_00"
    for number in (10, 2):
        picture(scene / "color" / f"{number}.jpg", 1296, 968)
        png16(scene / "depth" / f"{number}.png", np.where(np.arange(640) < 320, 1.0, np.nan), 1000, VGA)
    rows = "1170.1 0 647.7 0\n0 1170.2 483.7 0\n0 0 1 0\n0 0 0 1\n"
    text(scene / "intrinsic" / "intrinsic_color.txt", rows)
    frames = found("scannet", tmp_path)
    assert [frame.name for frame in frames] == ["scene0000_00/color/2", "scene0000_00/color/10"]
    sample = frames[0].read()
    assert sample.truth.depth.shape == (968, 1296)
    assert np.isfinite(sample.truth.depth[:, :640]).all()
    assert np.isnan(sample.truth.depth[:, 656:]).all()
    assert sample.photo.camera.cx == pytest.approx(648.2)
    assert np.array_equal(frames[0].truth(), sample.truth.depth, equal_nan=True)
    png16(scene / "depth" / "2.png", 1.0, 1000, (480, 480))
    for read in (frames[0].truth, frames[0].read):
        with pytest.raises(DatasetError, match=r"2\.png: 480 x 480 pixels are of another shape .* 1296 x 968"):
            read()
    text(scene / "intrinsic" / "intrinsic_color.txt", "1 2 3\n")
    with pytest.raises(DatasetError, match=r"intrinsic_color\.txt"):
        found("scannet", tmp_path)


def test_diode_uses_its_mask_and_knows_inside_from_outside(tmp_path: Path) -> None:
    for place in ("indoors", "outdoor"):
        image = picture(tmp_path / "val" / place / "scene_1" / "scan_2" / "a.png", 1024, 768)
        depth = np.full((768, 1024, 1), 4.0, dtype=np.float32)
        depth[0], depth[1] = 200.0, 0.05
        mask = np.ones((768, 1024), dtype=np.float32)
        mask[2] = 0
        normal = np.tile(np.float32([0, 0, 1]), (768, 1024, 1))
        for kind, values in (("depth", depth), ("depth_mask", mask), ("normal", normal)):
            npy(image.with_name(f"a_{kind}.npy"), values)
    inside, outside = found("diode", tmp_path)
    assert [inside.source, outside.source, inside.split] == ["indoors", "outdoor", "val"]
    sample = inside.read()
    assert np.isnan(sample.truth.depth[:3]).all()
    assert np.unique(sample.truth.depth[3:]).tolist() == [4.0]
    assert sample.truth.normals is not None
    assert sample.truth.normals[5, 5].tolist() == [0, 0, -1]
    assert (sample.photo.camera.fx, sample.photo.camera.fy, sample.photo.camera.cx) == (886.81, 927.06, 512.0)


@pytest.mark.parametrize(
    "calibration",
    [
        "550.5 551.5 319.5 239.5",
        "550.5,551.5,319.5,239.5",
        "550.5 0 319.5\n0 551.5 239.5\n0 0 1",
        "550.5 0 0 0 551.5 0 319.5 239.5 1",
    ],
)
def test_ibims_masks_glass_and_reads_any_calibration(tmp_path: Path, calibration: str) -> None:
    root = tmp_path / "ibims1_core_raw"
    picture(root / "rgb" / "office_01.png", *VGA)
    png16(root / "depth" / "office_01.png", 5.0, 65535 / 50, VGA)
    for row, kind in enumerate(("mask_invalid", "mask_transp")):
        mask = np.full((480, 640), 255, dtype=np.uint8)
        mask[row] = 0
        encoded(root / kind / "office_01.png", mask)
    text(root / "calib" / "office_01.txt", calibration)
    [frame] = found("ibims", tmp_path)
    sample = frame.read()
    assert frame.name == "office_01"
    assert np.isnan(sample.truth.depth[:2]).all()
    np.testing.assert_allclose(sample.truth.depth[2:], 5.0, atol=1e-3)
    camera = sample.photo.camera
    assert (camera.fx, camera.fy, camera.cx, camera.cy) == (550.5, 551.5, 320.0, 240.0)
    text(root / "calib" / "office_01.txt", "1 2 3")
    with pytest.raises(DatasetError, match=r"office_01\.txt"):
        found("ibims", tmp_path)


def eth3d(root: Path) -> Path:
    """A scene with an image of 60 x 40 pixels."""
    scene = root / "courtyard"
    picture(scene / "images" / "dslr_images" / "DSC_1.JPG", 60, 40)
    depth = np.full((40, 60), 3.0, dtype="<f4")
    depth[0], depth[1] = np.inf, 150.0
    target = scene / "ground_truth_depth" / "dslr_images" / "DSC_1.JPG"
    target.parent.mkdir(parents=True)
    target.write_bytes(depth.tobytes())
    return scene


def test_eth3d_truth_is_raw_floats_and_cameras_are_colmaps(tmp_path: Path) -> None:
    scene = eth3d(tmp_path)
    model = scene / "dslr_calibration_jpg"
    text(model / "cameras.txt", "# cameras\n0 THIN_PRISM_FISHEYE 60 40 34.5 34.6 30.5 20.5 0 0 0 0 0 0 0 0\n")
    text(model / "images.txt", "# images\n7 1 0 0 0 0 0 0 0 dslr_images/DSC_1.JPG\n1 2 3\n")
    [frame] = found("eth3d", tmp_path)
    sample = frame.read()
    assert (frame.name, frame.sparse) == ("courtyard/images/dslr_images/DSC_1", True)
    assert np.isnan(sample.truth.depth[:2]).all()
    assert np.unique(sample.truth.depth[2:]).tolist() == [3.0]
    # COLMAP's pixels are ours: nothing is added.
    assert (sample.photo.camera.fx, sample.photo.camera.cx) == (34.5, 30.5)
    assert sample.photo.camera.focal_source is FocalSource.CALIBRATION


def test_eth3d_without_a_model_says_that_the_focal_length_is_assumed(tmp_path: Path) -> None:
    eth3d(tmp_path)
    [frame] = found("eth3d", tmp_path)
    assert (frame.pinhole.fx, frame.pinhole.focal_source) == (2000.0, FocalSource.ASSUMED)
    # Those numbers belong to the full size of the camera.
    with pytest.raises(DatasetError, match=r"DSC_1\.JPG: 9600 bytes are not float32 of 6048 x 4032"):
        frame.truth()


def test_sevenscenes_scores_the_test_sequences(tmp_path: Path) -> None:
    for sequence in (1, 3):
        start = tmp_path / "chess" / f"seq-{sequence:02}"
        picture(start / "frame-000000.color.png", *VGA)
        depth = np.full((480, 640), 1500, dtype=np.uint16)
        depth[0] = 65535
        encoded(start / "frame-000000.depth.png", depth)
    text(tmp_path / "chess" / "TrainSplit.txt", "sequence1\n")
    text(tmp_path / "chess" / "TestSplit.txt", "sequence3\n")
    [frame] = found("7scenes", tmp_path)
    sample = frame.read()
    assert (frame.name, frame.source) == ("chess/seq-03/frame-000000", "chess")
    assert np.isnan(sample.truth.depth[0]).all()
    assert np.unique(sample.truth.depth[1:]).tolist() == [1.5]
    assert (sample.photo.camera.fx, sample.photo.camera.cx) == (585.0, 320.5)


def test_tum_pairs_pictures_with_the_depth_nearest_in_time(tmp_path: Path) -> None:
    sequence = tmp_path / "rgbd_dataset_freiburg3_office"
    for name in ("1.000", "1.033"):
        picture(sequence / "rgb" / f"{name}.png", *VGA)
        png16(sequence / "depth" / f"{name}.png", 1.2, 5000, VGA)
    text(sequence / "rgb.txt", "# color\n1.000 rgb/1.000.png\n1.033 rgb/1.033.png\n9.0 rgb/lost.png\n")
    text(sequence / "depth.txt", "# depth\n1.005 depth/1.000.png\n1.040 depth/1.033.png\n")
    frames = found("tum", tmp_path)
    assert [(frame.image.name, frame.depth.name) for frame in frames] == [("1.000.png",) * 2, ("1.033.png",) * 2]
    sample = frames[0].read()
    np.testing.assert_allclose(sample.truth.depth, 1.2, atol=1e-3)
    assert (sample.photo.camera.fx, sample.photo.camera.cx) == (535.4, 320.6)
    assert sample.photo.camera.focal_source is FocalSource.CALIBRATION
    sequence = sequence.rename(tmp_path / "my_kitchen")
    pinhole = found("tum", tmp_path)[0].pinhole
    assert (pinhole.fx, pinhole.focal_source, pinhole.focal_rel_sigma) == (525.0, FocalSource.ASSUMED, 0.25)
    text(sequence / "rgb.txt", "1.000 /1.000.png\n")
    with pytest.raises(DatasetError, match=r"/1\.000\.png: not a file below"):
        found("tum", tmp_path)
    text(sequence / "depth.txt", "one two\n")
    with pytest.raises(DatasetError, match=r"depth\.txt"):
        found("tum", tmp_path)


def test_a_depth_belongs_to_one_picture_only() -> None:
    assert associate([(1.0, "a"), (1.01, "b")], [(1.009, "x")]) == [("b", "x")]
    assert associate([(1.0, "a")], [(1.03, "x")]) == []


def test_hypersim_distance_becomes_depth_along_z(tmp_path: Path) -> None:
    folder = tmp_path / "ai_001_001" / "images"
    picture(folder / "scene_cam_00_final_preview" / "frame.0000.tonemap.jpg", 1024, 768)
    x, y = np.meshgrid(np.arange(1024) + 0.5 - 512, np.arange(768) + 0.5 - 384)
    focal = 512 / np.tan(np.radians(30))
    distance = 4 * np.sqrt(x**2 + y**2 + focal**2) / focal
    distance[0] = np.nan
    geometry = folder / "scene_cam_00_geometry_hdf5"
    hdf5(geometry / "frame.0000.depth_meters.hdf5", dataset=distance.astype(np.float16))
    normal = np.tile(np.float32([0, 0, 1]), (768, 1024, 1))
    hdf5(geometry / "frame.0000.normal_cam.hdf5", dataset=normal)
    [frame] = found("hypersim", tmp_path)
    sample = frame.read()
    np.testing.assert_allclose(sample.truth.depth[1:], 4.0, atol=5e-3)
    assert np.isnan(sample.truth.depth[0]).all()
    assert sample.photo.camera.horizontal_fov == pytest.approx(60)
    assert sample.truth.normals is not None
    assert sample.truth.normals[300, 300].tolist() == [0, 0, -1]
    (geometry / "frame.0000.depth_meters.hdf5").write_bytes(b"no hdf5")
    with pytest.raises(DatasetError, match=r"depth_meters\.hdf5"):
        frame.truth()


@pytest.mark.parametrize(
    "layout", ["nyu", "scannet", "diode", "ibims", "eth3d", "7scenes", "tum", "hypersim", "vkitti"]
)
def test_a_folder_of_something_else_is_described(tmp_path: Path, layout: str) -> None:
    with pytest.raises(DatasetError, match="no frames of layout"):
        found(layout, tmp_path)
    with pytest.raises(DatasetError, match="no such folder"):
        found(layout, tmp_path / "none")
