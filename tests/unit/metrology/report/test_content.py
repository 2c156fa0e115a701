"""Reports: digits, tables, the page and the annotated photo, with names that try to break them."""

from __future__ import annotations

import csv
import io
import json
import re
import unicodedata
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from m3d_cli.camera import FocalSource
from m3d_cli.depthmap import DepthErrorModel
from m3d_cli.metrology.report.content import (
    CameraNote,
    ModelNote,
    PhotoReport,
    Row,
    decode_report,
    encode_report,
    photo_report,
)
from m3d_cli.metrology.report.drawing import annotated
from m3d_cli.metrology.report.html import Illustrated, html_page
from m3d_cli.metrology.report.rounding import decimals_for, end_decimals, rounded, text_of, value_decimals
from m3d_cli.metrology.report.tables import encode_markdown, encode_table, interval_text, value_text
from m3d_cli.metrology.solve import solve
from m3d_cli.metrology.spec.flags import request_of_flags

NOISE = DepthErrorModel(0.1, 0.0, 0.02, 0.3, relief_sigma=0.0)
EVIL = "</script><script>alert(1)</script>\"'><img src=x onerror=alert(1)>|`*_../../x\x00\n=1+1 門"


def text(value, low, high):
    return text_of(value, decimals_for(value, low, high))


@pytest.mark.parametrize(
    ("value", "low", "high", "shown"),
    [
        (1.23456, 1.1, 1.4, "1.23"),
        (1.23456, 1.0, 3.0, "1.2"),
        (123.456, 100, 150, "123"),
        (1234.56, 1000, 1500, "1230"),
        (0.0123456, 0.0121, 0.0125, "0.01235"),
        (2.0, 1.9004, 2.0996, "2.00"),
        (1.5, 1.5, 1.5, "1.50000"),
        (-0.0001, -1.0, 1.0, "0.0"),
        (0.0, 0.0, 0.0, "0.000000"),
    ],
)
def test_a_number_has_the_digits_that_its_interval_supports(value, low, high, shown):
    assert text(value, low, high) == shown


@pytest.mark.parametrize(
    ("value", "low", "high", "shown"),
    [
        (1.0, 0.05, 20.0, ("0.05", "20")),
        (0.4, 0.0203, 8.1, ("0.02", "8.1")),
        (300.0, 4.4, 900.0, ("4", "900")),
        (0.0, -1.0, 1.0, ("-1.0", "1.0")),
        (1.23456, 1.1, 1.4, ("1.10", "1.40")),
    ],
)
def test_the_low_end_of_a_wide_interval_stays_positive(value, low, high, shown):
    decimals = decimals_for(value, low, high)
    ends = (rounded(low, end_decimals(low, decimals)), rounded(high, decimals))
    assert ends[0] > 0 or low <= 0
    row = Row("a", "distance", value, "m", ends, decimals=decimals)
    assert interval_text(row) == shown


@pytest.mark.parametrize(
    ("value", "low", "high", "shown"),
    [
        (3.2, 0.03, 450.0, "3"),
        (0.42, 0.02, 45.0, "0.4"),
        (430.0, 0.4, 45000.0, "400"),
        (0.0001, -1.0, 1.0, "0.0"),
        (0.0, 0.0, 0.1, "0.000"),
    ],
)
def test_a_value_that_is_surely_positive_is_never_shown_as_zero(value, low, high, shown):
    decimals = decimals_for(value, low, high)
    number = rounded(value, value_decimals(value, low, decimals))
    row = Row("a", "distance", number, "cm", (low, high), decimals=decimals)
    assert value_text(row) == shown
    assert float(shown) == number


@given(st.floats(1e-6, 1e6), st.floats(1e-6, 2.0))
@example(9.99, 0.0996)
def test_rounding_moves_a_number_by_little_of_its_interval(value, share):
    half = value * share
    shown = float(text(value, value - half, value + half))
    assert abs(shown - value) <= max(0.051 * half, 1e-5 * value)


