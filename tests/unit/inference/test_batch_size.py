"""Photos a batch: grown while it pays, bounded by memory, tried once and remembered."""

from __future__ import annotations

import json

import pytest

from m3d_cli.cli import app
from m3d_cli.inference import batch_size
from m3d_cli.inference.batch_size import LARGEST, best_batch, tuned_batch
from m3d_cli.inference.device import choose_compute
from m3d_cli.inference.predictor import Predictor
from m3d_cli.models import create_model
from m3d_cli.models.spec import TEST_LITE


@pytest.fixture
def predictor(tmp_path, monkeypatch):
    monkeypatch.setenv("M3D_CACHE", str(tmp_path / "cache"))
    return Predictor(create_model("m3d-test-lite"), TEST_LITE, choose_compute("cpu"), batch_size=3)


def test_a_batch_grows_while_that_makes_photos_faster():
    assert best_batch(lambda size: 1.0 + 0.5 * size) == 32
    assert best_batch(lambda size: 0.1 * size) == 1
    assert best_batch(lambda size: 1.0) == LARGEST


def test_a_batch_stays_within_the_memory():
    def seconds(size):
        if size > 8:
            raise MemoryError
        return 1.0

    assert best_batch(seconds) == 8


def test_the_size_is_tried_once_and_remembered(predictor, tmp_path, monkeypatch):
    tried = []
    monkeypatch.setattr(batch_size, "_seconds", lambda _, size: tried.append(size) or 1.0 + 0.2 * size)
    first = tuned_batch(predictor)
    count = len(tried)
    assert count > 2
    assert tuned_batch(predictor) == first
    assert len(tried) == count
    (path,) = (tmp_path / "cache").iterdir()
    for damaged in ("{", "[]", '{"a": "b"}', json.dumps(dict.fromkeys(json.loads(path.read_text()), 10**6))):
        path.write_text(damaged)
        assert tuned_batch(predictor) == first


def test_real_batches_are_timed_and_the_predictor_is_left_as_it_was(predictor):
    assert 0 < batch_size._seconds(predictor, 2) < 10
    assert predictor.batch_size == 3


@pytest.mark.parametrize("text", ["0", "-1", "many", "1.5", ""])
def test_a_batch_size_that_is_none_is_refused_before_anything_starts(text, tmp_path):
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    assert app.main(["depth", str(tmp_path / "a.png"), "--out", str(tmp_path / "out"), "--batch-size", text]) == 2
    assert not (tmp_path / "out").exists()
