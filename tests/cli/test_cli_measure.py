"""``m3d measure`` and ``m3d schema``: what goes to which stream, exit codes, whole folders, and resuming them."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from m3d_cli.cli import app

PHOTOS = Path(__file__).parents[1] / "data" / "photos"
PALACE = PHOTOS / "palace.jpg"
TEST_MODEL = ["--model", "m3d-test-lite", "--device", "cpu"]


@pytest.fixture
def depth(measured_depth):
    return measured_depth


def measure(*arguments):
    return app.main(["measure", *map(str, arguments)])


def test_json_holds_the_measurements_in_the_order_of_the_flags(capsys, depth):
    flags = ["--line", "100,100 200,100", "--range", "b=300,200", "--line=9,9 90,90", "--angle", "1,9 90,90 99,9"]
    assert measure(PALACE, "--depth", depth, *flags, "--report", "json", "--unit", "cm") == 0
    output = capsys.readouterr()
    found = json.loads(output.out)
    assert [row["name"] for row in found["measurements"]] == ["line 1", "b", "line 2", "angle 1"]
    assert [row["unit"] for row in found["measurements"]] == ["cm", "cm", "cm", "deg"]
    assert {"photo", "camera", "reference", "measurements"} <= found.keys()
    for row in found["measurements"]:
        assert row["interval"][0] <= row["value"] <= row["interval"][1]
        assert set(row["sigma"]) == {"focal", "scale", "local", "pick", "reference", "upright"}


def test_one_refusal_leaves_the_others_and_gives_3(capsys, depth):
    flags = ["--line", "1,1 9999,1", "--line", "100,100 200,100", "--area", "0,0 9,9 9,0 0,9", "--plane", "1,1 9,9"]
    assert measure(PALACE, "--depth", depth, *flags, "--report", "json") == 3
    output = capsys.readouterr()
    rows = json.loads(output.out)["measurements"]
    assert [row["value"] is None for row in rows] == [True, False, True, True]
    assert [row.get("error", {}).get("code") for row in rows] == ["BAD_MEASUREMENT", None] + 2 * ["BAD_MEASUREMENT"]
    assert output.err.count("error: palace.jpg: BAD_MEASUREMENT") == 3


def test_a_reference_scales_every_length(capsys, depth):
    line = ["--line", "100,300 200,300", "--report", "json"]
    assert measure(PALACE, "--depth", depth, *line) == 0
    free = json.loads(capsys.readouterr().out)["measurements"][0]["value"]
    assert measure(PALACE, "--depth", depth, *line, "--ref", "100,300 200,300 = 2 m") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["measurements"][0]["value"] == pytest.approx(2, rel=0.02)
    assert found["reference"]["factor"] == pytest.approx(2 / free, rel=0.1)


def test_an_assumed_focal_length_ends_with_7_unless_allowed(capsys, depth):
    flags = [PHOTOS / "portrait.png", "--depth", depth, "--line", "100,100 200,100", "--report", "csv"]
    assert measure(*flags) == 7
    output = capsys.readouterr()
    assert "NO_FOCAL" in output.err
    (row,) = csv.DictReader(io.StringIO(output.out))
    assert row["value"] == ""
    assert row["error"].startswith("NO_FOCAL")
    assert measure(*flags, "--allow-assumed-focal") == 0
    capsys.readouterr()
    assert measure(*flags[:-2], "--allow-assumed-focal") == 0
    assert capsys.readouterr().out.rstrip().endswith(", focal length assumed")
    assert measure(*flags, "--ref", "100,100 200,100 = 1 m") == 0


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ([], "nothing to measure"),
        (["--line", "a,b c,d"], "is not a point"),
        (["--line", "1,1 2,2", "--unit", "yd"], "--unit yd"),
        (["--line", "1,1 2,2", "--report", "pdf"], "--report pdf"),
        (["--line", "1,1 2,2", "--ref", "1,1 2,2"], "has no length"),
        (["--line", "x=1,1 2,2", "--line", "x=1,1 3,3"], "are named x"),
        (["--plane-distance", "1,1 2,2 3,3"], "one region only"),
        (["--line", "1,1 2,2", "--ref", "1,1 2,2 = -5 m"], "of -5 m is no length"),
        (["--line", "1,1 2,2", "--ref", "1,1 2,2 = nan"], "is no length"),
        (["--line", "1,1 2,2", "--ref", "card: 1,1 1,1"], "are the same point"),
    ],
)
def test_impossible_requests_give_2(capsys, depth, arguments, word):
    assert measure(PALACE, "--depth", depth, *arguments) == 2
    output = capsys.readouterr()
    assert word in output.err
    assert output.out == ""


def test_flags_are_for_one_photo(capsys, depth):
    assert measure(PALACE, PHOTOS / "flower.jpg", "--depth", depth, "--line", "1,1 2,2") == 2
    assert "--spec FILE" in capsys.readouterr().err


def test_stored_depth_needs_no_torch(depth):
    code = (
        "import sys; from m3d_cli.cli import app; "
        f"code = app.main(['measure', {str(PALACE)!r}, '--depth', {str(depth)!r}, '--line', '9,9 99,99', "
        "'--report', 'html', '-q']); assert 'torch' not in sys.modules, 'torch'; sys.exit(code)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, timeout=120)
    assert (run.returncode, run.stderr) == (0, b"")
    assert run.stdout.startswith(b"<!doctype html>")


SPEC = """
allow_assumed_focal = true
[[photo]]
match = "*.jpg"
[[photo.measure]]
name = "../../<b>evil</b>"
points = "100,100 200,100"
[[photo]]
match = "palace"
[[photo.measure]]
name = "Größe"
points = "100,200 200,200"
"""


def test_a_folder_is_measured_and_resumed(capsys, depth, tmp_path):
    spec, out = tmp_path / "s.toml", tmp_path / "out"
    spec.write_text(SPEC)
    command = [PALACE, PHOTOS / "flower.jpg", PHOTOS / "portrait.png", "--depth", depth, "--spec", spec, "--out", out]
    assert measure(*command) == 0
    assert capsys.readouterr().out == ""
    names = {path.name for path in out.iterdir()}
    for stem in ("palace", "flower"):
        assert {f"{stem}.measure.json", f"{stem}.measured.jpg", f"{stem}.depth.jpg"} <= names
    assert {"measurements.html", "measurements.csv", "measurements.json"} <= names
    assert not any(name.startswith("portrait") for name in names)
    assert {path.name for path in tmp_path.iterdir()} == {"s.toml", "out"}
    page = (out / "measurements.html").read_text()
    assert "<b>evil" not in page
    stamps = {path.name: path.stat().st_mtime_ns for path in out.glob("*.measure*")}
    spec.write_text(SPEC + '[[photo.measure]]\nname = "more"\npoints = "100,100 300,300"\n')
    assert measure(*command, "-q") == 0
    again = {path.name: path.stat().st_mtime_ns for path in out.glob("*.measure*")}
    assert {name for name in stamps if stamps[name] == again[name]} == {"flower.measure.json", "flower.measured.jpg"}
    assert (out / "measurements.html").read_text().count("<tr>") == 1 + 4


def test_a_bad_photo_does_not_stop_the_others(capsys, depth, tmp_path):
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"\xff\xd8\xff")
    spec = tmp_path / "s.toml"
    spec.write_text(SPEC)
    for more in (["--out", tmp_path / "out"], ["--report", "json"]):
        assert measure(bad, PALACE, "--depth", depth, "--spec", spec, *more) == 3
        output = capsys.readouterr()
        assert "bad.jpg" in output.err
    found = json.loads(output.out)
    assert [report["photo"] for report in found] == ["bad.jpg", "palace.jpg"]
    assert found[0]["measurements"][0]["error"]["message"]


def test_the_network_gives_the_same_as_its_stored_depth(capsys, depth):
    line = ["--line", "100,100 200,100", "--report", "csv", "-q"]
    assert measure(PALACE, *line, *TEST_MODEL) == 0
    fresh = capsys.readouterr().out
    assert measure(PALACE, "--depth", depth, *line) == 0
    assert capsys.readouterr().out == fresh


def test_the_schema_is_printed(capsys):
    assert app.main(["schema", "measure"]) == 0
    assert json.loads(capsys.readouterr().out)["title"] == "m3d measurement file"


def test_lines_to_read_stand_on_stdout(capsys, depth):
    assert measure(PALACE, "--depth", depth, "--line", "Tür=100,100 200,100") == 0
    line = capsys.readouterr().out
    assert line.startswith("Tür ")
    assert "focal length" not in line.partition("limited by")[0]
    assert "95 %" in line


def test_a_run_that_measures_nothing_leaves_the_reports_that_are_there(capsys, depth, tmp_path):
    (tmp_path / "measurements.csv").write_text("kept")
    (tmp_path / "palace.measure.json").write_text("of unknown origin")
    flags = ["--depth", depth, "--line", "100,100 200,100", "--out", tmp_path, "--report", "csv,md"]
    assert measure(PALACE, *flags) == 3
    assert "OUTPUT_EXISTS" in capsys.readouterr().err
    assert (tmp_path / "measurements.csv").read_text() == "kept"
    assert "not measured" in (tmp_path / "measurements.md").read_text()


def test_the_reports_of_a_folder_hold_all_photos_measured_there(capsys, depth, tmp_path):
    flags = ["--depth", depth, "--line", "100,100 200,100", "--out", tmp_path, "--report", "json"]
    assert measure(PALACE, *flags) == 0
    assert measure(PHOTOS / "flower.jpg", *flags) == 0
    # A photo that fails later keeps what was measured before.
    assert measure(PHOTOS / "portrait.png", *flags) == 7
    found = json.loads((tmp_path / "measurements.json").read_text())
    assert [report["photo"] for report in found] == ["flower.jpg", "palace.jpg", "portrait.png"]
    (tmp_path / "palace.measure.json").write_text("damaged")
    assert measure(PHOTOS / "flower.jpg", *flags, "-q") == 0
    found = json.loads((tmp_path / "measurements.json").read_text())
    assert "cannot be read" in found[1]["notes"][0]
    assert found[0]["measurements"]


def test_json_is_an_object_for_one_photo_given_as_a_file_and_else_a_list(capsys, depth, tmp_path):
    spec, folder = tmp_path / "s.toml", tmp_path / "photos"
    spec.write_text(SPEC)
    folder.mkdir()
    (folder / "palace.jpg").symlink_to(PALACE)
    command = ["--depth", depth, "--spec", spec, "--report", "json", "-q"]

    def printed(*inputs):
        assert measure(*inputs, *command) == 0
        return json.loads(capsys.readouterr().out)

    assert printed(PALACE)["photo"] == "palace.jpg"
    assert [report["photo"] for report in printed(folder)] == ["palace.jpg"]
    assert [report["photo"] for report in printed(PALACE, PHOTOS / "gray.png")] == ["palace.jpg"]


def test_the_page_takes_one_photo_and_no_shared_camera(capsys, depth):
    assert measure(PALACE, "--depth", depth, "--pick", "--same-camera") == 2
    assert "--same-camera" in capsys.readouterr().err
    assert measure(PALACE, PHOTOS / "flower.jpg", "--depth", depth, "--pick") == 2
