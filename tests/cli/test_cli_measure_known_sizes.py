"""``m3d measure`` with things of known size: whatever the network says, lengths on their plane are right."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from PIL import Image

from m3d_cli.cli import app
from tests.unit.metrology.test_markers import CAMERA, SHIFT, TURN, photo_of, sheet_of_tags

# The sheet has tags of 50 mm on 60 pixels.
SCALE = 0.05 / 60
ENDS = ((40, 40), (400, 260))
LENGTH = float(np.hypot(360, 220)) * SCALE
TAG = ((150, 220), (210, 220), (210, 280), (150, 280))


def seen(*places):
    """Pixels of the photo, as a flag takes them, at which places of the sheet are seen."""
    flat = np.c_[np.array(places) * SCALE, np.zeros(len(places))]
    pixels = CAMERA.project((cv2.Rodrigues(TURN)[0] @ flat.T).T + SHIFT)
    return " ".join(f"{u:.2f},{v:.2f}" for u, v in pixels)


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "sheet.png"
    Image.fromarray(photo_of(sheet_of_tags(cv2.aruco.DICT_4X4_50), SCALE)).save(path)
    return path


def measured(capsys, photo, *flags):
    arguments = [str(photo), "--model", "m3d-test-lite", "--device", "cpu", "--report", "json", *flags]
    code = app.main(["measure", *arguments])
    return code, json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("flag", "text", "plane"),
    [("--markers", "aruco4x4_50:0.05", "markers"), ("--rect", f"sheet=5x5 cm: {seen(*TAG)}", "sheet")],
)
def test_lengths_on_the_plane_are_right(capsys, photo, flag, text, plane):
    line = f"diagonal={seen(*ENDS)} on {plane}"
    code, found = measured(capsys, photo, "--focal", "1100", flag, text, "--line", line)
    assert code == 0
    (row,) = found["measurements"]
    assert row["value"] == pytest.approx(LENGTH, rel=0.02)
    assert row["interval"][0] < LENGTH < row["interval"][1]
    assert "exact geometry" in row["method"]
    (known,) = found["reference"]["planes"]
    assert known["name"] == plane
    assert known["residual_px"] < 0.5
    assert found["reference"]["focal_px"] == pytest.approx(1100, rel=0.02)


def test_without_a_focal_length_markers_make_up_for_it(capsys, photo):
    line = ["--line", f"diagonal={seen(*ENDS)} on markers"]
    refused, _ = measured(capsys, photo, *line)
    assert refused != 0
    code, found = measured(capsys, photo, *line, "--markers", "aruco4x4_50:0.05")
    assert code == 0
    low, high = found["measurements"][0]["interval"]
    assert low < LENGTH < high
    assert high / low < 1.5


def test_markers_that_are_not_there_are_named(capsys, photo):
    code, found = measured(
        capsys, photo, "--focal", "1100", "--markers", "apriltag16h5:0.05", "--line", f"{seen(*ENDS)} on markers"
    )
    assert code != 0
    assert "no such marker is seen" in found["measurements"][0]["error"]["message"]


def test_a_wrong_description_is_a_usage_error(photo, capsys):
    assert app.main(["measure", str(photo), "--rect", "b7: 1,2 3,4 5,6 7,8", "--line", "1,1 2,2"]) == 2
    assert "'b7' is no size" in capsys.readouterr().err
