"""Things of known size as people write them: flags and measurement files."""

from __future__ import annotations

import pytest

from m3d_cli.errors import UsageError
from m3d_cli.metrology.marker_specs import marker_spec
from m3d_cli.metrology.measurands import Rectangle
from m3d_cli.metrology.picks import Pick
from m3d_cli.metrology.spec.flags import parse_rectangle, request_of_flags
from m3d_cli.metrology.spec.measurement_file import parse_toml, validated
from m3d_cli.metrology.spec.toml import encode_toml

CORNERS = "10,20 110,22 108,90 12,88"
PICKS = (Pick(10, 20), Pick(110, 22), Pick(108, 90), Pick(12, 88))


@pytest.mark.parametrize(
    ("text", "name", "width", "height"),
    [
        (f"table=a4: {CORNERS}", "table", 0.297, 0.210),
        (f"card:{CORNERS}", "rectangle", 0.0856, 0.05398),
        (f"0.60x0.45: {CORNERS}", "rectangle", 0.6, 0.45),
        (f"door = 90x203 cm: {CORNERS}", "door", 0.9, 2.03),
        (f"1ftx11in:{CORNERS}", "rectangle", 0.3048, 0.2794),
    ],
)
def test_a_rectangle_has_a_name_a_size_and_corners(text, name, width, height):
    found = parse_rectangle(text, 1)
    assert (found.name, found.points) == (name, PICKS)
    assert (found.width, found.height) == pytest.approx((width, height))


def test_rectangles_without_a_name_are_numbered():
    assert parse_rectangle(f"a4: {CORNERS}", 2).name == "rectangle 2"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a4", "has no corners"),
        ("a4: 1,2 3,4 5,6", "four corners, not 3"),
        (f"b7: {CORNERS}", "'b7' is no size"),
        (f"0x1: {CORNERS}", "0 x 1 m are no rectangle"),
        (f"1xnan: {CORNERS}", "are no rectangle"),
        ("a4: 10,20 108,90 110,22 12,88", "crosses itself"),
        ("a4: 10,20 a,b 110,22 12,88", "is not a point"),
    ],
)
def test_what_is_no_rectangle_is_refused_with_the_reason(text, reason):
    with pytest.raises(UsageError, match=reason):
        parse_rectangle(text, 1)


def test_flags_become_a_request():
    found = request_of_flags(
        [("line", "1,2 3,4 on table")],
        (),
        "m",
        rectangles=[f"table=a4: {CORNERS}"],
        markers=["apriltag36h11:0.05"],
        allow_assumed_focal=False,
    )
    assert found.rectangles == (Rectangle("table", PICKS, 0.297, 0.210, 0.004),)
    assert found.markers == (marker_spec("apriltag36h11:0.05"),)
    assert found.is_scaled
    assert found.needs_image


SHEET = {
    "photo": [
        {
            "match": "desk.jpg",
            "rectangle": [{"name": "table", "points": CORNERS, "size": "60x45 cm", "tolerance": 0.01, "refine": False}],
            "markers": ["chessboard:9x6:0.025"],
            "measure": [{"name": "edge", "points": "1,2 3,4", "on": "table"}],
        }
    ]
}


def test_a_measurement_file_holds_them_and_is_written_again_as_it_was():
    text = encode_toml(validated(SHEET, "sheet"))
    (entry,) = parse_toml(text, "sheet").entries
    assert entry.request.rectangles == (Rectangle("table", PICKS, 0.6, 0.45, 0.01, is_refined=False),)
    assert entry.request.markers == (marker_spec("chessboard:9x6:0.025"),)


def test_points_picked_on_a_smaller_image_grow_with_the_others():
    (entry,) = parse_toml(
        encode_toml(validated(SHEET, "sheet")).replace("markers", "size = [200, 100]\nmarkers"), "s"
    ).entries
    fitted = entry.request.fitted(400, 200)
    assert fitted.rectangles[0].points[1] == Pick(220, 44)
