"""m3d slam sfm: COLMAP's poses of a made room, in metres."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from m3d_cli.camera import Camera
from m3d_cli.cli.app import main
from m3d_cli.evaluation.trajectory_scores import Alignment, score_trajectory
from m3d_cli.formats.colmap import read_colmap_model
from m3d_cli.formats.trajectories import read_trajectory
from m3d_cli.trajectory import Trajectory

COUNT = 14


@pytest.mark.skipif(importlib.util.find_spec("pycolmap") is None, reason="the sfm extra is not installed")
def test_photos_and_depth_become_a_metric_trajectory(room, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    camera, walk = Camera.centred(480, 360, 390), room.walk(COUNT, 1.6)
    for name in ("photos", "depth"):
        (tmp_path / name).mkdir()
    for index, pose in enumerate(walk.poses):
        image, depth = room.look(camera, pose)
        Image.fromarray(image).save(tmp_path / "photos" / f"{index:04d}.png")
        Image.fromarray(np.rint(depth * 1000).astype(np.uint16)).save(tmp_path / "depth" / f"{index:04d}.png")
    folders = [str(tmp_path / "photos"), "--depth", str(tmp_path / "depth"), "--out", str(tmp_path / "out")]
    call = ["slam", "sfm", *folders, "--focal", "390", "--json", "-q"]
    assert main(call) == 0
    told = json.loads(capsys.readouterr().out)
    found = read_trajectory(Path(told["trajectory"]))
    # The room is painted too smoothly for COLMAP to place every photo.
    placed = [int(Path(image.name).stem) for image in read_colmap_model(tmp_path / "out" / "sparse" / "0").images]
    assert len(found.poses) == len(placed) >= 5
    truth = Trajectory(found.times, walk.poses[sorted(placed)])
    assert score_trajectory(found, truth, Alignment.RIGID).ape.rmse < 0.03
    assert told["spread"] < 0.05
    database = tmp_path / "out" / "sfm" / "database.db"
    before = database.stat().st_mtime_ns
    assert main(call) == 0  # nothing is matched again
    assert database.stat().st_mtime_ns == before


def test_without_pycolmap_the_way_out_is_named(
    save_walk, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = save_walk(3)
    monkeypatch.setitem(sys.modules, "pycolmap", None)
    assert main(["slam", "sfm", str(folder / "photos"), "--out", str(folder / "out")]) == 2
    assert "[sfm]'" in capsys.readouterr().err


def test_one_folder_is_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["slam", "sfm", str(tmp_path / "none"), "--out", str(tmp_path / "out")]) == 2
    assert "takes one folder of photos" in capsys.readouterr().err
