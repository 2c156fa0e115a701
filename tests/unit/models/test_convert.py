"""Published tensor names to ours and back: every name of the five published checkpoints is accounted for."""

from __future__ import annotations

import pytest
import torch

from m3d_cli.errors import UsageError, WeightsError
from m3d_cli.models import create_model, load_weights
from m3d_cli.models.convert import official_names, to_official, to_own, unread_names
from m3d_cli.models.envelope import is_official, unwrapped
from m3d_cli.models.metric3d import build_network

PUBLISHED = ["convnext-tiny", "convnext-large", "vit-small", "vit-large", "vit-giant2"]
TINY = ["m3d-test-convnext", "m3d-test-vit"]
TWIN = "depth_model.decoder.context_feature_encoder.outputs08.1.0.downsample.1.weight"


def meta_state(manifest) -> dict[str, torch.Tensor]:
    return {key: torch.empty(shape, device="meta") for key, shape in manifest.shapes.items()}


def tiny_checkpoint(name: str) -> dict[str, torch.Tensor]:
    return to_official(name, create_model(name).state_dict())


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_published_name_is_one_of_our_tensors_or_on_the_list_of_optional_ones(name, manifests) -> None:
    manifest = manifests[name]
    ours = official_names(name)
    assert len(set(ours.values())) == len(ours)
    twins = {norm3 for norm3, _ in manifest.tied}
    assert set(manifest.shapes) == set(ours.values()) | twins | unread_names(name)
    counters = {key for key in manifest.shapes if key.endswith("num_batches_tracked")}
    assert set(manifest.optional) == unread_names(name) | counters


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_published_tensor_has_the_shape_of_ours(name, manifests) -> None:
    with torch.device("meta"):
        own = build_network(name).state_dict()
    converted = to_own(name, meta_state(manifests[name]))
    assert {key: value.shape for key, value in converted.items()} == {key: value.shape for key, value in own.items()}


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_checkpoint_without_its_optional_tensors_is_complete(name, manifests) -> None:
    manifest = manifests[name]
    lean = {key: value for key, value in meta_state(manifest).items() if key not in manifest.optional}
    assert to_own(name, lean).keys() == official_names(name).keys()


@pytest.mark.parametrize("name", PUBLISHED)
def test_back_and_forth_gives_the_very_same_tensors(name, manifests) -> None:
    manifest = manifests[name]
    state = meta_state(manifest)
    back = to_official(name, to_own(name, state))
    assert back.keys() == set(manifest.shapes) - unread_names(name)
    twins = dict(manifest.tied)
    assert all(value is state[twins.get(key, key)] for key, value in back.items())


@pytest.mark.parametrize("name", TINY)
def test_a_checkpoint_in_the_published_format_loads(name) -> None:
    model = create_model(name)
    own = model.state_dict()
    for value in model.state_dict().values():
        value.zero_()
    load_weights(model, {"model_state_dict": tiny_checkpoint(name)})
    fresh = create_model(name).state_dict()
    assert all(torch.equal(own[key], fresh[key]) for key in own)


def test_the_second_of_two_tied_names_counts_and_either_is_enough() -> None:
    state = tiny_checkpoint("m3d-test-vit")
    norm3 = TWIN.replace("downsample.1", "norm3")
    own = next(key for key, official in official_names("m3d-test-vit").items() if official == TWIN)
    differing = {**state, norm3: state[norm3] + 1}
    assert to_own("m3d-test-vit", differing)[own] is state[TWIN]
    for left_out in (TWIN, norm3):
        alone = {key: value for key, value in state.items() if key != left_out}
        assert torch.equal(to_own("m3d-test-vit", alone)[own], state[TWIN])
    neither = {key: value for key, value in state.items() if key not in (TWIN, norm3)}
    with pytest.raises(WeightsError, match=r"missing: depth_model\..*downsample\.1\.weight"):
        to_own("m3d-test-vit", neither)


def test_vit_giant2_may_bring_the_norm_it_does_not_use_and_vit_small_must_bring_it(manifests) -> None:
    norm = "depth_model.encoder.norm.weight"
    assert norm in unread_names("vit-giant2")
    state = meta_state(manifests["vit-small"])
    del state[norm]
    with pytest.raises(WeightsError, match=rf"missing: {norm}"):
        to_own("vit-small", state)


@pytest.mark.parametrize("name", TINY)
def test_the_first_five_missing_and_unexpected_names_are_told(name) -> None:
    state = tiny_checkpoint(name)
    # The gammas have neither twins nor a part among the optional names.
    lost = [key for key in state if key.endswith("patch_embed.proj.bias") or ".stages.0.0.gamma" in key]
    found = {key: value for key, value in state.items() if key not in lost}
    with pytest.raises(WeightsError, match=rf"missing: {lost[0]}\)"):
        to_own(name, found)
    extra = {f"depth_model.decoder.extra.{index}": torch.zeros(1) for index in range(7)}
    with pytest.raises(WeightsError, match=r"unexpected: .*extra\.0.*extra\.4 and 2 more"):
        to_own(name, {**state, **extra})


def test_a_wrong_shape_is_told_by_its_published_name() -> None:
    state = tiny_checkpoint("m3d-test-vit")
    state["depth_model.encoder.cls_token"] = torch.zeros(1, 1, 7)
    with pytest.raises(WeightsError, match=r"encoder\.cls_token \(1, 1, 7\) instead of \(1, 1, 48\)"):
        to_own("m3d-test-vit", state)


def test_own_tensors_that_are_not_all_there_are_not_written() -> None:
    own = dict(create_model("m3d-test-vit").state_dict())
    own.popitem()
    with pytest.raises(WeightsError, match="missing: decoder"):
        to_official("m3d-test-vit", own)


def test_published_names_are_told_from_ours() -> None:
    model = create_model("m3d-test-vit")
    assert is_official(to_official(model, model.state_dict()))
    assert not is_official(model.state_dict())


def test_a_network_of_our_own_has_no_published_names() -> None:
    with pytest.raises(UsageError, match="Lite has no published"):
        official_names(create_model("m3d-test-lite"))


@pytest.mark.parametrize("content", [3, [torch.zeros(1)], {"epoch": 3}, {"model_state_dict": {"a": "b"}}])
def test_what_is_no_dictionary_of_tensors_is_refused(content) -> None:
    with pytest.raises(WeightsError, match="not a"):
        unwrapped(content)
