"""``m3d train``, ``m3d synth`` and ``m3d eval`` on frames made by the test."""

import json
from pathlib import Path

import numpy as np
import pytest

from m3d_cli.camera import Camera
from m3d_cli.cli.app import main
from m3d_cli.datasets.rgbd import open_rgbd, write_rgbd
from m3d_cli.datasets.sample import Sample
from m3d_cli.depthmap import DepthMap
from m3d_cli.photo import Photo

CONFIG = """
model = "m3d-test-lite"
checkpoint_every = 2
log_every = 1
[data]
canvas_width = 84
canvas_height = 56
[[data.groups]]
kind = "rgbd"
weight = 1
root = "{root}"
[optimiser]
steps = {steps}
batch_size = 2
"""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    camera = Camera.centred(84, 56, 70)
    depth = np.linspace(1, 3, 84, dtype=np.float32)[None].repeat(56, axis=0)
    image = np.full((56, 84, 3), 120, dtype=np.uint8)
    samples = [Sample(Photo(Path("a.jpg"), image, camera), DepthMap(depth, camera), "desk", False)] * 3
    write_rgbd(samples, tmp_path / "data" / "desk", source="desk")
    return tmp_path / "data"


def test_training_writes_weights_that_eval_can_score(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "tiny.toml"
    config.write_text(CONFIG.format(root=data.as_posix(), steps=3))
    assert main(["train", str(config), "--out", str(tmp_path / "run"), "--device", "cpu"]) == 0
    streams = capsys.readouterr()
    weights = Path(streams.out.strip())
    assert weights.name == "m3d-test-lite.safetensors"
    assert "step 3/3" in streams.err
    assert "starts from random weights of m3d-test-lite, seed 0" in streams.err
    command = ["eval", "--data", str(data), "--model", "m3d-test-lite", "--weights", str(weights), "--device", "cpu"]
    assert main([*command, "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)
    assert scores["images"] == 3
    assert 0 < scores["align"]["median"]["abs_rel"] <= 1
    assert main(command) == 0
    assert "mean of sources" in capsys.readouterr().out


def test_depth_of_trained_weights_names_them_and_measure_refuses_them(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "tiny.toml"
    config.write_text(CONFIG.format(root=data.as_posix(), steps=1) + "[input]\nfocal = 120\nheight = 56\nwidth = 84\n")
    assert main(["train", str(config), "--out", str(tmp_path / "run"), "--device", "cpu"]) == 0
    weights = capsys.readouterr().out.strip()
    photo = str(next((data / "desk" / "rgb").iterdir()))
    given = [photo, "--weights", weights, "--focal", "70"]
    assert main(["depth", *given, "--out", str(tmp_path / "out")]) == 0
    assert f"m3d-test-lite with {weights}, whose errors were not measured" in capsys.readouterr().err
    sidecar = json.loads(next((tmp_path / "out").glob("*.json")).read_text())["model"]
    assert sidecar["name"] == "m3d-test-lite.safetensors (m3d-test-lite)"
    assert sidecar["canonical_focal_px"] == 120
    assert sidecar["errors_known"] is False
    assert "scale_sigma" not in sidecar

    line = ["--line", "10,10 70,40"]
    assert main(["measure", *given, *line]) == 3
    assert "nobody measured the errors" in capsys.readouterr().err
    assert main(["measure", *given, *line, "--allow-unknown-errors"]) == 0
    stored = ["measure", photo, "--depth", str(tmp_path / "out"), *line]
    assert main(stored) == 3
    assert main([*stored, "--ref", "10,10 70,10 = 1 m"]) == 0


def test_a_config_that_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", str(tmp_path / "none.toml"), "--out", str(tmp_path)]) == 2
    assert "none.toml" in capsys.readouterr().err


@pytest.mark.parametrize("options", [["--layout", "nyu"], ["--sources", "kitchen"]])
def test_an_unknown_layout_or_source_is_refused(
    data: Path, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["eval", "--data", str(data), "--model", "m3d-test-lite", *options]) in (2, 4)
    assert options[1] in capsys.readouterr().err


def test_synth_writes_annotated_frames_without_any_models(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    size = ["--width", "64", "--height", "48"]
    assert main(["synth", str(tmp_path / "out"), "--count", "3", "--seed", "7", *size, "--fov", "50", "60"]) == 0
    assert Path(capsys.readouterr().out.strip()) == tmp_path / "out"
    folder = open_rgbd(tmp_path / "out")
    assert len(folder) == 3
    for index in range(3):
        sample = folder.read(index)
        assert sample.truth.normals is not None
        assert 49.9 < sample.photo.camera.horizontal_fov < 60.1
    assert (
        main(["synth", "frames", str(tmp_path / "again"), "--count", "1", "--seed", "7", *size, "--fov", "50", "60"])
        == 0
    )
    first = (tmp_path / "out" / "depth" / "000000.png").read_bytes()
    assert (tmp_path / "again" / "depth" / "000000.png").read_bytes() == first


@pytest.mark.parametrize(
    ("options", "words"), [(["--scenes", "moon"], "moon"), (["--fov", "60", "50"], "field of view")]
)
def test_synth_refuses_scenes_and_angles_that_there_are_not(
    tmp_path: Path, options: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["synth", "frames", str(tmp_path / "out"), *options]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_synth_alone_tells_its_commands(capsys: pytest.CaptureFixture[str]) -> None:
    main(["synth", "--help"])
    assert "assets" in capsys.readouterr().out
