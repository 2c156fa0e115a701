"""What the pick page begins with, keeps and saves, without a browser."""

from __future__ import annotations

import csv
from pathlib import Path, PurePosixPath

import pytest

from m3d_cli.cli import app
from m3d_cli.errors import OutputError, UsageError
from m3d_cli.metrology.report.content import decode_report
from m3d_cli.metrology.request import Request
from m3d_cli.metrology.spec.flags import request_of_flags
from m3d_cli.metrology.spec.read import read_sheet
from m3d_cli.models.registry import ChosenWeights
from m3d_cli.models.spec import LITE
from m3d_cli.photos.discover import PhotoFile
from m3d_cli.pipeline.measure_run import plan_measuring
from m3d_cli.pipeline.pick_page import PickSession, sheet_path
from m3d_cli.pipeline.settings import Settings
from m3d_cli.pipeline.workers import Workers

PHOTOS = Path(__file__).parents[2] / "data" / "photos"
LINE = {"name": "line 1", "kind": "distance", "points": [[100, 300], [200, 300]]}
CONTENT = {"unit": "m", "allow_assumed_focal": False, "measure": [LINE], "reference": []}


@pytest.fixture
def depth(measured_depth):
    return measured_depth


@pytest.fixture
def picker(depth, tmp_path):
    """Makes the page's service for a photo whose files go into ``out``."""

    def make(name="palace.jpg", own=None, specs=(), *, overwrite=False, unit=None):
        settings = Settings(LITE, ChosenWeights(None, ""), (), stored=depth)
        photo, out = PhotoFile(PHOTOS / name, PurePosixPath(name)), tmp_path / "out"
        formats = ("csv", "json")
        session = PickSession([photo], own or Request(), specs, settings, out, formats, unit, overwrite=overwrite)
        return session.service(Workers())

    return make


def flags(*pairs, refs=(), unit="m"):
    return request_of_flags(pairs, refs, unit, allow_assumed_focal=False)


def sent(info):
    """What the page sends when nothing was touched: the same as its script makes of its items."""

    def written(points):
        return " ".join(",".join(map(str, p[:2])) + (f":{p[2]}" if p[2:] else "") for p in points)

    measure, reference = [], []
    for item in info["items"]:
        one = {"name": item["name"], "points": written(item["points"]), "pick_sigma": item["pick_sigma"]}
        one |= {"on": item["on"]} if item["on"] else {}
        if item["kind"] == "reference":
            size = {"object": item["object"]} if item["object"] else {"length": item["length"]}
            reference.append(one | size | ({"tolerance": item["tolerance"]} if "tolerance" in item else {}))
            continue
        one |= {"second": written(item["second"])} if item["second"] else {}
        measure.append(one | {"kind": item["kind"]} | ({"unit": item["unit"]} if item["unit"] else {}))
    return {"unit": info["unit"], "allow_assumed_focal": False, "measure": measure, "reference": reference}


def names_in(path):
    with path.open(newline="") as file:
        return [(row["photo"], row["name"]) for row in csv.DictReader(file)]


def test_a_second_photo_saved_into_a_folder_leaves_the_first_ones_rows(picker, tmp_path):
    picker("palace.jpg").save(CONTENT)
    picker("flower.jpg").save(CONTENT)
    report = tmp_path / "out" / "measurements.csv"
    assert names_in(report) == [("flower.jpg", "line 1"), ("palace.jpg", "line 1")]


def test_a_run_goes_on_in_a_folder_that_the_page_saved_to(picker, depth, tmp_path, capsys):
    out = tmp_path / "out"
    picker("palace.jpg").save(CONTENT)
    spec = tmp_path / "s.toml"
    spec.write_text('[[photo]]\nmatch = "*.jpg"\n[[photo.measure]]\nname = "more"\npoints = "100,200 200,200"\n')
    run = ["measure", str(PHOTOS / "palace.jpg"), "--depth", str(depth), "--out", str(out), "--report", "csv"]
    assert app.main([*run, "--spec", str(sheet_path(plan_measuring(_photos("palace.jpg"), out)[0]))]) == 0
    assert names_in(out / "measurements.csv") == [("palace.jpg", "line 1")]
    assert app.main([*run, str(PHOTOS / "flower.jpg"), "--spec", str(spec)]) == 0
    assert "OUTPUT_EXISTS" not in capsys.readouterr().err
    assert names_in(out / "measurements.csv") == [("flower.jpg", "more"), ("palace.jpg", "more")]


def _photos(*names):
    return [PhotoFile(PHOTOS / name, PurePosixPath(name)) for name in names]


