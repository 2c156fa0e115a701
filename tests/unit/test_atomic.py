"""Files appear whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import os

import pytest

from m3d_cli import atomic
from m3d_cli.atomic import atomic_path, atomic_write, digest_of, write_bytes
from m3d_cli.errors import OutputError


def test_pieces_become_one_file_in_a_new_folder(tmp_path):
    path = tmp_path / "a" / "b" / "c.bin"
    digest = write_bytes(path, b"one", memoryview(b"two"))
    assert path.read_bytes() == b"onetwo"
    assert digest == digest_of(path) == hashlib.blake2b(b"onetwo", digest_size=16).hexdigest()
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
    def full(path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(atomic, "sync", full)
    with pytest.raises(OutputError, match="No space left"):
        write_bytes(tmp_path / "c.bin", b"x" * 100)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("write", [write_bytes, lambda path, data: by_path(path, data)], ids=["by file", "by path"])
def test_a_link_in_place_of_the_part_is_replaced_and_what_it_points_to_left_alone(tmp_path, write):
    victim, path = tmp_path / "mine.txt", tmp_path / "c.bin"
    victim.write_bytes(b"mine")
    path.with_name("c.bin.part").symlink_to(victim)
    write(path, b"new")
    assert victim.read_bytes() == b"mine"
    assert path.read_bytes() == b"new"
    assert not path.is_symlink()


def test_a_link_that_takes_the_place_of_the_part_while_it_is_made_is_refused(tmp_path, monkeypatch):
    victim, path = tmp_path / "mine.txt", tmp_path / "c.bin"
    victim.write_bytes(b"mine")
    real = atomic._create

    def swapped(part):
        real(part)
        part.unlink()
        part.symlink_to(victim)

    monkeypatch.setattr(atomic, "_create", swapped)
    with pytest.raises(OutputError, match="cannot be written"):
        write_bytes(path, b"new")
    assert victim.read_bytes() == b"mine"


def test_a_pipe_has_no_digest_and_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="not a regular file"):
        digest_of(tmp_path / "pipe")


def by_path(path, data):
    with atomic_path(path) as part:
        part.write_bytes(data)