@pytest.fixture
def report(world, camera):
    depth = world().plane([0, 0, 1], 2.0).map()
    flags = [("line", f"{EVIL}=100,100 300,100"), ("area", "50,50 90,90 90,50 50,90"), ("range", "9999,1"),
             ("plane-distance", "room=1,1 99,1 99,99 | 201,1 299,1 299,99"), ("box", "b=10,10 200,200")]  # fmt: skip
    found = solve(depth, request_of_flags(flags, [], "cm", allow_assumed_focal=False), NOISE, "p")
    note = CameraNote(camera.width, camera.height, 700, 700, 395, 305, "calibration", 0.005)
    return photo_report(EVIL, found, note, ModelNote(EVIL, "0" * 64, EVIL), (EVIL,))


def rows_of(depth, request, noise=NOISE):
    return photo_report("p", solve(depth, request, noise, "p")).measurements


def test_rows_come_in_the_order_of_the_flags(report):
    names = [row.name.split("=")[0][:9] for row in report.measurements]
    assert names == ["</script>", "area 1", "range 1", "room", "b.width", "b.height", "b.depth"]
    assert [row.name for row in report.failed] == ["area 1", "range 1"]
    line = report.measurements[0]
    assert line.unit == "cm"
    assert line.interval[0] < line.value < line.interval[1]
    assert line.value == pytest.approx(100 * 200 / 700 * 2, rel=0.01)
    assert line.limited_by == "scale"
    assert any("reference" in each for each in line.improve)


def test_json_goes_round(report):
    assert decode_report(encode_report(report), "f") == report
    row = json.loads(encode_report(report))["measurements"][1]
    assert (row["value"], row["error"]["code"]) == (None, "BAD_MEASUREMENT")


@pytest.mark.parametrize("separator", [",", "\t"])
def test_tables_hold_a_line_a_measurement_and_no_formulas(report, separator):
    rows = list(csv.reader(io.StringIO(encode_table([report], separator)), delimiter=separator))
    assert len(rows) == 1 + len(report.measurements)
    assert {len(row) for row in rows} == {len(rows[0])}
    named = encode_table([PhotoReport("=cmd()", None, None, None, report.measurements)], ",")
    assert "\n'=cmd()," in named


def test_markdown_stays_one_table(report):
    lines = [line for line in encode_markdown([report]).splitlines() if line.startswith("|")]
    assert len(lines) == 2 + len(report.measurements)
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines} == {6}
    assert "<script" not in encode_markdown([report])


