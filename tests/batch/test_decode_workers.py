"""Processes that decode and write for one that has the network: the same files, whatever dies."""

from __future__ import annotations

import json
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from m3d_cli.camera import Camera
from m3d_cli.cli import app
from m3d_cli.depthmap import DepthMap
from m3d_cli.errors import DeviceError, OutputError
from m3d_cli.inference.engine import StreamEngine
from m3d_cli.inference.photo import Computed, Wanted, to_canonical
from m3d_cli.models.spec import TEST_LITE
from m3d_cli.pipeline import decode_workers as lending
from m3d_cli.pipeline import workers
from m3d_cli.pipeline.decode_workers import Block, BorrowedEngine, Lender, Question
from m3d_cli.pipeline.shared_engine import SharedEngine
from m3d_cli.pipeline.worker_processes import ProcessWorker

COUNT = 12
OPTIONS = ["--model", "m3d-test-lite", "--device", "cpu", "-q"]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(5)
    for index in range(COUNT):
        Image.fromarray(rng.integers(0, 255, (30 + 9 * index, 60, 3), dtype=np.uint8)).save(folder / f"{index}.png")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    return folder


@pytest.fixture
def helped(monkeypatch):
    """Runs of any length get two helpers."""
    monkeypatch.setattr(workers, "MANY_PHOTOS", 1)
    monkeypatch.setattr(StreamEngine, "helpers", 2)


def depth(photos, out, *more):
    return app.main(["depth", str(photos), "--out", str(out), *OPTIONS, *more])


class Unspeakable(Exception):
    """An error that cannot be made again from what it says, as a pipe would have to."""

    def __init__(self, one, two):
        super().__init__(f"{one} {two}")


class Twice:
    """An engine whose depth is twice the red of the photo's middle."""

    description, in_flight, helpers = "twice", 2, 0

    def compute(self, photo, wanted):
        if wanted.max_depth == 13:
            raise DeviceError("the device is lost")
        if wanted.max_depth == 14:
            raise Unspeakable("one", "two")
        camera = photo.camera
        values = np.full((camera.height, camera.width), 2 * photo.pixels[28, 42, 0], dtype=np.float32)
        return Computed(DepthMap(values, camera), 0.5, 0.25, "fp32", "torch")

    def focal(self, image, width, height):
        return float(image.sum()), width, height

    def close(self):
        pass


@pytest.fixture
def shared(monkeypatch, tmp_path):
    """Where blocks of memory are, which nobody opens."""
    monkeypatch.setattr(lending, "_SHARED", tmp_path)
    return tmp_path


@pytest.fixture
def borrowed():
    """An engine lent within this process."""
    lender, blocks = Lender(Twice()), {}
    engine = BorrowedEngine(lambda question: lender.answer(question, blocks, engine.answered), 2)
    yield engine
    lender.close()


def picture(value, width=84, height=56):
    image = np.full((height, width, 3), value, dtype=np.uint8)
    return to_canonical(image, Camera.centred(width, height, 60.0), TEST_LITE)


@pytest.mark.parametrize("formats", ["png", "png,npy,conf", "ply"])
def test_helpers_make_the_same_files_and_the_same_journal(formats, photos, tmp_path, helped, contents, facts, capsys):
    there = set(lending._SHARED.glob("m3d-*"))
    assert depth(photos, tmp_path / "helped", "--format", formats, "--json") == 3
    shared = [json.loads(line)["path"] for line in capsys.readouterr().out.splitlines()]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workers, "MANY_PHOTOS", COUNT + 2)
        assert depth(photos, tmp_path / "alone", "--format", formats, "--json") == 3
    assert shared == [json.loads(line)["path"] for line in capsys.readouterr().out.splitlines()]
    assert contents(tmp_path / "helped") == contents(tmp_path / "alone")
    assert facts(tmp_path / "helped") == facts(tmp_path / "alone")
    assert set(lending._SHARED.glob("m3d-*")) <= there


def test_a_photo_tells_its_focal_length_through_a_helper(photos, tmp_path, helped):
    assert depth(photos, tmp_path, "--focal", "estimate", "--exit-zero") == 0
    sidecar = json.loads((tmp_path / "3.json").read_text())
    assert sidecar["camera"]["focal_source"] == "estimated"


