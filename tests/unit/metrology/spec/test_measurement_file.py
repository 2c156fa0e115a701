"""Measurement files and annotations of other tools: what is read, what is refused, and never a traceback."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import PurePosixPath

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from m3d_cli.errors import M3dError, UsageError
from m3d_cli.metrology.measurands import Kind
from m3d_cli.metrology.picks import Pick, Side
from m3d_cli.metrology.request import Refusal, Request, measurand_or_refusal
from m3d_cli.metrology.spec.annotations import parse_annotations, parse_via_csv
from m3d_cli.metrology.spec.flags import parse_flag
from m3d_cli.metrology.spec.measurement_file import parse_csv, parse_toml, schema, sheet_of, validated
from m3d_cli.metrology.spec.read import read_sheet
from m3d_cli.metrology.spec.toml import encode_toml

TOML = """
unit = "cm"
[[photo]]
match = "kitchen/*.jpg"
allow_assumed_focal = true
[[photo.measure]]
name = "door"
points = [[812, 1204], [812, 388]]
on = "wall"
[[photo.measure]]
name = "wall"
kind = "plane"
points = "1,1 100,1 100,100:near 1,100"
unit = "m"
[[photo.reference]]
object = "card"
points = "1,2 3,4"
"""


def only(sheet):
    (entry,) = sheet.entries
    return entry


def test_a_toml_file_says_everything():
    entry = only(parse_toml(TOML, "f"))
    door, wall = entry.request.items
    assert (door.name, door.kind, door.unit, door.on) == ("door", Kind.DISTANCE, "cm", "wall")
    assert (wall.unit, wall.points[2]) == ("m", Pick(100, 100, Side.NEAR))
    assert entry.request.allow_assumed_focal
    assert (entry.request.references[0].name, entry.request.references[0].length) == ("card", 0.0856)


def test_csv_says_the_same():
    text = (
        "photo,name,kind,points,on,unit,length\n"
        'a.jpg,door,distance,"812,1204 812,388",,cm,\n'
        'a.jpg,,reference,"1,2 3,4",,,0.297 m\n'
        'b.jpg,"Tür, 門",range,"5,6",,,\n'
    )
    first, second = parse_csv(text, "f").entries
    assert first.request.items[0].unit == "cm"
    assert first.request.references[0].length == 0.297
    assert second.request.items[0].name == "Tür, 門"


@pytest.mark.parametrize(
    ("match", "photo", "fits"),
    [
        ("a.jpg", "x/a.jpg", True),
        ("a", "x/a.jpg", True),
        ("x/a", "x/a.jpg", True),
        ("y/a.jpg", "x/a.jpg", False),
        ("x/*", "x/a.jpg", True),
        ("*.png", "x/a.jpg", False),
        ("a[1].jpg", "a[1].jpg", True),
    ],
)
def test_photos_are_found_by_name_stem_or_glob(match, photo, fits):
    sheet = parse_toml(f'[[photo]]\nmatch = "{match}"\n', "f")
    assert (sheet.request_for(PurePosixPath(photo)) is not None) is fits
    assert sheet.unused([PurePosixPath(photo)]) == (() if fits else (match,))


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ('[[photo]]\nmatch = "a"\n[[photo.measure]]\nnmae = "x"\n', "did you mean name?"),
        ('[[photo]]\nmatch = "a"\n[[photo.measure]]\nname = "x"\nkind = "distanse"\n', "did you mean distance?"),
        ('unti = "m"\n', "did you mean unit?"),
        ('[[photo]]\nmatch = "a"\n[[photo.reference]]\nobject = "crad"\npoints = "1,2 3,4"\n', "did you mean card?"),
    ],
)
def test_a_misspelt_word_is_reported_with_the_nearest_valid_one(text, hint):
    with pytest.raises(UsageError) as caught:
        parse_toml(text, "f")
    assert caught.value.hint == hint


def test_an_impossible_measurement_keeps_its_place_and_the_others_stay():
    text = (
        '[[photo]]\nmatch = "a"\n[[photo.measure]]\nname = "x"\nkind = "area"\npoints = "0,0 9,9 9,0 0,9"\n'
        '[[photo.measure]]\nname = "y"\npoints = "1,1 2,2"\n'
    )
    crossed, line = only(parse_toml(text, "f")).request.items
    assert isinstance(crossed, Refusal)
    assert "crosses itself" in crossed.error.message
    assert line.name == "y"


def test_two_of_one_name_are_refused():
    text = '[[photo]]\nmatch = "a"\n' + 2 * '[[photo.measure]]\nname = "x"\npoints = "1,1 2,2"\n'
    with pytest.raises(UsageError, match="2 measurements are named x"):
        parse_toml(text, "f")


def test_what_is_written_is_read_again():
    file = validated({"unit": "in", "photo": [{"match": 'a "b"\n<c>\x7f門', "measure": [
        {"name": "x\\y", "kind": "path", "points": [[1, 2], [3.25, 4], [5, 6]], "on": "w"}],
        "reference": [{"points": [[1, 2], [3, 4]], "length": "1 m", "name": "r"}]}]}, "f")  # fmt: skip
    again = parse_toml(encode_toml(file), "g")
    assert again == sheet_of(file, "f")


def test_the_schema_names_every_kind():
    content = schema()
    assert set(content["$defs"]["Kind"]["enum"]) == set(map(str, Kind))
    assert content["additionalProperties"] is False


def test_labelme_shapes_become_measurements():
    file = {
        "imagePath": "..\\photos\\a.jpg",
        "imageWidth": 400,
        "imageHeight": 200,
        "shapes": [
            {"label": "door", "points": [[1, 2], [3, 4]], "shape_type": "line"},
            {"label": "door", "points": [[1, 2], [3, 4]], "shape_type": "line"},
            {"label": "height:tree", "points": [[5, 6], [7, 8]], "shape_type": "line"},
            {"label": "roof", "points": [[0, 0], [9, 0], [9, 9]], "shape_type": "polygon"},
            {"label": "ref:card", "points": [[0, 0], [9, 0]], "shape_type": "line"},
            {"label": "ref: 2 ft", "points": [[0, 0], [9, 0]], "shape_type": "line"},
        ],
    }
    entry = only(parse_annotations(json.dumps(file), "f", "m"))
    assert entry.match == "a.jpg"
    assert [(one.name, one.kind) for one in entry.request.items] == [
        ("door", Kind.DISTANCE),
        ("door 2", Kind.DISTANCE),
        ("tree", Kind.HEIGHT),
        ("roof", Kind.AREA),
    ]
    assert [one.length for one in entry.request.references] == pytest.approx([0.0856, 0.6096])
    assert entry.request.fitted(800, 400).items[0].points[0] == Pick(2, 4)
    with pytest.raises(M3dError, match="picked on an image of 400 x 200"):
        entry.request.fitted(400, 400)


def test_shapes_that_cannot_be_measured_are_refused_and_keep_their_place():
    circle = {"label": "plate", "points": [[1, 2], [3, 4]], "shape_type": "circle"}
    line = {"label": "door", "points": [[1, 2], [3, 4]], "shape_type": "line"}
    labelme = {"imagePath": "a.jpg", "shapes": [circle, line]}
    ellipse = {"shape_attributes": {"name": "ellipse", "cx": 1, "cy": 2}, "region_attributes": {"label": "plate"}}
    via = {"a": {"filename": "a.jpg", "regions": [ellipse, {**REGION, "region_attributes": {"label": "door"}}]}}
    for file, what in ((labelme, "circle"), (via, "ellipse")):
        first, second = only(parse_annotations(json.dumps(file), "f", "m")).request.items
        assert isinstance(first, Refusal)
        assert first.error.message == f"plate: shapes like this {what} are not measured"
        assert "line" in first.error.hint
        assert second.name == "door"


def test_halves_of_characters_in_a_label_can_be_written():
    shape = {"label": "a\ud800b", "points": [[1, 2], [3, 4]], "shape_type": "line"}
    text = json.dumps({"imagePath": "a.jpg", "shapes": [shape]})
    assert only(parse_annotations(text, "f", "m")).request.items[0].name == "a?b"


def test_coco_keypoints_polygons_and_boxes():
    file = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 10, "height": 10}],
        "categories": [
            {"id": 1, "name": "person", "keypoints": ["head", "foot"], "skeleton": [[1, 2]]},
            {"id": 2, "name": "sign"},
        ],
        "annotations": [
            {"image_id": 1, "category_id": 1, "keypoints": [1, 1, 2, 1, 9, 2]},
            {"image_id": 1, "category_id": 2, "segmentation": [[0, 0, 5, 0, 5, 5]]},
            {"image_id": 1, "category_id": 2, "bbox": [1, 2, 3, 4]},
        ],
    }
    items = only(parse_annotations(json.dumps(file), "f", "m")).request.items
    assert [(one.name, one.kind) for one in items] == [
        ("head-foot", Kind.DISTANCE),
        ("sign", Kind.AREA),
        ("sign 2", Kind.BOX),
    ]
    assert items[2].points == (Pick(1, 2), Pick(4, 6))


REGION = {"shape_attributes": {"name": "polyline", "all_points_x": [1, 2], "all_points_y": [3, 4]}}


def test_via_json_and_csv_agree():
    region = {**REGION, "region_attributes": {"label": "edge"}}
    text = json.dumps({"_via_img_metadata": {"a.jpg1": {"filename": "a.jpg", "regions": [region]}}})
    quoted = [json.dumps(region[key]).replace('"', '""') for key in ("shape_attributes", "region_attributes")]
    table = f'filename,region_shape_attributes,region_attributes\na.jpg,"{quoted[0]}","{quoted[1]}"\n'
    assert parse_annotations(text, "f", "m") == parse_via_csv(table, "f", "m")
    assert only(parse_via_csv(table, "f", "m")).request.items[0].name == "edge"


def test_flags_take_names_planes_and_regions():
    line = parse_flag("line", "front = door=1,2 3,4 on the wall", 1, "ft")
    assert (line.name, line.on, line.unit) == ("front = door", "the wall", "ft")
    assert parse_flag("ground", "auto", 1, "m").points == ()
    gap = parse_flag("plane-distance", "1,1 9,1 9,9 | 21,1 29,1 29,9", 2, "m")
    assert (gap.name, len(gap.points), len(gap.second)) == ("plane-distance 2", 3, 3)


def test_files_are_distinguished_by_suffix_and_content(tmp_path):
    (tmp_path / "a.toml").write_text(TOML)
    (tmp_path / "a.csv").write_text('photo,name,points\na.jpg,x,"1,2 3,4"\n')
    (tmp_path / "bad.bin").write_bytes(b"\xff\xfe")
    assert read_sheet(tmp_path / "a.toml", "in").entries[0].request.items[0].unit == "in"
    assert read_sheet(tmp_path / "a.csv").entries[0].match == "a.jpg"
    for name in ("bad.bin", "none.toml"):
        with pytest.raises(UsageError):
            read_sheet(tmp_path / name)


WORDS = """photo match measure name points kind shapes label shape_type imagePath images annotations image_id id
file_name keypoints segmentation bbox categories skeleton _via_img_metadata filename regions shape_attributes
region_attributes all_points_x cx"""
KEYS = st.sampled_from(WORDS.split())
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(KEYS, VALUES, max_size=6))
@example({"shapes": [{"label": "ref:1 m", "points": [[1, 1], [1, 1]], "shape_type": "line"}], "imagePath": "a"})
@example({"shapes": [{"label": "x", "points": [[1e308, 1], [1, 1]], "shape_type": "line"}], "imagePath": "a"})
def test_any_json_is_read_or_refused(content):
    for read in (lambda: parse_annotations(json.dumps(content), "f", "m"), lambda: validated(content, "f")):
        with suppress(M3dError):
            read()


@given(st.text(max_size=200) | st.sampled_from([TOML]).flatmap(lambda t: st.integers(0, len(t)).map(lambda n: t[:n])))
@example('photo,points\n"a","1,nan 2,3"')
@example("photo,name,points\na,b,1,2,3,4,5")
@example("region_shape_attributes\n[]")
@example("region_shape_attributes\n[1]")
def test_any_text_is_read_or_refused(text):
    for read in (
        parse_toml,
        parse_csv,
        lambda t, p: parse_via_csv(t, p, "m"),
        lambda t, p: parse_annotations(t, p, "m"),
    ):
        with suppress(M3dError):
            read(text, "f")


def test_points_of_each_entry_are_fitted_by_its_own_image_size():
    plain = Request((measurand_or_refusal("a", Kind.DISTANCE, (Pick(300, 400), Pick(420, 400))),))
    double = Request((measurand_or_refusal("b", Kind.DISTANCE, (Pick(300, 400), Pick(420, 400))),), size=(1280, 854))
    for joined in (plain.joined(double), double.joined(plain)):
        fitted = joined.fitted(640, 427)
        points = {one.name: [(p.u, p.v) for p in one.points] for one in fitted.measurands}
        assert points == {"a": [(300, 400), (420, 400)], "b": [(150, 200), (210, 200)]}


def test_semicolons_of_other_countries_spreadsheets_are_read():
    rows = 'photo,name,kind,points\np.jpg,door,distance,"1,2 3,4"\n'
    commas = parse_csv(rows, "s.csv")
    semicolons = parse_csv("photo;name;kind;points\r\np.jpg;door;distance;1,2 3,4\r\n", "s.csv")
    assert commas == semicolons
