"""The predictor on a CUDA device, where there is one."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from m3d_cli.camera import Camera
from m3d_cli.depthmap import DepthMap, DepthSteps
from m3d_cli.formats.depth_png import MILLIMETRES, quantise
from m3d_cli.inference.cuda_predictor import CudaPredictor
from m3d_cli.inference.device import Compute, choose_compute
from m3d_cli.inference.engine import BatchEngine
from m3d_cli.inference.photo import Wanted, to_canonical
from m3d_cli.inference.predictor import Predictor
from m3d_cli.models import create_model
from m3d_cli.models.metric3d import build_network
from m3d_cli.models.spec import model_spec

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine"),
]

FP32 = Compute(torch.device("cuda"), "fp32")
NETWORKS = ("m3d-test-lite", "m3d-test-convnext", "m3d-test-vit")


def network(name):
    torch.manual_seed(0)
    return (create_model(name) if name.endswith("lite") else build_network(name)).eval()


def photo(name, seed=0, width=240, height=180):
    image = np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)
    return to_canonical(image, Camera.centred(width, height, 200.0), model_spec(name))


@pytest.fixture(autouse=True)
def exact_products():
    """Convolutions in fp32 are, by default, computed from rounded factors."""
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32 = True


@pytest.mark.parametrize("name", NETWORKS)
def test_depth_is_that_of_the_cpu(name):
    photos = [photo(name, seed) for seed in range(3)]
    (one, *_), wanted = CudaPredictor(network(name), model_spec(name), FP32, 4).predict(photos), photos[0]
    found = Predictor(network(name), model_spec(name), choose_compute("cpu")).predict([wanted])[0]
    np.testing.assert_allclose(one.depth, found.depth, rtol=1e-3)


@pytest.mark.parametrize("name", [*NETWORKS, "lite", "convnext-tiny", "vit-small"])
def test_a_recording_gives_the_bits_of_the_first_batch(name):
    predictor = CudaPredictor(network(name), model_spec(name), choose_compute("cuda"), 2)
    photos = [photo(name), photo(name, 1)]
    first, *later = [predictor.canonical(photos) for _ in range(4)]
    assert predictor._recorded is not None
    for again in later:
        assert torch.equal(again.depth, first.depth)
        assert torch.equal(again.confidence, first.confidence)


def test_a_photo_has_the_same_depth_alone_and_among_others():
    name = "m3d-test-vit"
    predictor = CudaPredictor(network(name), model_spec(name), choose_compute("cuda"), 4)
    photos = [photo(name, seed) for seed in range(4)]
    together = predictor.predict(photos)
    for one, wanted in zip(photos, together, strict=True):
        for _ in range(2):
            np.testing.assert_array_equal(predictor.predict([one])[0].depth, wanted.depth)


def test_more_photos_than_a_batch_come_back_in_order():
    name = "m3d-test-lite"
    predictor = CudaPredictor(network(name), model_spec(name), FP32, 2)
    photos = [photo(name, seed) for seed in range(7)]
    for one, found in zip(photos, predictor.predict(photos), strict=True):
        np.testing.assert_array_equal(predictor.predict([one])[0].depth, found.depth)


def test_steps_are_those_of_the_metres():
    name = "m3d-test-lite"
    predictor = CudaPredictor(network(name), model_spec(name), FP32, 1)
    one = photo(name, width=1300, height=900)
    prediction = predictor.canonical([one])
    metres = predictor.product(prediction, 0, one, Wanted())
    steps = predictor.product(prediction, 0, one, Wanted(png_scale=MILLIMETRES))
    assert isinstance(metres, DepthMap)
    assert isinstance(steps, DepthSteps)
    wanted, clipped = quantise(metres.depth, MILLIMETRES)
    apart = np.abs(steps.values.astype(int) - wanted.astype(int))
    assert apart.max() <= 1  # ties
    assert (apart > 0).mean() < 1e-3
    summary = metres.summary
    assert (steps.clipped, steps.summary.known) == (clipped, summary.known)
    assert (steps.summary.least, steps.summary.largest) == (summary.least, summary.largest)
    np.testing.assert_array_equal(steps.summary.sample, summary.sample)


def test_photos_of_many_threads_get_their_own_depth():
    name = "m3d-test-lite"
    predictor = CudaPredictor(network(name), model_spec(name), FP32, 4)
    photos = [photo(name, seed, 400 + 8 * seed) for seed in range(32)]
    wanted = predictor.predict(photos)
    engine = BatchEngine(predictor)
    with ThreadPoolExecutor(16) as pool:
        made = list(pool.map(lambda one: engine.compute(one, Wanted(confidence=True)), photos))
    engine.close()
    for computed, one in zip(made, wanted, strict=True):
        np.testing.assert_array_equal(computed.depth.depth, one.depth)
        assert computed.depth.confidence is not None


def test_memory_that_runs_out_halves_the_batch():
    class Greedy(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = network("m3d-test-lite")

        def forward(self, x):
            if len(x) > 2:
                raise torch.OutOfMemoryError("no room")
            return self.model(x)

    predictor = CudaPredictor(Greedy(), model_spec("m3d-test-lite"), FP32, 8)
    assert len(predictor.predict([photo("m3d-test-lite", seed) for seed in range(5)])) == 5
    assert predictor.batch_size == 2
