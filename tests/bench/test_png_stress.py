"""The stress of the PNG encoder: a short run finds no difference, and each kind of difference would be found."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def png_stress():
    spec = importlib.util.spec_from_file_location("png_stress", ROOT / "bench" / "png_stress.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["png_stress"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["png_stress"]


def test_two_thousand_encodes_in_four_threads_are_equal(png_stress) -> None:
    tally = png_stress.stress(2000, 4, longest=160)
    assert tally.encodes == 2000
    assert not tally.differences


@pytest.mark.slow
def test_a_hundred_thousand_encodes_in_four_threads_are_equal(png_stress) -> None:
    assert not png_stress.stress(100_000, 4).differences


@pytest.mark.parametrize(
    ("replaced", "kind"),
    [("level", "bytes of equal pixels"), ("pixels", "pixels"), ("steps", "steps")],
)
def test_every_kind_of_difference_is_found(png_stress, monkeypatch, replaced, kind) -> None:
    (depth,) = png_stress.depth_maps(1, 64, seed=3)
    reference = png_stress.reference_of(depth)
    assert png_stress.differences(reference) == []
    encode, quantise = png_stress.encode_steps, png_stress.quantise
    if replaced == "level":
        monkeypatch.setattr("m3d_cli.formats.png16._LEVEL", 0)
    elif replaced == "pixels":
        monkeypatch.setattr(png_stress, "encode_steps", lambda values, scale: encode(values + 1, scale))
    else:
        monkeypatch.setattr(png_stress, "quantise", lambda depth, scale: quantise(depth + 1, scale))
    assert png_stress.differences(reference) == [kind]
