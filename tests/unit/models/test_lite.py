import math

import pytest
import torch
import torch.nn.functional as F

from m3d_cli.errors import UsageError, WeightsError
from m3d_cli.models import create_model, load_weights
from m3d_cli.models.lite import Lite, LiteConfig, LiteDecoder
from m3d_cli.models.spec import LITE, TEST_LITE, model_spec


@pytest.fixture(scope="module")
def tiny() -> Lite:
    model = create_model("m3d-test-lite")
    assert isinstance(model, Lite)
    return model


def pictures(model: Lite, count: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(4)
    return torch.randn((count, 3, model.config.height, model.config.width), generator=generator)


def test_a_prediction_has_the_inputs_size_and_stays_in_the_networks_range(tiny: Lite) -> None:
    with torch.inference_mode():
        prediction = tiny(20 * pictures(tiny, 2))
    size = (2, 1, tiny.config.height, tiny.config.width)
    assert prediction.depth.shape == prediction.confidence.shape == size
    assert float(prediction.depth.min()) >= tiny.config.min_depth * 0.999
    assert float(prediction.depth.max()) <= tiny.config.max_depth * 1.001
    assert 0 <= float(prediction.confidence.min()) <= float(prediction.confidence.max()) <= 1
    assert prediction.normals is None


def test_a_picture_alone_and_in_a_batch_of_any_size_gives_the_same(tiny: Lite) -> None:
    x = pictures(tiny, 5)
    with torch.inference_mode():
        together = tiny(x).depth
        alone = torch.cat([tiny(one[None]).depth for one in x])
        pairs = tiny(x[:2]).depth
    assert torch.allclose(together, alone, rtol=1e-4)
    assert torch.allclose(together[:2], pairs, rtol=1e-4)


def test_another_input_size_is_refused_by_name_of_the_right_one(tiny: Lite) -> None:
    with pytest.raises(UsageError, match=r"\(B, 3, 56, 84\), got \(1, 3, 56, 70\)"):
        tiny(torch.zeros(1, 3, 56, 70))


def test_certain_bins_give_their_own_depth(tiny: Lite) -> None:
    """The expectation over bins, worked out by hand: all weight on one bin is that bin's depth everywhere."""
    decoder = create_model("m3d-test-lite").decoder
    with torch.no_grad():
        decoder.bins[1].weight.zero_()
        decoder.bins[1].bias.fill_(-1e4)
        decoder.bins[1].bias[7] = 1e4
        decoder.refine.weight.zero_()
        decoder.refine.bias.zero_()
    model = create_model("m3d-test-lite")
    model.decoder = decoder
    with torch.inference_mode():
        prediction = model(pictures(tiny, 1))
    low, high = math.log(tiny.config.min_depth), math.log(tiny.config.max_depth)
    expected = math.exp(low + 7 / (tiny.config.bins - 1) * (high - low))
    assert torch.allclose(prediction.depth, torch.tensor(expected), rtol=1e-4)
    assert torch.allclose(prediction.confidence, torch.tensor(0.5))


def test_the_test_network_is_the_same_every_time_and_leaves_torchs_seed_alone() -> None:
    torch.manual_seed(11)
    before = torch.rand(1)
    torch.manual_seed(11)
    first, second = create_model("m3d-test-lite").state_dict(), create_model("m3d-test-lite").state_dict()
    assert torch.equal(torch.rand(1), before)
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_an_unknown_model_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"one of .*lite, .*vit-small"):
        model_spec("light")


def test_every_spec_matches_its_network() -> None:
    for spec in (LITE, TEST_LITE):
        model = create_model(spec.name)
        assert isinstance(model, Lite)
        assert (spec.canonical.height, spec.canonical.width) == (model.config.height, model.config.width)
        assert model.config.min_depth <= spec.depth_range[0] < spec.depth_range[1] < model.config.max_depth
        assert spec.canonical.height % model.config.patch == spec.canonical.width % model.config.patch == 0


@pytest.mark.parametrize("change", ["missing", "extra", "shape"])
def test_weights_that_do_not_fit_are_refused_by_tensor_name(tiny: Lite, change: str) -> None:
    state = dict(tiny.state_dict())
    if change == "missing":
        del state["decoder.refine.weight"]
    if change == "extra":
        state["decoder.refine.gain"] = torch.zeros(1)
    if change == "shape":
        state["decoder.refine.weight"] = torch.zeros(3)
    with pytest.raises(WeightsError, match=r"decoder\.refine\."):
        load_weights(create_model("m3d-test-lite"), state)


def test_the_small_picture_is_the_antialiased_resize_of_the_large_one():
    decoder = LiteDecoder(LiteConfig())
    picture = torch.rand(2, 3, 252, 336)
    wanted = F.interpolate(picture, (144, 192), mode="bilinear", align_corners=False, antialias=True)
    assert torch.equal(decoder.train().shrunk(picture), wanted)
    assert torch.allclose(decoder.eval().shrunk(picture), wanted, atol=1e-5)
