"""Runs that are killed, disturbed or repeated: the end is always that of a run nobody touched."""

from __future__ import annotations

import errno
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from m3d_cli import atomic
from m3d_cli.cli import app
from m3d_cli.pipeline import journal as journal_module
from m3d_cli.pipeline import merge as merging
from m3d_cli.pipeline import process_photo as run_module
from m3d_cli.pipeline.journal import JOURNAL_NAME, Journal, Outcome, Status
from m3d_cli.pipeline.shard import Shard

COUNT = 20
OPTIONS = ["--model", "m3d-test-lite", "--device", "cpu", "--format", "png,npy", "-q"]

SYNC, RENAME = "m3d_cli.atomic.sync", "os.replace"

# The program, killed by the kernel at its n-th call of a function: before a file is synced (its .part is there), or
# after one took its name (products are there without their sidecar or their journal line).
KILLED = """
import importlib, itertools, os, signal, sys
from m3d_cli.cli.app import main
place, _, name = sys.argv[1].rpartition(".")
module, last, calls = importlib.import_module(place), int(sys.argv[2]), itertools.count(1)
real = getattr(module, name)
def counting(*arguments):
    mine = next(calls)
    result = None if mine == last and name == "sync" else real(*arguments)
    if mine == last:
        os.kill(os.getpid(), signal.SIGKILL)
    return result
setattr(module, name, counting)
sys.exit(main(sys.argv[3:]))
"""


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(5)
    for index in range(COUNT):
        pixels = rng.integers(0, 255, (30 + index, 60, 3), dtype=np.uint8)
        (folder / "sub").mkdir(exist_ok=True)
        Image.fromarray(pixels).save(folder / ("sub" if index % 2 else "") / f"{index}.png")
    return folder


@pytest.fixture(scope="module")
def undisturbed(photos, tmp_path_factory):
    out = tmp_path_factory.mktemp("undisturbed")
    assert depth(photos, out) == 0
    return contents(out)


def depth(photos, out, *more):
    return app.main(["depth", "-r", str(photos), "--out", str(out), *OPTIONS, *more])


def contents(out):
    files = (path for path in out.rglob("*") if path.is_file() and path.suffix != ".jsonl")
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in files}


def killed(photos, out, function, calls):
    command = [
        sys.executable,
        "-c",
        KILLED,
        function,
        str(calls),
        "depth",
        "-r",
        str(photos),
        "--out",
        str(out),
        *OPTIONS,
    ]
    return subprocess.run(command, capture_output=True, check=False, timeout=120).returncode


def journal(out):
    return [json.loads(line) for line in (out / JOURNAL_NAME).read_text().splitlines()]


def test_a_run_killed_again_and_again_ends_in_the_same_bytes(photos, undisturbed, tmp_path):
    for function, calls in ((SYNC, 1), (RENAME, 2), (SYNC, 12), (RENAME, 7)):
        before = len(contents(tmp_path))
        assert killed(photos, tmp_path, function, calls) == -signal.SIGKILL
        assert len(contents(tmp_path)) >= before
        assert function is not SYNC or list(tmp_path.rglob("*.part"))
    assert depth(photos, tmp_path) == 0
    assert contents(tmp_path) == undisturbed
    assert len(undisturbed) == 3 * COUNT


def test_what_was_done_before_the_kill_is_not_done_again(photos, tmp_path):
    assert killed(photos, tmp_path, SYNC, 20) == -signal.SIGKILL
    first = {row["key"] for row in journal(tmp_path) if row["status"] == "done"}
    assert 1 <= len(first) < COUNT
    lines = len(journal(tmp_path))
    assert depth(photos, tmp_path) == 0
    second = {row["key"] for row in journal(tmp_path)[lines:] if row["status"] == "done"}
    assert not first & second
    assert len(first | second) == COUNT


def test_leftovers_go_even_when_the_next_run_wants_other_files(photos, tmp_path):
    assert killed(photos, tmp_path, SYNC, 2) == -signal.SIGKILL
    assert list(tmp_path.rglob("*.part"))
    command = ["depth", str(photos), "-r", "--out", str(tmp_path), "--model", "m3d-test-lite", "--format", "pfm", "-q"]
    assert app.main(command) == 0
    assert not list(tmp_path.rglob("*.part"))


