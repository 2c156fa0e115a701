"""Scoring of RGB-D folders made by the test, with a stand-in for the network that knows the truth."""

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from m3d_cli.camera import Camera
from m3d_cli.datasets.rgbd import write_rgbd
from m3d_cli.datasets.sample import Sample
from m3d_cli.depthmap import DepthMap
from m3d_cli.errors import DatasetError
from m3d_cli.evaluation.alignment import Alignment
from m3d_cli.evaluation.benchmark import SourceChoice, choose_frames, mean_over_sources, score_sample, score_source
from m3d_cli.evaluation.tables import json_line, text_table
from m3d_cli.photo import Photo


def sample(depth: float, source: str) -> Sample:
    camera = Camera.centred(32, 24, 30)
    truth = np.full((24, 32), depth, dtype=np.float32)
    truth[:4] = np.nan
    image = np.full((24, 32, 3), 90, dtype=np.uint8)
    return Sample(Photo(Path(f"{depth}.jpg"), image, camera), DepthMap(truth, camera), source, False)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_rgbd([sample(1, "near"), sample(2, "near")], tmp_path / "near", source="near")
    write_rgbd([sample(10, "far")], tmp_path / "far", source="far", split="val")
    return tmp_path


def twenty_percent_long(frame: Sample) -> NDArray[np.float32]:
    return 1.2 * frame.truth.depth


def test_a_scale_error_shows_as_it_is_and_vanishes_under_median_alignment(root: Path) -> None:
    scores = [score_source(f, frames, twenty_percent_long) for f, frames in choose_frames(root, [])]
    for source in scores:
        assert source.scores(Alignment.NONE).abs_rel == pytest.approx(0.2, abs=1e-3)
        assert source.scores(Alignment.NONE).ln_scale_mean == pytest.approx(np.log(1.2), abs=1e-3)
        assert source.scores(Alignment.MEDIAN).abs_rel == pytest.approx(0, abs=1e-3)
    assert mean_over_sources(scores, Alignment.NONE).delta1 == 1


def test_sources_and_splits_are_chosen_by_name(root: Path) -> None:
    [(folder, frames)] = choose_frames(root, [SourceChoice.parse("far:val")])
    assert (folder.source, frames) == ("far", [0])
    with pytest.raises(DatasetError, match="no frame of split val"):
        choose_frames(root, [SourceChoice.parse("near:val")])
    with pytest.raises(DatasetError, match="no source named middle"):
        choose_frames(root, [SourceChoice.parse("middle")])


def test_a_pixel_predicted_unknown_counts_as_far_not_as_absent() -> None:
    frame = sample(5, "x")
    depth = frame.truth.depth.copy()
    depth[10:14] = np.nan
    depth[20] = 50
    [metric] = score_sample(depth, frame, [Alignment.NONE])
    assert metric.pixels == 20 * 32
    assert metric.abs_rel == pytest.approx(9 * 5 / 20)


def test_table_and_json_say_the_same(root: Path) -> None:
    scores = [score_source(f, frames, twenty_percent_long) for f, frames in choose_frames(root, [])]
    content = json.loads(json_line(scores, "rgbd", "lite"))
    assert content["images"] == 3
    assert content["align"]["none"]["abs_rel"] == pytest.approx(0.2, abs=1e-3)
    assert set(content["sources"]) == {"near", "far"}
    lines = text_table(scores).splitlines()
    assert len(lines) == 4
    assert "0.200" in lines[-1]
