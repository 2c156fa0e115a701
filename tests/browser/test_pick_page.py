"""The pick page in a real browser: clicks, drags, undo, a reference, zoom, and what Save writes."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from m3d_cli.cli import app
from m3d_cli.metrology.report.content import decode_report
from m3d_cli.metrology.spec.read import read_sheet

_spec = importlib.util.spec_from_file_location("devtools", Path(__file__).with_name("devtools.py"))
devtools = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(devtools)

pytestmark = pytest.mark.skipif(not devtools.CHROMIUM, reason="no chromium on this machine (apt install chromium)")

PALACE = Path(__file__).parents[1] / "data" / "photos" / "palace.jpg"


@pytest.fixture
def place(tmp_path, request):
    """The page's address and the folder that Save writes into; a test may give flags and what was ``saved`` before."""
    depth, out = tmp_path / "depth", tmp_path / "out"
    if saved := getattr(request, "param", {}).get("saved"):
        out.mkdir()
        (out / "palace.sizes.toml").write_text(saved)
    command = ["depth", str(PALACE), "--out", str(depth), "--format", "npy", "-q"]
    assert app.main([*command, "--model", "m3d-test-lite", "--device", "cpu"]) == 0
    arguments = ["measure", PALACE, "--depth", depth, "--pick", "--no-browser", "--out", out]
    arguments += getattr(request, "param", {}).get("flags", [])
    server = subprocess.Popen(
        [sys.executable, "-m", "m3d_cli", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    yield server.stdout.readline().strip(), out
    server.terminate()
    server.wait(20)
    server.stdout.close()


@pytest.fixture
def page(place, tmp_path):
    browser = devtools.Browser(tmp_path / "profile")
    browser.open(place[0])
    browser.wait("document.body && document.body.dataset.ready")
    yield browser
    browser.close()
    assert browser.complaints == []


def at(page, u, v):
    script = f"(() => {{ const r = canvas.getBoundingClientRect(), p = toScreen([{u}, {v}]);"
    return page.run(f"{script} return [p[0] + r.left, p[1] + r.top]; }})()")


def pick(page, kind, *points):
    page.run(f"""document.querySelector('[data-kind="{kind}"]').click()""")
    for point in points:
        page.click(*at(page, *point))


def values(page):
    page.wait("items.length === 0 || Number(document.body.dataset.settled) >= 1 && sent === received")
    return page.run("Object.fromEntries(items.map((i) => [i.name, (results.get(i.id) || [])[0]?.value ?? null]))")


def test_a_person_measures_and_saves(page, place):
    pick(page, "distance", (100, 300), (200, 300))
    page.wait("!!document.querySelector('.value')")
    assert values(page)["line 1"] > 0
    pick(page, "area", (250, 250), (350, 250), (350, 330), (250, 330))
    page.key("Enter")
    page.wait("items.length === 2")
    pick(page, "reference", (100, 300), (200, 300))
    page.run("Object.assign(items[2], {length: '2 m'}); changed()")
    page.wait("!!results.reference && document.body.textContent.includes('all lengths')")
    assert abs(values(page)["line 1"] - 2) < 0.1
    page.run("document.getElementById('save').click()")
    page.wait("document.getElementById('saved').textContent")
    out = place[1]
    request = read_sheet(out / "palace.sizes.toml").entries[0].request
    assert [one.name for one in request.items] == ["line 1", "area 1"]
    assert request.references[0].length == 2
    report = decode_report((out / "palace.measure.json").read_bytes(), "report")
    assert len(report.measurements) == 2
    assert (out / "measurements.html").is_file()


def test_a_reference_without_a_length_is_not_dropped_unasked(page, place):
    pick(page, "distance", (100, 300), (200, 300))
    pick(page, "reference", (100, 320), (200, 320))
    page.wait("items.length === 2")
    page.run("document.getElementById('save').click()")
    page.wait("!!document.getElementById('drop')")
    assert not (place[1] / "palace.sizes.toml").exists()
    page.run("document.getElementById('drop').click()")
    page.wait("document.getElementById('saved').textContent")
    assert read_sheet(place[1] / "palace.sizes.toml").entries[0].request.references == ()


def test_points_are_dragged_undone_and_redone(page):
    pick(page, "distance", (100, 300), (200, 300))
    page.wait("items.length === 1")
    page.pull(at(page, 200, 300), at(page, 260, 280))
    page.wait("Math.abs(items[0].points[1][0] - 260) < 2")
    page.key("z", "KeyZ", control=True)
    page.wait("items[0].points[1][0] < 202")
    page.key("y", "KeyY", control=True)
    page.wait("items[0].points[1][0] > 258")
    for _ in range(3):
        page.key("z", "KeyZ", control=True)
    page.wait("items.length === 0")


def test_the_photo_zooms_and_pans_without_moving_its_points(page):
    pick(page, "range", (320, 200))
    page.wait("items.length === 1")
    before = page.run("view.scale")
    x, y = at(page, 320, 200)
    page.mouse("mouseWheel", x, y, deltaX=0, deltaY=-400)
    page.wait(f"view.scale > {before} * 1.3")
    assert at(page, 320, 200) == pytest.approx([x, y], abs=1)
    page.pull(at(page, 360, 240), at(page, 300, 200))
    assert page.run("items.length") == 1
    assert page.run("items[0].points[0]") == pytest.approx([320, 200], abs=2)


def test_names_are_text(page):
    pick(page, "distance", (100, 300), (200, 300))
    page.wait("items.length === 1")
    page.run("items[0].name = '<img src=x onerror=\"document.body.dataset.evil=1\">'; changed()")
    page.wait("document.querySelector('li .top input').value.includes('<img')")
    assert not page.run("document.body.dataset.evil || document.querySelector('aside img')")


SAVED = """
[[photo]]
match = "palace.jpg"
[[photo.measure]]
name = "edge"
unit = "cm"
points = "100,300:near 200,300"
[[photo.measure]]
name = "ground"
kind = "ground"
[[photo.reference]]
name = "card"
object = "card"
points = "300,300 320,300"
"""


@pytest.mark.parametrize("place", [{"saved": SAVED, "flags": ["--line", "more=100,310 200,310"]}], indirect=True)
def test_the_page_continues_what_was_saved_and_saves_all_of_it(page, place):
    assert page.run("items.map((each) => each.name)") == ["more", "edge", "ground", "card"]
    page.wait("(results.get(items[1].id) || [])[0]?.unit === 'cm'")
    assert not page.run("isUnsaved()")
    page.pull(at(page, 100, 300), at(page, 120, 280))
    page.wait("Math.abs(items[1].points[0][0] - 120) < 2")
    assert page.run("isUnsaved()")
    page.run("document.getElementById('save').click()")
    page.wait("document.getElementById('saved').textContent.includes('palace.sizes.toml')")
    assert not page.run("isUnsaved()")
    request = read_sheet(place[1] / "palace.sizes.toml").entries[0].request
    assert [one.name for one in request.items] == ["more", "edge", "ground"]
    assert str(request.measurands[1].points[0].side) == "near"
    assert request.measurands[2].points == ()
    assert (request.references[0].length, request.references[0].tolerance) == (0.0856, 0.002)


def test_leaving_with_unsaved_changes_and_replacing_need_a_confirmation(page, place):
    pick(page, "distance", (100, 300), (200, 300))
    page.wait("items.length === 1")
    leave = "!window.dispatchEvent(new Event('beforeunload', {cancelable: true}))"
    assert page.run(leave)
    place[1].mkdir()
    sheet = place[1] / "palace.sizes.toml"
    sheet.write_text("# by another hand")
    page.run("document.getElementById('save').click()")
    page.wait("!!document.getElementById('replace')")
    assert sheet.read_text() == "# by another hand"
    assert "exists already" in page.run("document.getElementById('problem').textContent")
    page.run("document.getElementById('replace').click()")
    page.wait("document.getElementById('saved').textContent.startsWith('Saved')")
    assert "line 1" in sheet.read_text()
    assert not page.run(leave)