class Reader(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.attributes, self.texts = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.texts.append(data)


def test_the_page_shows_names_as_text_and_needs_nothing_else(report):
    jpeg = annotated(np.zeros((60, 80, 3), np.uint8), (800, 600), report)
    page = "".join(html_page([Illustrated(report, jpeg, jpeg)], [report], "1"))
    reader = Reader()
    reader.feed(page)
    assert reader.tags.count("script") == 1
    # The photo's name in the table, its heading and as a note, the network's name and licence: all as they are.
    assert sum("<img src=x onerror=alert(1)>" in text for text in reader.texts) >= 5
    assert not [name for name, _ in reader.attributes if name.startswith("on") or name == "style"]
    sources = [value for name, value in reader.attributes if name in ("src", "href")]
    assert all(value.startswith(("data:image/jpeg;base64,", "#photo-")) for value in sources)
    (policy,) = [value for name, value in reader.attributes if name == "content" and "default-src" in value]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "licence" in page


def test_the_photo_is_annotated_whatever_the_names_and_points(report):
    data = annotated(np.full((300, 400, 3), 128, np.uint8), (800, 600), report)
    picture = np.asarray(Image.open(io.BytesIO(data)))
    assert picture.shape == (900, 1200, 3)
    assert np.ptp(picture) > 100


def test_labels_keep_accents_and_squares_that_the_font_lacks_in_plain_letters(monkeypatch, report):
    drawn = []

    def text(self, place, label, **style):
        drawn.append(label)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", text)
    rows = (
        Row("Türhöhe", "distance", 2.0, "m", (1.9, 2.1), points=((1, 1), (50, 50)), decimals=1),
        Row("門", "area", 3.0, "cm2", (2.9, 3.1), points=((1, 1), (50, 1), (50, 50)), decimals=1),
    )
    annotated(np.zeros((60, 80, 3), np.uint8), (80, 60), PhotoReport("p", None, None, None, rows))
    assert [_ascii(label) for label in drawn] == ["Turhohe  2.0 m", "#2  3.0 cm2"]


def _ascii(label):
    """What is drawn, whether the font has the letter or its plain form."""
    return unicodedata.normalize("NFKD", label).encode("ascii", "ignore").decode()


def test_every_refusal_names_its_measurement_and_gives_a_hint(world):
    depth = world().plane([0, 0, 1], 2.0, lambda p: p[..., 1] > -0.5).map()
    flags = [
        ("line", "one point=1,300"), ("line", "same=300,300 300,300"), ("line", "outside=9999,1 300,300"),
        ("line", "sky=10,10 300,300"), ("line", "nowhere=300,300 400,400 on ceiling"), ("height", "lone=300,300"),
        ("area", "crossed=250,250 290,290 290,250 250,290"), ("plane", "two=300,300 400,400"),
        ("plane", "thin=300,300 400,300.1 500,300"), ("plane", "in the sky=10,10 90,10 90,90"),
        ("box", "tiny=300,300 302,302"), ("box", "beyond=300,300 9999,9999"), ("angle", "short=300,300 400,400"),
        ("plane-distance", "few=300,300 400,400 | 300,300 400,400"), ("ground", "half=300,300 400,400"),
    ]  # fmt: skip
    request = request_of_flags(flags, [], "m", allow_assumed_focal=False)
    rows = rows_of(depth, request)
    assert [row.name for row in rows] == [text.partition("=")[0] for _, text in flags]
    for row in rows:
        assert row.error is not None, row.name
        assert row.error.message.startswith(f"{row.name}: ")
        assert len(row.error.hint) > 5, row.name


@pytest.mark.parametrize(
    ("kind", "points", "advice"),
    [
        ("line", "300,300 400,400", "on one flat surface"),
        ("area", "300,300 400,300 400,400", "larger region"),
        ("plane", "300,300 400,300 400,400", "larger region"),
        ("box", "300,300 400,400", "from closer"),
        ("height", "300,300 300,400", "from closer"),
    ],
)
def test_what_depth_limits_says_what_would_help(world, kind, points, advice):
    depth = world().plane([0, 0, 1], 2.0).map()
    noise = DepthErrorModel(0.25, 0.3, 0.3, 0.3, relief_sigma=0.0)
    request = request_of_flags([(kind, points)], [], "m", allow_assumed_focal=False)
    row = rows_of(depth, request, noise)[0]
    assert row.limited_by == "local"
    assert any(advice in each for each in row.improve)
    assert ["reference beside it" in each for each in row.improve if "--ref" in each] == [True]


def test_an_assumed_focal_length_refuses_every_row(world, camera):
    unknown = camera.with_focal(700, FocalSource.ASSUMED, 0.25)
    depth = world(unknown).plane([0, 0, 1], 2.0).map()
    request = request_of_flags([("line", "1,1 9,9")], [], "m", allow_assumed_focal=False)
    assert solve(depth, request, NOISE, "p").error.exit_code == 7
    assert rows_of(depth, request)[0].error.code == "NO_FOCAL"
    allowed = request_of_flags([("line", "1,1 90,90")], [], "m", allow_assumed_focal=True)
    assert rows_of(depth, allowed)[0].error is None
