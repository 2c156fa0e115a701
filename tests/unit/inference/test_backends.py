"""Which backend computes, and that all of them compute the same."""

from __future__ import annotations

import json
import threading

import numpy as np
import pytest
from PIL import Image

from m3d_cli.camera import Camera
from m3d_cli.cli import app
from m3d_cli.errors import UsageError, WeightsError
from m3d_cli.inference import backends
from m3d_cli.inference.backends import LONG_RUN, choose_backend, graph_of
from m3d_cli.inference.device import choose_compute
from m3d_cli.inference.openvino_predictor import OpenVinoPredictor
from m3d_cli.inference.photo import Wanted, to_canonical
from m3d_cli.inference.predictor import Predictor
from m3d_cli.models import create_model
from m3d_cli.models.onnx_export import export_onnx
from m3d_cli.models.registry import ChosenWeights, choose_weights
from m3d_cli.models.spec import LITE, TEST_LITE, model_spec

CPU = choose_compute("cpu")
TINY = choose_weights(TEST_LITE)


@pytest.fixture(scope="module")
def graph(tmp_path_factory):
    path = tmp_path_factory.mktemp("graph") / "tiny.onnx"
    export_onnx(create_model("m3d-test-lite"), TEST_LITE, "abc", path)
    return path


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("M3D_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def installed(monkeypatch, *names):
    monkeypatch.setattr(backends.importlib.util, "find_spec", lambda name: name if name in names else None)


def test_a_long_run_of_a_network_that_gains_takes_openvino_where_it_is_installed(monkeypatch):
    weights, long = ChosenWeights(None, "abc"), LONG_RUN["lite"]
    installed(monkeypatch, "openvino", "onnxscript")
    assert choose_backend("auto", LITE, weights, CPU, long) == "openvino"
    assert choose_backend("auto", LITE, weights, CPU, long - 1) == "torch"
    assert choose_backend("auto", model_spec("vit-large"), weights, CPU, 10**6) == "torch"
    installed(monkeypatch, "openvino")
    assert choose_backend("auto", LITE, weights, CPU, long) == "torch"
    installed(monkeypatch)
    assert choose_backend("auto", LITE, weights, CPU, long) == "torch"


def test_a_graph_is_run_by_the_best_that_is_installed(graph, monkeypatch):
    weights = ChosenWeights(graph, "abc")
    installed(monkeypatch, "openvino", "onnxruntime")
    assert choose_backend("auto", TEST_LITE, weights, CPU, 1) == "openvino"
    installed(monkeypatch, "onnxruntime")
    assert choose_backend("auto", TEST_LITE, weights, CPU, 1) == "onnx"


@pytest.mark.parametrize(
    ("asked", "told"),
    [("tensorrt", "is unknown"), ("openvino", "needs openvino"), ("onnx", "needs onnxruntime")],
)
def test_a_backend_that_is_not_there_is_refused_with_the_way_out(asked, told, monkeypatch):
    installed(monkeypatch)
    with pytest.raises(UsageError, match=f"--backend {asked} {told}") as caught:
        choose_backend(asked, TEST_LITE, TINY, CPU, 1)
    assert caught.value.hint


def test_torch_does_not_run_a_graph(graph):
    with pytest.raises(UsageError, match="--backend torch does not run"):
        choose_backend("torch", TEST_LITE, ChosenWeights(graph, "abc"), CPU, 1)


def test_the_graph_of_weights_is_made_once(cache):
    first = graph_of(TEST_LITE, TINY)
    made = first.stat().st_mtime_ns
    assert first.is_relative_to(cache)
    assert graph_of(TEST_LITE, TINY) == first
    assert first.stat().st_mtime_ns == made
    first.write_bytes(b"cut short")
    assert graph_of(TEST_LITE, TINY).stat().st_size > 1000


def photos(count):
    rng = np.random.default_rng(count)
    images = rng.integers(0, 255, (count, 90, 120, 3), dtype=np.uint8)
    return [to_canonical(image, Camera.centred(120, 90, 100.0), TEST_LITE) for image in images]


@pytest.mark.parametrize("count", [1, 3])
def test_openvino_gives_the_depth_of_torch_from_many_threads(graph, count):
    pytest.importorskip("openvino", reason="the openvino extra is not installed")
    wanted = Wanted(confidence=True)
    ours = Predictor(create_model("m3d-test-lite"), TEST_LITE, CPU, batch_size=4).predict(photos(count), wanted)
    predictor = OpenVinoPredictor(graph, TEST_LITE, CPU, batch_size=4, streams=2)
    found = {}
    threads = [
        threading.Thread(target=lambda n=n: found.update({n: predictor.predict(photos(count), wanted)}))
        for n in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for theirs in found.values():
        for one, other in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(other.depth, one.depth, rtol=1e-4)
            np.testing.assert_allclose(other.confidence, one.confidence, atol=1e-4)
    assert len(found) == 3


def test_openvino_names_a_file_it_cannot_run(tmp_path, graph):
    pytest.importorskip("openvino", reason="the openvino extra is not installed")
    bad = tmp_path / "bad.onnx"
    bad.write_bytes(graph.read_bytes()[:5000])
    with pytest.raises(WeightsError, match=r"bad\.onnx: the ONNX file cannot be read"):
        OpenVinoPredictor(bad, TEST_LITE, CPU)
    with pytest.raises(WeightsError, match="holds m3d-test-lite, not lite"):
        OpenVinoPredictor(graph, LITE, CPU)
    with pytest.raises(UsageError, match="not fp16"):
        OpenVinoPredictor(graph, TEST_LITE, type(CPU)(CPU.device, "fp16"))


def test_the_sidecar_says_which_backend_computed(cache, tmp_path):
    pytest.importorskip("openvino", reason="the openvino extra is not installed")
    photo = tmp_path / "a.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (60, 90, 3), dtype=np.uint8)).save(photo)
    depths = {}
    for backend in ("torch", "onnx", "openvino"):
        out = tmp_path / backend
        command = ["depth", photo, "--focal", "80", "--model", "m3d-test-lite", "--device", "cpu", "--out", out, "-q"]
        assert app.main([*map(str, command), "--backend", backend]) == 0
        assert json.loads((out / "a.json").read_text())["model"]["backend"] == backend
        depths[backend] = np.asarray(Image.open(out / "a.png"), np.int64)
    assert np.abs(depths["onnx"] - depths["torch"]).max() <= 1
    assert np.abs(depths["openvino"] - depths["torch"]).max() <= 1
