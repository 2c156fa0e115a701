"""Poses of every format, written and read back, and files that cannot be."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from m3d_cli.camera import Camera
from m3d_cli.errors import PoseError
from m3d_cli.formats.colmap import (
    ColmapCamera,
    ColmapImage,
    ColmapModel,
    ColmapPoints,
    read_colmap_model,
    write_colmap_binary,
    write_colmap_text,
)
from m3d_cli.formats.trajectories import (
    ExportedFrame,
    encode_log,
    encode_pose,
    encode_transforms,
    read_trajectory,
)
from m3d_cli.formats.trajectory_tables import encode_kitti, encode_tum
from m3d_cli.trajectory import Trajectory, inverse, matrices


@pytest.fixture
def walk() -> Trajectory:
    rng = np.random.default_rng(1)
    quaternion = rng.normal(size=(12, 4))
    quaternion /= np.linalg.norm(quaternion, axis=1, keepdims=True)
    return Trajectory(np.arange(12) / 30 + 1305.5, matrices(rng.normal(size=(12, 3)), quaternion))


def sparse_model(walk: Trajectory) -> ColmapModel:
    camera = ColmapCamera(3, "OPENCV", 640, 480, (500.0, 501.0, 320.5, 240.25, 0.01, 0.0, 0.001, 0.0))
    points = ColmapPoints(
        np.array([7, 4]), np.array([[0.0, 1.0, 5.0], [1.0, 1.0, 4.0]]), np.array([[1, 2, 3]] * 2, np.uint8), np.ones(2)
    )
    images = tuple(
        ColmapImage(
            i + 1,
            f"a folder/IMG {i}.jpg",
            3,
            pose,
            np.array([[1.5, 2.5], [3.0, 4.0], [9.0, 9.5]]),
            np.array([4, -1, 7]),
        )
        for i, pose in enumerate(inverse(walk.poses))
    )
    return ColmapModel((camera,), images, points)


def test_tum_keeps_times_and_poses(tmp_path: Path, walk: Trajectory) -> None:
    path = tmp_path / "groundtruth.txt"
    path.write_bytes(encode_tum(walk))
    found = read_trajectory(path)
    np.testing.assert_allclose(found.times, walk.times, atol=1e-6)
    np.testing.assert_allclose(found.poses, walk.poses, atol=1e-6)
    assert found.timed


def test_a_line_of_tums_own_documentation_is_read(tmp_path: Path) -> None:
    path = tmp_path / "poses.txt"
    path.write_text(
        "# timestamp tx ty tz qx qy qz qw\n1305031102.1758 1.3405 0.6266 1.6575 0.6574 0.6126 -0.2949 -0.3248\n"
    )
    found = read_trajectory(path)
    assert found.positions[0].tolist() == [1.3405, 0.6266, 1.6575]


def test_kitti_and_open3d_logs_keep_poses(tmp_path: Path, walk: Trajectory) -> None:
    for name, data in (("00.txt", encode_kitti(walk)), ("trajectory.log", encode_log(walk))):
        (tmp_path / name).write_bytes(data)
        found = read_trajectory(tmp_path / name)
        np.testing.assert_allclose(found.poses, walk.poses, atol=1e-8)
        assert not found.timed


def test_a_folder_of_poses_keeps_names_in_natural_order(tmp_path: Path, walk: Trajectory) -> None:
    for index, pose in enumerate(walk.poses):
        (tmp_path / f"frame-{index}.pose.txt").write_bytes(encode_pose(pose))
    found = read_trajectory(tmp_path)
    np.testing.assert_allclose(found.poses, walk.poses, atol=1e-8)
    assert found.names is not None
    assert found.names[9:11] == ("frame-9", "frame-10")


def test_nerfstudio_turns_axes_there_and_back(tmp_path: Path, walk: Trajectory) -> None:
    frames = [ExportedFrame(f"images/{i}.jpg", f"depth/{i}.png", Camera.centred(64, 48, 50)) for i in range(12)]
    path = tmp_path / "transforms.json"
    path.write_bytes(encode_transforms(walk, frames, 0.001))
    found = read_trajectory(path)
    np.testing.assert_allclose(found.poses, walk.poses, atol=1e-12)
    content = json.loads(path.read_text())
    assert content["depth_unit_scale_factor"] == 0.001
    # In OpenGL's axes the camera looks along -z: the third column is our viewing direction, turned round.
    looks = -np.array(content["frames"][0]["transform_matrix"])[:3, 2]
    np.testing.assert_allclose(looks, walk.poses[0, :3, 2])


@pytest.mark.parametrize("write", [write_colmap_text, write_colmap_binary])
def test_a_colmap_model_survives_writing(tmp_path: Path, walk: Trajectory, write) -> None:
    model = sparse_model(walk)
    write(model, tmp_path)
    found = read_colmap_model(tmp_path)
    assert found.cameras == model.cameras
    assert [image.name for image in found.images] == [image.name for image in model.images]
    for mine, theirs in zip(found.images, model.images, strict=True):
        np.testing.assert_allclose(mine.camera_from_world, theirs.camera_from_world, atol=1e-12)
        np.testing.assert_array_equal(mine.pixels, theirs.pixels)
        np.testing.assert_array_equal(mine.point_numbers, theirs.point_numbers)
    np.testing.assert_array_equal(found.points.positions, model.points.positions)
    np.testing.assert_array_equal(found.points.colours, model.points.colours)
    np.testing.assert_allclose(read_trajectory(tmp_path).poses, walk.poses, atol=1e-12)
    assert found.seen_by(found.images[0]).tolist() == [0, 1]


@pytest.mark.skipif(importlib.util.find_spec("pycolmap") is None, reason="pycolmap is not installed")
@pytest.mark.parametrize("write", [write_colmap_text, write_colmap_binary])
def test_colmap_itself_reads_the_model(tmp_path: Path, walk: Trajectory, write) -> None:
    import pycolmap

    write(sparse_model(walk), tmp_path)
    theirs = pycolmap.Reconstruction(str(tmp_path))
    assert theirs.num_images() == 12
    pose = theirs.images[4].cam_from_world()
    np.testing.assert_allclose(pose.matrix(), inverse(walk.poses)[3, :3], atol=1e-9)
    assert len(theirs.points3D[4].track.elements) == 12


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.txt", "1 2 3\n", "3 numbers per line"),
        ("a.txt", "# nothing\n", "no poses"),
        ("a.txt", "0 0 0 0 0 0 0 1\n1 0 0 0 0 0\n", "pose 2 has 6 numbers"),
        ("a.txt", "0 0 0 0 0 0 0 2\n", "length 2, not 1"),
        ("a.txt", "1.5 0 0 0 0 0 0 1\n1 0 0 0 0 0 0 1\n", "times must ascend"),
        ("a.txt", "2 0 0 0 0 1 0 0 0 0 1 0\n", "no rigid motion"),
        ("a.txt", "a b c d e f g h\n", "cannot be read"),
        ("a.json", "{}", "cannot be read"),
        ("a.json", '{"frames": [{"file_path": "a", "transform_matrix": [[1, 0], [0, 1]]}]}', "no 4 x 4 matrix"),
        ("a.log", "0 0 1\n", "no poses of five lines"),
    ],
)
def test_what_is_wrong_is_told_with_the_file(tmp_path: Path, name: str, text: str, message: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(PoseError, match=message) as caught:
        read_trajectory(path)
    assert str(path) in str(caught.value)


def test_a_model_cut_short_is_told_with_its_file(tmp_path: Path, walk: Trajectory) -> None:
    write_colmap_binary(sparse_model(walk), tmp_path)
    data = (tmp_path / "images.bin").read_bytes()
    (tmp_path / "images.bin").write_bytes(data[: len(data) // 2])
    with pytest.raises(PoseError, match=r"images\.bin: the COLMAP model cannot be read"):
        read_trajectory(tmp_path)
    (tmp_path / "points3D.bin").unlink()
    (tmp_path / "images.bin").write_bytes(data)
    with pytest.raises(PoseError, match=r"points3D\.bin is missing"):
        read_trajectory(tmp_path)


def test_an_empty_folder_has_no_poses(tmp_path: Path) -> None:
    with pytest.raises(PoseError, match="no poses in this folder"):
        read_trajectory(tmp_path)
