"""Weights in 8 bits."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from m3d_cli.models import create_model, load_weights
from m3d_cli.models.compact import SCALE, compacted, expanded
from m3d_cli.models.weights import save_weights


def test_a_compacted_weight_is_off_by_half_a_step_of_its_row() -> None:
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(64, 80, 3, 3, generator=generator) * torch.logspace(-3, 1, 64)[:, None, None, None]
    weight[5] = 0
    restored = expanded(compacted({"a.weight": weight}))["a.weight"]
    step = weight.flatten(1).abs().amax(dim=1) / 127
    assert ((restored - weight).abs().flatten(1).amax(dim=1) <= step / 2 + 1e-7).all()
    assert torch.equal(restored[5], weight[5])


def test_small_tensors_and_vectors_stay_as_they_are() -> None:
    state = {"norm.weight": torch.rand(5000), "small.weight": torch.rand(4, 4), "count": torch.ones(100, 100).long()}
    assert compacted(state) == state


def test_a_compact_file_loads_like_any_other_and_is_smaller(tmp_path: Path) -> None:
    model = create_model("m3d-test-lite")
    save_weights(model, tmp_path / "plain.safetensors")
    save_weights(model, tmp_path / "compact.safetensors", compact=True)
    assert any(key.endswith(SCALE) for key in load_file(tmp_path / "compact.safetensors"))
    small, plain = ((tmp_path / f"{name}.safetensors").stat().st_size for name in ("compact", "plain"))
    assert small < 0.75 * plain
    picture = torch.rand(1, 3, 56, 84, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        before = model(picture).depth
        after = load_weights(create_model("m3d-test-lite"), tmp_path / "compact.safetensors")(picture).depth
    assert after == pytest.approx(before, rel=0.05)
    assert not torch.equal(before, after)
