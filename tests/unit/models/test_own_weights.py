"""Whose weights a network has: the published ones carry figures, others their own name and what they state."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from m3d_cli.errors import WeightsError
from m3d_cli.models.create import TEST_CONFIG, create_model, open_model
from m3d_cli.models.lite import Lite
from m3d_cli.models.own_weights import announced_network, choose_network, chosen_name, metadata_for, stated_by
from m3d_cli.models.registry import BUNDLED, sha256_of
from m3d_cli.models.spec import LITE, TEST_LITE
from m3d_cli.models.weights import save_weights
from m3d_cli.reporter import Silent

CANONICAL = dataclasses.replace(TEST_LITE.canonical, focal=90.0, height=42, width=70)


class Notes(Silent):
    def __init__(self) -> None:
        self.texts: list[str] = []

    def say(self, text: str) -> None:
        self.texts.append(text)

    warn = say


def saved(path: Path, **more: object) -> Path:
    save_weights(create_model("m3d-test-lite"), path, **more)  # type: ignore[arg-type]
    return path


def test_the_bundled_bytes_keep_their_figures_under_any_name(tmp_path: Path) -> None:
    copied = tmp_path / "mine.safetensors"
    copied.write_bytes(BUNDLED["lite"].path.read_bytes())
    for local in (None, copied):
        spec, _ = choose_network("lite", local)
        assert spec == LITE
        assert spec.label == "lite"


def test_other_weights_have_no_error_model_and_their_own_name(tmp_path: Path) -> None:
    changed = bytearray(BUNDLED["lite"].path.read_bytes())
    changed[-1] ^= 1
    mine = tmp_path / "mine.safetensors"
    mine.write_bytes(changed)
    notes = Notes()
    spec, chosen = announced_network("lite", mine, notes)
    assert not spec.errors.errors_known
    assert spec.errors.scale_sigma != LITE.errors.scale_sigma
    assert spec.label == "mine.safetensors (lite)"
    assert spec.accuracy == "not measured"
    assert spec.licence == "as you have it"
    assert chosen.sha256 == sha256_of(mine)
    (text,) = notes.texts
    assert f"lite with {mine}, whose errors were not measured; its canonical camera is taken to be lite's" in text


def test_a_file_of_m3d_states_its_network_and_canonical_camera(tmp_path: Path) -> None:
    trained = Lite(dataclasses.replace(TEST_CONFIG, height=42, width=70))
    path = tmp_path / "mine.safetensors"
    save_weights(trained, path, metadata=metadata_for("m3d-test-lite", CANONICAL))
    assert chosen_name(None, path) == ("m3d-test-lite", "")
    spec, chosen = choose_network("m3d-test-lite", path)
    assert spec.canonical == CANONICAL
    network = open_model(spec, chosen)
    with torch.inference_mode():
        assert network(torch.zeros(1, 3, 42, 70)).depth.shape[-2:] == (42, 70)
    notes = Notes()
    announced_network(None, path, notes)
    assert "canonical camera" not in notes.texts[0]


@pytest.mark.parametrize(
    "stated",
    ["", "{", "[1]", '{"focal": 1e400, "height": 56, "width": 84}', '{"focal": 60, "height": -1, "width": 1}'],
)
def test_an_impossible_canonical_camera_is_not_taken(tmp_path: Path, stated: str) -> None:
    path = saved(tmp_path / "a.safetensors", metadata={"m3d:network": stated})
    assert choose_network("m3d-test-lite", path)[0].canonical == TEST_LITE.canonical


def test_an_input_that_is_no_multiple_of_the_patch_is_refused_by_name(tmp_path: Path) -> None:
    odd = dataclasses.replace(TEST_LITE.canonical, height=57)
    path = saved(tmp_path / "a.safetensors", metadata=metadata_for("m3d-test-lite", odd))
    with pytest.raises(WeightsError, match=r"a\.safetensors: states an input of 84 x 57"):
        open_model(*choose_network("m3d-test-lite", path))


@pytest.mark.parametrize("data", [b"", b"\xff" * 8, b"\x02\0\0\0\0\0\0\0[]", b'\x09\0\0\0\0\0\0\0{"a": 1}'])
def test_files_without_a_readable_header_state_nothing(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(data)
    assert stated_by(path) == {}
