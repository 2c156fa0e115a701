"""Plans: names that mirror the inputs, and collisions found before any work."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

import pytest

from m3d_cli.errors import CollisionError, UsageError
from m3d_cli.photos.discover import PhotoFile
from m3d_cli.pipeline.plan import OutputFormat, parse_formats, photo_key, plan

PNG = (OutputFormat.PNG,)


def photo(path, relative=None, problem=""):
    return PhotoFile(Path(path), PurePosixPath(relative or Path(path).name), problem)


def test_outputs_mirror_the_input_tree():
    (job,) = plan([photo("in/a/IMG_1.jpg", "a/IMG_1.jpg")], Path("out"), tuple(OutputFormat))
    names = [output.as_posix() for output in job.outputs]
    assert names[0] == "out/a/IMG_1.png"
    assert names[-1] == "out/a/IMG_1.json"
    assert {"out/a/IMG_1.conf.png", "out/a/IMG_1.preview.png", "out/a/IMG_1.exr"} < set(names)
    assert len(names) == len(OutputFormat) + 1


def test_a_dot_in_a_name_is_kept():
    (job,) = plan([photo("in/shot_1.5m.jpg")], Path("out"), PNG)
    assert job.output(OutputFormat.PNG) == Path("out/shot_1.5m.png")


def test_two_photos_that_would_share_a_name_are_refused_with_the_way_out():
    photos = [photo("in/a.jpg"), photo("in/a.heic")]
    with pytest.raises(CollisionError, match="would both write") as caught:
        plan(photos, Path("out"), PNG)
    assert caught.value.hint == "use --keep-extension"
    jobs = plan(photos, Path("out"), PNG, keep_extension=True)
    assert [job.outputs[0].name for job in jobs] == ["a.jpg.png", "a.heic.png"]


def test_photos_that_only_their_folders_tell_apart_are_told_to_keep_them():
    with pytest.raises(CollisionError) as caught:
        plan([photo("in/x/a.jpg"), photo("in/y/a.jpg")], Path("out"), PNG)
    assert "-r" in caught.value.hint
    assert "--keep-extension" not in caught.value.hint


def test_products_of_different_photos_may_collide_too():
    photos = [photo("in/a.jpg"), photo("in/a.preview.jpg")]
    with pytest.raises(CollisionError):
        plan(photos, Path("out"), (OutputFormat.PNG, OutputFormat.PREVIEW))


def test_what_cannot_be_a_photo_is_in_nobodys_way():
    assert len(plan([photo("in/a.jpg"), photo("in/a.txt", problem="is not an image")], Path("out"), PNG)) == 2


def test_a_name_too_long_for_its_results_is_the_problem_of_this_photo_alone():
    fits, too_long, wide = plan(
        [photo(f"in/{stem}.jpg") for stem in ("a" * 245, "b" * 246, "é" * 123)], Path("out"), PNG
    )
    assert not fits.photo.problem
    assert "too long" in too_long.photo.problem
    assert "256 bytes, 255 are possible" in wide.photo.problem


def test_an_output_that_is_an_input_is_refused(tmp_path):
    for name in ("in/a.jpg", "out/a.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    photos = [photo(tmp_path / "in/a.jpg"), photo(tmp_path / "out/a.png", "x/a.png")]
    with pytest.raises(CollisionError, match="overwrite the input"):
        plan(photos, tmp_path / "out", PNG)


def test_the_folder_of_the_photos_is_no_place_for_depth_even_by_another_name(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "in")
    with pytest.raises(CollisionError, match="beside it"):
        plan([photo(tmp_path / "in/a.jpg")], tmp_path / "link", PNG)


def test_a_key_changes_with_the_photo_its_place_and_the_settings(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(b"one")

    def key(settings="s", out="out", keep_extension=False):
        (job,) = plan([photo(path)], tmp_path / out, PNG, keep_extension)
        return photo_key(job, settings)

    first = key()
    assert key() == first
    assert key(out="other") == first
    assert key(settings="t") != first
    assert key(keep_extension=True) != first
    path.write_bytes(b"longer")
    second = key()
    assert second != first
    os.utime(path, ns=(1, 1))
    assert key() not in (first, second)
    path.unlink()
    assert key() not in (first, second)


@pytest.mark.parametrize(("text", "expected"), [("png", "png"), (" NPY,png,,png", "png npy"), ("conf,exr", "exr conf")])
def test_formats_come_once_in_a_fixed_order(text, expected):
    assert " ".join(parse_formats(text)) == expected


@pytest.mark.parametrize("text", ["", ",", "png,jpeg", "mesh"])
def test_unknown_formats_are_usage_errors(text):
    with pytest.raises(UsageError, match="no format"):
        parse_formats(text)
