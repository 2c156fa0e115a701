"""The journal: what is done is what it says, through crashes, damage and two runs at once."""

from __future__ import annotations

import json
import os
import time
import tracemalloc
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m3d_cli.atomic import write_bytes
from m3d_cli.errors import UsageError
from m3d_cli.pipeline import journal as journal_module
from m3d_cli.pipeline.journal import JOURNAL_NAME, Failure, Journal, JournalError, Outcome, Status, sizes_and_times
from m3d_cli.pipeline.merge import merge
from m3d_cli.pipeline.shard import Shard


def done(key="k", outputs=("a.png",), sizes=(3,), path="in/a.jpg"):
    return Outcome(path, Status.DONE, key, outputs, sizes, 640, 480, 500.0, "user", 0.005, "high", 2.5, "lite", ("w",))


@pytest.fixture
def written(tmp_path):
    """A folder with one photo done."""
    with Journal(tmp_path) as journal:
        (tmp_path / "a.png").write_bytes(b"abc")
        journal.write(done())
    return tmp_path


def reread(folder, key="k"):
    with Journal(folder) as journal:
        return journal.finished(key, "now/a.jpg")


def skipped(outcome):
    """What a later run makes of an outcome, which finds the photo at another place."""
    return replace(outcome, path="now/a.jpg", status=Status.SKIPPED)


def test_a_done_photo_is_found_again_with_all_its_facts(written):
    assert reread(written) == skipped(done())
    assert reread(written, "other key") is None


def test_a_photo_whose_output_is_gone_or_changed_is_not_done(written):
    (written / "a.png").write_bytes(b"ab")
    assert reread(written) is None
    (written / "a.png").unlink()
    assert reread(written) is None


def test_started_or_failed_is_not_done(tmp_path):
    with Journal(tmp_path) as journal:
        journal.started("in/a.jpg", "k", [tmp_path / "a.png"])
        journal.write(Outcome("in/b.jpg", Status.FAILED, "f", error=Failure("BAD", "broken", "", 3)))
    assert reread(tmp_path) is None
    assert reread(tmp_path, "f") is None


def test_what_was_only_started_again_is_not_done(written):
    with Journal(written) as journal:
        journal.started("in/a.jpg", "k", [written / "a.png"])
    assert reread(written) is None


def test_an_output_that_another_photo_wrote_later_is_not_this_photos_any_more(written):
    with Journal(written) as journal:
        journal.write(done("newer"))
    assert reread(written) is None
    assert reread(written, "newer") is not None


def test_a_file_belongs_to_the_folder_once_a_run_began_to_write_it(tmp_path):
    with Journal(tmp_path) as journal:
        assert not journal.owns(tmp_path / "a.png")
        journal.started("in/a.jpg", "k", [tmp_path / "a.png"])
    with Journal(tmp_path) as journal:
        assert journal.owns(tmp_path / "a.png")
        assert not journal.owns(tmp_path / "b.png")


def test_a_line_cut_short_is_skipped_and_the_next_starts_fresh(written):
    path = written / JOURNAL_NAME
    path.write_text(path.read_text() + '{"path": "in/b.jpg", "sta')
    with Journal(written) as journal:
        journal.write(done("later", path="in/c.jpg"))
    assert reread(written, "later") is not None
    lines = path.read_text().splitlines()
    assert [line.startswith("{") for line in lines] == [True] * 3


@pytest.mark.parametrize(
    "line",
    [
        b"\0\xff\xfe",
        b"[]",
        b"7",
        b"null",
        b'{"path": 1}',
        b'{"path": "x", "status": "odd", "key": "k"}',
        b'{"path": "x", "status": "done", "key": "k", "outputs": ["a"], "sizes": []}',
        b'{"path": "x", "status": "done", "key": "k", "outputs": 5}',
        b"[" * 100_000,
    ],
)
def test_damaged_lines_are_left_out(written, line):
    path = written / JOURNAL_NAME
    path.write_bytes(line + b"\n" + path.read_bytes() + line)
    assert reread(written) == skipped(done())


