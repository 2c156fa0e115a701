"""Which frames are taken, what is left out, and the cluster each belongs to."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from m3d_cli.datasets.layouts import find_layout
from m3d_cli.datasets.selection import Selection, SourceChoice, select_frames
from m3d_cli.errors import DatasetError

from .layout_files import hdf5, npy, picture, png16, text

VGA = (640, 480)


def diode(root: Path, *splits: str, masked: bool = True) -> Path:
    for split in splits:
        image = picture(root / split / "indoors" / "scene_1" / "scan_2" / "a.png", 32, 24)
        npy(image.with_name("a_depth.npy"), np.full((24, 32), 4.0))
        if masked:
            npy(image.with_name("a_depth_mask.npy"), np.ones((24, 32)))
    return root


def select(layout: str, root: Path, *sources: str, limit: int | None = None) -> Selection:
    return select_frames(find_layout(layout), root, [SourceChoice.parse(text) for text in sources], limit)


def test_the_benchmarks_split_is_taken_and_the_others_are_counted(tmp_path: Path) -> None:
    selection = select("diode", diode(tmp_path, "train", "val"))
    assert [frame.split for frame in selection.frames] == ["val"]
    assert selection.describe() == {
        "split": "val",
        "sources": None,
        "limit": None,
        "listed": 1,
        "not_annotated": 0,
        "beyond_limit": 0,
        "other_splits": {"train": 1},
    }
    assert selection.notes == ()


def test_a_folder_without_the_benchmarks_split_is_not_scored_as_if_it_were_it(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no frame of the split val that diode is scored on, only of train"):
        select("diode", diode(tmp_path, "train"))
    chosen = select("diode", tmp_path, "indoors:train", limit=5)
    assert (len(chosen.frames), chosen.split, chosen.sources, chosen.limit) == (1, "", ("indoors:train",), 5)


def nyu(root: Path, folder: str, count: int = 3) -> None:
    for number in range(count):
        picture(root / folder / f"rgb_{number:05}.jpg", *VGA)
        png16(root / folder / f"sync_depth_{number:05}.png", 2.5, 1000, VGA)


def test_frames_of_no_known_split_are_all_taken_with_a_note(tmp_path: Path) -> None:
    nyu(tmp_path, "bathroom")
    selection = select("nyu", tmp_path, limit=2)
    assert (len(selection.frames), selection.listed, selection.beyond_limit) == (2, 3, 1)
    assert "nothing says which frames are test: all 3 are taken" in selection.notes[0]
    nyu(tmp_path, "test/kitchen", 1)
    selection = select("nyu", tmp_path)
    assert (len(selection.frames), dict(selection.other_splits)) == (1, {"unknown": 3})
    assert "3 frames are of no known split" in selection.notes[0]
    assert selection.frames[0].cluster == "nyu/test/kitchen"


def test_scenes_of_the_labelled_nyu_file_are_its_own(tmp_path: Path) -> None:
    path = tmp_path / "nyu_depth_v2_labeled.mat"
    hdf5(path, depths=np.ones((2, 8, 6), np.float32), images=np.zeros((2, 3, 8, 6), np.uint8))
    with h5py.File(path, "a") as file:
        cells = file.create_dataset("scenes", (1, 2), dtype=h5py.ref_dtype)
        for place, name in enumerate(("office_0001", "den_02")):
            codes = file.create_dataset(f"#refs#/{place}", data=np.array([[ord(letter)] for letter in name], np.uint16))
            cells[0, place] = codes.ref
    assert [frame.cluster for frame in select("nyu", tmp_path).frames] == ["nyu/office_0001", "nyu/den_02"]


def test_a_lost_mask_stands_in_the_rule_of_the_frame(tmp_path: Path) -> None:
    [masked] = select("diode", diode(tmp_path / "a", "val")).frames
    [bare] = select("diode", diode(tmp_path / "b", "val", masked=False)).frames
    assert masked.rule.startswith("metres = value / 1; unknown: depth 0 or not a number, depth up to 0.1 m")
    assert masked.rule.endswith("depth beyond 150 m; mask NAME_depth_mask.npy")
    assert "MASK MISSING" in bare.rule
    assert masked.cluster == "indoors/scene_1"


def test_pictures_of_a_room_or_drive_share_a_cluster(tmp_path: Path) -> None:
    for scan in ("scene0001_00", "scene0001_01", "scene0002_00"):
        picture(tmp_path / scan / "color" / "0.jpg", 32, 24)
        text(tmp_path / scan / "intrinsic" / "intrinsic_color.txt", "30 0 15 0\n0 30 11 0\n0 0 1 0\n0 0 0 1\n")
    clusters = [frame.cluster for frame in select("scannet", tmp_path).frames]
    assert clusters == ["scannet/scene0001", "scannet/scene0001", "scannet/scene0002"]


def test_a_list_that_is_no_text_is_named(tmp_path: Path) -> None:
    picture(tmp_path / "chess" / "seq-01" / "frame-000000.color.png", *VGA)
    (tmp_path / "chess" / "TestSplit.txt").write_bytes(b"\xff\xfe\x80")
    with pytest.raises(DatasetError, match=r"TestSplit\.txt"):
        select("7scenes", tmp_path)
