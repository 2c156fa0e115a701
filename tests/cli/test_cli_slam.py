"""m3d slam from the command line: odometry, scale, evaluation and exports on a walk through a made room."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from m3d_cli.cli.app import main
from m3d_cli.formats.colmap import (
    ColmapCamera,
    ColmapImage,
    ColmapModel,
    ColmapPoints,
    read_colmap_model,
    write_colmap_binary,
)
from m3d_cli.formats.depth_png import read_depth_png
from m3d_cli.formats.trajectories import read_trajectory
from m3d_cli.formats.trajectory_tables import encode_tum
from m3d_cli.intrinsics.calibration.match import Intrinsics
from m3d_cli.intrinsics.calibration.read import read_calibration
from m3d_cli.open3d_import import load_open3d
from m3d_cli.sequences.export import ExportFormat
from m3d_cli.trajectory import inverse


def frames_of(folder: Path) -> list[str]:
    named = [str(folder / "photos"), "--depth", str(folder / "depth"), "--intrinsics", str(folder / "camera.json")]
    return [*named, "--out", str(folder / "out")]


def test_odometry_writes_what_evaluation_reads(save_walk, capsys: pytest.CaptureFixture[str]) -> None:
    folder, walk = save_walk(12, length=1.0)
    (folder / "photos" / "times.txt").write_text(
        "".join(f"{time} {index:04d}.png\n" for index, time in enumerate(walk.times))
    )
    call = ["slam", "odometry", *frames_of(folder), "--max-depth", "8", "--json", "--map", "--voxel", "0.1"]
    assert main(call) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["metres"] == pytest.approx(walk.length, rel=0.02)
    assert (folder / "out" / "map.ply").stat().st_size > 1000
    kitti = read_trajectory(folder / "out" / "trajectory.kitti.txt")
    found = read_trajectory(Path(told["trajectory"]))
    np.testing.assert_allclose(kitti.poses, found.poses, atol=1e-6)
    np.testing.assert_allclose(found.times, walk.times, atol=1e-6)

    plot = folder / "plot.png"
    call = ["slam", "eval", told["trajectory"], str(folder / "poses.txt"), "--plot", str(plot), "--json"]
    assert main([*call, "--lengths", "0.2,0.5"]) == 0
    scores = json.loads(capsys.readouterr().out)
    assert scores["alignment"] == "se3"
    assert scores["ape"]["rmse"] < 0.01
    assert scores["scale"] == pytest.approx(1, abs=0.02)
    assert scores["drift"]["lengths"] == [0.2, 0.5]
    assert cv2.imread(str(plot)).shape == (1220, 900, 3)


def test_frame_numbers_are_never_paired_with_seconds(save_walk, capsys: pytest.CaptureFixture[str]) -> None:
    folder, walk = save_walk(6, length=0.5)
    assert main(["slam", "odometry", *frames_of(folder), "--max-depth", "8"]) == 0
    written = str(folder / "out" / "trajectory.txt")
    two_hertz = dataclasses.replace(walk, times=np.arange(len(walk)) / 2)
    (folder / "truth.txt").write_bytes(encode_tum(two_hertz))
    capsys.readouterr()
    assert main(["slam", "eval", written, str(folder / "truth.txt"), "--json"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "frame numbers of photos like 0000 and times (0.000 to 2.500 s) do not pair up" in said.err
    assert "--times FILE" in said.err

    # Names of the photos bring the two together, as they do with every format that has names.
    named = dataclasses.replace(two_hertz, names=tuple(f"photos/{index:04d}.png" for index in range(6)))
    (folder / "named.txt").write_bytes(encode_tum(named))
    assert main(["slam", "eval", written, str(folder / "named.txt"), "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)
    assert scores["poses"] == 6
    assert scores["ape"]["rmse"] < 0.01


def test_a_truth_that_repeats_a_time_is_read_with_a_count(save_walk, capsys: pytest.CaptureFixture[str]) -> None:
    folder, _ = save_walk(4, length=0.5)
    lines = (folder / "poses.txt").read_text().splitlines()
    (folder / "truth.txt").write_text("\n".join([*lines[:-1], lines[-2], lines[-1]]) + "\n")
    assert main(["slam", "eval", str(folder / "poses.txt"), str(folder / "truth.txt"), "--json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["poses"] == 4
    assert "1 of 5 poses repeat the time before and are left out" in said.err


def test_few_partners_are_warned_of(save_walk, capsys: pytest.CaptureFixture[str]) -> None:
    folder, walk = save_walk(6, length=0.5)
    skewed = dataclasses.replace(walk, times=walk.times[0] + (walk.times - walk.times[0]) * 1.3)
    (folder / "skewed.txt").write_bytes(encode_tum(skewed))
    call = ["slam", "eval", str(folder / "skewed.txt"), str(folder / "poses.txt"), "--align", "none"]
    assert main([*call, "--tolerance", "0.005"]) == 0
    assert "are both times of one clock?" in capsys.readouterr().err


def test_lost_tracking_ends_with_a_code_and_a_file_a_segment(save_walk, capsys: pytest.CaptureFixture[str]) -> None:
    folder, _ = save_walk(8, length=0.5)
    Image.fromarray(np.zeros((120, 160), np.uint16)).save(folder / "depth" / "0004.png")
    assert main(["slam", "odometry", *frames_of(folder), "--max-depth", "8"]) == 3
    told = capsys.readouterr()
    assert "2 segments, 1 of 8 frames in none" in told.err
    assert len(told.out.splitlines()) == 2
    second = read_trajectory(folder / "out" / "trajectory-2.txt")
    assert second.times.tolist() == [5, 6, 7]
    assert second.names == ("0005", "0006", "0007")
    assert not second.timed


def test_a_trajectory_without_scale_gets_metres(save_walk, capsys: pytest.CaptureFixture[str]) -> None:
    folder, walk = save_walk(20, length=0.8)
    (folder / "poses.txt").write_bytes(encode_tum(walk.with_positions(walk.positions / 0.37)))
    assert main(["slam", "scale", *frames_of(folder), "--poses", str(folder / "poses.txt"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["scale"] == pytest.approx(0.37, rel=0.02)
    metric = read_trajectory(folder / "out" / "trajectory.txt")
    assert metric.length == pytest.approx(walk.length, rel=0.02)


def test_a_colmap_model_without_scale_gets_metres(save_walk, room, capsys: pytest.CaptureFixture[str]) -> None:
    """Its cameras need no other calibration, and its points come along."""
    folder, walk = save_walk(6, length=0.8)
    rng = np.random.default_rng(0)
    camera = ColmapCamera(1, "PINHOLE", 160, 120, (130.0, 130.0, 80.0, 60.0))
    depth = cv2.imread(str(folder / "depth" / "0000.png"), cv2.IMREAD_UNCHANGED) / 1000
    pixels = rng.integers((5, 5), (155, 115), (300, 2))
    z = depth[pixels[:, 1], pixels[:, 0]]
    rays = (pixels + 0.5 - (80, 60)) / 130
    world = np.stack([rays[:, 0] * z, rays[:, 1] * z, z], axis=1) @ walk.poses[0, :3, :3].T + walk.poses[0, :3, 3]
    small = walk.with_positions(walk.positions / 0.37)
    seen = np.arange(300)
    images = tuple(
        ColmapImage(i + 1, f"{i:04d}.png", 1, pose, np.zeros((300, 2)), seen)
        for i, pose in enumerate(inverse(small.poses))
    )
    points = ColmapPoints(seen, world / 0.37, np.zeros((300, 3), np.uint8), np.zeros(300))
    write_colmap_binary(ColmapModel((camera,), images, points), folder / "sparse")
    call = ["slam", "scale", str(folder / "photos"), "--depth", str(folder / "depth")]
    assert main([*call, "--poses", str(folder / "sparse"), "--out", str(folder / "out"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["scale"] == pytest.approx(0.37, rel=0.01)
    model = read_colmap_model(folder / "out" / "sparse" / "0")
    assert np.linalg.norm(model.points.positions - world, axis=1).max() < 0.1
    np.testing.assert_allclose(read_trajectory(folder / "out" / "sparse" / "text").positions, walk.positions, atol=0.05)


def test_exports_come_back_as_the_same_poses_and_depth(save_walk) -> None:
    folder, walk = save_walk(3, length=0.5)
    places = {
        "nerfstudio": "transforms.json",
        "colmap": "sparse/0",
        "colmap-binary": "sparse/0",
        "open3d": "trajectory.log",
        "7scenes": "seq-01",
    }
    depth = read_depth_png(folder / "depth" / "0001.png").depth
    for kind, place in places.items():
        out = folder / kind
        call = ["slam", "export", *frames_of(folder)[:-1], str(out), "--poses", str(folder / "poses.txt")]
        assert main([*call, "--format", kind]) == 0
        np.testing.assert_allclose(read_trajectory(out / place).poses, walk.poses, atol=1e-6)
        stored = next(out.rglob("*000001.depth.png" if kind == "7scenes" else "depth/000001.png"))
        np.testing.assert_array_equal(read_depth_png(stored).depth, depth)


def test_open3d_reads_its_own_folder(save_walk) -> None:
    folder, walk = save_walk(2, length=0.5)
    out = folder / "open3d"
    call = ["slam", "export", *frames_of(folder)[:-1], str(out), "--poses", str(folder / "poses.txt")]
    assert main([*call, "--format", "open3d"]) == 0
    io = load_open3d().io
    matrix = io.read_pinhole_camera_intrinsic(str(out / "camera_intrinsic.json")).intrinsic_matrix
    np.testing.assert_allclose(matrix, [[130, 0, 79.5], [0, 130, 59.5], [0, 0, 1]])
    ours = read_calibration(out / "camera_intrinsic.json").find(Path("000001.jpg"))
    assert ours == Intrinsics(130, 130, 80, 60, 160, 120)
    theirs = io.read_pinhole_camera_trajectory(str(out / "trajectory.log")).parameters
    np.testing.assert_allclose(theirs[1].extrinsic, inverse(walk.poses)[1], atol=1e-6)


def test_an_exported_folder_can_be_reconstructed_without_a_calibration(save_walk) -> None:
    folder, _ = save_walk(3, length=0.5)
    out = folder / "ns"
    call = ["slam", "export", *frames_of(folder)[:-1], str(out), "--poses", str(folder / "poses.txt")]
    assert main(call) == 0
    call = ["reconstruct", str(out / "images"), "--depth", str(out / "depth"), "--poses", str(out / "transforms.json")]
    assert main([*call, "--voxel", "0.1", "--max-depth", "6", "--out", str(folder / "mesh")]) == 0


@pytest.mark.parametrize("command", ["odometry", "scale", "export"])
def test_a_damaged_frame_does_not_stop_the_rest(save_walk, capsys: pytest.CaptureFixture[str], command: str) -> None:
    folder, _ = save_walk(12, length=1.0)
    photo = folder / "photos" / "0010.png"
    photo.write_bytes(photo.read_bytes()[:200])
    given = [str(folder / "photos"), "--depth", str(folder / "depth"), "--intrinsics", str(folder / "camera.json")]
    poses = [] if command == "odometry" else ["--poses", str(folder / "poses.txt")]
    assert main(["slam", command, *given, *poses, "--out", str(folder / "out")]) == 3
    told = capsys.readouterr()
    assert "0010.png" in told.err
    assert told.out


def test_frames_without_times_are_counted_over_the_damaged_ones(save_walk) -> None:
    folder, _ = save_walk(6, length=0.4)
    given = [str(folder / "photos"), "--depth", str(folder / "depth"), "--intrinsics", str(folder / "camera.json")]
    assert main(["slam", "odometry", *given, "--out", str(folder / "whole")]) == 0
    assert "# keys: frame numbers" in (folder / "whole" / "trajectory.txt").read_text()
    (folder / "photos" / "0003.png").write_bytes(b"no image")
    assert main(["slam", "odometry", *given, "--out", str(folder / "out")]) == 3
    assert read_trajectory(folder / "out" / "trajectory.txt").times.tolist() == [0, 1, 2, 4, 5]


def test_a_sequence_without_any_readable_frame_says_why(save_walk, capsys: pytest.CaptureFixture[str]) -> None:
    folder, _ = save_walk(3, length=0.3)
    for photo in (folder / "photos").glob("*.png"):
        photo.write_bytes(b"no image")
    call = ["slam", "odometry", str(folder / "photos"), "--depth", str(folder / "depth"), "--out", str(folder / "out")]
    assert main(call) == 3
    assert "0000.png" in capsys.readouterr().err


def test_a_focal_length_that_nobody_told_is_never_silent(save_walk, capsys: pytest.CaptureFixture[str]) -> None:
    folder, _ = save_walk(4, length=0.3)
    call = ["slam", "odometry", str(folder / "photos"), "--depth", str(folder / "depth"), "--out", str(folder / "out")]
    assert main(call) == 0
    assert "4 of 4 frames: focal length unknown" in capsys.readouterr().err
    assert main([*call, "--intrinsics", str(folder / "camera.json")]) == 0
    assert "no focal length" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "told"), [(["--max-depth", "-1"], "--max-depth -1"), (["--map", "--voxel", "0"], "--voxel 0")]
)
def test_impossible_wishes_are_told_before_tracking(
    save_walk, capsys: pytest.CaptureFixture[str], more: list[str], told: str
) -> None:
    folder, _ = save_walk(3, length=0.3)
    call = ["slam", "odometry", str(folder / "photos"), "--depth", str(folder / "depth"), "--out", str(folder / "out")]
    assert main([*call, *more]) == 2
    assert told in capsys.readouterr().err
    assert not (folder / "out").exists()


@pytest.mark.parametrize("lengths", ["0", "-5", "5,nan", ","])
def test_drift_is_measured_over_positive_metres(save_walk, capsys: pytest.CaptureFixture[str], lengths: str) -> None:
    folder, _ = save_walk(4, length=0.5)
    poses = str(folder / "poses.txt")
    assert main(["slam", "eval", poses, poses, "--lengths", lengths]) == 2
    assert "no positive metres" in capsys.readouterr().err


@pytest.mark.parametrize("kind", [*ExportFormat])
def test_every_export_states_its_axes_and_direction(save_walk, kind: ExportFormat) -> None:
    folder, _ = save_walk(3, length=0.3)
    named = [str(folder / "photos"), "--depth", str(folder / "depth"), "--poses", str(folder / "poses.txt")]
    named += ["--intrinsics", str(folder / "camera.json"), "--format", str(kind), "--out", str(folder / "out")]
    assert main(["slam", "export", *named]) == 0
    stated = json.loads((folder / "out" / "m3d-export.json").read_text())
    is_colmap = kind in (ExportFormat.COLMAP, ExportFormat.COLMAP_BINARY)
    assert stated["pose"].startswith("camera_from_world" if is_colmap else "world_from_camera")
    assert ("y up, z backward" in stated["camera_axes"]) == (kind is ExportFormat.NERFSTUDIO)
    assert stated["unit"] == "metre"
    assert stated["frames"] == 3
    assert stated["depth_beyond_png"] == 0


def test_depth_that_a_png_cannot_hold_is_counted(save_walk, capsys: pytest.CaptureFixture[str]) -> None:
    """Millimetres in 16 bits end at 65.5 m: beyond, a pixel becomes unknown, and nobody is left to wonder why."""
    folder, _ = save_walk(2, length=0.3)
    np.save(folder / "depth" / "0000.npy", np.full((120, 160), 80.0, np.float32))
    (folder / "depth" / "0000.png").unlink()
    named = [str(folder / "photos"), "--depth", str(folder / "depth"), "--poses", str(folder / "poses.txt")]
    named += ["--intrinsics", str(folder / "camera.json"), "--out", str(folder / "out")]
    assert main(["slam", "export", *named]) == 0
    assert json.loads((folder / "out" / "m3d-export.json").read_text())["depth_beyond_png"] == 120 * 160
    assert "19200 pixels" in capsys.readouterr().err


def test_evaluation_refuses_what_does_not_pair(save_walk, capsys: pytest.CaptureFixture[str]) -> None:
    folder, walk = save_walk(4, length=0.5)
    later = dataclasses.replace(walk, times=walk.times + 50)
    (folder / "later.txt").write_bytes(encode_tum(later))
    assert main(["slam", "eval", str(folder / "later.txt"), str(folder / "poses.txt")]) == 2
    assert "no pose lies within 0.02 s" in capsys.readouterr().err
    assert main(["slam", "eval", str(folder / "poses.txt"), str(folder / "poses.txt"), "--align", "best"]) == 2
    assert "one of none, origin, se3, sim3" in capsys.readouterr().err
