"""A run with a pretended engine: order, bounds, failures, and stopping."""

from __future__ import annotations

import json
import threading
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from m3d_cli.depthmap import DepthMap
from m3d_cli.errors import DeviceError, UsageError
from m3d_cli.inference.photo import Computed, available_cores
from m3d_cli.intrinsics.ladder import UserFocal
from m3d_cli.models.registry import choose_weights
from m3d_cli.models.spec import TEST_LITE
from m3d_cli.photos.discover import discover
from m3d_cli.photos.load import CameraSources
from m3d_cli.pipeline.journal import JOURNAL_NAME, Journal, Status
from m3d_cli.pipeline.plan import OutputFormat, plan
from m3d_cli.pipeline.process_photo import DepthWork
from m3d_cli.pipeline.resume import share_focal, tasks
from m3d_cli.pipeline.run_context import RunContext
from m3d_cli.pipeline.runner import WAITING_OUTCOMES, run
from m3d_cli.pipeline.settings import Settings
from m3d_cli.pipeline.shared_engine import SharedEngine
from m3d_cli.pipeline.workers import threads

SETTINGS = Settings(TEST_LITE, choose_weights(TEST_LITE))


class Pretended:
    """An engine that answers at once and counts how many photos it sees at a time."""

    description = "pretended"
    in_flight = 3

    def __init__(self, hook=lambda number: None):
        self.hook = hook
        self.started = 0
        self.busy = 0
        self.most_busy = 0
        self.is_closed = False
        self._guard = threading.Lock()

    def compute(self, photo, wanted):
        with self._guard:
            self.started += 1
            number = self.started
            self.busy += 1
            self.most_busy = max(self.most_busy, self.busy)
        try:
            self.hook(number)
            camera = photo.camera
            depth = np.full((camera.height, camera.width), 2.0, np.float32)
            return Computed(DepthMap(depth, camera), 0.1, 0.01, "fp32", "torch")
        finally:
            with self._guard:
                self.busy -= 1

    def close(self):
        self.is_closed = True


def make_photos(folder, count, size=(16, 12)):
    folder.mkdir(exist_ok=True)
    for index in range(count):
        Image.new("RGB", size, (index % 256, 90, 90)).save(folder / f"{index}.png")
    return folder


def context_of(settings, journal, create, overwrite=False, late=print):
    engine, stop = SharedEngine(create), threading.Event()
    return RunContext(DepthWork(settings, engine, journal, stop), journal, engine, overwrite, stop, late)


def started(todo, context):
    return run(todo, context, lambda: threads(context))


def work(photos, out, engine=None, settings=SETTINGS, overwrite=False, same_camera=False, late=print):
    engine = engine or Pretended()
    jobs = plan(discover([photos]).photos, out, settings.formats)
    shared = share_focal([job.photo for job in jobs], settings.camera) if same_camera else None
    with Journal(out) as journal:
        context = context_of(settings, journal, lambda: engine, overwrite, late)
        yield from started(tasks(jobs, settings, journal, shared, overwrite=overwrite), context)


def test_outcomes_come_in_the_order_of_the_photos(tmp_path):
    slow = Pretended(lambda number: time.sleep(0.1 if number == 1 else 0))
    outcomes = list(work(make_photos(tmp_path / "in", 12), tmp_path / "out", slow))
    assert [Path(outcome.path).name for outcome in outcomes] == [f"{index}.png" for index in range(12)]
    assert {outcome.status for outcome in outcomes} == {Status.DONE}
    assert slow.most_busy <= 3
    assert slow.is_closed


def test_a_reader_that_waits_holds_back_the_work(tmp_path):
    engine = Pretended()
    outcomes = work(make_photos(tmp_path / "in", 100), tmp_path / "out", engine)
    next(outcomes)
    time.sleep(0.3)
    assert engine.started <= WAITING_OUTCOMES + 1
    outcomes.close()
    assert engine.is_closed


