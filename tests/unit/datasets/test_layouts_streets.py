"""Streets: KITTI, nuScenes, DDAD, Virtual KITTI, each from a miniature tree."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from m3d_cli.camera import Camera
from m3d_cli.datasets.frame import Frame
from m3d_cli.datasets.layouts import find_layout
from m3d_cli.datasets.lidar import pose_matrix, project_points
from m3d_cli.datasets.selection import SourceChoice, find_frames, select_frames
from m3d_cli.errors import DatasetError

from .layout_files import as_json, encoded, picture, png16, text

DATE, DRIVE = "2011_09_26", "2011_09_26_drive_0002_sync"
CALIBRATION = """calib_time: 09-Jan-2012 13:57:47
S_rect_02: 1.242000e+03 3.750000e+02
P_rect_02: 7.215377e+02 0 6.095593e+02 4.485728e+01 0 7.215377e+02 1.728540e+02 2.163791e-01 0 0 1 2.745884e-03
"""


def found(layout: str, root: Path) -> tuple[Frame, ...]:
    return find_frames(find_layout(layout), root)


def kitti(root: Path) -> Path:
    """Two annotated frames and one without depth."""
    for number in (5, 6, 7):
        picture(root / "raw" / DATE / DRIVE / "image_02" / "data" / f"{number:010}.png", 1242, 375)
    for number in (5, 6):
        folder = root / "depth" / "val" / DRIVE / "proj_depth" / "groundtruth" / "image_02"
        depth = np.full((375, 1242), np.nan)
        depth[200, 300] = 12.5
        png16(folder / f"{number:010}.png", depth, 256, (1242, 375))
    text(root / "raw" / DATE / "calib_cam_to_cam.txt", CALIBRATION)
    return root


def test_kitti_pairs_raw_pictures_with_annotated_depth(tmp_path: Path) -> None:
    kitti(tmp_path)
    with pytest.raises(DatasetError, match="no frame of the split test that kitti is scored on, only of val"):
        found("kitti", tmp_path)
    frames = find_frames(find_layout("kitti"), tmp_path, [SourceChoice("kitti", "val")])
    assert [frame.name[-10:] for frame in frames] == ["0000000005", "0000000006"]
    sample = frames[0].read()
    assert (sample.sparse, frames[0].split) == (True, "val")
    assert np.argwhere(np.isfinite(sample.truth.depth)).tolist() == [[200, 300]]
    assert sample.truth.depth[200, 300] == 12.5
    camera = sample.photo.camera
    assert (camera.fx, camera.cx, camera.cy) == pytest.approx((721.5377, 610.0593, 173.354))


@pytest.mark.parametrize(
    "line",
    [
        f"{DATE}/{DRIVE}/image_02/data/0000000006.png {DRIVE}/proj_depth/groundtruth/image_02/0000000006.png 721.5377",
        f"{DATE}/{DRIVE} 0000000006 l",
        f"{DATE}/{DRIVE} 6 2",
    ],
)
def test_kitti_takes_the_eigen_split_from_its_list(tmp_path: Path, line: str) -> None:
    text(
        kitti(tmp_path) / "eigen_test_files.txt", f"{line}\n{DATE}/{DRIVE}/image_02/data/0000000007.png None 721.5377\n"
    )
    [frame] = found("kitti", tmp_path)
    assert (frame.depth.stem, frame.split) == ("0000000006", "test")


def test_depth_that_a_list_names_must_be_there(tmp_path: Path) -> None:
    line = f"{DATE}/{DRIVE}/image_02/data/0000000007.png {DRIVE}/proj_depth/groundtruth/image_02/0000000007.png 721.5\n"
    text(kitti(tmp_path) / "eigen_test_files.txt", line)
    with pytest.raises(DatasetError, match=r"depth of 1 frames is not there, such as .*0000000007"):
        found("kitti", tmp_path)


def test_kitti_scores_the_test_list_and_counts_what_it_cannot(tmp_path: Path) -> None:
    root = kitti(tmp_path)
    text(root / "eigen_test_files.txt", f"{DATE}/{DRIVE} 6 l\n{DATE}/{DRIVE} 7 l\n{DATE}/{DRIVE} 8 l\n")
    text(root / "eigen_train_files.txt", f"{DATE}/{DRIVE} 5 l\n{DATE}/{DRIVE} 9 l\n")
    selection = select_frames(find_layout("kitti"), root)
    assert [(frame.depth.stem, frame.split, frame.scene) for frame in selection.frames] == [
        ("0000000006", "test", DRIVE)
    ]
    assert (selection.listed, selection.not_annotated, dict(selection.other_splits)) == (3, 2, {"train": 1})
    assert "2 frames without depth" in " ".join(selection.notes)
    train = select_frames(find_layout("kitti"), root, [SourceChoice("kitti", "train")])
    assert ([frame.depth.stem for frame in train.frames], train.not_annotated) == (["0000000005"], 1)
    lost = f"{DATE}/{DRIVE}/image_02/data/0000000007.png {DRIVE}/proj_depth/groundtruth/image_02/0000000007.png 721.5"
    text(root / "eigen_train_files.txt", f"{DATE}/{DRIVE} 5 l\n{lost}\n")
    assert len(found("kitti", root)) == 1
    text(root / "other_eigen_test.txt", f"{DATE}/{DRIVE} 5 l\n")
    with pytest.raises(DatasetError, match=r"other_eigen_test\.txt: lists other test frames than .*eigen_test_files"):
        found("kitti", root)


def test_kitti_names_what_is_missing(tmp_path: Path) -> None:
    root = kitti(tmp_path)
    listed = root / "eigen_test.txt"
    for content in (b"only two\n", b"\xff\xfe \x80 l\n"):
        listed.write_bytes(content)
        with pytest.raises(DatasetError, match=r"eigen_test\.txt: the list of KITTI frames"):
            found("kitti", root)
    listed.rename(root / "eigen.txt")
    with pytest.raises(DatasetError, match=r"eigen\.txt: its name does not say its split"):
        found("kitti", root)
    (root / "eigen.txt").unlink()
    text(root / "raw" / DATE / "calib_cam_to_cam.txt", "P_rect_02: 1 2\n")
    with pytest.raises(DatasetError, match=r"calib_cam_to_cam\.txt"):
        found("kitti", root)
    (root / "raw" / DATE / "calib_cam_to_cam.txt").unlink()
    with pytest.raises(DatasetError, match="no raw drive"):
        found("kitti", root)


def nuscenes(root: Path) -> Path:
    picture(root / "samples" / "CAM_FRONT" / "a.jpg", 160, 90)
    depth = np.full((90, 160), np.nan)
    depth[50, 60] = 20.0
    png16(root / "depth" / "CAM_FRONT" / "a.png", depth, 200, (160, 90))
    matrix = [[126.6, 0, 81.5], [0, 126.7, 49.0], [0, 0, 1]]
    sensors = [{"token": "c", "camera_intrinsic": matrix}, {"token": "l", "camera_intrinsic": []}]
    data = [
        {"filename": "samples/CAM_FRONT/a.jpg", "calibrated_sensor_token": "c", "width": 160, "height": 90},
        {"filename": "samples/LIDAR_TOP/a.bin", "calibrated_sensor_token": "l"},
    ]
    as_json(root / "v1.0-mini" / "calibrated_sensor.json", sensors)
    as_json(root / "v1.0-mini" / "sample_data.json", data)
    return root


def test_nuscenes_export_takes_intrinsics_from_the_tables(tmp_path: Path) -> None:
    [frame] = found("nuscenes", nuscenes(tmp_path))
    sample = frame.read()
    assert (frame.name, sample.sparse) == ("samples/CAM_FRONT/a", True)
    assert sample.truth.depth[50, 60] == 20.0
    assert np.isfinite(sample.truth.depth).sum() == 1
    assert (sample.photo.camera.fx, sample.photo.camera.cx) == (126.6, 82.0)
    text(tmp_path / "depth" / "depth_scale.txt", "100\n")
    assert found("nuscenes", tmp_path)[0].truth()[50, 60] == 40.0


def test_nuscenes_reads_every_folder_of_tables(tmp_path: Path) -> None:
    root = nuscenes(tmp_path)
    for name in ("sample_data.json", "calibrated_sensor.json"):
        as_json(root / "v1.0-a" / name, [])
    assert len(found("nuscenes", root)) == 1


@pytest.mark.parametrize("scale", ["0", "-200", "nan", "inf", "two"])
def test_nuscenes_units_must_be_a_positive_number(tmp_path: Path, scale: str) -> None:
    text(nuscenes(tmp_path) / "depth" / "depth_scale.txt", scale)
    with pytest.raises(DatasetError, match=r"depth_scale\.txt"):
        found("nuscenes", tmp_path)


def test_nuscenes_without_tables_or_with_broken_ones_is_refused(tmp_path: Path) -> None:
    root = nuscenes(tmp_path)
    as_json(root / "v1.0-mini" / "sample_data.json", [])
    with pytest.raises(DatasetError, match=r"a\.jpg: no intrinsics"):
        found("nuscenes", root)
    text(root / "v1.0-mini" / "sample_data.json", "{")
    with pytest.raises(DatasetError, match=r"sample_data\.json"):
        found("nuscenes", root)
    with pytest.raises(DatasetError, match="no tables"):
        found("nuscenes", root / "samples")


def pose(angle: float, x: float, y: float, z: float) -> dict[str, dict[str, float]]:
    """A turn about the world's z axis, degrees, and a place."""
    half = np.radians(angle) / 2
    rotation = {"qw": float(np.cos(half)), "qx": 0.0, "qy": 0.0, "qz": float(np.sin(half))}
    return {"rotation": rotation, "translation": {"x": x, "y": y, "z": z}}


