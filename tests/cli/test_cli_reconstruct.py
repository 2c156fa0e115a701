"""m3d reconstruct and m3d compare from the command line: a walk through a made room, and what can be wrong with it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from m3d_cli.cli.app import main
from m3d_cli.formats.ply import read_ply
from m3d_cli.formats.trajectory_tables import encode_tum


def arguments(folder: Path, *more: str) -> list[str]:
    named = [str(folder / "photos"), "--depth", str(folder / "depth"), "--poses", str(folder / "poses.txt")]
    return [*named, "--intrinsics", str(folder / "camera.json"), "--voxel", "0.06", "--max-depth", "6", *more]


def test_a_walk_becomes_a_room_that_can_be_compared(save_walk, capsys: pytest.CaptureFixture[str]) -> None:
    folder, _ = save_walk(8, length=2.0)
    out = folder / "out"
    assert main(["reconstruct", *arguments(folder, "--out", str(out), "--preview", "--json")]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["frames"] == 8
    cloud = read_ply(out / "cloud.ply")
    assert len(cloud) == told["points"]
    assert cloud.colours is not None
    # Walls of the room, seen from where the walk began.
    assert np.abs(cloud.points).max() < 3.2
    assert (out / "preview.png").stat().st_size > 1000
    facts = json.loads((out / "reconstruct.json").read_text())
    assert facts["matched"] == "by order"
    assert set(facts["depth_scales"].values()) == {1.0}

    assert main(["compare", str(out / "cloud.ply"), str(out / "mesh.ply"), "--json", "--thresholds", "0.06"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["thresholds"][0]["f_score"] > 0.95
    errors = folder / "errors.ply"
    assert main(["compare", str(out / "cloud.ply"), str(out / "cloud.ply"), "--errors", str(errors)]) == 0
    assert "chamfer_l1\t0.0000 m" in capsys.readouterr().out
    assert len(read_ply(errors)) == len(cloud)


def test_the_network_runs_where_there_is_no_depth_and_resumes(save_walk, capsys: pytest.CaptureFixture[str]) -> None:
    folder, _ = save_walk(3, length=0.5)
    out = folder / "out"
    call = ["reconstruct", str(folder / "photos"), "--poses", str(folder / "poses.txt"), "--model", "lite"]
    call += ["--intrinsics", str(folder / "camera.json"), "--voxel", "0.1", "--views", "1", "--out", str(out)]
    assert main(call) == 0
    assert (out / "depth" / "0000.conf.png").is_file()
    capsys.readouterr()
    assert main(call) == 0
    assert "3 already done" in capsys.readouterr().err


def test_depth_gets_the_scale_that_parallax_tells(save_walk, capsys: pytest.CaptureFixture[str]) -> None:
    """Depth is 12 per cent too large, and poses are in metres: corners of the photos say by how much."""
    folder, _ = save_walk(24, length=2.0, depth_factor=1.12)
    out = folder / "out"
    for more in ((), ("--refine",)):
        assert main(["reconstruct", *arguments(folder, "--out", str(out), "--parallax", *more)]) == 0
        assert "agrees with parallax" in capsys.readouterr().err
        scales = list(json.loads((out / "reconstruct.json").read_text())["depth_scales"].values())
        assert np.exp(np.log(scales).mean()) == pytest.approx(1 / 1.12, rel=0.03)  # few corners, small images


def test_a_photo_that_the_network_could_not_read_is_left_out(save_walk, capsys: pytest.CaptureFixture[str]) -> None:
    folder, _ = save_walk(4, length=0.5)
    photo = folder / "photos" / "0002.png"
    photo.write_bytes(photo.read_bytes()[:200])
    out = folder / "out"
    call = ["reconstruct", str(folder / "photos"), "--poses", str(folder / "poses.txt"), "--model", "lite"]
    call += ["--intrinsics", str(folder / "camera.json"), "--voxel", "0.1", "--views", "1", "--out", str(out)]
    assert main(call) == 3
    assert "0002.png" in capsys.readouterr().err
    facts = json.loads((out / "reconstruct.json").read_text())
    assert list(facts["depth_scales"]) == ["0000", "0001", "0003"]
    assert facts["damaged"] == 1


def test_fewer_poses_than_frames_are_told(save_walk, capsys: pytest.CaptureFixture[str]) -> None:
    folder, _ = save_walk(4, length=0.5)
    lines = (folder / "poses.txt").read_text().splitlines()
    (folder / "poses.txt").write_text("\n".join(lines[:-1]) + "\n")
    assert main(["reconstruct", *arguments(folder, "--out", str(folder / "out"))]) == 2
    told = capsys.readouterr().err
    assert "fewer poses than frames: 3 poses, 4 frames" in told
    assert not (folder / "out").exists()


def test_times_that_do_not_match_are_told(save_walk, capsys: pytest.CaptureFixture[str]) -> None:
    folder, _ = save_walk(4, length=0.5)
    times = "".join(f"{100 + index / 30} {index:04d}.png\n" for index in range(4))
    (folder / "late.txt").write_text(times)
    assert (
        main(["reconstruct", *arguments(folder, "--times", str(folder / "late.txt"), "--out", str(folder / "o"))]) == 2
    )
    told = capsys.readouterr().err
    assert "no frame has a pose (by time, within 0.02 s)" in told
    assert "100.000" in told


def test_a_matrix_that_is_not_rigid_is_told_with_its_file(save_walk, capsys: pytest.CaptureFixture[str]) -> None:
    folder, _ = save_walk(2, length=0.5)
    (folder / "poses.txt").write_text("1 0 0 0 0 1 0 0 0 0 1 0\n2 0 0 0 0 2 0 0 0 0 2 0\n")
    assert main(["reconstruct", *arguments(folder, "--out", str(folder / "out"))]) == 2
    told = capsys.readouterr().err
    assert "poses.txt: pose 2 of 2 is no rigid motion" in told


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--voxel", "0", "--out", "o"], "--voxel 0.0 is not a positive number"),
        ([], "no --out given"),
        (["--layout", "tum", "--out", "o"], "--layout takes one folder"),
    ],
)
def test_impossible_wishes_are_told(save_walk, capsys: pytest.CaptureFixture[str], more: list[str], told: str) -> None:
    folder, _ = save_walk(2, length=0.5)
    assert main(["reconstruct", *arguments(folder), *more]) == 2
    assert told in capsys.readouterr().err


def test_poses_that_fit_no_photo_end_before_the_network_runs(
    save_walk, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, walk = save_walk(3, length=0.5)

    def runs(*_: object) -> None:
        raise AssertionError("the network ran")

    monkeypatch.setattr("m3d_cli.sequences.open_sequence.SequenceSource._predict", runs)
    (folder / "poses.txt").write_bytes(encode_tum(walk.chosen(np.arange(2))))
    call = ["--poses", str(folder / "poses.txt"), "--model", "m3d-test-lite", "--out", str(folder / "out")]
    for command in ("reconstruct", "slam export", "slam scale"):
        assert main([*command.split(), str(folder / "photos"), *call]) == 2
        assert "fewer poses than frames: 2 poses, 3 frames" in capsys.readouterr().err


def test_a_depth_folder_of_the_network_still_meets_its_poses(save_walk) -> None:
    folder, _ = save_walk(3, length=0.5)
    call = ["--poses", str(folder / "poses.txt"), "--model", "m3d-test-lite", "--out", str(folder / "out")]
    assert main(["reconstruct", str(folder / "photos"), *call, "--fov", "60", "--views", "1", "--voxel", "0.2"]) in (
        0,
        4,
    )
