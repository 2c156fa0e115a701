"""Which inputs become photos, in which order, under which output name, and what is left out."""

from __future__ import annotations

import io
import itertools
import os
import socket
import sys
import time
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from m3d_cli.errors import PhotoError, UsageError
from m3d_cli.photo_names import natural_key
from m3d_cli.photos import discover as discover_module
from m3d_cli.photos.decode import decode
from m3d_cli.photos.discover import Selection, discover
from m3d_cli.photos.file_list import read_list
from m3d_cli.photos.path_names import mirrored
from m3d_cli.photos.sniff import ImageFormat, sniff

JPEG = b"\xff\xd8\xff\xe0"
EVERYTHING = Selection(recursive=True)


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A folder of photos and other things, which is also the working directory."""
    files = {
        "IMG_10.jpg": JPEG,
        "IMG_9.JPG": JPEG,
        "broken.png": b"no image",
        "empty.jpeg": b"",
        "photo.dat": JPEG,
        "notes.txt": b"BMW is not a bitmap",
        "b/IMG_1.jpg": JPEG,
        "b/c/IMG_2.webp": b"RIFF\0\0\0\0WEBP",
        ".hidden.jpg": JPEG,
        ".git/x.jpg": JPEG,
    }
    for name, content in files.items():
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "in"


def names(listing):
    return [str(photo.relative) for photo in listing.photos]


def test_a_folder_gives_its_photos_in_natural_order_and_counts_the_rest(tree):
    listing = discover([tree])
    assert names(listing) == ["broken.png", "empty.jpeg", "IMG_9.JPG", "IMG_10.jpg", "photo.dat"]
    assert dict(listing.ignored) == {"hidden": 2, "not an image": 1, "subfolder (--recursive reads it)": 1}
    assert listing.summary() == ("5 photos, 4 ignored (2 hidden, 1 not an image, 1 subfolder (--recursive reads it))")


def test_folders_below_are_mirrored(tree):
    listing = discover(["in"], EVERYTHING)
    assert names(listing)[-2:] == ["b/IMG_1.jpg", "b/c/IMG_2.webp"]
    assert listing.photos[-1].path == Path("in/b/c/IMG_2.webp")


def test_a_file_gives_its_name(tree):
    assert names(discover(["in/b/IMG_1.jpg", tree / "IMG_9.JPG"])) == ["IMG_1.jpg", "IMG_9.JPG"]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("in/none.jpg", "there is no such file"),
        ("in/notes.txt", "is not an image"),
        ("in/empty.jpeg", "the file is empty"),
        ("in/*.tif", "the pattern matches no file"),
        ("in/broken.png", "is not an image"),
        ("nul\0byte", "cannot be read"),
    ],
)
def test_what_was_named_on_purpose_is_never_left_out_silently(tree, name, reason):
    listing = discover([name])
    assert len(listing.photos) == 1
    assert reason in listing.photos[0].problem


def test_a_glob_mirrors_below_its_fixed_part(tree):
    assert names(discover(["in/**/*.jpg"])) == ["b/IMG_1.jpg", "IMG_10.jpg"]
    assert names(discover([f"{tree}/b/*/*.webp"])) == ["c/IMG_2.webp"]
    assert dict(discover(["in/*"]).ignored) == {"not an image": 1}


def test_a_file_whose_name_looks_like_a_glob_is_a_file(tree):
    (tree / "a[1].jpg").write_bytes(JPEG)
    assert names(discover(["in/a[1].jpg"])) == ["a[1].jpg"]


def test_the_same_photo_comes_once(tree):
    (tree / "link.jpg").symlink_to(tree / "IMG_9.JPG")
    listing = discover([tree, "in/../in/IMG_9.JPG", "in/link.jpg"])
    assert len(listing.photos) == 5
    assert dict(listing.ignored)["duplicate"] == 3


def test_a_hard_link_is_another_photo(tree):
    os.link(tree / "IMG_9.JPG", tree / "IMG_11.jpg")
    assert len(discover([tree]).photos) == 6


def test_a_link_to_a_folder_above_does_not_run_for_ever(tree):
    (tree / "b" / "up").symlink_to(tree)
    assert len(discover([tree], EVERYTHING).photos) == 7


def test_include_and_exclude_try_the_name_and_the_path_without_case(tree):
    assert names(discover([tree], Selection(True, include=("*.jpg",)))) == ["IMG_9.JPG", "IMG_10.jpg", "b/IMG_1.jpg"]
    found = discover([tree], Selection(True, include=("*.jpg",), exclude=("b/*", "img_9*")))
    assert names(found) == ["IMG_10.jpg"]
    assert dict(found.ignored)["excluded"] == 7
    assert discover(["in/IMG_9.JPG"], Selection(exclude=("*.jpg",))).photos == ()


def test_hidden_files_come_when_asked_for(tree):
    assert ".git/x.jpg" in names(discover([tree], Selection(True, hidden=True)))


def test_the_output_folder_is_not_an_input(tree):
    found = discover([tree], Selection(True, skip_folders=(Path("in/b"),)))
    assert "b/IMG_1.jpg" not in names(found)
    assert dict(found.ignored)["output folder"] == 1


def test_a_glob_leaves_out_the_output_folder_below_its_fixed_part(tree):
    skipping = Selection(skip_folders=(Path("in/b"),))
    found = discover(["in/**/*.[jw]*"], skipping)
    assert names(found) == ["empty.jpeg", "IMG_10.jpg"]
    assert dict(found.ignored)["output folder"] == 2


def test_a_glob_in_the_output_folder_itself_means_what_is_in_it(tree):
    assert names(discover(["in/b/*.jpg"], Selection(skip_folders=(Path("in/b"),)))) == ["IMG_1.jpg"]


def test_a_linked_output_folder_is_known_by_its_real_place(tree):
    (tree / "out").symlink_to(tree / "b")
    found = discover(["in/*/*.jpg"], Selection(skip_folders=(Path("in/out"),)))
    assert names(found) == []
    assert dict(found.ignored) == {"output folder": 2}


def test_a_list_leaves_out_the_output_folder_but_not_when_it_is_all_of_the_list(tree):
    skipping = Selection(skip_folders=(Path("in/b"),))
    found = discover([], skipping, listed=["in/IMG_9.JPG", "in/b/IMG_1.jpg", "in/b/c/IMG_2.webp"])
    assert names(found) == ["in/IMG_9.JPG"]
    assert dict(found.ignored) == {"output folder": 2}
    assert names(discover([], skipping, listed=["in/b/IMG_1.jpg"])) == ["in/b/IMG_1.jpg"]


def test_a_file_given_by_name_is_never_taken_for_an_output(tree):
    assert names(discover(["in/b/IMG_1.jpg"], Selection(skip_folders=(Path("in/b"),)))) == ["IMG_1.jpg"]


def test_camera_raw_is_a_photo_only_where_it_can_be_read(tree, monkeypatch):
    (tree / "shot.NEF").write_bytes(b"II*\0" + bytes(60))
    monkeypatch.setattr(discover_module, "can_read_raw", lambda: False)
    assert dict(discover([tree]).ignored)["camera RAW without the package rawpy"] == 1
    assert names(discover(["in/shot.NEF"])) == ["shot.NEF"]
    monkeypatch.setattr(discover_module, "can_read_raw", lambda: True)
    assert "shot.NEF" in names(discover([tree]))


def test_a_list_mirrors_below_the_working_directory(tree):
    listed = ["in/b/IMG_1.jpg", str(tree / "IMG_9.JPG"), "gone.jpg", "in/b"]
    found = discover([], listed=listed)
    assert names(found) == ["in/b/IMG_1.jpg", "in/IMG_9.JPG", "gone.jpg"]
    assert found.photos[2].problem == "there is no such file"
    assert dict(found.ignored)["duplicate"] == 1


def test_a_list_of_photos_elsewhere_mirrors_below_their_common_folder(tree, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path / "in" / "b")
    found = discover([], listed=["../IMG_9.JPG", "c/../../IMG_10.jpg", "c/IMG_2.webp"])
    assert names(found) == ["IMG_9.JPG", "IMG_10.jpg", "c/IMG_2.webp"]
    assert all(".." not in photo.relative.parts for photo in found.photos)


def test_a_pipe_is_refused_and_not_waited_for(tree):
    os.mkfifo(tree / "pipe.jpg")
    assert "not a regular file" in discover(["in/pipe.jpg"]).photos[0].problem


def test_an_unreadable_folder_is_counted(tree, monkeypatch):
    def refused(_):
        raise PermissionError

    monkeypatch.setattr(os, "scandir", refused)
    assert dict(discover([tree]).ignored) == {"unreadable": 1}


def test_a_list_is_separated_by_lines_or_nul_bytes(tmp_path, monkeypatch):
    path = tmp_path / "list"
    path.write_bytes(b"a b.jpg\r\n\nc.jpg")
    assert read_list(path) == ["a b.jpg", "c.jpg"]
    path.write_bytes(b"a\nb.jpg\0\xff.jpg\0")
    assert read_list(path, null_separated=True) == ["a\nb.jpg", os.fsdecode(b"\xff.jpg")]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"x.jpg\n")))
    assert read_list("-") == ["x.jpg"]
    with pytest.raises(UsageError, match="cannot be read"):
        read_list(tmp_path / "none")


def test_a_list_of_windows_has_marks_and_no_list_is_endless(tmp_path, monkeypatch):
    path = tmp_path / "list"
    path.write_bytes(b"\xef\xbb\xbfa.jpg\n")
    assert read_list(path) == ["a.jpg"]
    path.write_bytes("ä.jpg\r\n".encode("utf-16"))
    assert read_list(path) == ["ä.jpg"]
    path.write_bytes(b"a.jpg\0b.jpg\0")
    with pytest.raises(UsageError, match="NUL bytes") as caught:
        read_list(path)
    assert "-0" in caught.value.hint
    monkeypatch.setattr("m3d_cli.photos.file_list.MOST_BYTES", 1000)
    with pytest.raises(UsageError, match="a list of more than"):
        read_list("/dev/zero")


def test_a_link_that_leads_to_itself_is_counted_and_the_others_go_on(tree):
    (tree / "loop.png").symlink_to("loop.png")
    before = names(discover([tree]))
    assert before
    assert dict(discover([tree]).ignored)["unreadable"] == 1


@given(st.lists(st.text(max_size=8)))
def test_natural_order_sorts_any_names(texts):
    keys = [natural_key(text) for text in sorted(texts, key=natural_key)]
    assert all(before <= after for before, after in itertools.pairwise(keys))


@given(st.text(min_size=1))
@example("../../etc/a.jpg")
@example("/a/../b.jpg")
@example("..")
def test_a_name_never_leaves_the_output_tree(text):
    relative = mirrored(text)
    assert not relative.is_absolute()
    assert ".." not in relative.parts
    assert relative != PurePosixPath()


def test_ten_thousand_photos_take_less_than_two_seconds(tmp_path):
    for index in range(10_000):
        (tmp_path / f"IMG_{index}.jpg").touch()
    start = time.process_time()
    listing = discover([tmp_path])
    assert time.process_time() - start < 8
    assert [photo.path.name for photo in listing.photos[9:11]] == ["IMG_9.jpg", "IMG_10.jpg"]


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", ImageFormat.HEIF),
        (b"\0\0\0\x1cftypmif1\0\0\0\0avifmif1miaf", ImageFormat.AVIF),
        (b"\0\0\0\x18ftypisom\0\0\0\0mp42", None),
        (b"\0\0\0\x18ftypcrx \0\0\0\x01", ImageFormat.RAW),
        (b"MM\0*", ImageFormat.TIFF),
        (b"BM" + bytes(12) + (40).to_bytes(4, "little"), ImageFormat.BMP),
        (b"BMW is not a bitmap at all", None),
        (b"GIF89a", ImageFormat.GIF),
        (b"RIFF\0\0\0\0WAVE", None),
        (b"", None),
    ],
)
def test_formats_are_told_from_the_first_bytes(head, expected):
    assert sniff(head) is expected


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_pipes_and_sockets_in_folders_are_counted_and_never_opened(tmp_path, monkeypatch):
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    os.mkfifo(tmp_path / "camera.jpg")
    os.mkfifo(tmp_path / "camera.nef")
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as end:
        end.bind("socket.jpg")
        for inputs in ([tmp_path], ["*"]):
            listing = discover(inputs)
            assert [photo.path.name for photo in listing.photos] == ["a.png"]
            assert dict(listing.ignored)["pipe, socket or device"] == 3
        (named,) = discover([tmp_path / "camera.jpg"]).photos
        assert "not a regular file" in named.problem
        with pytest.raises(PhotoError, match="not a regular file"):
            decode(tmp_path / "camera.jpg")


def test_a_link_to_nowhere_in_a_folder_still_fails_with_its_reason(tmp_path):
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "none.jpg")
    (photo,) = discover([tmp_path]).photos
    assert photo.path.name == "gone.jpg"


def test_a_closed_standard_input_is_said(monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(UsageError, match="standard input is closed"):
        read_list("-")


def test_absolute_names_need_no_current_folder_and_relative_ones_say_so(tmp_path, monkeypatch):
    def gone():
        raise FileNotFoundError(2, "No such file or directory")

    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    monkeypatch.setattr(os, "getcwd", gone)
    assert len(discover([tmp_path / "a.png"]).photos) == 1
    with pytest.raises(UsageError, match="the current folder was deleted"):
        discover([], listed=["a.png"])
