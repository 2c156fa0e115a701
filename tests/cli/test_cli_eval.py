"""``m3d eval`` and ``m3d datasets check`` on folders made by the test."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from m3d_cli.camera import Camera
from m3d_cli.cli.app import main
from m3d_cli.datasets.rgbd import write_rgbd
from m3d_cli.datasets.sample import Sample
from m3d_cli.depthmap import DepthMap
from m3d_cli.formats.depth_png import encode_depth_png
from m3d_cli.photo import Photo

TRUTH = np.linspace(1, 3, 84, dtype=np.float32)[None].repeat(56, axis=0)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    camera = Camera.centred(84, 56, 70)
    image = np.full((56, 84, 3), 120, dtype=np.uint8)
    samples = [Sample(Photo(Path("a.jpg"), image, camera), DepthMap(TRUTH, camera), "desk", False)] * 6
    write_rgbd(samples, tmp_path / "data" / "desk", source="desk")
    return tmp_path / "data"


@pytest.fixture
def pred(tmp_path: Path) -> Path:
    """Depth 10 % too far, a little more from frame to frame, as m3d depth names it."""
    folder = tmp_path / "pred" / "desk" / "rgb"
    folder.mkdir(parents=True)
    for index in range(6):
        (folder / f"{index:06}.png").write_bytes(encode_depth_png(np.float32(1.1 + 0.001 * index) * TRUTH)[0])
    return tmp_path / "pred"


def test_a_folder_of_depth_maps_is_scored_as_json(data: Path, pred: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["eval", "--data", str(data), "--layout", "rgbd", "--pred", str(pred)]
    assert main([*command, "--align", "none,median,scale-shift", "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert (content["layout"], content["preset"], content["pred"], content["images"]) == ("rgbd", None, str(pred), 6)
    assert "model" not in content
    assert content["align"]["none"]["abs_rel"] == pytest.approx(0.1025, abs=1e-3)
    assert content["align"]["scale-shift"]["abs_rel"] == pytest.approx(0, abs=1e-3)


def test_a_run_says_how_it_scored_and_writes_the_same_files_twice(
    data: Path, pred: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "b"):
        assert main(["eval", "--data", str(data), "--pred", str(pred), "--out", str(tmp_path / name)]) == 0
    streams = capsys.readouterr()
    assert "mean of sources" in streams.out
    assert "alignment: none, median" in streams.err
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()


@pytest.mark.parametrize(
    ("shape", "start"), [("markdown", "| source |"), ("csv", "source,images,align"), ("json", "{")]
)
def test_the_table_comes_in_every_form(
    data: Path, pred: Path, shape: str, start: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["eval", "--data", str(data), "--pred", str(pred), "--format", shape, "-q"]) == 0
    streams = capsys.readouterr()
    assert streams.out.startswith(start)
    assert streams.err == ""


def test_kept_predictions_are_found_again(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept = str(tmp_path / "kept")
    command = ["eval", "--data", str(data), "--model", "m3d-test-lite", "--device", "cpu", "--json", "--limit", "2"]
    assert main([*command, "--save-pred", kept]) == 0
    first = capsys.readouterr().out
    assert len(list(Path(kept).rglob("*.npy"))) == 2
    assert main([*command, "--save-pred", kept]) == 0
    assert capsys.readouterr().out == first
    scores = json.loads(first)
    assert (scores["model"], scores["input_size"], scores["images"]) == ("m3d-test-lite", [84, 56], 2)
    assert main(["eval", "--data", str(data), "--pred", kept, "--limit", "2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["align"] == scores["align"]


def test_two_runs_are_compared_picture_by_picture(
    data: Path, pred: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for file in (pred / "desk" / "rgb").iterdir():
        target = tmp_path / "better" / "desk" / file.name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(encode_depth_png(np.float32(1.02) * TRUTH)[0])
    for name in ("pred", "better"):
        scores = str(tmp_path / "scores" / name)
        assert main(["eval", "--data", str(data), "--pred", str(tmp_path / name), "--out", scores, "-q"]) == 0
    capsys.readouterr()
    both = [str(tmp_path / "scores" / name) for name in ("pred", "better")]
    assert main(["eval", "compare", *both]) == 0
    assert capsys.readouterr().out.strip().endswith("B is better")
    assert main(["eval", "compare", *both, "--json", "--metric", "rmse", "--align", "median"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["images"], found["metric"], found["align"]) == (6, "rmse", "median")
    assert main(["eval", "compare", both[0], str(tmp_path / "none")]) == 4


def test_a_bad_frame_costs_only_itself(data: Path, pred: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["eval", "--data", str(data), "--pred", str(pred), "--json"]
    (data / "desk" / "depth" / "000002.png").write_bytes(b"cut")
    (pred / "desk" / "rgb" / "000004.png").write_bytes(encode_depth_png(TRUTH[:, :40])[0])
    assert main(command) == 3
    streams = capsys.readouterr()
    content = json.loads(streams.out)
    assert (content["images"], content["failed"]) == (4, 2)
    assert "40 x 56 predicted pixels" in content["failures"]["desk/000004"]
    assert "desk/000002" in streams.err
    assert "2 of 6 images could not be scored" in streams.err
    for file in (data / "desk" / "depth").iterdir():
        file.unlink()
    assert main(command) == 4
    assert capsys.readouterr().out == ""


def test_runs_that_do_not_fit_are_told_apart(
    data: Path, pred: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["eval", "--data", str(data), "--pred", str(pred), "-q", "--out"]
    assert main([*command, str(tmp_path / "a")]) == 0
    assert main([*command, str(tmp_path / "b"), "--limit", "5"]) == 0
    assert main([*command, str(tmp_path / "c"), "--preset", "diode"]) == 0
    capsys.readouterr()
    assert main(["eval", "compare", str(tmp_path / "a"), str(tmp_path / "b")]) == 0
    streams = capsys.readouterr()
    assert "1 images are only in A and left out, such as desk/desk/000005" in streams.err
    assert "too few scenes (1)" in streams.err
    assert main(["eval", "compare", str(tmp_path / "a"), str(tmp_path / "c")]) == 4
    assert "preset of A is None, of B diode" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "code", "word"),
    [
        (["--layout", "kinect"], 2, "kinect"),
        (["--preset", "mine"], 2, "mine"),
        (["--align", "best"], 2, "best"),
        (["--also", "beauty"], 2, "beauty"),
        (["--format", "xml"], 2, "xml"),
        (["--model", "lite"], 2, "--pred"),
        (["--pred-scale", "0"], 2, "--pred-scale"),
        (["--sources", "kitchen"], 4, "kitchen"),
        (["--layout", "nyu"], 4, "sync_depth"),
        (["--preset", "nyu-eigen"], 4, "000000.png"),
    ],
)
def test_what_cannot_be_scored_is_refused_by_name(
    data: Path, pred: Path, options: list[str], code: int, word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["eval", "--data", str(data), "--pred", str(pred), *options]) == code
    streams = capsys.readouterr()
    assert word in streams.err
    assert streams.out == ""


def test_a_model_for_other_runs_does_not_hinder_scoring_depth_maps(
    data: Path, pred: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("M3D_MODEL", "lite")
    assert main(["eval", "--data", str(data), "--pred", str(pred)]) == 0


def test_data_must_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", "--json"]) == 2
    assert "--data" in capsys.readouterr().err


def test_published_numbers_come_when_asked_for(data: Path, pred: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", "--data", str(data), "--pred", str(pred), "--with-published"]) == 0
    assert "no published numbers" in capsys.readouterr().err


def test_a_sound_folder_passes_and_faults_are_told_with_their_files(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["datasets", "check", str(data)]) == 0
    assert "6 frames, 0 faults" in capsys.readouterr().err
    (data / "desk" / "depth" / "000002.png").unlink()
    assert main(["datasets", "check", str(data)]) == 3
    assert capsys.readouterr().out.startswith(f"missing-depth: {data / 'desk' / 'depth' / '000002.png'}")
    assert main(["datasets", "check", str(data), "--json", "-q"]) == 3
    assert json.loads(capsys.readouterr().out)["kind"] == "missing-depth"
    assert main(["datasets", "check", str(data / "none")]) == 4


def test_scoring_depth_maps_loads_no_torch(data: Path, pred: Path) -> None:
    code = (
        "import sys\nfrom m3d_cli.cli.app import main\n"
        f"assert main(['eval', '--data', {str(data)!r}, '--pred', {str(pred)!r}]) == 0\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
