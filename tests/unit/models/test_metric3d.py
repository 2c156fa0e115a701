"""The published networks against golden outputs of the published code, and what every caller may rely on.

Tolerances, fp32 on a CPU: depth 1e-4 relative, confidence, normals and kappa 1e-3 absolute. The larger networks run
with ``pytest -m slow``; vit-giant2 alone (12 GB of memory) with ``pytest -m slow -k giant2``.
"""

from __future__ import annotations

import os
from itertools import pairwise

import cv2
import numpy as np
import pytest
import torch

from m3d_cli.camera import Camera
from m3d_cli.errors import UsageError
from m3d_cli.inference.device import Compute
from m3d_cli.inference.photo import to_canonical
from m3d_cli.inference.predictor import Predictor
from m3d_cli.models import create_model, load_weights
from m3d_cli.models.encoders import VitEncoder, VitShape
from m3d_cli.models.metric3d import ARCHITECTURES, build_network
from m3d_cli.models.raft_dpt import convex_upsampled
from m3d_cli.models.spec import SPECS, model_spec

DEPTH_RTOL = 1e-4
OTHERS_ATOL = 1e-3
# Features pass through more layers than the outputs that are compared at 1e-3; their size is up to 10.
STAGE_ATOL = 2e-4
METRIC_RTOL = 1e-4

TINY = ["m3d-test-convnext", "m3d-test-vit"]
GIANT_BYTES = 12e9
LARGE = [
    pytest.param("convnext-large", marks=pytest.mark.slow),
    pytest.param("vit-large", marks=pytest.mark.slow),
]


def loaded(name, official_state) -> torch.nn.Module:
    """The network on the deterministic weights, in the memory of one copy of them."""
    with torch.device("meta"):
        model = build_network(name)
    return load_weights(model, official_state(name)).eval()


def assert_close(name, found, wanted, stride, **tolerance) -> None:
    found = found.float().numpy()[..., ::stride, ::stride]
    np.testing.assert_allclose(found, wanted, err_msg=name, **tolerance)


def assert_golden(prediction, golden) -> None:
    stride = golden["meta"]["stride"]
    assert_close("depth", prediction.depth, golden["out/depth"], stride, rtol=DEPTH_RTOL, atol=0)
    assert_close("confidence", prediction.confidence, golden["out/confidence"], stride, rtol=0, atol=OTHERS_ATOL)
    if "out/normal" not in golden:
        assert prediction.normals is prediction.normal_kappa is None
        return
    wanted = golden["out/normal"]
    assert_close("normals", prediction.normals, wanted[:, :3], stride, rtol=0, atol=OTHERS_ATOL)
    assert_close("kappa", prediction.normal_kappa, wanted[:, 3:], stride, rtol=0, atol=OTHERS_ATOL)


def pictures(name, count, seed=5) -> torch.Tensor:
    canonical = model_spec(name).canonical
    generator = torch.Generator().manual_seed(seed)
    return torch.randn((count, 3, canonical.height, canonical.width), generator=generator)


@pytest.mark.parametrize("name", ["convnext-tiny", "vit-small", *LARGE])
def test_outputs_are_those_of_the_published_code(name, official_state, golden, golden_input) -> None:
    model = loaded(name, official_state)
    with torch.inference_mode():
        assert_golden(model(golden_input(name)), golden(name, "tensor"))


@pytest.mark.slow
@pytest.mark.skipif(
    os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") < GIANT_BYTES, reason="needs 12 GB of memory"
)
def test_outputs_of_vit_giant2_are_those_of_the_published_code(official_state, golden, golden_input) -> None:
    model = loaded("vit-giant2", official_state)
    with torch.inference_mode():
        assert_golden(model(golden_input("vit-giant2")), golden("vit-giant2", "tensor"))