def test_behind_one_slow_photo_only_so_many_are_worked_on(tmp_path):
    gate, seen = threading.Event(), []
    engine = Pretended(lambda number: number == 1 and gate.wait(20))

    def look():
        seen.append(engine.started)
        gate.set()

    timer = threading.Timer(1.5, look)
    timer.start()
    assert len(list(work(make_photos(tmp_path / "in", 150), tmp_path / "out", engine))) == 150
    # The slow photo may be one of the first few.
    assert 1 < seen[0] <= WAITING_OUTCOMES + engine.in_flight


def test_a_large_batch_is_filled(tmp_path):
    engine, full = Pretended(), threading.Event()
    engine.in_flight = 90
    # Until the engine is there, and one photo is through, only so many photos as cores are on their way.
    first = available_cores()

    def hook(number):
        if engine.busy >= 90:
            full.set()
        if number > first:
            full.wait(20)

    engine.hook = hook
    photos = make_photos(tmp_path / "in", 95 + first)
    assert len(list(work(photos, tmp_path / "out", engine))) == 95 + first
    assert engine.most_busy >= 90


def test_one_bad_photo_never_stops_the_rest(tmp_path):
    photos = make_photos(tmp_path / "in", 5)
    (photos / "1.png").write_bytes((photos / "1.png").read_bytes()[:40])
    outcomes = list(work(photos, tmp_path / "out"))
    assert [str(outcome.status) for outcome in outcomes] == ["done", "error", "done", "done", "done"]
    assert outcomes[1].error.code == "BAD_PHOTO"


def test_a_bug_met_by_one_photo_is_its_failure(tmp_path):
    def trip(number):
        if number == 2:
            raise ZeroDivisionError("oops")

    outcomes = list(work(make_photos(tmp_path / "in", 4), tmp_path / "out", Pretended(trip)))
    (failed,) = [outcome for outcome in outcomes if outcome.error]
    assert failed.error.code == "UNEXPECTED"
    assert "ZeroDivisionError: oops" in failed.error.message


def test_a_device_without_memory_ends_the_run(tmp_path):
    def exhausted(number):
        raise DeviceError("too little memory")

    engine = Pretended(exhausted)
    with pytest.raises(DeviceError):
        list(work(make_photos(tmp_path / "in", 40), tmp_path / "out", engine))
    assert engine.started < 10


@pytest.mark.parametrize(
    ("cause", "kind"), [(RuntimeError("CUDA error"), DeviceError), (UsageError("no such precision"), UsageError)]
)
def test_an_engine_that_cannot_start_is_tried_once_and_ends_the_run(tmp_path, cause, kind):
    tries = []

    def create():
        tries.append(1)
        raise cause

    photos, out = make_photos(tmp_path / "in", 20), tmp_path / "out"
    jobs = plan(discover([photos]).photos, out, SETTINGS.formats)
    with Journal(out) as journal:
        context = context_of(SETTINGS, journal, create)
        with pytest.raises(kind, match=str(cause)):
            list(started(tasks(jobs, SETTINGS, journal, None, overwrite=False), context))
    assert len(tries) == 1
    assert (out / JOURNAL_NAME).read_text() == ""


def test_a_photo_deleted_after_planning_fails_alone(tmp_path):
    photos = make_photos(tmp_path / "in", 60)
    outcomes = work(photos, tmp_path / "out")
    found = [next(outcomes)]
    (photos / "59.png").unlink(missing_ok=True)
    found += outcomes
    (failed,) = [outcome for outcome in found if outcome.error]
    assert Path(failed.path).name == "59.png"
    assert "no such file" in failed.error.message


def test_a_second_run_finds_everything_done_and_needs_no_engine(tmp_path):
    photos, out = make_photos(tmp_path / "in", 6), tmp_path / "out"
    first = list(work(photos, out))
    before = {path: path.stat().st_mtime_ns for path in out.glob("*.png")}
    engine = Pretended()
    second = list(work(photos, out, engine))
    assert engine.started == 0
    assert [outcome.status for outcome in second] == [Status.SKIPPED] * 6
    assert [outcome.outputs for outcome in second] == [outcome.outputs for outcome in first]
    assert before == {path: path.stat().st_mtime_ns for path in out.glob("*.png")}


