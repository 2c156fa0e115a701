from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from m3d_cli.errors import WeightsError
from m3d_cli.models import create_model, load_weights
from m3d_cli.models.convert import to_official
from m3d_cli.models.create import load_model
from m3d_cli.models.install import place
from m3d_cli.models.metric3d import build_network
from m3d_cli.models.registry import WeightsFile, choose_weights, sha256_of, verify
from m3d_cli.models.spec import model_spec
from m3d_cli.models.store import writing
from m3d_cli.models.weights import save_weights


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.safetensors"
    save_weights(create_model("m3d-test-lite"), path)
    return path


def test_weights_come_back_to_half_precision(saved: Path) -> None:
    original = create_model("m3d-test-lite").state_dict()
    loaded = load_model("m3d-test-lite", saved).state_dict()
    for key, value in original.items():
        assert loaded[key].dtype == torch.float32
        assert torch.equal(loaded[key], value.half().float())


def test_a_file_is_verified_by_size_and_checksum(saved: Path) -> None:
    size, digest = saved.stat().st_size, sha256_of(saved)
    verify(WeightsFile("tiny", saved, size, digest))
    with pytest.raises(WeightsError, match=f"expected {size + 1}"):
        verify(WeightsFile("tiny", saved, size + 1, digest))
    with pytest.raises(WeightsError, match="checksum"):
        verify(WeightsFile("tiny", saved, size, "0" * 64))
    with pytest.raises(WeightsError, match="not installed"):
        verify(WeightsFile("tiny", saved.with_name("none"), size, digest))


def test_a_truncated_file_is_named(saved: Path) -> None:
    saved.write_bytes(saved.read_bytes()[:-1000])
    with pytest.raises(WeightsError, match=r"tiny\.safetensors: the weights cannot be read"):
        load_weights(create_model("m3d-test-lite"), saved)


def test_what_a_file_is_its_bytes_tell_not_its_name(saved: Path) -> None:
    state = load_model("m3d-test-lite", saved).state_dict()
    torch.save(state, saved)
    loaded = load_weights(create_model("m3d-test-lite"), saved)
    assert all(torch.equal(value, state[key]) for key, value in loaded.state_dict().items())
    saved.write_bytes(b"\x80\x02nothing like it")
    with pytest.raises(WeightsError, match="a bare pickle is refused"):
        load_weights(create_model("m3d-test-lite"), saved)


def test_published_names_do_not_fit_a_network_of_our_own() -> None:
    with pytest.raises(WeightsError, match=r"state dict: .* has no published tensor names"):
        load_weights(create_model("m3d-test-lite"), {"depth_model.encoder.x": torch.zeros(1)})


def test_a_network_on_the_meta_device_takes_the_files_tensors(tmp_path: Path) -> None:
    expected = build_network("m3d-test-convnext").eval()
    path = tmp_path / "own.safetensors"
    save_file(expected.state_dict(), path)
    with torch.device("meta"):
        empty = build_network("m3d-test-convnext").eval()
    load_weights(empty, path)
    picture = torch.rand(2, 3, 64, 96)
    with torch.inference_mode():
        assert torch.equal(empty(picture).depth, expected(picture).depth)


def test_a_refused_file_leaves_the_network_as_it_was(saved: Path) -> None:
    model = build_network("m3d-test-convnext")
    before = {key: value.clone() for key, value in model.state_dict().items()}
    state = {**to_official("m3d-test-convnext", before), "depth_model.extra": torch.zeros(1)}
    with pytest.raises(WeightsError, match=r"depth_model\.extra"):
        load_weights(model, {"model_state_dict": state})
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    del state["depth_model.extra"]
    load_weights(model, {"model_state_dict": state})


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"gone\.safetensors"):
        load_weights(create_model("m3d-test-lite"), tmp_path / "gone.safetensors")


def test_installed_weights_are_opened_from_where_they_lie(tmp_path: Path) -> None:
    expected = build_network("m3d-test-vit").eval()
    checkpoint = tmp_path / "mine.pth"
    torch.save({"model_state_dict": to_official("m3d-test-vit", expected.state_dict())}, checkpoint)
    with writing("m3d-test-vit", print) as folder:
        part = folder / "new.part"
        part.write_bytes(checkpoint.read_bytes())
        installed = place("m3d-test-vit", part, sha256_of(checkpoint), checkpoint.name)
    from_store, from_file = load_model("m3d-test-vit"), load_model("m3d-test-vit", checkpoint)
    assert choose_weights(model_spec("m3d-test-vit")).path == installed.path
    for key, value in expected.state_dict().items():
        assert torch.equal(from_store.state_dict()[key], value)
        assert torch.equal(from_file.state_dict()[key], value)
    picture = torch.rand(1, 3, 56, 84)
    with torch.inference_mode():
        # Some processors round sums differently where weights lie elsewhere in memory, as mapped ones do.
        assert torch.allclose(from_store(picture).depth, expected(picture).depth, rtol=1e-5)