def test_what_was_saved_is_there_again_with_all_that_it_says(picker, tmp_path):
    own = flags(
        ("ground", "auto"),
        ("plane", "wall=100,100 200,100 200,200"),
        ("line", "edge=110,110:near 190,190:far on wall"),
        ("plane-distance", "1,1 99,1 99,99 | 200,1 299,1 299,99"),
        refs=['card:"100,300 200,300"', "100,310 200,310 = 2 m on wall"],
        unit="cm",
    )
    first = picker("palace.jpg", own)
    assert first.info["unit"] == "cm"
    first.save(sent(first.info))
    request = read_sheet(tmp_path / "out" / "palace.sizes.toml").entries[0].request
    assert (request.items, request.references) == (own.items, own.references)
    again = picker("palace.jpg")
    assert again.info["items"] == first.info["items"]
    assert [item["object"] for item in again.info["items"][-2:]] == ["card", ""]
    # The same flags once more add nothing, and saving what was loaded asks nothing.
    again = picker("palace.jpg", own)
    assert again.info["items"] == first.info["items"]
    again.save(sent(again.info))
    again.save(CONTENT)


def test_the_page_continues_a_measurement_file_of_many_photos(picker, tmp_path):
    spec = tmp_path / "many.toml"
    spec.write_text(
        '[[photo]]\nmatch = "*.jpg"\nsize = [1280, 850]\n[[photo.measure]]\nname = "a"\nunit = "mm"\npick_sigma = 0.5\n'
        'points = "200,600 400,600"\n[[photo.reference]]\npoints = "20,20 400,20"\nlength = 2\ntolerance = 0.03\n'
    )
    service = picker("palace.jpg", flags(("line", "b=1,1 9,9")), [spec])
    width = service.info["width"]
    measures = [(item["name"], item["unit"], item["pick_sigma"]) for item in service.info["items"][:2]]
    assert measures == [("b", "", 1.0), ("a", "mm", 0.5)]
    assert service.info["items"][1]["points"][0][0] == pytest.approx(200 * width / 1280)
    assert service.info["items"][2]["tolerance"] == 0.03
    with pytest.raises(UsageError, match="no entry for portrait"):
        picker("portrait.png", None, [spec])


def test_save_refuses_to_replace_what_the_page_did_not_load(picker, tmp_path):
    service = picker("palace.jpg")
    other = picker("palace.jpg")
    other.save(CONTENT)
    sheet = tmp_path / "out" / "palace.sizes.toml"
    before = sheet.read_bytes()
    with pytest.raises(OutputError, match=r"palace\.sizes\.toml exists already") as found:
        service.save(CONTENT | {"measure": [LINE | {"name": "mine"}]})
    assert found.value.code == "OUTPUT_EXISTS"
    assert sheet.read_bytes() == before
    service.save(CONTENT | {"measure": [LINE | {"name": "mine"}], "replace": True})
    assert read_sheet(sheet).entries[0].request.measurands[0].name == "mine"
    service.save(CONTENT)
    picker("palace.jpg", overwrite=True).save(CONTENT)


def test_entries_for_other_photos_are_not_lost_in_silence(picker, tmp_path):
    picker("palace.jpg").save(CONTENT)
    sheet = tmp_path / "out" / "palace.sizes.toml"
    sheet.write_text(sheet.read_text() + '[[photo]]\nmatch = "flower.jpg"\n')
    with pytest.raises(OutputError, match="exists already"):
        picker("palace.jpg").save(CONTENT)


def test_without_a_focal_length_the_points_are_saved_and_nothing_is_done(picker, tmp_path):
    reply = picker("portrait.png").save(CONTENT)
    assert reply["error"]["code"] == "NO_FOCAL"
    assert [Path(name).name for name in reply["files"]] == ["portrait.sizes.toml"]
    assert picker("portrait.png").save(CONTENT | {"allow_assumed_focal": True})["files"]
    report = decode_report((tmp_path / "out" / "portrait.measure.json").read_bytes(), "report")
    assert report.measurements[0].value


RECTANGLE = "table=60x45 cm: 100,100 300,100 300,250 100,250"


def test_things_of_known_size_that_the_page_does_not_draw_are_used_and_saved_again(picker, tmp_path):
    own = request_of_flags(
        [("line", "edge=110,110 190,110 on table")], (), "m", rectangles=[RECTANGLE], allow_assumed_focal=False
    )
    for given in (own, None):  # at first from the flags, then from what was saved
        service = picker("palace.jpg", given)
        content = sent(service.info)
        (row,) = service.measure(content)["measurements"]
        assert "exact geometry" in row["method"]
        service.save(content)
        (entry,) = read_sheet(sheet_path(plan_measuring(_photos("palace.jpg"), tmp_path / "out")[0])).entries
        assert entry.request.rectangles == own.rectangles