def test_a_helper_that_is_killed_loses_nothing(photos, tmp_path, helped, contents, monkeypatch):
    real, killed = ProcessWorker._hear, []

    def hear(self, answer):
        if not killed:
            killed.append(self._process.pid)
            os.kill(self._process.pid, signal.SIGKILL)
        real(self, answer)

    monkeypatch.setattr(ProcessWorker, "_hear", hear)
    assert depth(photos, tmp_path, "--exit-zero") == 0
    assert len(contents(tmp_path)) == 2 * COUNT
    assert killed


def test_a_finished_run_creates_no_engine(photos, tmp_path, helped, monkeypatch):
    (tmp_path / "list").write_text("\n".join(str(path) for path in photos.glob("*.png")))
    command = ["depth", "--files-from", str(tmp_path / "list"), "--out", str(tmp_path), *OPTIONS]
    assert app.main(command) == 0
    monkeypatch.setattr(SharedEngine, "get", lambda self: pytest.fail("nothing is left to do"))
    assert app.main(command) == 0


def test_an_engine_that_fails_ends_the_run(photos, tmp_path, helped, monkeypatch, capsys):
    def fail(self, photo, wanted):
        raise DeviceError("cuda failed: an illegal memory access")

    monkeypatch.setattr(StreamEngine, "compute", fail)
    assert depth(photos, tmp_path) == DeviceError.exit_code
    assert "illegal memory access" in capsys.readouterr().err


def test_answers_go_to_who_asked(borrowed):
    def corner(value):
        return borrowed.compute(picture(value, 84 + value), Wanted()).depth.depth[0, -1]

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(corner, range(99))) == [2 * value for value in range(99)]
    assert borrowed.focal(np.ones((4, 5, 3), np.uint8)[:, ::2], 7, 8) == (36.0, 7, 8)


def test_what_the_engine_raises_comes_out(borrowed):
    with pytest.raises(DeviceError, match="is lost"):
        borrowed.compute(picture(1), Wanted(max_depth=13))


def test_an_error_that_no_pipe_carries_comes_out_in_words(borrowed):
    with pytest.raises(RuntimeError, match="Unspeakable: one two"):
        borrowed.compute(picture(1), Wanted(max_depth=14))


def test_a_block_that_cannot_be_opened_is_told_to_who_asked(shared):
    lender, replies = Lender(Twice()), []
    block = Block.create(10)
    block.path.unlink()
    lender.answer(Question(1, block.path, "focal", block.put((np.ones(3), 1, 1))), {}, replies.append)
    lender.close()
    assert "FileNotFoundError" in str(replies[0].error)


def test_nobody_waits_for_an_engine_that_is_gone(shared):
    asked = threading.Event()
    engine = BorrowedEngine(lambda question: asked.set(), 1)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(engine.compute, picture(1), Wanted())
        asked.wait()
        engine.lost()
        with pytest.raises(DeviceError, match="gone"):
            waiting.result()
    with pytest.raises(DeviceError, match="gone"):
        engine.focal(np.ones((4, 5, 3), np.uint8), 7, 8)


def test_what_a_block_does_not_hold_goes_the_slow_way(shared):
    block = Block.create(1)
    for size in (10, block.size // 4, block.size):
        array = np.random.default_rng(0).random(size).astype(np.float32)
        found = block.get(block.put({"array": array, "name": "it"}))
        np.testing.assert_array_equal(found["array"], array)
        assert found["name"] == "it"


def test_without_room_in_memory_a_block_is_a_file(monkeypatch, tmp_path):
    real = os.posix_fallocate

    def full(descriptor, offset, size):
        if Path(f"/proc/self/fd/{descriptor}").readlink().is_relative_to(lending._SHARED):
            raise OSError(28, "No space left on device")
        real(descriptor, offset, size)

    monkeypatch.setattr(os, "posix_fallocate", full)
    monkeypatch.setattr(lending.tempfile, "tempdir", str(tmp_path))
    block = Block.create(10)
    assert block.path.parent == tmp_path
    other = Block.opened(block.path)
    assert not block.path.exists()
    parcel = block.put(np.arange(5))
    np.testing.assert_array_equal(other.get(parcel), np.arange(5))


def test_without_any_room_the_photo_fails_with_the_reason(monkeypatch, shared):
    def full(descriptor, offset, size):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OutputError, match=r"no room for 4 MB .*No space left") as caught:
        Block.create(10)
    assert str(shared) in caught.value.hint
    assert not list(shared.iterdir())