def test_other_settings_or_another_photo_are_done_again(tmp_path):
    photos, out = make_photos(tmp_path / "in", 3), tmp_path / "out"
    list(work(photos, out))
    Image.new("RGB", (20, 20)).save(photos / "1.png")
    assert [str(outcome.status) for outcome in work(photos, out)] == ["skipped", "done", "skipped"]
    focal = Settings(TEST_LITE, SETTINGS.weights, camera=CameraSources(UserFocal(pixels=20.0)))
    assert {str(outcome.status) for outcome in work(photos, out, settings=focal)} == {"done"}
    assert {str(outcome.status) for outcome in work(photos, out, settings=focal, overwrite=True)} == {"done"}


def test_requiring_a_focal_length_does_not_redo_what_is_done():
    required = Settings(TEST_LITE, SETTINGS.weights, camera=CameraSources(require_focal=True))
    assert required.digest == SETTINGS.digest
    assert Settings(TEST_LITE, SETTINGS.weights, png_scale=256.0).digest != SETTINGS.digest


def test_a_file_of_the_users_own_is_never_overwritten_unasked(tmp_path):
    photos, out = make_photos(tmp_path / "in", 3), tmp_path / "out"
    out.mkdir()
    (out / "1.png").write_bytes(b"mine")
    outcomes = list(work(photos, out))
    assert [str(outcome.status) for outcome in outcomes] == ["done", "error", "done"]
    assert outcomes[1].error.code == "OUTPUT_EXISTS"
    assert "--overwrite" in outcomes[1].error.hint
    assert (out / "1.png").read_bytes() == b"mine"
    assert {str(outcome.status) for outcome in work(photos, out, overwrite=True)} == {"done"}
    assert (out / "1.png").read_bytes() != b"mine"


def test_a_place_that_cannot_be_written_is_the_failure_of_its_photos(tmp_path):
    photos, out = tmp_path / "in", tmp_path / "out"
    for folder in ("a", "b"):
        (photos / folder).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(photos / folder / "x.png")
    out.mkdir()
    (out / "a").write_bytes(b"a file where a folder should be")
    jobs = [
        job for folder in ("a", "b") for job in plan(discover([photos / folder]).photos, out / folder, SETTINGS.formats)
    ]
    with Journal(out) as journal:
        context = context_of(SETTINGS, journal, Pretended)
        outcomes = list(started(tasks(jobs, SETTINGS, journal, None, overwrite=False), context))
    assert [str(outcome.status) for outcome in outcomes] == ["error", "done"]
    assert outcomes[0].error.code == "BAD_OUTPUT"


def test_stopping_lets_what_is_being_written_end_and_leaves_the_rest(tmp_path):
    photos, out, late = make_photos(tmp_path / "in", 30), tmp_path / "out", []
    outcomes = work(photos, out, Pretended(lambda number: time.sleep(0.02)), late=late.append)
    first = next(outcomes)
    outcomes.close()
    assert not list(out.glob("*.part"))
    lines = [json.loads(line) for line in (out / JOURNAL_NAME).read_text().splitlines()]
    started = {line["key"] for line in lines if line["status"] == "started"}
    finished = {line["key"] for line in lines if line["status"] == "done"}
    assert started == finished
    assert len(finished) < 30
    told = {first.path, *(outcome.path for outcome in late)}
    assert told == {line["path"] for line in lines if line["status"] == "done"}
    resumed = [str(outcome.status) for outcome in work(photos, out)]
    assert resumed.count("skipped") == len(finished)
    assert resumed.count("done") == 30 - len(finished)


