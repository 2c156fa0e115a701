"""The predictor: the same depth alone or in a batch, memory that runs out, and what counts as unknown."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from m3d_cli.camera import Camera
from m3d_cli.errors import DeviceError
from m3d_cli.inference import predictor as predictor_module
from m3d_cli.inference.device import choose_compute
from m3d_cli.inference.faults import device_fault
from m3d_cli.inference.photo import Wanted, to_canonical
from m3d_cli.inference.predictor import Predictor
from m3d_cli.models import create_model
from m3d_cli.models.prediction import Prediction
from m3d_cli.models.spec import TEST_LITE

CPU = choose_compute("cpu")


class Constant(nn.Module):
    """Canonical depth ``value`` everywhere; out of memory beyond ``room`` photos a batch."""

    def __init__(self, value=2.0, room=64):
        super().__init__()
        self.value = value
        self.room = room
        self.batches = []

    def forward(self, x):
        if len(x) > self.room:
            raise torch.OutOfMemoryError("no room")
        self.batches.append(len(x))
        depth = torch.full((len(x), 1, *x.shape[2:]), self.value)
        return Prediction(depth=depth, confidence=torch.full_like(depth, 0.25))


class Failing(nn.Module):
    """A network whose device raises ``error``."""

    def __init__(self, error):
        super().__init__()
        self.error = error

    def forward(self, x):
        raise self.error


def photo(seed=0, width=120, height=90, focal=100.0, camera=None):
    image = np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)
    return to_canonical(image, camera or Camera.centred(width, height, focal), TEST_LITE)


class Slanted(nn.Module):
    """Depth 2 and normals that point away from the camera, of twice the unit length."""

    def forward(self, x):
        depth = torch.full((len(x), 1, *x.shape[2:]), 2.0)
        normals = torch.tensor([1.2, 0.0, 1.6])[None, :, None, None].expand(len(x), 3, *x.shape[2:])
        return Prediction(depth, depth * 0, normals.contiguous(), depth)


def test_normals_come_back_at_photo_size_with_unit_length_and_face_the_camera():
    network = Predictor(Slanted(), TEST_LITE, CPU, batch_size=2)
    results = network.predict([photo(), photo(1, 60, 90), photo(2)], Wanted(normals=True))
    assert [result.normals.shape for result in results] == [(90, 120, 3), (90, 60, 3), (90, 120, 3)]
    for result in results:
        np.testing.assert_allclose(result.normals, np.broadcast_to([-0.6, 0, -0.8], result.normals.shape), atol=1e-6)


def test_normals_that_nobody_wants_are_not_made():
    (result,) = Predictor(Slanted(), TEST_LITE, CPU).predict([photo()])
    assert result.normals is None


def test_a_photo_alone_and_in_a_batch_gives_the_same_depth():
    network = Predictor(create_model("m3d-test-lite"), TEST_LITE, CPU, batch_size=4)
    photos = [photo(seed, 60 + 30 * seed, 90) for seed in range(6)]
    together = network.predict(photos)
    for one, expected in zip(photos, together, strict=True):
        alone = network.predict([one])[0]
        assert alone.depth.shape == (one.camera.height, one.camera.width)
        np.testing.assert_allclose(alone.depth, expected.depth, rtol=1e-4)


def test_the_depth_is_in_metres_by_the_one_equation():
    (result,) = Predictor(Constant(2.0), TEST_LITE, CPU).predict([photo(focal=100.0)])
    # s = min(56/90, 84/120) = 0.6222; 2 * 100 * 0.6222 / 60.
    np.testing.assert_allclose(result.depth, 2 * 100 * (56 / 90) / 60, rtol=1e-6)
    assert result.confidence is None


def test_confidence_comes_when_it_is_wanted():
    (result,) = Predictor(Constant(), TEST_LITE, CPU).predict([photo()], Wanted(confidence=True))
    assert result.confidence.shape == (90, 120)
    assert (result.confidence == 0.25).all()


@pytest.mark.parametrize(("value", "is_known"), [(0.05, False), (0.2, True), (149.0, True), (151.0, False)])
def test_depth_beyond_what_the_network_was_trained_for_is_unknown(value, is_known):
    (result,) = Predictor(Constant(value), TEST_LITE, CPU).predict([photo()])
    assert result.valid.all() == is_known
    assert result.valid.any() == is_known


def test_nothing_is_farther_than_the_largest_depth_wanted():
    network = Predictor(create_model("m3d-test-lite"), TEST_LITE, CPU)
    (whole,) = network.predict([photo()])
    limit = float(np.median(whole.depth))
    (cut,) = network.predict([photo()], Wanted(max_depth=limit))
    assert cut.depth[cut.valid].max() <= limit
    assert 0.1 < cut.valid.mean() < 0.9
    np.testing.assert_array_equal(cut.depth[cut.valid], whole.depth[cut.valid])


@pytest.mark.parametrize("size", [(120, 90), (333, 200), (60, 60)])
def test_the_way_back_to_full_size_is_that_of_the_transform(size):
    smooth = (
        np.random.default_rng(3)
        .uniform(1, 9, (TEST_LITE.canonical.height, TEST_LITE.canonical.width))
        .astype(np.float32)
    )
    smooth = cv2.GaussianBlur(smooth, (0, 0), 4)
    one = photo(width=size[0], height=size[1])
    prediction = Prediction(torch.from_numpy(smooth)[None, None], torch.ones(1, 1, *smooth.shape))
    found = Predictor(Constant(), TEST_LITE, CPU).finish(prediction, 0, one)
    np.testing.assert_allclose(found.depth, one.transform.invert(smooth), rtol=1e-5)


def test_pixels_that_are_not_square_come_back_on_their_own_grid():
    (result,) = Predictor(Constant(), TEST_LITE, CPU).predict([photo(camera=Camera(120, 90, 100.0, 130.0, 60, 45))])
    assert result.depth.shape == (90, 120)
    # Square pixels: 156 x 90 at focal 130.
    np.testing.assert_allclose(result.depth, 2 * 130 * (84 / 156) / 60, rtol=1e-6)


def test_twice_the_focal_length_is_exactly_twice_the_depth():
    network = Predictor(create_model("m3d-test-lite"), TEST_LITE, CPU)
    once, twice = network.predict([photo(focal=90.0)]) + network.predict([photo(focal=180.0)])
    np.testing.assert_array_equal(twice.depth, 2 * once.depth)


@pytest.mark.filterwarnings("default")
def test_out_of_memory_halves_the_batch_and_goes_on(caplog):
    model = Constant(room=3)
    network = Predictor(model, TEST_LITE, CPU, batch_size=8)
    results = network.predict([photo(seed) for seed in range(9)])
    assert len(results) == 9
    assert network.batch_size == 2
    assert model.batches == [2, 2, 2, 2, 1]
    assert [record.getMessage() for record in caplog.records] == [
        "out of memory: going on with batches of 4",
        "out of memory: going on with batches of 2",
    ]


def test_out_of_memory_for_one_photo_is_a_device_error():
    with pytest.raises(DeviceError, match="one photo"):
        Predictor(Constant(room=0), TEST_LITE, CPU, batch_size=2).predict([photo()])


@pytest.mark.parametrize(
    "text",
    [
        "[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory: you tried ...",
        "DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes.",
        "MPS backend out of memory (MPS allocated: 9 GB)",
    ],
)
def test_memory_that_runs_out_outside_cuda_is_known_by_its_words(text):
    with pytest.raises(DeviceError, match="one photo"):
        Predictor(Failing(RuntimeError(text)), TEST_LITE, CPU).predict([photo()])


def test_what_a_gpu_refuses_is_a_device_error_and_on_a_cpu_stays_what_it_is():
    broken = RuntimeError("CUDA error: unspecified launch failure\nCUDA kernel errors might be reported later")
    with pytest.raises(RuntimeError, match="launch failure"):
        Predictor(Failing(broken), TEST_LITE, CPU).predict([photo()])
    fault = device_fault(broken, torch.device("cuda"))
    assert fault is not None
    assert fault.message == "cuda failed: CUDA error: unspecified launch failure"


def test_a_photo_too_large_for_the_memory_of_the_cpu_is_a_memory_error(monkeypatch):
    def refuse(values, size):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(predictor_module, "upsampled", refuse)
    with pytest.raises(MemoryError):
        Predictor(Constant(), TEST_LITE, CPU).predict([photo()])


def test_out_of_memory_while_upsampling_falls_back_to_the_cpu(monkeypatch):
    real, calls = predictor_module.upsampled, []

    def tight(values, size):
        calls.append(size)
        if len(calls) == 1:
            raise torch.OutOfMemoryError("no room")
        return real(values, size)

    monkeypatch.setattr(predictor_module, "upsampled", tight)
    (result,) = Predictor(Constant(), TEST_LITE, CPU).predict([photo()])
    assert len(calls) == 2
    assert result.depth.shape == (90, 120)


def test_the_bundled_kind_of_network_also_computes_in_half_precision():
    model = create_model("m3d-test-lite")
    photo = to_canonical(np.full((40, 60, 3), 128, np.uint8), Camera.centred(60, 40, 50.0), TEST_LITE)
    full = Predictor(model, TEST_LITE, choose_compute("cpu", "fp32")).predict([photo])[0]
    half = Predictor(create_model("m3d-test-lite"), TEST_LITE, choose_compute("cpu", "bf16")).predict([photo])[0]
    assert model.focal_head is not None
    assert half.depth.dtype == np.float32
    assert np.allclose(half.depth, full.depth, rtol=0.05)
