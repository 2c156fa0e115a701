"""Several workers share a run: the same files as one, and nothing lost when some of them are."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import Future
from contextlib import nullcontext
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
from PIL import Image

from m3d_cli.cli import app
from m3d_cli.errors import DeviceError
from m3d_cli.inference.device_list import parse_devices
from m3d_cli.inference.photo import EngineOptions
from m3d_cli.models.registry import choose_weights
from m3d_cli.models.spec import TEST_LITE
from m3d_cli.photos.discover import PhotoFile
from m3d_cli.pipeline.journal import Journal, Outcome, Status
from m3d_cli.pipeline.plan import Job, OutputFormat
from m3d_cli.pipeline.resume import Task, tasks
from m3d_cli.pipeline.run_context import RunContext
from m3d_cli.pipeline.runner import MOST_LOSSES, WorkerLost, run
from m3d_cli.pipeline.settings import Settings
from m3d_cli.pipeline.shared_engine import SharedEngine
from m3d_cli.pipeline.worker_processes import MOST_STARTS, ProcessWorker, WorkerRecipe

COUNT = 12
OPTIONS = ["--model", "m3d-test-lite", "--format", "png,npy", "-q"]
SETTINGS = Settings(TEST_LITE, choose_weights(TEST_LITE))


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(3)
    for index in range(COUNT):
        Image.fromarray(rng.integers(0, 255, (30 + index, 60, 3), dtype=np.uint8)).save(folder / f"{index}.png")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    return folder


def depth(photos, out, *more):
    return app.main(["depth", str(photos), "--out", str(out), *OPTIONS, *more])


def test_two_processes_make_the_same_files_and_the_same_journal_as_one(photos, tmp_path, capsys, contents, facts):
    assert depth(photos, tmp_path / "one", "--device", "cpu", "--json") == 3
    alone = [json.loads(line)["path"] for line in capsys.readouterr().out.splitlines()]
    assert depth(photos, tmp_path / "two", "--devices", "cpu,cpu", "--json") == 3
    shared = [json.loads(line)["path"] for line in capsys.readouterr().out.splitlines()]
    assert shared == alone
    assert contents(tmp_path / "two") == contents(tmp_path / "one")
    assert facts(tmp_path / "two") == facts(tmp_path / "one")


def test_a_finished_run_starts_no_process(photos, tmp_path, monkeypatch):
    assert depth(photos, tmp_path, "--device", "cpu", "--exit-zero") == 0
    (tmp_path / "list").write_text("\n".join(str(path) for path in photos.glob("*.png")))
    monkeypatch.setattr(ProcessWorker, "_started", lambda self: pytest.fail("nothing is left to do"))
    command = ["depth", "--files-from", str(tmp_path / "list"), "--out", str(tmp_path), *OPTIONS]
    assert app.main([*command, "--devices", "cpu,cpu"]) == 0


def test_devices_that_are_not_here_do_not_stop_the_others(photos, tmp_path, capsys, contents):
    assert depth(photos, tmp_path, "--devices", "cuda:77,cpu", "--exit-zero") == 0
    assert len(contents(tmp_path)) == 3 * COUNT
    assert depth(photos, tmp_path / "none", "--devices", "77,78") == DeviceError.exit_code
    assert "is not here" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["gpu", "0,x", "", "meta"])
def test_words_that_are_no_devices_are_refused(text, photos, tmp_path):
    assert depth(photos, tmp_path, "--devices", text) == 2
    assert not list(tmp_path.iterdir())


def test_devices_are_numbers_or_names():
    assert parse_devices("0, 2,cpu,cuda:1") == ("cuda:0", "cuda:2", "cpu", "cuda:1")


def test_one_device_and_several_contradict_each_other(photos, tmp_path, capsys):
    assert depth(photos, tmp_path, "--device", "cpu", "--devices", "cpu,cpu") == 2
    assert "contradict" in capsys.readouterr().err


def planned(photos, out):
    found = sorted(photos.glob("*.png"))
    return [Job(PhotoFile(p, PurePosixPath(p.name)), out, p.stem, (OutputFormat.PNG,)) for p in found]


def worked(workers, photos, out, during=lambda outcome: None):
    """Outcomes of a run by ``workers``; ``during`` hears each."""
    with Journal(out) as journal:
        engine = SharedEngine(lambda: pytest.fail("the workers have their own"))
        work = partial(pytest.fail, "the workers do the work")
        context = RunContext(work, journal, engine, overwrite=False, stop=threading.Event())
        todo = tasks(planned(photos, out), SETTINGS, journal, None, overwrite=False)
        outcomes = []
        for outcome in run(todo, context, lambda: nullcontext(workers)):
            outcomes.append(outcome)
            during(outcome)
        return outcomes


def test_a_process_that_is_killed_is_started_again_and_nothing_is_lost(photos, tmp_path):
    recipe = WorkerRecipe(SETTINGS, EngineOptions("cpu"), COUNT, tmp_path)
    workers = [ProcessWorker("a", recipe), ProcessWorker("b", recipe)]
    killed = []

    def kill_the_first(outcome):
        if not killed:
            killed.append(workers[0]._process.pid)
            os.kill(killed[0], signal.SIGKILL)

    outcomes = worked(workers, photos, tmp_path, kill_the_first)
    assert killed
    assert [outcome.status for outcome in outcomes] == [Status.DONE] * COUNT
    assert len(list(tmp_path.glob("*.png"))) == COUNT
    assert not list(tmp_path.rglob("*.part"))


def test_a_process_that_dies_at_once_is_not_started_for_ever(photos, tmp_path, monkeypatch):
    monkeypatch.setattr("m3d_cli.pipeline.worker_processes.serve", os.getpid)  # takes no argument: the process fails
    worker = ProcessWorker("a", WorkerRecipe(SETTINGS, EngineOptions("cpu"), COUNT, tmp_path))
    with pytest.raises(DeviceError, match=f"the worker on a died {MOST_STARTS} times"):
        worked([worker], photos, tmp_path)


class Imagined:
    """A worker without a process: ``act`` says what becomes of a photo; one that dies takes all it has with it."""

    keeps_journal = False

    def __init__(self, name, act, in_flight=4):
        self.name, self.in_flight = name, in_flight
        self._act = act
        self._has = []
        self._guard = threading.Lock()

    def submit(self, task):
        future = Future()
        with self._guard:
            self._has.append(future)
        threading.Thread(target=self._work, args=(task, future)).start()
        return future

    def _work(self, task, future):
        time.sleep(0.02)
        try:
            answer = self._act(task)
        except WorkerLost as lost:
            with self._guard:
                fallen, self._has = self._has, []
            for one in fallen:
                one.set_exception(lost)
            return
        except DeviceError as error:
            self._end(future, partial(future.set_exception, error))
            return
        self._end(future, lambda: future.set_result(answer))

    def _end(self, future, settle):
        with self._guard:
            if future not in self._has:
                return
            self._has.remove(future)
        settle()

    def close(self):
        pass


def done(task):
    return Outcome(str(task.job.photo.path), Status.DONE, task.key)


def test_the_photo_that_kills_its_workers_is_found_among_those_that_were_beside_it(photos, tmp_path):
    deaths = []

    def act(task: Task):
        if task.job.photo.path.stem == "5":
            deaths.append(task)
            raise WorkerLost("exit code -11")
        return done(task)

    outcomes = worked([Imagined("a", act), Imagined("b", act)], photos, tmp_path)
    failed = [outcome for outcome in outcomes if outcome.status is Status.FAILED]
    assert [Path(outcome.path).stem for outcome in failed] == ["5"]
    assert failed[0].error.code == "WORKER_LOST"
    assert len(deaths) == MOST_LOSSES
    assert len(outcomes) == COUNT


def test_a_device_that_fails_leaves_its_photos_to_the_others(photos, tmp_path, caplog):
    def fail(task):
        raise DeviceError("cuda:1 failed")

    outcomes = worked([Imagined("cuda:1", fail), Imagined("cuda:0", done)], photos, tmp_path)
    assert [outcome.status for outcome in outcomes] == [Status.DONE] * COUNT
    assert "going on without cuda:1: cuda:1 failed" in caplog.text
    with pytest.raises(DeviceError, match="cuda:1 failed"):
        worked([Imagined("cuda:1", fail)], photos, tmp_path / "alone")


def test_an_interrupt_ends_processes_and_the_next_run_goes_on(photos, tmp_path, contents):
    listed = "\n".join(str(path) for path in sorted(photos.glob("*.png")))
    command = [sys.executable, "-m", "m3d_cli", "depth", "--files-from", "-", "--out", str(tmp_path), *OPTIONS]
    command += ["--devices", "cpu,cpu", "--json"]
    with subprocess.Popen(command, stdin=-1, stdout=-1, stderr=-1, text=True) as process:
        process.stdin.write(listed)
        process.stdin.close()
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        process.stdout.read()
        assert process.wait(timeout=60) in (0, 130)
    assert not list(tmp_path.rglob("*.part"))
    assert depth(photos, tmp_path, "--device", "cpu", "--exit-zero") == 0
    assert len(contents(tmp_path)) == 3 * COUNT
