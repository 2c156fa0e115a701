"""A run on a Ray cluster of this machine: the same files as a plain run, also when an actor is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from m3d_cli.cli import app
from m3d_cli.pipeline.ray_workers import PHOTOS_PER_ACTOR

COUNT = 5 * PHOTOS_PER_ACTOR
OPTIONS = ["--model", "m3d-test-lite", "--device", "cpu", "--format", "png,npy", "-q"]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(4)
    for index in range(COUNT):
        Image.fromarray(rng.integers(0, 255, (30 + index, 60, 3), dtype=np.uint8)).save(folder / f"{index}.png")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    return folder


def actors():
    """Processes of Ray's actors that hold a network, by their titles."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            title = path.read_bytes()
        except OSError:
            continue
        if title.startswith(b"ray::") and b"RayActor" in title:
            found.append(int(path.parent.name))
    return found


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks for processes in /proc")
def test_two_actors_of_which_one_is_killed_make_what_a_plain_run_makes(photos, tmp_path, contents, facts):
    pytest.importorskip("ray", reason="the ray extra is not installed")
    ours = tmp_path / "ray"
    command = [sys.executable, "-m", "m3d_cli", "depth", str(photos), "--out", str(ours), *OPTIONS, "--json"]
    command += ["--engine", "ray", "--ray-actors", "2"]
    with (tmp_path / "talk").open("w") as talk, subprocess.Popen(command, stdout=-1, stderr=talk, text=True) as run:
        lines = [run.stdout.readline()]
        before = actors()
        os.kill(before[0], signal.SIGKILL)
        lines += run.stdout
    assert run.returncode == 3, (tmp_path / "talk").read_text()
    assert len(before) == 2
    plain = tmp_path / "plain"
    assert app.main(["depth", str(photos), "--out", str(plain), *OPTIONS]) == 3
    assert contents(ours) == contents(plain)
    assert facts(ours) == facts(plain)
    assert {json.loads(line)["status"] for line in lines} == {"done", "error"}
    assert len(lines) == COUNT + 1
    # Everything is done: neither Ray nor a network is started again.
    assert app.main([*command[3:], "--include", "*.png"]) == 0


@pytest.mark.parametrize(
    "flags",
    [
        ["--engine", "spark"],
        ["--ray-actors", "2"],
        ["--ray-address", "auto"],
        ["--engine", "ray", "--devices", "0,1"],
    ],
)
def test_flags_of_ray_that_make_no_sense_are_refused(photos, tmp_path, flags):
    command = ["depth", str(photos), "--out", str(tmp_path), "--model", "m3d-test-lite", "-q", *flags]
    assert app.main(command) == 2
    assert not list(tmp_path.iterdir())


def test_without_ray_the_way_out_is_told(photos, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ray", None)
    command = ["depth", str(photos), "--out", str(tmp_path), *OPTIONS, "--engine", "ray"]
    assert app.main(command) == 2
    assert "[ray]'" in capsys.readouterr().err