def test_a_second_run_in_the_same_folder_is_refused_while_the_first_goes_on(photos, tmp_path, capsys):
    command = [
        sys.executable,
        "-m",
        "m3d_cli",
        "depth",
        "--files-from",
        "-",
        "--out",
        str(tmp_path),
        *OPTIONS,
        "--json",
    ]
    # The first run holds the folder until somebody reads its second line.
    listed = "\n".join(str(path) for path in sorted(photos.rglob("*.png")))
    with subprocess.Popen(command, stdin=-1, stdout=-1, stderr=-1, text=True) as first:
        assert first.stdin
        assert first.stdout
        first.stdin.write(listed)
        first.stdin.close()
        first.stdout.readline()
        first.send_signal(signal.SIGSTOP)
        code = depth(photos, tmp_path)
        first.send_signal(signal.SIGCONT)
        first.stdout.read()
        assert first.wait(timeout=60) == 0
    assert code == 2
    assert "another m3d run is writing there" in capsys.readouterr().err


def test_a_damaged_journal_costs_work_but_no_result(photos, undisturbed, tmp_path):
    assert depth(photos, tmp_path) == 0
    path = tmp_path / JOURNAL_NAME
    lines = path.read_bytes().splitlines()
    for index in [index for index, line in enumerate(lines) if b'"done"' in line][::3]:
        lines[index] = lines[index][:50] + b"\xff\0" + lines[index][60:]
    path.write_bytes(b"\n".join(lines)[:-40])
    assert depth(photos, tmp_path) == 0
    assert contents(tmp_path) == undisturbed


def test_a_lost_journal_never_lets_results_be_overwritten_unasked(photos, undisturbed, tmp_path, capsys):
    assert depth(photos, tmp_path) == 0
    (tmp_path / JOURNAL_NAME).unlink()
    assert depth(photos, tmp_path) == 3
    told = capsys.readouterr().err
    assert told.count("OUTPUT_EXISTS") == told.count("the journal does not know it") == COUNT
    assert depth(photos, tmp_path, "--overwrite") == 0
    assert contents(tmp_path) == undisturbed


def test_an_output_that_was_cut_short_is_made_again(photos, undisturbed, tmp_path):
    assert depth(photos, tmp_path) == 0
    for name in ("0.png", "sub/1.npy"):
        with (tmp_path / name).open("r+b") as file:
            file.truncate(100)
    (tmp_path / "2.json").unlink()
    assert depth(photos, tmp_path) == 0
    assert contents(tmp_path) == undisturbed


def test_a_full_disk_fails_the_photo_and_the_next_run_makes_it(photos, undisturbed, tmp_path, capsys, monkeypatch):
    real = atomic.sync

    def full(path):
        if path.name == "7.npy.part":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(path)

    monkeypatch.setattr(atomic, "sync", full)
    assert depth(photos, tmp_path) == 3
    monkeypatch.undo()
    assert "7.npy: cannot be written (No space left on device)" in capsys.readouterr().err
    assert depth(photos, tmp_path) == 0
    assert contents(tmp_path) == undisturbed


def test_an_out_that_cannot_be_a_folder_is_one_error(photos, tmp_path, capsys):
    (tmp_path / "file").touch()
    for place in ("file", "file/out"):
        assert depth(photos, tmp_path / place) == 2
        assert capsys.readouterr().err.count("error: ") == 1


def test_photos_that_come_later_are_added(photos, tmp_path):
    some = tmp_path / "in"
    some.mkdir()
    shutil.copy(photos / "0.png", some)
    assert depth(some, tmp_path / "out") == 0
    shutil.copy(photos / "2.png", some)
    assert depth(some, tmp_path / "out") == 0
    assert [row["path"] for row in journal(tmp_path / "out") if row["status"] == "done"] == [
        os.fspath(some / "0.png"),
        os.fspath(some / "2.png"),
    ]


def test_every_line_of_the_journal_is_json_with_a_status(photos, tmp_path):
    (Path(tmp_path) / "bad.jpg").write_bytes(b"\xff\xd8\xff")
    assert depth(tmp_path / "bad.jpg", tmp_path / "out") == 3
    assert [row["status"] for row in journal(tmp_path / "out")] == ["error"]


def facts(lines):
    """What a journal says, without times, the lines of what was begun, and where the photos were called from."""
    ended = [line for line in lines if line["status"] != "started"]
    return sorted(
        ({k: v for k, v in line.items() if k not in ("at", "seq", "seconds", "mtimes_ns")} for line in ended), key=str
    )


def test_two_parts_and_a_merge_are_one_run(photos, undisturbed, tmp_path):
    plain, parts = tmp_path / "plain", tmp_path / "parts"
    assert depth(photos, plain) == 0
    for part in ("2/2", "1/2"):
        assert depth(photos, parts, "--shard", part) == 0
    assert {path.name for path in parts.glob("*.jsonl")} == {"m3d-run.1-of-2.jsonl", "m3d-run.2-of-2.jsonl"}
    assert app.main(["merge", str(parts)]) == 0
    assert [path.name for path in parts.glob("*.jsonl")] == [JOURNAL_NAME]
    assert contents(parts) == undisturbed
    assert facts(journal(parts)) == facts(journal(plain))
    assert depth(photos, parts, "--json") == 0
    assert len(journal(parts)) == COUNT


