"""Engines: streams on a CPU, batches from many threads, and weights that must be right."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import nn

from m3d_cli.camera import Camera
from m3d_cli.errors import DeviceError, UsageError, WeightsError
from m3d_cli.inference.batcher import Batcher
from m3d_cli.inference.device import choose_compute, device_names
from m3d_cli.inference.engine import BatchEngine, EngineOptions, StreamEngine, create_engine, stream_plan
from m3d_cli.inference.photo import Wanted, to_canonical
from m3d_cli.inference.predictor import Predictor
from m3d_cli.models import create_model
from m3d_cli.models.prediction import Prediction
from m3d_cli.models.registry import ChosenWeights, WeightsFile, choose_weights, sha256_of
from m3d_cli.models.spec import LITE, TEST_LITE
from m3d_cli.models.weights import save_weights

CPU = choose_compute("cpu")


def photo(value):
    image = np.full((56, 84, 3), value, dtype=np.uint8)
    return to_canonical(image, Camera.centred(84, 56, 60.0), TEST_LITE)


class Brightness(nn.Module):
    """Depth is the mean brightness of the photo, so that an answer tells whose it is."""

    def __init__(self, room=64):
        super().__init__()
        self.room = room
        self.batches = []

    def forward(self, x):
        if len(x) > self.room:
            raise torch.OutOfMemoryError("no room")
        time.sleep(0.01)
        self.batches.append(len(x))
        value = x.mean((1, 2, 3), keepdim=True) + 10
        return Prediction(depth=value.expand(-1, 1, 56, 84), confidence=torch.ones(len(x), 1, 56, 84))


@pytest.mark.parametrize(
    ("photos", "cores", "expected"),
    [(1, 2, (1, 2)), (2, 2, (2, 1)), (100, 2, (2, 1)), (3, 8, (3, 2)), (100, 64, (8, 8)), (0, 4, (1, 4))],
)
def test_streams_follow_the_planned_total(photos, cores, expected):
    assert stream_plan(photos, cores) == expected


def test_photos_of_many_threads_meet_in_batches_and_get_their_own_answers():
    model = Brightness()
    engine = BatchEngine(Predictor(model, TEST_LITE, CPU, batch_size=4))
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda v: engine.compute(photo(v), Wanted()).depth.depth[0, 0], range(0, 240, 10)))
    engine.close()
    assert results == sorted(results)
    assert len(set(results)) == 24
    assert sum(model.batches) == 24
    assert max(model.batches) > 1
    assert max(model.batches) <= 4


def test_a_batch_that_fails_is_told_to_all_who_wait_and_the_next_one_works():
    model = Brightness(room=0)
    batcher = Batcher(Predictor(model, TEST_LITE, CPU, batch_size=1))
    with pytest.raises(DeviceError):
        batcher.predict(photo(1))
    model.room = 1
    assert batcher.predict(photo(1)).index == 0
    batcher.close()
    assert threading.active_count() < 50


def test_memory_that_runs_out_halves_the_batches_of_the_batcher():
    model = Brightness(room=2)
    engine = BatchEngine(Predictor(model, TEST_LITE, CPU, batch_size=8))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda v: engine.compute(photo(v), Wanted()), range(16)))
    engine.close()
    assert max(model.batches) <= 2
    assert sum(model.batches) == 16


def test_streams_and_batches_agree():
    network = Predictor(create_model("m3d-test-lite"), TEST_LITE, CPU, batch_size=3)
    batches, streams = BatchEngine(network), StreamEngine(network, 2, 1)
    for value in (10, 200):
        one, other = (engine.compute(photo(value), Wanted()).depth.depth for engine in (batches, streams))
        np.testing.assert_allclose(one, other, rtol=1e-4)
    batches.close()


def test_the_engine_of_a_cpu_is_streams():
    engine = create_engine(TEST_LITE, choose_weights(TEST_LITE), EngineOptions("cpu"), photos=1)
    assert isinstance(engine, StreamEngine)
    assert engine.in_flight == 1
    assert engine.description.startswith("cpu fp32, 1 x ")


def test_weights_of_ones_own_are_loaded_and_named_by_their_checksum(tmp_path):
    path = tmp_path / "mine.safetensors"
    model = create_model("m3d-test-lite")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(0.5)
    save_weights(model, path)
    chosen = choose_weights(TEST_LITE, path)
    assert chosen.sha256 == sha256_of(path)
    mine = create_engine(TEST_LITE, chosen, EngineOptions("cpu"), photos=1)
    other = create_engine(TEST_LITE, choose_weights(TEST_LITE), EngineOptions("cpu"), photos=1)
    assert (mine.compute(photo(9), Wanted()).depth.depth != other.compute(photo(9), Wanted()).depth.depth).any()


def test_missing_or_foreign_weights_are_weights_errors(tmp_path):
    with pytest.raises(WeightsError, match="cannot be read"):
        choose_weights(TEST_LITE, tmp_path / "none.safetensors")
    wrong = tmp_path / "wrong.safetensors"
    wrong.write_bytes(b"nothing like it")
    with pytest.raises(WeightsError, match="not a readable"):
        create_engine(TEST_LITE, choose_weights(TEST_LITE, wrong), EngineOptions("cpu"), 1)
    vouched = WeightsFile("lite", wrong, 15, "0" * 64)
    with pytest.raises(WeightsError, match="checksum"):
        create_engine(LITE, ChosenWeights(wrong, vouched.sha256, vouched), EngineOptions("cpu"), 1)
    gone = WeightsFile("lite", tmp_path / "gone", 15, "")
    with pytest.raises(WeightsError, match="not installed"):
        ChosenWeights(gone.path, "", gone).check()


@pytest.mark.parametrize(
    ("device", "precision", "error"),
    [
        ("abacus", "auto", UsageError),
        ("meta", "auto", UsageError),
        ("cpu:3", "auto", UsageError),
        ("cuda:", "auto", UsageError),
        ("cuda:99", "auto", DeviceError),
        ("cpu", "fp12", UsageError),
        ("cpu", "fp16", UsageError),
    ],
)
def test_devices_and_precisions_that_are_not_there_are_refused(device, precision, error):
    with pytest.raises(error) as caught:
        choose_compute(device, precision)
    assert caught.value.hint


def test_the_cpu_is_always_a_device():
    assert device_names()[-1].startswith("cpu")
    assert str(choose_compute("cpu", "bf16")) == "cpu bf16"