@pytest.mark.parametrize("name", ["convnext-tiny", "vit-small", *LARGE])
def test_a_photo_gives_the_metres_of_the_published_code(name, official_state, golden, nyu_photo) -> None:
    """The whole way through our own pre- and post-processing, against the published command-line tool."""
    wanted = golden(name, "nyu")
    image = cv2.cvtColor(cv2.imread(str(nyu_photo)), cv2.COLOR_BGR2RGB)
    # The published focal length of this image is (fx + fy) / 2; its principal point does not enter depth.
    camera = Camera(image.shape[1], image.shape[0], *wanted["meta"]["intrinsic"])
    photo = to_canonical(image, camera, model_spec(name))
    top, _, left, _ = wanted["meta"]["pad"]
    assert (photo.transform.pad_top, photo.transform.pad_left) == (top, left)
    predictor = Predictor(loaded(name, official_state), model_spec(name), Compute(torch.device("cpu"), "fp32"))
    prediction = predictor.canonical([photo])
    assert_golden(prediction, wanted)
    metres = predictor.finish(prediction, 0, photo).depth
    # Another release of OpenCV may resize or decode one grey level apart, which moves depth by more than this.
    np.testing.assert_allclose(metres[::8, ::8], wanted["out/metric"], rtol=METRIC_RTOL)
    assert metres.mean() == pytest.approx(wanted["out/metric/stats"][0], rel=METRIC_RTOL)
    on_numpy = photo.transform.invert(prediction.depth[0, 0].numpy())
    np.testing.assert_allclose(on_numpy, metres, rtol=METRIC_RTOL)


def test_encoder_and_fusion_are_those_of_the_published_code(official_state, golden, golden_input) -> None:
    model = loaded("vit-small", official_state)
    wanted = golden("vit-small", "tensor")
    with torch.inference_mode():
        tokens = model.encoder(golden_input("vit-small"))
        features, confidences = model.decoder.fusion(model.decoder.reader(tokens))
        estimates = [estimate.geometry for estimate in model.decoder.estimates(tokens)]
    assert_samples(tokens.readings[0], wanted["stage/encoder.0/samples"])
    assert_samples(torch.cat([features, confidences], dim=1), wanted["stage/decoder_mono/samples"])
    for iteration, (before, after) in enumerate(pairwise(estimates)):
        assert_samples(after - before, wanted[f"stage/delta_flow.iter{iteration}/samples"])


def test_stages_and_pyramid_are_those_of_the_published_code(official_state, golden, golden_input) -> None:
    model = loaded("convnext-tiny", official_state)
    wanted = golden("convnext-tiny", "tensor")
    with torch.inference_mode():
        features = model.encoder(golden_input("convnext-tiny"))
        pyramid = model.decoder.pyramid(features)
        unet = model.decoder.unet(pyramid)
    for stage, feature in enumerate(features):
        assert_samples(feature, wanted[f"stage/encoder.{stage}/samples"])
    assert_samples(pyramid, wanted["stage/decoder_mono/samples"])
    assert_samples(unet, wanted["stage/conv_out_2/samples"])