def test_a_part_that_was_killed_goes_on_and_loses_nothing(photos, undisturbed, tmp_path):
    command = [sys.executable, "-c", KILLED, SYNC, "5", "depth", "-r", str(photos), "--out", str(tmp_path), *OPTIONS]
    done = subprocess.run([*command, "--shard", "1/2"], capture_output=True, check=False, timeout=120)
    assert done.returncode == -signal.SIGKILL
    assert depth(photos, tmp_path, "--shard", "2/2") == 0
    assert depth(photos, tmp_path, "--shard", "1/2") == 0
    assert app.main(["merge", str(tmp_path)]) == 0
    assert contents(tmp_path) == undisturbed
    assert not list(tmp_path.rglob("*.part"))


def test_a_part_leaves_the_half_written_files_of_another_alone(photos, tmp_path):
    # Each writing thread of the killed run may have left one.
    assert killed(photos, tmp_path, SYNC, 1) == -signal.SIGKILL
    part = Shard(1, 40)
    mine = {path.stem for path in photos.rglob("*.png") if part.holds(path.relative_to(photos))}
    halves = [half for half in tmp_path.rglob("*.part") if half.name.partition(".")[0] not in mine]
    assert halves
    assert depth(photos, tmp_path, "--shard", str(part)) in (0, 3)
    assert all(half.exists() for half in halves)


def test_a_plain_run_knows_what_parts_have_done(photos, tmp_path, capsys):
    assert depth(photos, tmp_path, "--shard", "1/2") == 0
    capsys.readouterr()
    assert depth(photos, tmp_path, "--json") == 0
    statuses = [json.loads(line)["status"] for line in capsys.readouterr().out.splitlines()]
    assert 0 < statuses.count("skipped") < COUNT
    assert statuses.count("skipped") + statuses.count("done") == COUNT


def test_merging_while_a_part_runs_or_where_none_was_is_refused(tmp_path, capsys):
    with Journal(tmp_path, Shard(1, 2)):
        assert app.main(["merge", str(tmp_path)]) == 2
    assert "another m3d run" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert app.main(["merge", str(tmp_path / "empty")]) == 2
    assert "no journal" in capsys.readouterr().err


def test_a_photo_deleted_after_planning_is_one_failure(photos, undisturbed, tmp_path, capsys, monkeypatch):
    some = shutil.copytree(photos, tmp_path / "in")
    real = run_module.read_photo

    def losing(photo, shared, settings):
        (some / "sub" / "7.png").unlink(missing_ok=True)
        return real(photo, shared, settings)

    monkeypatch.setattr(run_module, "read_photo", losing)
    out = tmp_path / "out"
    assert depth(some, out) in (0, 3)
    told = capsys.readouterr().err
    gone = [line for line in told.splitlines() if "7.png: there is no such file" in line]
    # It is gone only for who had not read it yet.
    assert len(gone) == (0 if (out / "sub" / "7.png").exists() else 1)
    made = contents(out)
    assert {name: data for name, data in made.items() if "/7." not in name} == {
        name: data for name, data in undisturbed.items() if "/7." not in name
    }


@pytest.mark.parametrize(("number", "words"), [(errno.EROFS, "Read-only file system"), (errno.EACCES, "Permission")])
def test_a_folder_that_lost_its_rights_keeps_what_was_finished(
    photos, undisturbed, tmp_path, capsys, monkeypatch, number, words
):
    real, calls = atomic.sync, itertools.count(1)

    def refusing(path):
        if next(calls) > 12:
            raise OSError(number, os.strerror(number))
        real(path)

    monkeypatch.setattr(atomic, "sync", refusing)
    assert depth(photos, tmp_path) == 3
    told = capsys.readouterr().err
    assert words in told
    assert "check space and permissions" in told
    monkeypatch.undo()
    assert depth(photos, tmp_path) == 0
    assert contents(tmp_path) == undisturbed


def test_a_run_stops_at_the_failures_it_was_allowed_and_goes_on_later(photos, tmp_path, capsys):
    some = shutil.copytree(photos, tmp_path / "in")
    for index in range(COUNT):
        (some / f"a{index}.jpg").write_bytes(b"\xff\xd8\xff")
    for allowed, flags in ((1, ["--fail-fast"]), (3, ["--max-failures", "3"])):
        out = tmp_path / f"out{allowed}"
        assert depth(some, out, *flags, "--json") == 3
        streams = capsys.readouterr()
        statuses = [json.loads(line)["status"] for line in streams.out.splitlines()]
        assert statuses.count("error") == allowed
        assert len(statuses) < 2 * COUNT
        assert len([name for name in contents(out) if name.endswith(".json")]) >= statuses.count("done")
        assert depth(some, out) == 3
        assert len(contents(out)) == 3 * COUNT
        capsys.readouterr()


