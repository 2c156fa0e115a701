"""The annotation files of Metric3D, and the rules of the data sets they name."""

from pathlib import Path

import numpy as np
import pytest

from m3d_cli.datasets.depth_files import RULES, DepthRule, read_raw
from m3d_cli.datasets.frame import Frame
from m3d_cli.datasets.layouts import find_layout
from m3d_cli.datasets.selection import find_frames, require_unique
from m3d_cli.errors import DatasetError

from .layout_files import as_json, encoded, npy, picture, png16


def found(root: Path) -> tuple[Frame, ...]:
    return find_frames(find_layout("annotations"), root)


def tree(root: Path, **changes: object) -> dict[str, object]:
    picture(root / "data" / "nyu" / "rgb" / "0.jpg", 64, 48)
    png16(root / "data" / "nyu" / "depth" / "0.png", 3.0, 1000, (64, 48))
    npy(root / "data" / "nyu" / "normal" / "0.npy", np.ones((48, 64, 3)))
    entry: dict[str, object] = {
        "rgb": "data/nyu/rgb/0.jpg",
        "depth": "data/nyu/depth/0.png",
        "depth_scale": 1000.0,
        "cam_in": [51.8, 51.9, 31.5, 23.5],
        "normal": "data/nyu/normal/0.npy",
    }
    return {key: value for key, value in (entry | changes).items() if value is not None}


def test_an_annotation_file_is_read_from_beside_its_data_or_below(tmp_path: Path) -> None:
    entry = tree(tmp_path)
    for place in ("test.json", "data/nyu/annotations/test.json"):
        file = as_json(tmp_path / place, {"files": [entry]})
        [frame] = found(file)
        sample = frame.read()
        assert (frame.name, frame.source) == ("data/nyu/rgb/0", "test")
        assert np.unique(sample.truth.depth).tolist() == [3.0]
        assert (sample.photo.camera.fy, sample.photo.camera.cx) == (51.9, 32.0)
        assert sample.truth.normals is not None
    assert len(found(tmp_path)) == 1


def test_a_name_never_leads_out_of_the_folder_it_is_put_into(tmp_path: Path) -> None:
    as_json(tmp_path / "a.json", {"files": [tree(tmp_path, rgb="../../x/../y.jpg"), tree(tmp_path, rgb="/x/y.jpg")]})
    assert [frame.name for frame in found(tmp_path)] == ["x/y", "x/y"]
    with pytest.raises(DatasetError, match="x/y comes twice"):
        require_unique(found(tmp_path))


def test_without_a_scale_the_rule_of_the_data_set_counts(tmp_path: Path) -> None:
    as_json(tmp_path / "a.json", {"files": [tree(tmp_path, depth_scale=None)]})
    # NYU's training tree is in 1/6000 m.
    assert found(tmp_path)[0].truth()[0, 0] == pytest.approx(0.5)
    other = tree(tmp_path, depth_scale=None, depth="elsewhere/0.png")
    as_json(tmp_path / "a.json", {"files": [other]})
    with pytest.raises(DatasetError, match="states no depth_scale"):
        found(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        [],
        {},
        {"files": 3},
        {"files": [{}]},
        {"files": [{"rgb": "a", "depth": "b", "cam_in": [1, 2], "depth_scale": 1}]},
    ],
)
def test_what_is_no_annotation_file_is_named(tmp_path: Path, content: object) -> None:
    as_json(tmp_path / "broken.json", content)
    with pytest.raises(DatasetError, match=r"broken\.json"):
        found(tmp_path / "broken.json")


@pytest.mark.parametrize(("scale"), [0, -1, float("inf"), "x"])
def test_a_scale_must_be_a_positive_number(tmp_path: Path, scale: object) -> None:
    as_json(tmp_path / "a.json", {"files": [tree(tmp_path, depth_scale=scale)]})
    with pytest.raises(DatasetError, match=r"a\.json"):
        found(tmp_path)


def test_files_that_are_gone_are_named_when_they_are_read(tmp_path: Path) -> None:
    as_json(tmp_path / "a.json", {"files": [tree(tmp_path, rgb="gone.jpg", depth="gone.png")]})
    [frame] = found(tmp_path)
    with pytest.raises(DatasetError, match=r"gone\.jpg"):
        frame.read()
    with pytest.raises(DatasetError, match=r"gone\.png"):
        frame.truth()


@pytest.mark.parametrize(
    ("name", "raw", "metres"),
    [
        ("nuscenes", [0, 200, 65500, 65501], [np.nan, 1, 327.5, np.nan]),
        ("kitti", [0, 256, 65500, 65501], [np.nan, 1, 65500 / 256, np.nan]),
        ("hm3d", [512, 60000, 60001], [1, 60000 / 512, np.nan]),
        ("matterport3d", [4000, 65501], [1, np.nan]),
        ("ibims", [1000, 50000, 50001], [1, 50, np.nan]),
        ("eth3d", [0.5, 100, 101], [0.5, 100, np.nan]),
        ("diode", [0.05, 0.5, 151], [np.nan, 0.5, np.nan]),
        ("virtual_kitti", [100, 15000, 15001], [1, 150, np.nan]),
    ],
)
def test_every_rule_knows_its_metres_and_its_unknown(name: str, raw: list[float], metres: list[float]) -> None:
    assert RULES[name].metres(np.array([raw])).tolist()[0] == pytest.approx(metres, nan_ok=True)


def test_nothing_that_is_not_a_positive_number_becomes_depth() -> None:
    depth = DepthRule(1, sky=-7).metres(np.array([[np.nan, np.inf, -np.inf, 0, -1, -7, 2]]))
    assert np.isnan(depth[0, :5]).all()
    assert depth[0, 5:].tolist() == [np.inf, 2]


def test_a_depth_file_must_hold_one_number_a_pixel(tmp_path: Path) -> None:
    encoded(tmp_path / "colour.png", np.zeros((4, 4, 3), dtype=np.uint8))
    npy(tmp_path / "words.npy", np.array([["a"]]))
    (tmp_path / "empty.png").write_bytes(b"")
    for name in ("colour.png", "words.npy", "empty.png", "gone.npz"):
        with pytest.raises(DatasetError, match=name):
            read_raw(tmp_path / name)
