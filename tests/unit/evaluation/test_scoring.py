"""Depth maps against frames made by the test: what counts, what is unknown, how it is summed up and written down."""

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from m3d_cli.datasets.frame import Frame
from m3d_cli.datasets.rgbd import write_rgbd
from m3d_cli.errors import DatasetError, UsageError
from m3d_cli.evaluation.alignment import LEAST_DEPTH, Alignment
from m3d_cli.evaluation.extras import Extra, parse_extras
from m3d_cli.evaluation.page import worst_page
from m3d_cli.evaluation.presets import PRESETS
from m3d_cli.evaluation.report import published_table, write_report
from m3d_cli.evaluation.results import Run, json_line, read_image_lines
from m3d_cli.evaluation.scoring import (
    Protocol,
    by_source,
    counted_pixels,
    mean_over_sources,
    score_depth,
    score_frames,
    summary,
    worst,
)
from m3d_cli.evaluation.tables import csv_table, markdown_table, protocol_lines, text_table

from .conftest import HEIGHT, WIDTH, chosen, sample, twenty_percent_long

ALL = (Alignment.NONE, Alignment.MEDIAN, Alignment.SCALE_SHIFT)
NAN = np.float32(np.nan)


def scored(frames: tuple[Frame, ...], layout: str = "rgbd", protocol: Protocol | None = None) -> Run:
    protocol = protocol or Protocol(alignments=ALL)
    images = tuple(score_frames(frames, twenty_percent_long, protocol))
    return Run(layout, "model", "stand-in", protocol, images)


def test_a_scale_error_shows_as_it_is_and_vanishes_under_alignment(frames: tuple[Frame, ...]) -> None:
    sources = scored(frames).sources
    assert [(source.source, source.images) for source in sources] == [("far", 1), ("near", 2)]
    for source in sources:
        assert source.scores(Alignment.NONE).abs_rel == pytest.approx(0.2, abs=1e-3)
        assert source.scores(Alignment.NONE).ln_scale_mean == pytest.approx(np.log(1.2), abs=1e-3)
        assert source.scores(Alignment.MEDIAN).abs_rel == pytest.approx(0, abs=1e-3)
    assert mean_over_sources(sources, Alignment.NONE).delta1 == 1


def test_sources_and_splits_are_chosen_by_name(root: Path) -> None:
    assert [frame.name for frame in chosen(root, "far:val")] == ["far/000000"]
    with pytest.raises(DatasetError, match="no frame of split val"):
        chosen(root, "near:val")
    with pytest.raises(DatasetError, match="no source named middle"):
        chosen(root, "middle")


@pytest.mark.parametrize("unknown", [np.nan, np.inf, -np.inf, 0.0, -3.0])
def test_a_pixel_predicted_unknown_counts_as_far_not_as_absent(unknown: float) -> None:
    truth = sample(5, "x").truth.depth
    depth = truth.copy()
    depth[10:14] = unknown
    depth[20] = 50
    [metric] = score_depth(depth, truth, Protocol(alignments=(Alignment.NONE,)))
    assert metric.pixels == 20 * WIDTH
    assert metric.abs_rel == pytest.approx(9 * 5 / 20)
    assert counted_pixels(depth, truth)[2] == pytest.approx(16 / 20)


@pytest.mark.parametrize("fill", [np.nan, np.inf, 0.0])
def test_a_picture_with_nothing_predicted_is_as_wrong_as_can_be(fill: float) -> None:
    truth = sample(5, "x").truth.depth
    metric, median, both = score_depth(np.full_like(truth, fill), truth, Protocol(alignments=ALL))
    assert metric.abs_rel == pytest.approx(1 - LEAST_DEPTH / 5)
    assert metric.delta3 == 0
    # A constant is a constant: scaled to the median, flat truth is met.
    assert (median.abs_rel, both.abs_rel) == (pytest.approx(0), pytest.approx(0))


def test_one_true_pixel_is_enough_for_every_alignment() -> None:
    truth = np.full((HEIGHT, WIDTH), NAN)
    truth[7, 9] = 2.0
    depth = np.full((HEIGHT, WIDTH), 3.0, dtype=np.float32)
    metric, median, both = score_depth(depth, truth, Protocol(alignments=ALL))
    assert (metric.abs_rel, metric.pixels, metric.silog) == (0.5, 1, 0.0)
    assert (median.abs_rel, both.abs_rel) == (0, 0)


