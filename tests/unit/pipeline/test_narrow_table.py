"""The table of m3d exif on a terminal: one line per photo."""

from __future__ import annotations

from pathlib import Path

import pytest

from m3d_cli.cli.app import main
from m3d_cli.pipeline.narrow_table import fitted

PHOTOS = Path(__file__).parents[2] / "data" / "photos"
CELLS = [
    ("4000x3000", 11),
    ("Canon EOS 6D Mark II", 28),
    ("4345.0", 9),
    ("exif-focal-plane", 16),
    ("2.1%", 6),
    ("49.4", 6),
]


@pytest.mark.parametrize("columns", [40, 60, 80, 100, 132, 200])
def test_a_line_fits_and_keeps_the_focal_length(columns: int) -> None:
    line = fitted("a/very/long/folder/of/photos/IMG_0001.jpg", CELLS, "from the focal plane " * 9, 41, columns)
    assert len(line) <= columns
    if columns >= 60:
        assert "4345.0" in line
        assert "exif-focal-plane" in line
        assert "IMG_0001.jpg" in line
    assert ("Canon" in line) == (columns >= 132)


def test_a_line_that_fits_loses_nothing() -> None:
    assert fitted("a.jpg", CELLS, "derived", 5, 200).endswith("49.4    derived")


def test_exif_prints_one_line_of_80_columns_per_photo(monkeypatch, capsys) -> None:
    monkeypatch.setattr("m3d_cli.pipeline.camera_table.terminal_columns", lambda: 80)
    assert main(["exif", "-r", str(PHOTOS)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + sum(path.is_file() for path in PHOTOS.rglob("*.*"))
    assert max(map(len, lines)) <= 80
    assert all("focal_px" in lines[0] and len(line.split()) >= 4 for line in lines)
