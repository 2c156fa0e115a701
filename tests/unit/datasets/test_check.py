"""A tree with one fault of each kind, and what is said about it."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from m3d_cli.datasets.check import Fault, check_frames
from m3d_cli.datasets.frame import Frame
from m3d_cli.datasets.layouts import find_layout
from m3d_cli.datasets.pairs import agreement, depth_edges, picture_change
from m3d_cli.datasets.selection import find_frames

from .layout_files import as_json, encoded, npy, png16

WIDTH, HEIGHT = 160, 120
COUNT = 4


def scene(seed: int) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Boxes of random places, shades and depths: an image and the depth of the same."""
    rng = np.random.default_rng(seed)
    image, depth = np.full((HEIGHT, WIDTH, 3), 90, dtype=np.uint8), np.full((HEIGHT, WIDTH), 6.0)
    for _ in range(6):
        x, y = rng.integers(0, WIDTH - 40), rng.integers(0, HEIGHT - 40)
        w, h = rng.integers(15, 40, 2)
        shade = [int(value) for value in rng.integers(0, 255, 3)]
        cv2.rectangle(image, (x, y), (x + w, y + h), shade, -1)
        depth[y : y + h + 1, x : x + w + 1] = rng.uniform(1, 4)
    return image, depth


@pytest.fixture
def root(tmp_path: Path) -> Path:
    entries = []
    for index in range(COUNT):
        image, depth = scene(index)
        encoded(tmp_path / f"rgb_{index}.png", image)
        png16(tmp_path / f"depth_{index}.png", depth, 1000, (WIDTH, HEIGHT))
        camera = [120.0, 120.0, 79.5, 59.5]
        files = {"rgb": f"rgb_{index}.png", "depth": f"depth_{index}.png", "depth_scale": 1000, "cam_in": camera}
        entries.append(files)
    as_json(tmp_path / "all.json", {"files": entries})
    return tmp_path


def change(root: Path, **values: object) -> None:
    """Write other values into the entry of frame 2."""
    content = json.loads((root / "all.json").read_text())
    content["files"][2] |= values
    as_json(root / "all.json", content)


def faults(root: Path) -> list[Fault]:
    return list(check_frames(find_frames(find_layout("annotations"), root)))


def test_a_sound_tree_has_no_faults(root: Path) -> None:
    assert faults(root) == []


def missing_depth(root: Path) -> None:
    (root / "depth_2.png").unlink()


def missing_picture(root: Path) -> None:
    (root / "rgb_2.png").unlink()


def cut_depth(root: Path) -> None:
    (root / "depth_2.png").write_bytes((root / "depth_2.png").read_bytes()[:100])


def other_size(root: Path) -> None:
    png16(root / "depth_2.png", 2.0, 1000, (WIDTH // 2, HEIGHT // 2))


def nothing_known(root: Path) -> None:
    png16(root / "depth_2.png", np.nan, 1000, (WIDTH, HEIGHT))


def not_numbers(root: Path) -> None:
    depth = np.full((HEIGHT, WIDTH), 2.0, dtype=np.float32)
    depth[:12] = np.nan
    npy(root / "depth_2.npy", depth)
    change(root, depth="depth_2.npy", depth_scale=1)


def thousand_times_too_far(root: Path) -> None:
    change(root, depth_scale=1)


def thousand_times_too_near(root: Path) -> None:
    change(root, depth_scale=1_000_000)


def intrinsics_of_twice_the_size(root: Path) -> None:
    change(root, cam_in=[240.0, 240.0, 159.5, 119.5])


def focal_of_another_world(root: Path) -> None:
    change(root, cam_in=[12000.0, 12000.0, 79.5, 59.5])


def focal_of_nothing(root: Path) -> None:
    change(root, cam_in=[0.0, 120.0, 79.5, 59.5])


def depth_of_another_picture(root: Path) -> None:
    (root / "depth_2.png").write_bytes((root / "depth_0.png").read_bytes())


@pytest.mark.parametrize(
    ("damage", "kind", "file", "words"),
    [
        (missing_depth, "missing-depth", "depth_2.png", "not there"),
        (missing_picture, "missing-picture", "rgb_2.png", "not there"),
        (cut_depth, "unreadable", "depth_2.png", "depth_2.png"),
        (other_size, "size", "depth_2.png", "80 x 60 pixels, its image has 160 x 120"),
        (nothing_known, "no-depth", "depth_2.png", "no pixel is known"),
        (not_numbers, "nan", "depth_2.npy", "10.0 %"),
        (thousand_times_too_far, "scale", "depth_2.png", "off by 1000? it would be 6 m"),
        (thousand_times_too_near, "scale", "depth_2.png", "off by 1000? it would be 6 m"),
        (intrinsics_of_twice_the_size, "intrinsics", "rgb_2.png", "of another size"),
        (focal_of_another_world, "intrinsics", "rgb_2.png", "degrees"),
        (focal_of_nothing, "intrinsics", "rgb_2.png", "positive"),
        (depth_of_another_picture, "pair", "depth_2.png", "rgb_0.png"),
    ],
)
def test_a_fault_is_told_with_its_kind_and_file(
    root: Path, damage: Callable[[Path], None], kind: str, file: str, words: str
) -> None:
    damage(root)
    [fault] = faults(root)
    assert (fault.kind, Path(fault.file).name) == (kind, file)
    assert words in fault.message


def test_pictures_that_changed_places_are_both_found(root: Path) -> None:
    first, second = (root / "rgb_0.png").read_bytes(), (root / "rgb_1.png").read_bytes()
    (root / "rgb_0.png").write_bytes(second)
    (root / "rgb_1.png").write_bytes(first)
    assert {(fault.kind, Path(fault.file).name) for fault in faults(root)} == {
        ("pair", "depth_0.png"),
        ("pair", "depth_1.png"),
    }


def test_a_name_that_comes_twice_is_told(root: Path) -> None:
    frames = find_frames(find_layout("annotations"), root)
    assert [fault.kind for fault in check_frames([*frames, frames[0]])] == ["repeated"]


def test_stated_sizes_must_be_the_pictures(root: Path) -> None:
    [first, *_] = find_frames(find_layout("annotations"), root)
    frame: Frame = dataclasses.replace(first, pinhole=dataclasses.replace(first.pinhole, size=(320, 240)))
    [fault] = check_frames([frame])
    assert fault.kind == "intrinsics"
    assert "intrinsics are for 320 x 240" in fault.message


def test_edges_agree_with_their_own_picture_and_not_with_another() -> None:
    (image, depth), (other, _) = scene(5), scene(6)
    edges = depth_edges(depth.astype(np.float32))
    assert edges is not None
    assert agreement(edges, picture_change(image)) > 0.85
    assert agreement(edges, picture_change(other)) < 0.65


def test_sparse_or_flat_depth_says_nothing_about_edges() -> None:
    depth = np.full((HEIGHT, WIDTH), 2.0, dtype=np.float32)
    assert depth_edges(depth) is None
    depth[:, ::2] = np.nan
    depth[::2] = np.nan
    assert depth_edges(depth) is None