def test_ddad_projects_the_sweep_through_both_poses(tmp_path: Path) -> None:
    scene = tmp_path / "ddad_train_val" / "000150"
    picture(scene / "rgb" / "CAMERA_01" / "1.png", 100, 60)
    # The camera's pose looks along the world's z; the LiDAR is turned by 90 degrees and sits 2 m behind it.
    points = np.array([[0.0, -1.0, 12.0, 0.5], [0.0, 0.0, -5.0, 0.5]])
    (scene / "point_cloud" / "LIDAR").mkdir(parents=True)
    np.savez(scene / "point_cloud" / "LIDAR" / "1.npz", data=points)
    data = [
        {
            "key": "i",
            "id": {"name": "CAMERA_01"},
            "datum": {"image": {"filename": "rgb/CAMERA_01/1.png", "pose": pose(0, 3, 4, 5)}},
        },
        {
            "key": "p",
            "id": {"name": "LIDAR"},
            "datum": {"point_cloud": {"filename": "point_cloud/LIDAR/1.npz", "pose": pose(90, 3, 4, 3)}},
        },
    ]
    as_json(scene / "scene_ab.json", {"data": data, "samples": [{"calibration_key": "k", "datum_keys": ["i", "p"]}]})
    intrinsics = [{"fx": 50.0, "fy": 50.0, "cx": 49.5, "cy": 29.5}, {"fx": 0, "fy": 0, "cx": 0, "cy": 0}]
    as_json(scene / "calibration" / "k.json", {"names": ["CAMERA_01", "LIDAR"], "intrinsics": intrinsics})
    as_json(tmp_path / "ddad_train_val" / "ddad.json", {"scene_splits": {"1": {"filenames": ["000150/scene_ab.json"]}}})
    [frame] = found("ddad", tmp_path)
    sample = frame.read()
    assert (frame.split, frame.sparse, frame.name[-15:]) == ("val", True, "rgb/CAMERA_01/1")
    # (0, -1, 12) turned by 90 degrees is (1, 0, 12); seen from 2 m further on it is (1, 0, 10): column 50 + 5.
    assert np.argwhere(np.isfinite(sample.truth.depth)).tolist() == [[30, 55]]
    assert sample.truth.depth[30, 55] == pytest.approx(10.0)
    sweep = scene / "point_cloud" / "LIDAR" / "1.npz"
    np.savez_compressed(sweep, data=np.random.default_rng(0).normal(0, 1, (200, 4)))
    whole = sweep.read_bytes()
    spoilt = whole[:80] + bytes(200) + whole[280:]
    for content in (b"no archive", whole[: len(whole) // 2], spoilt, b""):
        sweep.write_bytes(content)
        with pytest.raises(DatasetError, match=r"1\.npz"):
            frame.truth()
    text(scene / "scene_ab.json", "{}")
    with pytest.raises(DatasetError, match=r"scene_ab\.json"):
        found("ddad", tmp_path)


def test_the_nearest_of_two_points_in_a_pixel_wins() -> None:
    camera = Camera.centred(10, 10, 10)
    depth = project_points(np.array([[0, 0, 9.0], [0, 0, 4.0], [0, 0, 6.0], [90, 0, 1], [0, 0, -1]]), camera)
    assert depth[5, 5] == 4.0
    assert np.isfinite(depth).sum() == 1


@given(st.lists(st.floats(-1, 1), min_size=4, max_size=4).filter(lambda q: sum(x * x for x in q) > 0.01))
def test_a_pose_is_a_rotation(quaternion: list[float]) -> None:
    matrix = pose_matrix(np.array(quaternion), np.array([1.0, 2, 3]))
    assert matrix[:3, :3] @ matrix[:3, :3].T == pytest.approx(np.eye(3), abs=1e-9)
    assert np.linalg.det(matrix[:3, :3]) == pytest.approx(1)
    assert matrix[:, 3].tolist() == [1, 2, 3, 1]


def test_vkitti_knows_sky_from_unknown(tmp_path: Path) -> None:
    folder = tmp_path / "Scene01" / "clone"
    picture(folder / "frames" / "rgb" / "Camera_0" / "rgb_00001.jpg", 1242, 375)
    depth = np.full((375, 1242), 1234, dtype=np.uint16)
    depth[0], depth[1] = 65535, 20000
    encoded(folder / "frames" / "depth" / "Camera_0" / "depth_00001.png", depth)
    title = "frame cameraID K[0,0] K[1,1] K[0,2] K[1,2]\n"
    text(folder / "intrinsic.txt", f"{title}1 0 725.0087 725.0087 620.5 187\n")
    [frame] = found("vkitti", tmp_path)
    sample = frame.read()
    assert sample.sky[0].all()
    assert np.isnan(sample.truth.depth[1]).all()
    np.testing.assert_allclose(sample.truth.depth[2:], 12.34, rtol=1e-6)
    assert (sample.photo.camera.cx, sample.photo.camera.cy) == (621.0, 187.5)
    text(folder / "intrinsic.txt", title)
    with pytest.raises(DatasetError, match=r"rgb_00001\.jpg"):
        found("vkitti", tmp_path)
