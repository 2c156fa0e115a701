"""Files appear whole or not at all."""

from __future__ import annotations

import pytest

from m3d_cli.atomic import atomic_write, write_bytes
from m3d_cli.errors import OutputError


def test_pieces_become_one_file_in_a_new_folder(tmp_path):
    path = tmp_path / "a" / "b" / "c.bin"
    assert write_bytes(path, b"one", memoryview(b"two")) == 6
    assert path.read_bytes() == b"onetwo"
    assert list(path.parent.iterdir()) == [path]


def test_the_old_file_stays_when_writing_fails(tmp_path):
    path = tmp_path / "c.bin"
    path.write_bytes(b"old")

    def fail():
        with atomic_write(path) as file:
            file.write(b"new, but only ha")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_name_is_not_there_before_the_bytes_are(tmp_path):
    path = tmp_path / "c.bin"
    with atomic_write(path) as file:
        file.write(b"x")
        assert not path.exists()
    assert path.exists()


def test_a_leftover_of_a_killed_run_is_written_over(tmp_path):
    path = tmp_path / "c.bin"
    path.with_name("c.bin.part").write_bytes(b"half of something longer")
    write_bytes(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_where_a_folder_should_be_is_an_output_error(tmp_path):
    (tmp_path / "a").write_bytes(b"")
    with pytest.raises(OutputError, match="cannot be written") as caught:
        write_bytes(tmp_path / "a" / "c.bin", b"x")
    assert caught.value.hint


def test_a_full_disk_is_an_output_error_and_leaves_nothing(tmp_path, monkeypatch):
    path = tmp_path / "c.bin"
    path.with_name("c.bin.part").symlink_to("/dev/full")
    with pytest.raises(OutputError, match="No space left"):
        write_bytes(path, b"x" * 100)
    assert list(tmp_path.iterdir()) == []
