"""EXIF facts survive what cameras and editors really write."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL.TiffImagePlugin import IFDRational

from m3d_cli.errors import CalibrationError
from m3d_cli.intrinsics import exif as exif_module
from m3d_cli.intrinsics.exif import _STATEMENTS, SENTINELS, ExifFacts, facts_from_tags, number, read_exif, text
from m3d_cli.intrinsics.exif_sidecar import read_exif_sidecar
from m3d_cli.photos.header import opened

TAGS = {
    0x920A: IFDRational(425, 100),
    0xA405: 26,
    0xA002: 4032,
    0xA003: 3024,
    0xA20E: IFDRational(9000, 1),
    0xA210: 2,
    0xA404: IFDRational(3, 2),
}
BASE = {0x010F: "Apple\0", 0x0110: " iPhone  11 "}


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif", "heic", "avif"])
def test_tags_are_read_from_every_format(save_photo, suffix):
    facts = read_exif(save_photo(f"photo.{suffix}", tags=TAGS, base=BASE, orientation=6), opened)
    assert (facts.make, facts.model) == ("Apple", "iPhone 11")
    assert facts.focal_mm == pytest.approx(4.25)
    assert facts.focal_35mm == 26
    assert (facts.width, facts.height) == (4032, 3024)
    assert (facts.plane_x, facts.plane_unit, facts.digital_zoom) == (9000, 2, 1.5)


def test_a_photo_without_exif_gives_empty_facts(save_photo):
    assert read_exif(save_photo("bare.png"), opened) == ExifFacts()


def test_facts_are_completed_statement_by_statement():
    first = ExifFacts(make="Acme", focal_35mm=52, plane_x=100.0, notes=("first",))
    second = ExifFacts(
        make="Other", model="Two", focal_mm=4.0, focal_35mm=26, digital_zoom=2.0, plane_y=9.0, plane_unit=3,
        width=40, height=30, notes=("second",),
    )  # fmt: skip
    assert first.completed_by(second) == ExifFacts(
        make="Acme", model="Two", focal_mm=4.0, focal_35mm=52, digital_zoom=2.0, plane_x=100.0, width=40, height=30,
        notes=("first", "second"),
    )  # fmt: skip
    assert {name for group in _STATEMENTS for name in group} | {"notes"} == {f.name for f in fields(ExifFacts)}
    assert ExifFacts().completed_by(second) == second


def test_a_zero_over_zero_rational_is_unknown(save_photo):
    tags = {0x920A: IFDRational(0, 0), 0xA404: IFDRational(0, 0), 0xA405: 0}
    facts = read_exif(save_photo("zero.jpg", tags=tags), opened)
    assert (facts.focal_mm, facts.digital_zoom, facts.focal_35mm) == (None, None, None)


@pytest.mark.parametrize("sentinel", sorted(SENTINELS))
def test_sentinels_are_unknown(sentinel):
    facts = facts_from_tags({"FocalLengthIn35mmFilm": sentinel, "FocalLength": sentinel})
    assert (facts.focal_35mm, facts.focal_mm) == (None, None)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("4.2 mm", 4.2),
        ("63/10", 6.3),
        ("0/0", None),
        ("26 mm", 26.0),
        ([399, 100], 399.0),
        ([], None),
        ([[5]], 5.0),
        (b"35", 35.0),
        ("inf", None),
        (float("nan"), None),
        (None, None),
        ({}, None),
        ("1e999", None),
        ("unknown", None),
    ],
)
def test_numbers_are_found_in_what_files_hold(value, expected):
    assert number(value) == (pytest.approx(expected) if expected is not None else None)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.fractions(),
    lambda inner: st.lists(inner) | st.tuples(inner),
    max_leaves=4,
)


@given(st.dictionaries(st.sampled_from(sorted(exif_module._TAGS)), anything))
@example({"FocalLength": "1/0", "Orientation": 10**400})
def test_any_tag_values_give_facts(tags):
    facts = facts_from_tags(tags)
    for value in (facts.focal_mm, facts.focal_35mm, facts.plane_x, facts.plane_y, facts.digital_zoom):
        assert value is None or 0 < value < float("inf")


@given(anything)
def test_text_is_one_printable_line(value):
    assert all(character.isprintable() for character in text(value))


def test_when_one_reader_fails_the_other_answers(save_photo, monkeypatch):
    path = save_photo("photo.jpg", tags=TAGS)

    def broken(_):
        raise AssertionError("seen in exifread with HEIC")

    monkeypatch.setattr(exif_module, "_read_with_exifread", broken)
    facts = read_exif(path, opened)
    assert facts.focal_35mm == 26
    assert facts.notes == ("EXIF unreadable by exifread: AssertionError",)


def test_the_first_reader_wins_and_the_second_fills_in(save_photo, monkeypatch):
    path = save_photo("photo.jpg", tags=TAGS)
    monkeypatch.setattr(exif_module, "_read_with_exifread", lambda _: {"FocalLength": 9.0, "FocalLengthIn35mmFilm": ""})
    facts = read_exif(path, opened)
    assert (facts.focal_mm, facts.focal_35mm) == (9.0, 26)


def test_damaged_exif_is_not_talked_about_on_standard_error(save_photo, capfd):
    path = save_photo("photo.jpg", tags=TAGS)
    data = path.read_bytes()
    start = data.index(b"Exif\0\0")
    path.write_bytes(data[: start + 30] + b"\xff" * 20 + data[start + 50 :])
    read_exif(path, opened)
    assert capfd.readouterr().err == ""


def write(tmp_path, data):
    path = tmp_path / "tags.json"
    path.write_text(json.dumps(data), encoding="utf-8")
    return path


def test_an_exiftool_sidecar_is_matched_by_path_name_and_stem(tmp_path):
    sidecar = read_exif_sidecar(
        write(
            tmp_path,
            [
                {"SourceFile": "./a/one.jpg", "FocalLength": "4.2 mm", "FocalLengthIn35mmFormat": "26 mm"},
                {"SourceFile": "b/one.jpg", "EXIF:FocalLength": 5, "EXIF:FocalPlaneResolutionUnit": "cm"},
                {"SourceFile": "c/two.dng", "FocalLength": "63/10", "ExifImageHeight": 3000},
            ],
        )
    )
    find = sidecar.find
    assert find(Path("/photos/a/one.jpg"), Path("a/one.jpg")) == ExifFacts(
        focal_mm=4.2, focal_35mm=26, notes=("tags from the EXIF sidecar",)
    )
    assert find(Path("/photos/b/one.jpg")).plane_unit == 3
    assert find(Path("/elsewhere/two.jpg")).height == 3000
    assert find(Path("one.jpg")) is None
    assert find(Path("three.jpg")) is None


def test_exif_wins_over_other_groups_and_standard_names_over_aliases(tmp_path):
    tags = {
        "EXIF:FocalLength": 5,
        "MakerNotes:FocalLength": 6,
        "FocalLengthIn35mmFilm": 27,
        "FocalLengthIn35mmFormat": 28,
    }
    for listed in (tags, dict(reversed(tags.items()))):
        facts = read_exif_sidecar(write(tmp_path, [{"SourceFile": "a.jpg", **listed}])).find(Path("a.jpg"))
        assert (facts.focal_mm, facts.focal_35mm) == (5, 27)


def flickr(photo_id):
    tags = [
        {"tagspace": "IFD0", "tag": "Make", "label": "Make", "raw": {"_content": "Canon"}},
        {"tagspace": "ExifIFD", "tag": "FocalLength", "label": "Focal Length", "raw": {"_content": "24.0 mm"}},
        {"tagspace": "Composite", "tag": "FocalLength", "label": "Focal Length", "raw": {"_content": "99 mm"}},
    ]
    return {"photo": {"id": photo_id, "secret": "x", "exif": tags}, "stat": "ok"}


def test_a_flickr_answer_is_matched_by_the_photo_id_in_the_file_name(tmp_path):
    sidecar = read_exif_sidecar(write(tmp_path, [flickr("6061409035"), flickr("7000000001")]))
    assert sidecar.find(Path("china_6061409035_o.jpg")).focal_mm == 24.0
    assert sidecar.find(Path("unknown.jpg")) is None


def test_a_lone_answer_without_a_name_fits_the_photo(tmp_path):
    sidecar = read_exif_sidecar(write(tmp_path, flickr("")))
    assert sidecar.find(Path("any.jpg")).make == "Canon"


@pytest.mark.parametrize("data", [[], 3, [1], {"a": 1}, {"photo": {"id": "1"}}, {"stat": "fail", "message": "no"}])
def test_what_is_no_sidecar_is_refused(tmp_path, data):
    with pytest.raises(CalibrationError, match=r"tags\.json"):
        read_exif_sidecar(write(tmp_path, data))


def test_a_sidecar_that_is_no_json_is_refused(tmp_path):
    path = tmp_path / "tags.json"
    path.write_bytes(b"\xff\xfe{")
    with pytest.raises(CalibrationError, match="cannot be read"):
        read_exif_sidecar(path)


NESTED = {
    "SourceFile": "a.jpg",
    "File": {"FileName": "a.jpg", "ImageWidth": 1600},
    "Composite": {"FocalLength": "99 mm"},
    "EXIF": {"FocalLength": "50.0 mm", "FocalLengthIn35mmFormat": "50 mm", "ExifImageWidth": 6000, "Model": "ILCE-7M3"},
    "MakerNotes": {"FocalLength": "77 mm"},
}


@pytest.mark.parametrize(
    "tags",
    [
        NESTED,
        dict(reversed(NESTED.items())),
        {
            "SourceFile": "a.jpg",
            "IFD0": {"Model": "ILCE-7M3"},
            "ExifIFD": {**NESTED["EXIF"]},
            "Canon": {"FocalLength": 7},
        },
        {"SourceFile": "a.jpg", "EXIF:IFD0": {"Model": "ILCE-7M3"}, "EXIF:ExifIFD": NESTED["EXIF"]},
        {
            "SourceFile": "a.jpg",
            "Composite:FocalLength": 9,
            **{f"EXIF:ExifIFD:{k}": v for k, v in NESTED["EXIF"].items()},
        },
        {"SourceFile": "a.jpg", **{k: {"id": 7, "val": v} for k, v in NESTED["EXIF"].items()}},
        {"File": {"FileName": "a.jpg"}, "EXIF": NESTED["EXIF"]},
    ],
    ids=["g", "g reversed", "g1", "g0:1", "G0:1", "D", "no source"],
)
def test_tags_of_exiftool_are_found_in_whatever_groups_they_are_nested(tmp_path, tags):
    facts = read_exif_sidecar(write(tmp_path, [tags])).find(Path("a.jpg"))
    assert (facts.focal_mm, facts.focal_35mm, facts.width, facts.model) == (50, 50, 6000, "ILCE-7M3")


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '[{"a":' * 5_000, '[{"SourceFile": "a", "FocalLength": ' + "9" * 5_000 + "}]"]
)
def test_a_sidecar_without_bounds_is_refused_by_name(tmp_path, text):
    (tmp_path / "tags.json").write_text(text)
    with pytest.raises(CalibrationError, match=r"tags\.json"):
        read_exif_sidecar(tmp_path / "tags.json")