def test_photos_of_one_camera_share_their_focal_length_and_it_is_part_of_the_key(tmp_path, save_photo):
    for name in ("1.jpg", "2.jpg"):
        save_photo(f"in/{name}", tags={0xA405: 28})
    save_photo("in/3.jpg")
    outcomes = list(work(tmp_path / "in", tmp_path / "out", same_camera=True))
    assert {outcome.focal_source for outcome in outcomes} == {"exif-35mm"}
    assert len({outcome.focal_px for outcome in outcomes}) == 1
    again = list(work(tmp_path / "in", tmp_path / "out", same_camera=True))
    assert {outcome.status for outcome in again} == {Status.SKIPPED}
    alone = [str(outcome.status) for outcome in work(tmp_path / "in", tmp_path / "out")]
    assert alone == ["done"] * 3


def test_a_photo_more_of_the_same_camera_leaves_the_others_done(tmp_path, save_photo):
    for name in ("1.jpg", "2.jpg"):
        save_photo(f"in/{name}", tags={0xA405: 28})
    list(work(tmp_path / "in", tmp_path / "out", same_camera=True))
    save_photo("in/3.jpg", tags={0xA405: 28})
    again = [str(outcome.status) for outcome in work(tmp_path / "in", tmp_path / "out", same_camera=True)]
    assert again == ["skipped", "skipped", "done"]
    for name in ("4.jpg", "5.jpg", "6.jpg", "7.jpg"):
        save_photo(f"in/{name}", tags={0xA405: 29})
    moved = [str(outcome.status) for outcome in work(tmp_path / "in", tmp_path / "out", same_camera=True)]
    assert moved == ["done"] * 7


def test_an_entry_more_in_a_calibration_or_exif_file_leaves_the_others_done(tmp_path):
    photos, out = make_photos(tmp_path / "in", 2), tmp_path / "out"
    lens, tags = tmp_path / "lens.json", tmp_path / "tags.json"

    def statuses(focals, equivalents):
        cameras = {name: {"fx": focal, "fy": focal, "cx": 8, "cy": 6} for name, focal in focals.items()}
        lens.write_text(json.dumps({name: one | {"width": 16, "height": 12} for name, one in cameras.items()}))
        tags.write_text(
            json.dumps([{"SourceFile": name, "FocalLengthIn35mmFormat": mm} for name, mm in equivalents.items()])
        )
        camera = CameraSources.from_files(intrinsics=lens, exif_json=tags)
        settings = Settings(TEST_LITE, SETTINGS.weights, camera=camera)
        return [str(outcome.status) for outcome in work(photos, out, settings=settings)]

    assert statuses({"0.png": 20}, {"1.png": 28}) == ["done", "done"]
    assert statuses({"0.png": 20, "x.png": 9}, {"1.png": 28, "y.png": 35}) == ["skipped", "skipped"]
    assert statuses({"0.png": 21, "x.png": 9}, {"1.png": 28, "y.png": 35}) == ["done", "skipped"]
    assert statuses({"0.png": 21}, {"1.png": 35}) == ["skipped", "done"]
    assert statuses({"0.png": 21, "1.png": 20}, {"1.png": 35}) == ["skipped", "done"]


def test_memory_does_not_grow_with_the_number_of_photos(tmp_path):
    photos = make_photos(tmp_path / "in", 400, size=(64, 48))
    list(work(make_photos(tmp_path / "warm", 3), tmp_path / "out0"))
    tracemalloc.start()
    peaks = []
    for index, _ in enumerate(work(photos, tmp_path / "out")):
        if index in (50, 399):
            peaks.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    # 350 maps would be 4.3 MB of depth alone.
    assert peaks[1] - peaks[0] < 600_000


@pytest.mark.parametrize("wrong", [{"png_scale": 0.0}, {"png_scale": float("nan")}, {"max_depth": -1.0}])
def test_impossible_settings_are_usage_errors(wrong):
    with pytest.raises(UsageError):
        Settings(TEST_LITE, SETTINGS.weights, **wrong)


def test_exr_without_its_package_is_refused_before_any_work(monkeypatch):
    monkeypatch.setattr("m3d_cli.pipeline.settings.can_write_exr", lambda: False)
    with pytest.raises(UsageError, match="OpenEXR"):
        Settings(TEST_LITE, SETTINGS.weights, (OutputFormat.EXR,))