def assert_samples(found, wanted) -> None:
    flat = found.contiguous().flatten()
    samples = flat[:: flat.numel() // 64][:64].numpy()
    np.testing.assert_allclose(samples, wanted, rtol=0, atol=STAGE_ATOL)


@pytest.mark.parametrize("name", TINY)
def test_a_prediction_is_complete_finite_and_of_the_inputs_size(name) -> None:
    with torch.inference_mode():
        prediction = create_model(name)(pictures(name, 2))
    canonical = model_spec(name).canonical
    size = (2, 1, canonical.height, canonical.width)
    assert prediction.depth.shape == prediction.confidence.shape == size
    assert prediction.depth.isfinite().all()
    assert prediction.confidence.isfinite().all()
    assert (prediction.normals is None) == (name == "m3d-test-convnext")
    if prediction.normals is not None:
        assert prediction.normals.shape == (2, 3, *size[2:])
        assert prediction.normal_kappa.shape == size
        assert torch.allclose(prediction.normals.norm(dim=1), torch.ones(()), atol=1e-5)
        assert float(prediction.normal_kappa.min()) > 0.01
        assert 0.1 <= float(prediction.depth.min()) <= float(prediction.depth.max()) <= 200


@pytest.mark.parametrize("name", TINY)
def test_a_batch_of_any_size_may_follow_any_other(name) -> None:
    model = create_model(name)
    x = pictures(name, 4)
    with torch.inference_mode():
        batches = {count: model(x[:count]) for count in (2, 1, 4, 3)}
    for count, batch in batches.items():
        assert torch.allclose(batch.depth, batches[4].depth[:count], rtol=1e-5)
        assert torch.allclose(batch.confidence, batches[4].confidence[:count], atol=1e-5)


@pytest.mark.parametrize(("name", "sizes"), [(TINY[0], [(32, 64), (96, 32)]), (TINY[1], [(28, 84), (112, 28)])])
def test_any_size_in_whole_steps_goes_through(name, sizes) -> None:
    model = create_model(name)
    with torch.inference_mode():
        for size in sizes:
            assert model(torch.zeros(1, 3, *size)).depth.shape == (1, 1, *size)


@pytest.mark.parametrize(
    "shape", [(1, 3, 56, 70), (1, 3, 70, 84), (1, 4, 224, 224), (3, 224, 224), (1, 3, 0, 224), (1, 3, 40, 64)]
)
@pytest.mark.parametrize(("name", "step"), [(TINY[0], 32), (TINY[1], 28)])
def test_other_shapes_are_refused_with_what_is_taken(name, step, shape) -> None:
    with pytest.raises(UsageError, match=rf"{name} takes \(B, 3, H, W\) .* multiples of {step}, got"):
        create_model(name)(torch.zeros(shape))


@pytest.mark.parametrize("name", TINY)
def test_half_precision_and_other_memory_formats_compute_nearly_the_same(name) -> None:
    x = pictures(name, 2)
    with torch.inference_mode():
        wanted = create_model(name)(x).depth
        last = create_model(name).to(memory_format=torch.channels_last)(x.to(memory_format=torch.channels_last)).depth
        half = create_model(name).bfloat16()(x.bfloat16())
        with torch.autocast("cpu", dtype=torch.bfloat16):
            autocast = create_model(name)(x)
    assert torch.allclose(last, wanted, rtol=1e-4)
    for prediction in (half, autocast):
        assert prediction.depth.dtype == prediction.confidence.dtype == torch.float32
        assert torch.allclose(prediction.depth, wanted, rtol=0.05)


@pytest.mark.parametrize("name", TINY)
def test_gradients_reach_every_tensor(name) -> None:
    model = create_model(name).train()
    prediction = model(pictures(name, 2))
    total = prediction.depth.mean() + prediction.confidence.mean()
    if prediction.normals is not None:
        total = total + prediction.normals[:, 0].mean() + prediction.normal_kappa.mean()
    total.backward()
    idle = [key for key, parameter in model.named_parameters() if parameter.grad is None]
    assert idle == []


def test_all_iterations_are_there_for_training() -> None:
    model = create_model("m3d-test-vit")
    with torch.inference_mode():
        estimates = list(model.decoder.estimates(model.encoder(pictures("m3d-test-vit", 1))))
        last = model.decoder.full_size(estimates[-1])
        whole = model(pictures("m3d-test-vit", 1))
    assert len(estimates) == 1 + model.decoder.iterations
    assert torch.equal(last.depth, whole.depth)


def test_a_network_with_taps_hands_on_raw_blocks() -> None:
    encoder = VitEncoder(VitShape(blocks=4, width=48, heads=3, hidden=64, gated=True, taps=(1, 2, 3, 4))).eval()
    x = torch.randn(1, 3, 28, 56)
    with torch.inference_mode():
        tokens = encoder(x)
        expected = encoder.embed(x)
        for block, reading in zip(encoder.blocks, tokens.readings, strict=True):
            expected = block(expected)
            assert torch.equal(reading, expected)


def test_convex_upsampling_with_one_sure_tap_copies_it() -> None:
    """All weight on the tap one row up: every sub-pixel is the pixel above, and 0 beyond the border."""
    x = torch.arange(12.0).reshape(1, 1, 3, 4)
    logits = torch.full((1, 9, 16, 3, 4), -1e4)
    logits[:, 1] = 0
    up = convex_upsampled(x, logits.flatten(1, 2))
    assert torch.equal(up[..., :4, :], torch.zeros(1, 1, 4, 16))
    assert torch.equal(up[..., 4:, :], x[..., :2, :].repeat_interleave(4, dim=2).repeat_interleave(4, dim=3))


def test_networks_to_be_loaded_take_neither_time_nor_numbers() -> None:
    model = create_model("vit-small")
    assert model.name == "vit-small"
    assert not model.training
    assert all(not value.any() for value in model.state_dict().values())


@pytest.mark.parametrize("name", list(ARCHITECTURES))
def test_every_architecture_has_a_spec_that_fits_it(name) -> None:
    spec = SPECS[name]
    step = 28 if "vit" in name else 32
    assert spec.canonical.height % step == spec.canonical.width % step == 0
    assert spec.has_normals == ("vit" in name)
    assert not spec.canonical.antialias
