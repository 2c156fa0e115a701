"""The focal length from the image, through the commands, with the bundled network."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from m3d_cli.cli import app

LITE = ["--model", "lite", "--device", "cpu", "-q"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A photo without EXIF, and one whose tag says 400 mm."""
    photos = tmp_path / "photos"
    photos.mkdir()
    rng = np.random.default_rng(0)
    coarse = rng.integers(60, 200, (12, 16, 3), dtype=np.uint8)
    picture = Image.fromarray(cv2.resize(coarse, (320, 240), interpolation=cv2.INTER_CUBIC))
    picture.save(photos / "plain.png")
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA405] = 400
    picture.save(photos / "tagged.jpg", exif=exif)
    return photos


def sidecar(out: Path, name: str) -> dict[str, object]:
    camera = json.loads((out / f"{name}.json").read_text())["camera"]
    assert isinstance(camera, dict)
    return camera


def test_depth_asks_the_picture_where_nothing_else_tells(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "d"
    assert app.main(["depth", str(folder), "--out", str(out), *LITE]) == 0
    told = sidecar(out, "plain")
    assert told["focal_source"] == "estimated"
    assert 0.05 < float(str(told["focal_rel_sigma"])) < 0.6
    assert any("estimated from the image" in warning for warning in told["warnings"])  # type: ignore[attr-defined]
    assert sidecar(out, "tagged")["focal_source"] == "exif-35mm"


def test_asked_for_the_estimate_outranks_exif_and_keeps_it_beside(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "d"
    assert app.main(["depth", str(folder / "tagged.jpg"), "--out", str(out), "--focal", "estimate", *LITE]) == 0
    told = sidecar(out, "tagged")
    assert told["focal_source"] == "estimated"
    sources = [one["source"] for one in told["candidates"]]  # type: ignore[attr-defined]
    assert sources == ["estimated", "exif-35mm"]


def test_exif_shows_both_and_tells_a_contradiction(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(["exif", str(folder), "--estimate", "--json"]) == 0
    plain, tagged = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert plain["focal_source"] == "estimated"
    assert plain["picture"]["focal_px"] == plain["focal_px"]
    assert tagged["focal_source"] == "exif-35mm"
    assert any("a crop, or a wrong tag?" in warning for warning in tagged["warnings"])


@pytest.mark.parametrize("more", [["--focal", "many"], ["--focal", "estimate", "--fov", "60"]])
def test_what_contradicts_itself_is_refused(folder: Path, tmp_path: Path, more: list[str]) -> None:
    assert app.main(["depth", str(folder), "--out", str(tmp_path / "d"), *more, *LITE]) == 2


def test_a_required_focal_length_is_not_guessed(folder: Path, tmp_path: Path) -> None:
    assert app.main(["depth", str(folder), "--out", str(tmp_path / "d"), "--require-focal", *LITE]) == 7
    assert not (tmp_path / "d" / "plain.png").exists()


def test_photos_that_share_a_camera_are_not_asked_one_by_one(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "d"
    assert app.main(["depth", str(folder / "plain.png"), "--out", str(out), "--same-camera", *LITE]) == 0
    assert sidecar(out, "plain")["focal_source"] == "assumed"


def test_commands_agree_on_a_focal_length_or_say_it_is_to_come(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(1)
    coarse = rng.integers(60, 200, (12, 16, 3), dtype=np.uint8)
    path, out = tmp_path / "large.jpg", tmp_path / "out"
    Image.fromarray(cv2.resize(coarse, (3000, 2250), interpolation=cv2.INTER_CUBIC)).save(path)

    def told(*arguments: str) -> dict[str, object]:
        assert app.main([*arguments, "--json", "-q"]) == 0
        return dict(json.loads(capsys.readouterr().out))

    assert told("exif", str(path))["will_be_estimated"] is True
    assert told("depth", str(path), "--out", str(out), "--dry-run", *LITE)["will_be_estimated"] is True
    seen = told("exif", str(path), "--estimate")
    assert seen["will_be_estimated"] is False
    for command in ("depth", "pointcloud"):
        done = told(command, str(path), "--out", str(tmp_path / command), *LITE)
        for key in ("focal_source", "focal_px", "focal_rel_sigma"):
            assert done[key] == seen[key]
