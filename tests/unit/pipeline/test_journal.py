"""The journal: what is done is what it says, through crashes, damage and two runs at once."""

from __future__ import annotations

import json
import os
import tracemalloc
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m3d_cli.errors import UsageError
from m3d_cli.pipeline.journal import JOURNAL_NAME, Failure, Journal, JournalError, Outcome, Status


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
