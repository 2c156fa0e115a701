"""What goes wrong or is not known is counted, named and told; nothing of it ends the run."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from m3d_cli.camera import FocalSource
from m3d_cli.datasets.frame import Frame
from m3d_cli.datasets.layouts import find_layout
from m3d_cli.datasets.rgbd import write_rgbd
from m3d_cli.datasets.selection import Selection, find_frames, select_frames
from m3d_cli.errors import DatasetError
from m3d_cli.evaluation.alignment import Alignment
from m3d_cli.evaluation.doubts import doubts
from m3d_cli.evaluation.extras import Extra
from m3d_cli.evaluation.presets import PRESETS
from m3d_cli.evaluation.results import Run, image_line, json_line, run_object
from m3d_cli.evaluation.scoring import Protocol, score_frame, score_frames
from m3d_cli.evaluation.tables import csv_table, text_table

from .conftest import HEIGHT, WIDTH, sample, twenty_percent_long


def run_of(frames: tuple[Frame, ...], protocol: Protocol | None = None) -> Run:
    protocol = protocol or Protocol()
    images = tuple(score_frames(frames, twenty_percent_long, protocol))
    return Run("rgbd", "pred", "p", protocol, images, selection=Selection(frames))


def test_an_unreadable_frame_is_counted_and_the_others_are_scored(root: Path, frames: tuple[Frame, ...]) -> None:
    whole = run_of(frames)
    (root / "near" / "depth" / "000001.png").write_bytes(b"cut")
    run = run_of(frames)
    content = run_object(run)
    assert (content["images"], content["failed"], content["skipped"]) == (2, 1, 0)
    assert "near/depth/000001.png" in content["failures"]["near/000001"]
    assert run.images[:2] == whole.images[:2]
    assert json.loads(image_line(run, run.images[2]))["error"].startswith("BAD_DATASET")
    assert any("1 of 3 images could not be scored" in line for line in doubts(run))


def test_a_source_without_scores_is_named_and_the_mean_is_over_the_others(
    root: Path, frames: tuple[Frame, ...]
) -> None:
    (root / "far" / "depth" / "000000.png").unlink()
    run = run_of(frames)
    content = json.loads(json_line(run))
    assert content["sources"]["far"] == {"images": 0, "skipped": 0, "failed": 1, "align": {}}
    assert content["align"]["none"] == content["sources"]["near"]["align"]["none"]
    assert text_table(run).splitlines()[1].split() == ["far", "0", *"------"]
    assert "far" not in csv_table(run)
    assert any("no image of far has scores" in line for line in doubts(run))


@pytest.mark.parametrize("layout", ["rgbd", "nyu"])
def test_a_run_in_which_nothing_could_be_scored_is_an_error(root: Path, frames: tuple[Frame, ...], layout: str) -> None:
    for file in root.rglob("depth/*.png"):
        file.unlink()
    run = dataclasses.replace(run_of(frames), layout=layout)
    with pytest.raises(DatasetError, match=r"3 failed, the first with .*000000\.png"):
        json_line(run)


def test_truth_of_another_size_than_its_camera_is_refused(frames: tuple[Frame, ...]) -> None:
    frame = dataclasses.replace(frames[0], pinhole=dataclasses.replace(frames[0].pinhole, size=(64, 48)))
    with pytest.raises(DatasetError, match=r"000000\.png: 32 x 24 pixels, its image has 64 x 48"):
        score_frame(frame, twenty_percent_long(frames[0]), Protocol())


def test_intrinsics_that_nobody_measured_are_counted_and_told(frames: tuple[Frame, ...]) -> None:
    assumed = dataclasses.replace(frames[0].pinhole, focal_source=FocalSource.ASSUMED)
    run = run_of((dataclasses.replace(frames[0], pinhole=assumed), *frames[1:]))
    assert run_object(run)["focal_source"] == {"assumed": 1, "calibration": 2}
    assert any("intrinsics of 1 of 3 frames are assumed" in line for line in doubts(run))
    assert list(doubts(run_of(frames))) == []


def test_the_result_names_every_rule_that_decides_a_score(frames: tuple[Frame, ...]) -> None:
    bare = dataclasses.replace(frames[0], rule="metres = value / 1; MASK MISSING: mask_invalid")
    run = run_of((bare, *frames[1:]), Protocol(extras=(Extra.CLOUD,)))
    protocol = run_object(run)["protocol"]
    assert list(protocol["depth_files"].values()) == [1, 2]
    assert "metres = value / 1000" in list(protocol["depth_files"])[1]
    assert list(protocol["also"]) == ["cloud"]
    assert "not clipped" in protocol["clip"]
    assert "falls back to median" in protocol["fallback"]
    assert "1216 x 352" in protocol["resize"]
    assert any("1 of 3 frames lack a mask" in line for line in doubts(run))
    assert PRESETS["eth3d"].describe()["clip"] == protocol["clip"]


def test_the_choice_of_frames_and_its_notes_are_in_the_result(root: Path) -> None:
    selection = dataclasses.replace(select_frames(find_layout("rgbd"), root, limit=2), notes=("look here",))
    images = tuple(score_frames(selection.frames, twenty_percent_long, Protocol()))
    run = Run("rgbd", "pred", "p", Protocol(), images, selection=selection)
    content = json.loads(json_line(run))["selection"]
    assert (content["limit"], content["listed"], content["beyond_limit"]) == (2, 3, 1)
    assert next(iter(doubts(run))) == "look here"


def test_the_spread_of_scale_over_sources_holds_that_between_them(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_rgbd([sample(4, name), sample(4, name)], tmp_path / name, source=name)

    def predict(frame: Frame) -> NDArray[np.float32]:
        factor = {"a/000000": 1.0, "a/000001": 1.1, "b/000000": 1.5, "b/000001": 1.6}[frame.name]
        return np.full((HEIGHT, WIDTH), 4 * factor, dtype=np.float32)

    frames = find_frames(find_layout("rgbd"), tmp_path)
    run = Run("rgbd", "pred", "p", Protocol(), tuple(score_frames(frames, predict, Protocol())))
    logs = np.log([1.0, 1.1, 1.5, 1.6])
    # With as many images in each source this is the spread over all.
    assert run.mean(Alignment.NONE).ln_scale_std == pytest.approx(logs.std(), abs=1e-6)


def cloud_of(frame: Frame, prediction: NDArray[np.float32]) -> dict[str, float]:
    return dict(score_frame(frame, prediction, Protocol(extras=(Extra.CLOUD,))).extras)


def test_true_points_that_were_not_predicted_lower_recall(frames: tuple[Frame, ...]) -> None:
    far, truth = frames[0], frames[0].truth()
    half = truth.copy()
    half[:, WIDTH // 2 :] = np.nan
    scores = cloud_of(far, half)
    assert (scores["cloud_precision"], scores["cloud_recall"]) == (1, pytest.approx(0.5))
    assert scores["cloud_completeness"] > 1
    nothing = cloud_of(far, np.full_like(truth, np.nan))
    assert (nothing["cloud_recall"], nothing["cloud_f_score"]) == (0, 0)
    assert nothing["cloud_completeness"] == pytest.approx(10, abs=2)


def with_normals(frame: Frame, normals: NDArray[np.float32]) -> Frame:
    return dataclasses.replace(frame, read_normals=lambda: normals)


def test_true_normals_that_were_not_predicted_count_as_wrong(frames: tuple[Frame, ...]) -> None:
    normals = np.tile(np.float32([0, 0, -1]), (HEIGHT, WIDTH, 1))
    normals[4, 0] = 0
    frame, protocol = with_normals(frames[0], normals), Protocol(extras=(Extra.NORMALS,))
    half = np.full((HEIGHT, WIDTH), 10, dtype=np.float32)
    assert dict(score_frame(frame, half, protocol).extras)["normal_mean"] == pytest.approx(0, abs=1e-3)
    half[:, WIDTH // 2 :] = np.nan
    assert dict(score_frame(frame, half, protocol).extras)["normal_a5"] == pytest.approx(0.5, abs=0.06)
    unknown = with_normals(frames[0], np.zeros_like(normals))
    assert score_frame(unknown, half, protocol).extras == ()


def test_normals_of_another_size_are_a_failed_frame_with_its_name(frames: tuple[Frame, ...]) -> None:
    frame = with_normals(frames[0], np.ones((5, 6, 3), dtype=np.float32))
    [image] = score_frames([frame], twenty_percent_long, Protocol(extras=(Extra.NORMALS,)))
    assert "normals have 6 x 5 pixels" in image.error
    assert "far/rgb/000000.jpg" in image.error
    [image] = score_frames([frame], twenty_percent_long, Protocol())
    assert image.error == ""


def test_a_picture_without_true_edges_does_not_count_for_boundaries(frames: tuple[Frame, ...]) -> None:
    [image] = score_frames([frames[0]], twenty_percent_long, Protocol(extras=(Extra.BOUNDARY,)))
    assert image.extras == ()
