"""ONNX files: they compute what torch computes, at any batch size, and say what they hold."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
import torch
from PIL import Image
from torch import nn

from m3d_cli.camera import Camera
from m3d_cli.cli import app
from m3d_cli.errors import OutputError, UsageError, WeightsError
from m3d_cli.inference.device import choose_compute
from m3d_cli.inference.onnx_predictor import OnnxPredictor
from m3d_cli.inference.photo import Wanted, to_canonical
from m3d_cli.inference.predictor import Predictor
from m3d_cli.models import create_model, onnx_export
from m3d_cli.models.onnx_export import export_onnx
from m3d_cli.models.onnx_file import MODEL_KEY, WEIGHTS_KEY, named_model
from m3d_cli.models.spec import TEST_LITE

CPU = choose_compute("cpu")


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    path = tmp_path_factory.mktemp("onnx") / "tiny.onnx"
    report = export_onnx(create_model("m3d-test-lite"), TEST_LITE, "abc", path)
    assert report.size == path.stat().st_size
    assert report.differences["depth"] < 1e-4
    return path


def photos(count):
    rng = np.random.default_rng(count)
    images = rng.integers(0, 255, (count, 90, 120, 3), dtype=np.uint8)
    return [to_canonical(image, Camera.centred(120, 90, 100.0), TEST_LITE) for image in images]


@pytest.mark.parametrize("count", [1, 3])
def test_the_exported_file_gives_the_depth_of_torch(exported, count):
    ours = Predictor(create_model("m3d-test-lite"), TEST_LITE, CPU, batch_size=4)
    theirs = OnnxPredictor(exported, TEST_LITE, CPU, batch_size=4)
    wanted = Wanted(confidence=True)
    for one, other in zip(ours.predict(photos(count), wanted), theirs.predict(photos(count), wanted), strict=True):
        np.testing.assert_allclose(other.depth, one.depth, rtol=1e-4)
        np.testing.assert_allclose(other.confidence, one.confidence, atol=1e-4)


def test_the_file_names_its_network_and_weights_and_passes_the_checker(exported):
    model = onnx.load(exported)
    onnx.checker.check_model(model)
    facts = {entry.key: entry.value for entry in model.metadata_props}
    assert facts[MODEL_KEY] == "m3d-test-lite"
    assert facts[WEIGHTS_KEY] == "abc"
    assert [output.name for output in model.graph.output] == ["depth", "confidence"]


def test_the_network_is_known_from_the_file_alone(exported, tmp_path):
    assert named_model(exported) == "m3d-test-lite"
    data = exported.read_bytes()
    for name, content in (
        ("cut.onnx", data[: len(data) // 2]),
        ("none.onnx", b""),
        ("odd.onnx", b"\xff" * 20),
        ("x.pt", data),
    ):
        path = tmp_path / name
        path.write_bytes(content)
        assert named_model(path) is None
    assert named_model(tmp_path / "absent.onnx") is None
    assert named_model(None) is None


def test_depth_runs_on_a_file_without_being_told_its_network(exported, tmp_path):
    photo = tmp_path / "a.png"
    Image.fromarray(np.zeros((60, 90, 3), dtype=np.uint8)).save(photo)
    command = ["depth", photo, "--focal", "80", "--weights", exported, "--out", tmp_path / "out", "-q"]
    assert app.main(list(map(str, command))) == 0
    assert json.loads((tmp_path / "out" / "a.json").read_text())["model"]["name"] == "tiny.onnx (m3d-test-lite)"


def test_a_graph_that_computes_something_else_is_not_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_export, "_compare", lambda *_: {"depth": 0.5, "confidence": 0.0})
    path = tmp_path / "bad.onnx"
    path.write_text("the previous file")
    with pytest.raises(OutputError, match=r"bad\.onnx: onnxruntime's depth differs from torch's by 0\.5"):
        export_onnx(create_model("m3d-test-lite"), TEST_LITE, "abc", path)
    assert path.read_text() == "the previous file"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_export_left_is_replaced(tmp_path):
    (tmp_path / ".tiny.onnx.part").mkdir()
    (tmp_path / ".tiny.onnx.part" / "tiny.onnx").write_bytes(b"half")
    export_onnx(create_model("m3d-test-lite"), TEST_LITE, "abc", tmp_path / "tiny.onnx")
    assert [each.name for each in tmp_path.iterdir()] == ["tiny.onnx"]


def test_weights_beyond_one_file_lie_beside_it(tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_export, "ONE_FILE_BYTES", 1000)
    path = tmp_path / "big.onnx"
    export_onnx(create_model("m3d-test-lite"), TEST_LITE, "abc", path)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["big.onnx", "big.onnx.data"]
    assert OnnxPredictor(path, TEST_LITE, CPU).predict(photos(1))[0].valid.any()


def test_files_of_another_network_or_origin_are_refused(exported, tmp_path):
    foreign = tmp_path / "foreign.onnx"
    model = onnx.load(exported)
    del model.metadata_props[:]
    onnx.save(model, foreign)
    with pytest.raises(WeightsError, match=r"foreign\.onnx: was not made by m3d export onnx"):
        OnnxPredictor(foreign, TEST_LITE, CPU)
    model.metadata_props.add(key=MODEL_KEY, value="vit-small")
    onnx.save(model, foreign)
    with pytest.raises(WeightsError, match="holds vit-small, not m3d-test-lite"):
        OnnxPredictor(foreign, TEST_LITE, CPU)


@pytest.mark.parametrize("content", [b"", b"nonsense", None])
def test_a_damaged_file_is_named(exported, tmp_path, content):
    path = tmp_path / "cut.onnx"
    path.write_bytes(exported.read_bytes()[:5000] if content is None else content)
    with pytest.raises(WeightsError, match=r"cut\.onnx: (the ONNX file cannot be read|was not made)"):
        OnnxPredictor(path, TEST_LITE, CPU)


def test_precisions_the_file_does_not_have_are_refused(exported):
    with pytest.raises(UsageError, match="fp32, not bf16"):
        OnnxPredictor(exported, TEST_LITE, choose_compute("cpu", "bf16"))


def test_training_mode_and_half_weights_export_as_the_network_runs(tmp_path):
    model = create_model("m3d-test-lite").half().train()
    report = export_onnx(model, TEST_LITE, "abc", tmp_path / "half.onnx")
    assert report.differences["depth"] < 1e-4
    assert all(p.dtype == torch.float32 for p in model.parameters())
    assert isinstance(model, nn.Module)
