from pathlib import Path

import pytest
import torch

from m3d_cli.errors import WeightsError
from m3d_cli.models import create_model, load_weights
from m3d_cli.models.create import load_model
from m3d_cli.models.registry import WeightsFile, sha256_of, verify
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
    with pytest.raises(WeightsError, match=r"tiny\.safetensors: not a readable"):
        load_weights(create_model("m3d-test-lite"), saved)


def test_a_pickle_is_never_read(saved: Path) -> None:
    torch.save({"x": torch.zeros(1)}, saved)
    with pytest.raises(WeightsError, match="not a readable safetensors file"):
        load_weights(create_model("m3d-test-lite"), saved)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"gone\.safetensors"):
        load_weights(create_model("m3d-test-lite"), tmp_path / "gone.safetensors")