@given(st.binary(max_size=200))
def test_any_bytes_in_the_journal_are_survived(tmp_path, data):
    (tmp_path / JOURNAL_NAME).write_bytes(data)
    assert reread(tmp_path) is None


def test_a_journal_cannot_reach_files_outside_its_folder(tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    victim = tmp_path / "x.part"
    victim.touch()
    line = {"path": "p", "status": "started", "key": "k", "outputs": ["../x", str(tmp_path / "x")]}
    (folder / JOURNAL_NAME).write_text(json.dumps(line) + "\n")
    reread(folder)
    assert victim.exists()


def test_half_written_files_of_a_killed_run_are_swept_away(tmp_path):
    with Journal(tmp_path) as journal:
        journal.started("in/a.jpg", "k", [tmp_path / "a.png", tmp_path / "a.npy"])
    for name in ("a.npy.part", "mine.part"):
        (tmp_path / name).touch()
    reread(tmp_path)
    assert not (tmp_path / "a.npy.part").exists()
    assert (tmp_path / "mine.part").exists()


def test_two_runs_in_one_folder_are_refused(tmp_path):
    with Journal(tmp_path), pytest.raises(UsageError, match="another m3d run"), Journal(tmp_path):
        pass
    with Journal(tmp_path):
        pass


def test_looking_without_writing_leaves_no_trace(tmp_path, written):
    assert Journal.peek(written).finished("k", "now/a.jpg") == skipped(done())
    empty = tmp_path / "not there"
    assert Journal.peek(empty).finished("k", "a.jpg") is None
    assert not empty.exists()


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").touch()
    for place in ("file", "file/out"):
        with pytest.raises(UsageError, match="cannot keep a journal"), Journal(tmp_path / place):
            pass


def test_a_full_disk_ends_the_run_and_closing_does_not_hide_it(tmp_path):
    def fill(journal):
        with journal:
            assert journal._file is not None
            # What the file object still holds cannot be written when it is closed either.
            full = os.open("/dev/full", os.O_WRONLY)
            os.dup2(full, journal._file.fileno())
            os.close(full)
            journal.write(done())

    with pytest.raises(JournalError, match="No space left") as caught:
        fill(Journal(tmp_path))
    assert caught.value.exit_code == 1


def test_a_long_journal_takes_little_memory(tmp_path):
    def pretend(index):
        return replace(done(f"{index:032x}", (f"{index}.png", f"{index}.json"), (1, 2)), median_m=2.5 + index)

    (tmp_path / JOURNAL_NAME).write_text("".join(pretend(index).line() + "\n" for index in range(3000)))
    tracemalloc.start()
    journal = Journal.peek(tmp_path)
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert taken < 3000 * 600
    for index in (0, 2999):
        (tmp_path / f"{index}.png").write_bytes(b"a")
        (tmp_path / f"{index}.json").write_bytes(b"ab")
        assert journal.finished(f"{index:032x}", "now/a.jpg") == skipped(pretend(index))


def test_names_that_are_no_text_survive(tmp_path):
    odd = "caf\udce9\n.png"
    with Journal(tmp_path) as journal:
        (tmp_path / odd).write_bytes(b"abc")
        journal.write(done(outputs=journal.names([tmp_path / odd])))
    found = reread(tmp_path)
    assert found is not None
    assert found.outputs == (odd,)


def test_a_line_is_one_line_of_json():
    failed = Outcome("two\nlines", Status.FAILED, "k", error=Failure("BAD_PHOTO", "broken", "copy it", 3))
    text = failed.line()
    assert "\n" not in text
    read = json.loads(text)
    assert read["status"] == "error"
    assert read["error"] == {"code": "BAD_PHOTO", "message": "broken", "hint": "copy it"}
    assert Path(read["path"]) == Path("two\nlines")


def overlapping(folder, first, second):
    """Two keys that wrote one file of one size, each in a run of its own; the second's content is there."""
    for key, shard, content in ((*first, b"old"), (*second, b"new")):
        with Journal(folder, shard) as journal:
            journal.started("in/a.jpg", key, [folder / "a.png"])
            (folder / "a.png").write_bytes(content)
            journal.write(done(key))


@pytest.mark.parametrize(("first", "second"), [("z", "a"), ("a", "z")])
def test_after_a_merge_the_run_that_wrote_last_counts_whatever_its_key(tmp_path, first, second):
    overlapping(tmp_path, (first, None), (second, None))
    merge(tmp_path)
    assert reread(tmp_path, first) is None
    assert reread(tmp_path, second) is not None


def test_the_run_that_wrote_last_counts_whichever_journal_was_touched_last(tmp_path):
    overlapping(tmp_path, ("k", None), ("newer", Shard(1, 2)))
    os.utime(tmp_path / JOURNAL_NAME, (2e9, 2e9))
    assert reread(tmp_path) is None
    assert reread(tmp_path, "newer") is not None


def test_a_clock_that_goes_back_does_not_bring_an_older_run_to_the_front(tmp_path, monkeypatch):
    monkeypatch.setattr(time, "time", lambda: 2e9)
    overlapping(tmp_path, ("k", None), ("newer", Shard(2, 2)))
    monkeypatch.setattr(time, "time", lambda: 1e9)
    with Journal(tmp_path, Shard(1, 2)) as journal:
        journal.write(done("newest"))
    assert reread(tmp_path, "newer") is None
    assert reread(tmp_path, "newest") is not None


def test_a_merge_keeps_who_began_to_write_a_file_also_where_that_failed_later(tmp_path):
    with Journal(tmp_path) as journal:
        journal.write(done("old"))
        journal.started("in/a.jpg", "k", [tmp_path / "a.png"])
        journal.write(Outcome("in/a.jpg", Status.FAILED, "k", error=Failure("BAD", "broken", "", 3)))
    (tmp_path / "a.png").write_bytes(b"abc")
    assert merge(tmp_path) == 2
    assert reread(tmp_path, "old") is None


def recorded(folder, content=b"abc"):
    """One photo done, as a run of today notes it."""
    digest = write_bytes(folder / "a.png", content)
    sizes, times = sizes_and_times([folder / "a.png"])
    with Journal(folder) as journal:
        journal.write(replace(done(), sizes=sizes, mtimes_ns=times, digests=(digest,)))


def test_a_file_of_the_same_size_and_another_content_is_not_done(tmp_path):
    recorded(tmp_path)
    assert reread(tmp_path) is not None
    (tmp_path / "a.png").write_bytes(b"abd")
    assert reread(tmp_path) is None


def test_a_touched_file_is_read_once_and_its_new_time_noted(tmp_path, monkeypatch):
    recorded(tmp_path)
    os.utime(tmp_path / "a.png", (1e9, 1e9))
    assert Journal.peek(tmp_path).finished("k", "now/a.jpg") is not None
    assert reread(tmp_path) is not None
    monkeypatch.setattr(journal_module, "digest_of", pytest.fail)
    assert reread(tmp_path) is not None
    lines = [json.loads(line) for line in (tmp_path / JOURNAL_NAME).read_text().splitlines()]
    assert [line["path"] for line in lines] == ["in/a.jpg"] * 2


def test_a_file_that_became_a_pipe_is_not_waited_for(tmp_path):
    recorded(tmp_path, b"")
    (tmp_path / "a.png").unlink()
    os.mkfifo(tmp_path / "a.png")
    assert reread(tmp_path) is None


def test_journals_of_older_versions_are_taken_at_their_sizes(tmp_path):
    (tmp_path / "a.png").write_bytes(b"abc")
    (tmp_path / JOURNAL_NAME).write_text(replace(done(), at=1e9).line() + "\n")
    line = json.loads((tmp_path / JOURNAL_NAME).read_text())
    old = {name: value for name, value in line.items() if name not in ("seq", "digests", "mtimes_ns")}
    (tmp_path / JOURNAL_NAME).write_text(json.dumps(old) + "\n")
    assert reread(tmp_path) == skipped(done())
    (tmp_path / "a.png").write_bytes(b"ab")
    assert reread(tmp_path) is None


NO_NAMES = ["", ".", "./", "a/..", "a\0b", "\ud800", "../x", "/x", "sub//x", "a/", "x" * 5000, 7, None, ["a"]]


@pytest.mark.parametrize("name", NO_NAMES, ids=repr)
@pytest.mark.parametrize("status", ["started", "done"])
def test_names_that_are_none_crash_no_run_and_remove_nothing(tmp_path, name, status):
    out = tmp_path / "out"
    out.mkdir()
    around = [tmp_path / "out.part", tmp_path / "x.part"]
    for path in around:
        path.write_bytes(b"mine")
    line = {"path": "p", "status": status, "key": "k", "outputs": [name], "sizes": [3], "at": 1.0}
    (out / JOURNAL_NAME).write_text(json.dumps(line) + "\n")
    for _ in range(2):
        assert reread(out) is None
    assert merge(out) <= 1
    assert [path.read_bytes() for path in around] == [b"mine", b"mine"]


@pytest.mark.parametrize(
    "field",
    [
        '"sizes": [Infinity]',
        '"sizes": [1e999]',
        '"sizes": [NaN]',
        '"sizes": [-1]',
        '"sizes": [true]',
        '"sizes": ["3"]',
        '"sizes": {"a": 1}',
        '"sizes": [1000000000000000000000000000000]',
        '"at": NaN',
        '"at": 1e300',
        '"at": "now"',
        '"seq": 1e5',
        '"seq": -1',
        '"digests": [7]',
        '"digests": ["d"], "mtimes_ns": []',
        '"mtimes_ns": [0.5]',
        '"outputs": "a.png"',
        '"key": null',
        '"path": 7',
        '"status": ["done"]',
        '"status": "skipped"',
        '"focal_px": Infinity',
        '"focal_px": 1e999',
        '"width": "wide"',
        '"model": "\\ud800"',
        '"warnings": "w"',
        '"warnings": [1]',
    ],
)
def test_a_line_that_no_run_writes_is_ignored(written, field):
    path = written / JOURNAL_NAME
    line = path.read_text().rstrip("\n").removesuffix("}")
    # Of two fields of one name JSON takes the last.
    path.write_text(f"{line}, {field}}}\n")
    assert reread(written) is None
    assert reread(written, "None") is None
    with Journal(written) as journal:
        journal.write(done())
    assert reread(written) == skipped(done())


def test_lines_that_are_ignored_are_one_warning(written, caplog):
    path = written / JOURNAL_NAME
    path.write_bytes(b"[]\n\n7\n" + path.read_bytes() + b'{"path": ')
    assert reread(written) is not None
    (record,) = caplog.records
    assert record.getMessage() == f"{written}: 3 damaged lines of the journal are ignored"


def test_halves_behind_a_link_out_of_the_folder_are_left_alone(tmp_path):
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    out.mkdir()
    elsewhere.mkdir()
    (elsewhere / "a.png.part").touch()
    (out / "link").symlink_to(elsewhere)
    with Journal(out) as journal:
        journal.started("in/a.jpg", "k", [out / "link" / "a.png"])
    reread(out)
    assert (elsewhere / "a.png.part").exists()


@pytest.mark.parametrize("kind", ["pipe", "link", "folder"])
@pytest.mark.parametrize("name", [JOURNAL_NAME, "m3d-run.1-of-2.jsonl"])
def test_a_journal_that_is_no_file_of_its_own_is_refused(tmp_path, kind, name):
    out, victim = tmp_path / "out", tmp_path / "mine"
    out.mkdir()
    victim.write_bytes(b"mine")
    if kind == "pipe":
        os.mkfifo(out / name)
    elif kind == "link":
        (out / name).symlink_to(victim)
    else:
        (out / name).mkdir()
    for use in (reread, merge, Journal.peek):
        with pytest.raises(UsageError, match=name):
            use(out)
    assert victim.read_bytes() == b"mine"
