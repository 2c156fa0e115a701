"""Prediction folders of our own and of others, and the official code's depth of a known image."""

import dataclasses
import json
from functools import partial
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from m3d_cli.datasets.depth_files import read_normals
from m3d_cli.datasets.frame import Frame
from m3d_cli.datasets.layouts import find_layout
from m3d_cli.datasets.selection import find_frames
from m3d_cli.errors import DatasetError, UsageError
from m3d_cli.evaluation.alignment import Alignment
from m3d_cli.evaluation.benchmark import Network, keeping, kept_in
from m3d_cli.evaluation.predictions import open_predictions, read_prediction
from m3d_cli.evaluation.scoring import Protocol, score_frames
from m3d_cli.formats.depth_png import encode_depth_png

from .conftest import HEIGHT, WIDTH, twenty_percent_long

GOLDEN = Path(__file__).parents[2] / "data" / "golden"
DEPTH = np.linspace(1, 9, HEIGHT * WIDTH, dtype=np.float32).reshape(HEIGHT, WIDTH)


def write(path: Path, depth: NDArray[np.float32] = DEPTH, scale: float = 1000.0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        np.save(path, depth)
    elif path.suffix == ".npz":
        np.savez(path, K=np.eye(3), depth=depth)
    else:
        path.write_bytes(encode_depth_png(depth, scale)[0])


@pytest.mark.parametrize(
    "pattern",
    [
        pytest.param("{name}.npy", id="the frame's name"),
        pytest.param("{folder}/rgb/{stem}.png", id="the image's path, as m3d depth writes"),
        pytest.param("{folder}/{stem}.npz", id="npz"),
        pytest.param("{name}_depth.png", id="a mark before the ending"),
    ],
)
def test_predictions_are_found_by_the_frames_names(
    root: Path, frames: tuple[Frame, ...], tmp_path: Path, pattern: str
) -> None:
    for frame in frames:
        folder, stem = frame.name.split("/")
        write(tmp_path / "pred" / pattern.format(name=frame.name, folder=folder, stem=stem))
    (tmp_path / "pred" / "far" / "000000.conf.png").write_bytes(b"something else")
    folder_of_all = open_predictions(tmp_path / "pred", frames, root)
    for frame in frames:
        assert folder_of_all.read(frame) == pytest.approx(DEPTH, abs=1e-3)


def test_the_last_part_of_a_name_does_where_it_is_unique(root: Path, frames: tuple[Frame, ...], tmp_path: Path) -> None:
    write(tmp_path / "pred" / "000001.npy")
    second = [frame for frame in frames if frame.name == "near/000001"]
    assert open_predictions(tmp_path / "pred", second, root).read(second[0]).shape == (HEIGHT, WIDTH)
    write(tmp_path / "pred" / "000000.npy")
    with pytest.raises(DatasetError, match="no prediction for 2 frames, such as far/000000"):
        open_predictions(tmp_path / "pred", frames, root)
    with pytest.raises(DatasetError, match="no such folder"):
        open_predictions(tmp_path / "none", frames, root)


def test_a_png_is_read_by_the_scale_inside_it_else_by_the_users(tmp_path: Path) -> None:
    write(tmp_path / "own.png", scale=256.0)
    assert read_prediction(tmp_path / "own.png", 5.0) == pytest.approx(DEPTH, abs=1 / 256)
    cv2.imwrite(str(tmp_path / "other.png"), np.rint(DEPTH * 200).astype(np.uint16))
    assert read_prediction(tmp_path / "other.png", 200.0) == pytest.approx(DEPTH, abs=1 / 200)
    with pytest.raises(UsageError, match=r"other\.png.*does not say"):
        read_prediction(tmp_path / "other.png")


def test_a_prediction_that_is_no_depth_map_is_named(tmp_path: Path) -> None:
    np.save(tmp_path / "rgb.npy", np.zeros((4, 5, 3), dtype=np.float32))
    np.save(tmp_path / "text.npy", np.array([["a"]]))
    (tmp_path / "cut.npy").write_bytes(b"\x93NUMPY")
    (tmp_path / "cut.npz").write_bytes(b"PK\x03\x04")
    (tmp_path / "cut.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    np.save(tmp_path / "none.npy", np.zeros((0, 5), dtype=np.float32))
    for name in ("none.npy", "rgb.npy", "text.npy", "cut.npy", "cut.npz", "cut.png"):
        with pytest.raises(DatasetError, match=name):
            read_prediction(tmp_path / name, 1000.0)


def test_maps_with_an_axis_of_one_and_of_any_precision_are_taken(tmp_path: Path) -> None:
    for kind in (np.float16, np.float64):
        np.save(tmp_path / "a.npy", np.full((1, 4, 5, 1), 2, dtype=kind))
        depth = read_prediction(tmp_path / "a.npy")
        assert (depth.dtype, depth.shape, depth[0, 0]) == (np.float32, (4, 5), 2)


def test_kept_predictions_are_used_again_to_the_last_bit(frames: tuple[Frame, ...], tmp_path: Path) -> None:
    calls: list[str] = []

    def load() -> object:
        calls.append("load")
        return twenty_percent_long

    def never() -> object:
        raise AssertionError("everything is there")

    first = list(score_frames(frames, keeping(tmp_path / "pred", load), Protocol()))
    assert calls == ["load"]
    assert list(score_frames(frames, keeping(tmp_path / "pred", never), Protocol())) == first


def test_a_folder_of_other_predictions_is_not_mixed_with(frames: tuple[Frame, ...], tmp_path: Path) -> None:
    network = Network.choose("m3d-test-lite", None, "cpu", "fp32")
    kept_in(tmp_path / "pred", network, "rgbd", tmp_path)
    kept_in(tmp_path / "pred", network, "rgbd", tmp_path)
    made_by = json.loads((tmp_path / "pred" / "m3d-predictions.json").read_text())
    assert made_by == {
        "layout": "rgbd",
        "data": str(tmp_path.resolve()),
        "model": "m3d-test-lite",
        "weights_sha256": network.weights.sha256,
    }
    with pytest.raises(DatasetError, match="made otherwise"):
        kept_in(tmp_path / "pred", network, "rgbd", tmp_path / "another scene")
    with pytest.raises(DatasetError, match="made otherwise"):
        kept_in(tmp_path / "pred", network, "nyu", tmp_path)
    write(tmp_path / "mine" / "a.npy")
    with pytest.raises(DatasetError, match="files of another kind"):
        kept_in(tmp_path / "mine", network, "rgbd", tmp_path)


def test_the_official_codes_depth_of_a_known_picture_scores_as_by_hand(tmp_path: Path) -> None:
    with np.load(GOLDEN / "vit-small-nyu.npz") as golden:
        official = golden["out/metric"].astype(np.float32)
    height, width = official.shape
    image = cv2.imread(str(GOLDEN / "nyu_rgb_00000.jpg"))
    cv2.imwrite(str(tmp_path / "rgb_00000.jpg"), cv2.resize(image, (width, height)))
    # A truth in 1/200 m: half the official depth in the left half, and unknown at the right border.
    stored = np.rint(official * 200 * np.where(np.arange(width) < width // 2, 0.5, 1.0)).astype(np.uint16)
    stored[:, -10:] = 0
    cv2.imwrite(str(tmp_path / "sync_depth_00000.png"), stored)
    entry = {"rgb": "rgb_00000.jpg", "depth": "sync_depth_00000.png", "depth_scale": 200, "cam_in": [65, 65, 40, 30]}
    (tmp_path / "test.json").write_text(json.dumps({"files": [entry]}))
    np.save(tmp_path / "rgb_00000.npy", official)

    frames = find_frames(find_layout("annotations"), tmp_path)
    predict = open_predictions(tmp_path, frames, tmp_path).read
    [image_scores] = score_frames(frames, predict, Protocol(alignments=(Alignment.NONE,)))
    scores = image_scores.scores(Alignment.NONE)
    wrong, counted = height * (width // 2), height * (width - 10)
    t = (stored[:, :-10] / 200).astype(np.float64)
    p = official[:, :-10].astype(np.float64)
    assert scores.pixels == counted
    # Where the truth is half, the prediction is 100 % too far.
    assert scores.abs_rel == pytest.approx(wrong / counted, abs=1e-3)
    assert scores.delta3 == pytest.approx(1 - wrong / counted, abs=1e-9)
    assert scores.rmse_log == pytest.approx(np.log(2) * np.sqrt(wrong / counted), abs=1e-3)
    assert scores.log10 == pytest.approx(np.log10(2) * wrong / counted, abs=1e-3)
    assert scores.abs_rel == pytest.approx((abs(t - p) / t).mean(), abs=1e-6)
    assert scores.rmse == pytest.approx(np.sqrt(((t - p) ** 2).mean()), rel=1e-6)
    assert scores.sq_rel == pytest.approx(((t - p) ** 2 / t).mean(), rel=1e-6)
    assert scores.silog == pytest.approx((np.log(p) - np.log(t)).std(), abs=1e-6)


def test_predictions_of_one_file_that_holds_every_picture(tmp_path: Path) -> None:
    file = tmp_path / "nyu_depth_v2_labeled.mat"
    with h5py.File(file, "w") as content:
        content["depths"], content["images"] = np.full((2, 8, 6), 2.0), np.zeros((2, 3, 8, 6), np.uint8)
    for number in range(2):
        write(tmp_path / "pred" / f"rgb_{number:05}.npy")
    frames = find_frames(find_layout("nyu"), file)
    assert open_predictions(tmp_path / "pred", frames, file).read(frames[1]).shape == (HEIGHT, WIDTH)


def test_a_network_is_run_on_frames_whose_normals_cannot_be_read(frames: tuple[Frame, ...], tmp_path: Path) -> None:
    picture = dataclasses.replace(frames[0], read_normals=partial(read_normals, tmp_path / "normal.png"))
    network = Network.choose("m3d-test-lite", None, "cpu", "fp32")
    assert network.load()(picture).shape == (HEIGHT, WIDTH)
    with pytest.raises(DatasetError, match=r"normal\.png: how an image stores normals"):
        picture.read()


def test_marks_of_the_unknown_and_whole_numbers_in_arrays(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([[1.5, 0, -1], [np.inf, np.nan, 2]], dtype=np.float32))
    np.testing.assert_array_equal(
        read_prediction(tmp_path / "a.npy"), np.array([[1.5, np.nan, np.nan], [np.nan, np.nan, 2]], dtype=np.float32)
    )
    np.save(tmp_path / "b.npy", np.array([[1500, 0], [1, 2]], dtype=np.uint16))
    with pytest.raises(UsageError, match="whole numbers are no metres"):
        read_prediction(tmp_path / "b.npy")
    wanted = np.array([[1.5, np.nan], [0.001, 0.002]], dtype=np.float32)
    np.testing.assert_array_equal(read_prediction(tmp_path / "b.npy", 1000), wanted)
