"""`m3d bench` on photos made here."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from m3d_cli.cli import app


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for index in range(2):
        Image.fromarray(np.full((60, 80, 3), 90 + index, dtype=np.uint8)).save(folder / f"{index}.jpg")
    return folder


OPTIONS = ["--model", "m3d-test-lite", "--device", "cpu", "-q"]


def test_stages_and_rate_are_told_and_nothing_is_left(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(["bench", str(photos), "--count", "5", "--json", *OPTIONS]) == 0
    speed = json.loads(capsys.readouterr().out)
    assert speed["photos"] == 5
    assert speed["photos_per_second"] == pytest.approx(5 / speed["wall_seconds"])
    assert set(speed["stages"]) == {"decode", "network", "upsample", "encode", "write"}
    assert speed["megapixels"] == pytest.approx(0.0048)
    assert speed["efficiency"] > 0
    assert sorted(path.name for path in photos.iterdir()) == ["0.jpg", "1.jpg"]


def test_the_table_names_device_and_network(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(["bench", str(photos), "--count", "2", *OPTIONS]) == 0
    *rows, summary = capsys.readouterr().out.splitlines()
    assert [row.split()[0] for row in rows] == ["stage", "decode", "network", "upsample", "encode", "write"]
    assert "m3d-test-lite on cpu" in summary


def test_photos_that_all_fail_are_no_speed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff broken")
    assert app.main(["bench", str(tmp_path), "--count", "2", *OPTIONS]) == 3
    assert "none of the photos" in capsys.readouterr().err
