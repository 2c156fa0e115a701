"""Frames from sensors' files, data sets and sidecars, brought to one size, and the poses that belong to them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from m3d_cli.camera import Camera
from m3d_cli.depthmap import DepthMap
from m3d_cli.errors import DatasetError, NoInputError, PoseError
from m3d_cli.photos.discover import Selection, discover
from m3d_cli.photos.load import CameraSources
from m3d_cli.sequences.frames import SequenceFrame, View, layout_frames, open_frames
from m3d_cli.sequences.poses import frame_keys, match, with_times
from m3d_cli.trajectory import Keys, Trajectory


def frames_named(*names: str) -> tuple[SequenceFrame, ...]:
    def read() -> View:
        raise AssertionError("nothing is decoded before it is needed")

    return tuple(SequenceFrame(name, None, read) for name in names)


def poses(count: int) -> np.ndarray:
    found = np.tile(np.eye(4), (count, 1, 1))
    found[:, 0, 3] = np.arange(count)
    return found


def test_a_smaller_view_shows_the_same_rays() -> None:
    camera = Camera.centred(400, 300, 350)
    plane = np.broadcast_to(camera.rays()[..., 0] + 3, (300, 400)).astype(np.float32)
    small = View(DepthMap(plane, camera, np.ones_like(plane)), cell=8).limited(100)
    assert (small.depth.camera.width, small.depth.camera.height, small.cell) == (100, 75, 2)
    np.testing.assert_allclose(small.depth.depth, small.depth.camera.rays()[..., 0] + 3, atol=0.5 / 350 + 1e-5)
    assert small.limited(200) is small


def test_a_sensors_depth_is_found_by_name_and_its_camera_scaled(tmp_path: Path) -> None:
    (tmp_path / "rgb").mkdir()
    (tmp_path / "depth").mkdir()
    Image.fromarray(np.full((60, 80, 3), 7, np.uint8)).save(tmp_path / "rgb" / "a.png")
    Image.fromarray(np.full((30, 40), 5000, np.uint16)).save(tmp_path / "depth" / "a.png")
    (tmp_path / "k.json").write_text('{"fx": 70, "fy": 70, "cx": 40, "cy": 30, "width": 80, "height": 60}')
    options = CameraSources.from_files(intrinsics=tmp_path / "k.json")
    photos = discover([tmp_path / "rgb"], Selection()).photos
    (frame,) = open_frames(photos, tmp_path / "depth", options, 5000)
    view = frame.read()
    assert view.depth.camera.fx == 35
    assert (view.depth.depth == 1).all()
    assert view.image is not None
    assert view.image.shape == (30, 40, 3)
    Image.fromarray(np.full((30, 30), 5000, np.uint16)).save(tmp_path / "depth" / "a.png")
    with pytest.raises(DatasetError, match="another shape"):
        frame.read()
    (tmp_path / "depth" / "a.png").unlink()
    with pytest.raises(DatasetError, match="no depth named a"):
        open_frames(photos, tmp_path / "depth", options)
    with pytest.raises(NoInputError, match="no depth that m3d wrote"):
        open_frames((), tmp_path / "depth", options)


def test_a_sensors_floating_point_files_are_metres(tmp_path: Path) -> None:
    (tmp_path / "depth").mkdir()
    Image.fromarray(np.zeros((6, 8, 3), np.uint8)).save(tmp_path / "a.png")
    np.save(tmp_path / "depth" / "a.npy", np.full((6, 8), 2.5, np.float32))
    photos = discover([tmp_path / "a.png"], Selection()).photos
    (frame,) = open_frames(photos, tmp_path / "depth", CameraSources(), 1000)
    assert np.unique(frame.read().depth.depth).tolist() == [2.5]


def test_a_tum_sequence_brings_its_times(tmp_path: Path) -> None:
    root = tmp_path / "rgbd_freiburg1_desk"
    for name in ("rgb", "depth"):
        (root / name).mkdir(parents=True)
    lines = {"rgb": [], "depth": []}
    for time in ("1305031453.359684", "1305031453.391690"):
        Image.fromarray(np.zeros((480, 640, 3), np.uint8)).save(root / "rgb" / f"{time}.png")
        Image.fromarray(np.full((480, 640), 5000, np.uint16)).save(root / "depth" / f"{time}.png")
        for name in lines:
            lines[name].append(f"{time} {name}/{time}.png\n")
    for name, rows in lines.items():
        (root / f"{name}.txt").write_text("# color images\n" + "".join(rows))
    frames = with_times(layout_frames(tmp_path, "tum"))
    assert [frame.time for frame in frames] == [1305031453.359684, 1305031453.391690]
    assert frames[0].read().depth.camera.fx == 517.3
    truth = Trajectory(np.array([1305031453.35, 1305031453.38, 1305031453.40]), poses(3))
    posed = match(frames, truth)
    assert posed.trajectory.positions[:, 0].tolist() == [0, 2]
    assert posed.rule == "by time, within 0.02 s"
    with pytest.raises(NoInputError, match="no frames in the layout"):
        layout_frames(tmp_path, "7scenes")


def test_poses_with_names_find_their_photos_in_any_order() -> None:
    frames = frames_named("b", "a", "extra")
    posed = match(frames, Trajectory.counted(poses(2), ["images/a.jpg", "images/b.jpg"]))
    assert [frame.name for frame in posed.frames] == ["a", "b"]
    assert posed.without == 1
    with pytest.raises(PoseError, match="no frame has a pose"):
        match(frames, Trajectory.counted(poses(1), ["c.jpg"]))


def test_frames_of_seven_scenes_find_their_pose_files() -> None:
    (bare,) = frames_named("seq-01/frame-000010")
    frame = SequenceFrame(bare.name, Path("seq-01/frame-000010.color.png"), bare.read)
    posed = match([frame], Trajectory.counted(poses(2), ["frame-000009", "frame-000010"]))
    assert posed.trajectory.positions[0, 0] == 1


def test_counts_decide_where_nothing_else_does() -> None:
    frames = frames_named("0", "1")
    assert match(frames, Trajectory(np.array([5.0, 6.0]), poses(2))).rule == "by order"
    with pytest.raises(PoseError, match="fewer poses than frames: 1 poses, 2 frames"):
        match(frames, Trajectory.counted(poses(1)))
    with pytest.raises(PoseError, match="more poses than frames: 3 poses, 2 frames"):
        match(frames, Trajectory.counted(poses(3)))


def test_names_that_count_are_no_times() -> None:
    times, keys = frame_keys(with_times(frames_named("7", "9")))
    assert (times.tolist(), keys) == ([0, 1], Keys.INDICES)
    times, keys = frame_keys(with_times(frames_named("a/10.25", "a/10.5")))
    assert (times.tolist(), keys) == ([10.25, 10.5], Keys.TIMES)


def test_nanoseconds_of_euroc_are_times_as_names_and_in_lists(tmp_path: Path) -> None:
    frames = frames_named("1403636579763555584", "1403636579813555456")
    assert with_times(frames)[0].time == pytest.approx(1403636579.763555584, abs=1e-6)
    file = tmp_path / "data.csv"
    file.write_text("#timestamp [ns],filename\n1403636579763555584,a.png\n1403636579813555456,b.png\n")
    assert with_times(frames_named("a", "b"), file)[1].time == pytest.approx(1403636579.813555456, abs=1e-6)


def test_names_without_a_match_leave_frames_to_their_times() -> None:
    named = Trajectory(np.array([10.25, 10.5]), poses(2), ("other/a", "other/b"))
    assert match(with_times(frames_named("a/10.25", "a/10.5")), named).rule == "by time, within 0.02 s"


def test_a_list_of_times_must_name_every_frame(tmp_path: Path) -> None:
    file = tmp_path / "times.txt"
    file.write_text("0.5 a.jpg\n")
    assert with_times(frames_named("a"), file)[0].time == 0.5
    with pytest.raises(PoseError, match="no time of b"):
        with_times(frames_named("a", "b"), file)
    file.write_text("soon a.jpg\n")
    with pytest.raises(PoseError, match="the list of times"):
        with_times(frames_named("a"), file)


def test_two_frames_never_share_a_pose() -> None:
    frames = tuple(
        SequenceFrame(
            str(index), None, lambda: View(DepthMap(np.ones((1, 1), np.float32), Camera.centred(1, 1, 1))), time
        )
        for index, time in enumerate((0.0, 0.005))
    )
    with pytest.raises(PoseError, match="two frames claim one pose"):
        match(frames, Trajectory(np.array([0.0, 1.0]), poses(2)))