def test_sky_and_unknown_truth_do_not_count() -> None:
    truth = np.full((HEIGHT, WIDTH), np.float32(np.inf))
    truth[0] = NAN
    with pytest.raises(DatasetError, match="no pixel"):
        score_depth(np.ones_like(truth), truth)


def test_a_prediction_of_another_size_is_resized_to_the_truth(frames: tuple[Frame, ...]) -> None:
    def half(frame: Frame) -> NDArray[np.float32]:
        return np.full((HEIGHT // 2, WIDTH // 2), 2.0, dtype=np.float32)

    near = [frame for frame in frames if frame.source == "near"]
    first, second = score_frames(near, half, Protocol())
    assert first.scores(Alignment.NONE).abs_rel == pytest.approx(1)
    assert second.scores(Alignment.NONE).abs_rel == pytest.approx(0)


def test_a_frame_without_true_depth_is_left_out_and_counted(tmp_path: Path) -> None:
    from m3d_cli.datasets.layouts import find_layout
    from m3d_cli.datasets.selection import find_frames

    write_rgbd([sample(np.nan, "x"), sample(2, "x")], tmp_path / "x", source="x")
    images = tuple(score_frames(find_frames(find_layout("rgbd"), tmp_path), twenty_percent_long, Protocol()))
    assert [image.pixels for image in images] == [0, 20 * WIDTH]
    [source] = by_source(images, Protocol().alignments)
    assert (source.images, source.skipped) == (1, 1)
    with pytest.raises(DatasetError, match="no image has a pixel"):
        summary(images[:1], Protocol().alignments)
    run = Run("rgbd", "pred", "p", Protocol(), images)
    assert json.loads(json_line(run))["skipped"] == 1
    assert worst(images, 5, Alignment.NONE) == [images[1]]


def test_threads_change_neither_scores_nor_order(frames: tuple[Frame, ...]) -> None:
    many = frames * 20
    alone = list(score_frames(many, twenty_percent_long, Protocol()))
    assert list(score_frames(many, twenty_percent_long, Protocol(), workers=3)) == alone


def test_a_crop_of_another_size_names_the_file(frames: tuple[Frame, ...]) -> None:
    images = list(score_frames(frames, twenty_percent_long, Protocol(PRESETS["nyu-eigen"])))
    assert all("000000.png" in image.error or "000001.png" in image.error for image in images)
    with pytest.raises(DatasetError, match=r"no image could be scored, 3 failed.*000000\.png.*640 x 480"):
        summary(images, Protocol().alignments)


def test_json_has_the_shape_that_scripts_rely_on(frames: tuple[Frame, ...]) -> None:
    content = json.loads(json_line(scored(frames)))
    assert content.keys() >= {"layout", "preset", "model", "images", "align"}
    assert (content["layout"], content["preset"], content["model"], content["images"]) == ("rgbd", None, "stand-in", 3)
    assert content["align"].keys() == {"none", "median", "scale-shift"}
    keys = "abs_rel sq_rel rmse rmse_log log10 silog delta1 delta2 delta3 ln_scale_mean ln_scale_std"
    assert list(content["align"]["none"]) == keys.split()
    assert content["align"]["none"]["abs_rel"] == pytest.approx(0.2, abs=1e-3)
    assert content["protocol"]["farthest"] is None
    assert (content["pixels"], content["coverage"]) == (3 * 20 * WIDTH, 1.0)


def test_of_other_layouts_every_picture_weighs_the_same(frames: tuple[Frame, ...]) -> None:
    def constant(frame: Frame) -> NDArray[np.float32]:
        return np.full((HEIGHT, WIDTH), 2.0, dtype=np.float32)

    images = tuple(score_frames(frames, constant, Protocol()))
    by_image, by_source_ = (Run(layout, "model", "m", Protocol(), images) for layout in ("nyu", "rgbd"))
    assert [json.loads(json_line(run))["mean_over"] for run in (by_image, by_source_)] == ["images", "sources"]
    assert by_image.mean(Alignment.NONE).abs_rel == pytest.approx((0.8 + 1 + 0) / 3)
    assert by_source_.mean(Alignment.NONE).abs_rel == pytest.approx((0.8 + 0.5) / 2)
    assert text_table(by_image).splitlines()[-1].startswith("all")
    assert text_table(by_source_).splitlines()[-1].startswith("mean of sources")


def test_tables_say_the_same_in_every_form(frames: tuple[Frame, ...]) -> None:
    run = scored(frames, protocol=Protocol())
    lines = text_table(run).splitlines()
    assert lines[0].split("  ")[0] == "source"
    header = ["source", "images", "AbsRel", "d1", "AbsRel (median)", "d1 (median)", "ln scale mean", "std"]
    assert [cell.strip() for cell in markdown_table(run).splitlines()[0].strip("|").split("|")] == header
    assert len(lines) == 4
    assert "0.200" in lines[-1]
    rows = list(csv.DictReader(io.StringIO(csv_table(run))))
    assert [(row["source"], row["align"]) for row in rows] == [
        (source, align) for align in ("none", "median") for source in ("far", "near", "all")
    ]
    assert float(rows[2]["abs_rel"]) == pytest.approx(0.2, abs=1e-3)


def test_the_protocol_is_spelled_out() -> None:
    text = " ".join(protocol_lines(PRESETS["kitti-garg"], [Alignment.MEDIAN]))
    for fact in ("kitti-garg", "0.408108", "0.991892", "80 m", "median", "bilinear", "unknown", "1603.04992"):
        assert fact in text


def test_published_numbers_stand_beside_ours(frames: tuple[Frame, ...]) -> None:
    text = published_table(scored(frames, "nyu"))
    assert "stand-in" in text
    assert "0.083" in text
    assert "2307.10984" in text
    assert published_table(scored(frames)) == ""


def test_a_report_is_the_same_twice_and_can_be_read_back(frames: tuple[Frame, ...], tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_report(scored(frames), frames, twenty_percent_long, tmp_path / name, worst=2)
    files = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert files == ["scores.csv", "scores.json", "scores.jsonl", "scores.md", "scores.txt", "worst.html"]
    for name in files:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    rows = read_image_lines(tmp_path / "a")
    assert [row["name"] for row in rows] == ["far/000000", "near/000000", "near/000001"]
    assert rows[0]["align"]["none"]["abs_rel"] == pytest.approx(0.2, abs=1e-3)


def test_a_run_without_a_page_leaves_none_of_an_earlier_run(frames: tuple[Frame, ...], tmp_path: Path) -> None:
    for worst_count in (2, 0):
        write_report(scored(frames), frames, twenty_percent_long, tmp_path, worst=worst_count)
        assert (tmp_path / "worst.html").exists() == (worst_count > 0)


def test_the_page_is_one_file_that_no_name_can_break(frames: tuple[Frame, ...]) -> None:
    run = scored(frames)
    evil = Run(run.layout, "pred", "<script>alert(1)</script>&", run.protocol, run.images)
    page = worst_page(evil, frames, twenty_percent_long, 2)
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;&amp;" in page
    assert "http" not in page
    assert page.count("<section>") == 2
    assert page.count('src="data:image/jpeg;base64,') == 8


def test_what_is_measured_besides_is_in_the_lines(tmp_path: Path) -> None:
    from m3d_cli.datasets.layouts import find_layout
    from m3d_cli.datasets.selection import find_frames

    steps = np.where(np.arange(WIDTH) < 16, 1, 3).astype(np.float32)[None]
    write_rgbd([sample(steps, "x")], tmp_path / "x", source="x")
    write_rgbd([sample(steps, "y", sparse=True)], tmp_path / "y", source="y")
    frames = find_frames(find_layout("rgbd"), tmp_path)
    run = scored(frames, protocol=Protocol(extras=tuple(Extra)))
    dense, sparse = run.images
    assert "boundary_f1 0.2500 (1 images)" in text_table(run)
    assert json.loads(json_line(run))["also"]["cloud_f_score"]["images"] == 2
    assert dict(dense.extras)["boundary_f1"] == pytest.approx(0.25)
    assert dict(dense.extras)["cloud_chamfer_l1"] > 0.1
    assert "boundary_f1" not in dict(sparse.extras)
    assert "normal_mean" not in dict(dense.extras)
    with pytest.raises(UsageError, match="ssim"):
        parse_extras("ssim")


def test_scoring_needs_no_torch() -> None:
    code = (
        "import sys, m3d_cli.evaluation.report, m3d_cli.evaluation.predictions, m3d_cli.evaluation.compare\n"
        "import m3d_cli.datasets.check\n"
        "assert not {'torch', 'timm', 'open3d', 'scipy', 'h5py'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