def as_npy(photos, out, focal, *more):
    """A run that gives several of the photos files of the same sizes for the focal lengths 2000 and 2500."""
    return app.main(["depth", "-r", str(photos), "--out", str(out), *NPY, "--focal", focal, *more])


NPY = ["--model", "m3d-test-lite", "--device", "cpu", "--format", "npy", "-q"]


def test_depth_of_another_focal_length_never_passes_as_done(photos, tmp_path):
    out, fresh = tmp_path / "out", tmp_path / "fresh"
    for focal in ("2000", "2500"):
        assert as_npy(photos, out, focal) == 0
    assert app.main(["merge", str(out)]) == 0
    for place in (out, fresh):
        assert as_npy(photos, place, "2000") == 0
    assert contents(out) == contents(fresh)


def test_results_that_parts_replaced_are_not_done_whichever_journal_was_touched_last(photos, tmp_path):
    out, fresh = tmp_path / "out", tmp_path / "fresh"
    assert as_npy(photos, out, "2000") == 0
    for part in ("1/2", "2/2"):
        assert as_npy(photos, out, "2500", "--shard", part) == 0
    os.utime(out / JOURNAL_NAME, (2e9, 2e9))
    for place in (out, fresh):
        assert as_npy(photos, place, "2000") == 0
    assert contents(out) == contents(fresh)


def test_an_output_of_equal_size_that_somebody_changed_is_made_again(photos, undisturbed, tmp_path):
    assert depth(photos, tmp_path) == 0
    (tmp_path / "0.npy").write_bytes(bytes(len(undisturbed["0.npy"])))
    assert depth(photos, tmp_path) == 0
    assert contents(tmp_path) == undisturbed


def test_a_copied_folder_is_read_once_and_nothing_is_made_again(photos, tmp_path, capsys, monkeypatch):
    assert depth(photos, tmp_path / "out") == 0
    # Without the times of the files.
    shutil.copytree(tmp_path / "out", tmp_path / "copy", copy_function=shutil.copyfile)
    read: list[Path] = []
    real = atomic.digest_of
    monkeypatch.setattr(journal_module, "digest_of", lambda path: [read.append(path), real(path)][1])
    for times in (1, 1):
        assert depth(photos, tmp_path / "copy", "--json") == 0
        assert {json.loads(line)["status"] for line in capsys.readouterr().out.splitlines()} == {"skipped"}
        assert len(read) == times * 3 * COUNT


def test_a_merge_beside_a_starting_run_loses_no_line(photos, tmp_path, monkeypatch):
    assert depth(photos, tmp_path, "--shard", "1/2") == 0
    real, codes = journal_module.lock, []
    merger = threading.Thread(target=lambda: codes.append(app.main(["merge", str(tmp_path)])))

    def late(file, folder):
        # The journal is open and not locked yet.
        if threading.current_thread() is not merger and not codes and not merger.is_alive():
            merger.start()
            merger.join(2)
        real(file, folder)

    (tmp_path / JOURNAL_NAME).touch()
    monkeypatch.setattr(journal_module, "lock", late)
    with Journal(tmp_path) as journal:
        journal.write(Outcome("in/a.jpg", Status.FAILED, "mine"))
        merger.join()
    assert "mine" in {row.get("key") for row in map(json.loads, (tmp_path / JOURNAL_NAME).read_text().splitlines())}


def test_a_run_that_waited_for_a_merge_goes_on_in_the_merged_journal(photos, tmp_path, capsys, monkeypatch):
    for part in ("1/2", "2/2"):
        assert depth(photos, tmp_path, "--shard", part) == 0
    real, inside, codes = merging.atomic_write, threading.Event(), []
    running = threading.Thread(target=lambda: codes.append(depth(photos, tmp_path, "--json")))

    def slow(path):
        inside.set()
        time.sleep(1)
        return real(path)

    monkeypatch.setattr(merging, "atomic_write", slow)
    merger = threading.Thread(target=lambda: codes.append(app.main(["merge", str(tmp_path)])))
    merger.start()
    inside.wait()
    running.start()
    merger.join()
    running.join()
    assert codes == [0, 0]
    assert {json.loads(line)["status"] for line in capsys.readouterr().out.splitlines()} == {"skipped"}
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith((".m3d", "m3d"))] == [JOURNAL_NAME]
