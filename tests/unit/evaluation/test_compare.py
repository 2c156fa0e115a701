"""Paired bootstrap: the right verdict where there is a difference, and no more false alarms than stated."""

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from m3d_cli.errors import DatasetError, UsageError
from m3d_cli.evaluation.compare import LEAST_CLUSTERS, Comparison, bootstrap_t, compare
from m3d_cli.evaluation.pairing import Pairs, pair
from m3d_cli.evaluation.results import read_image_lines


def rows(values: list[float], metric: str = "abs_rel", **more: object) -> list[dict[str, object]]:
    return [
        {"name": f"{i}", "source": "s", "align": {"none": {metric: value}}, **more} for i, value in enumerate(values)
    ]


def verdict(a: NDArray[np.float64], b: NDArray[np.float64], metric: str = "abs_rel") -> Comparison:
    """Every image a scene of its own."""
    names = tuple(map(str, range(len(a))))
    return compare(Pairs(metric, "none", a, b, ("s",) * len(a), names))


def alike(rng: np.random.Generator, scenes: int, shift: float = 0.0, *, skewed: bool = False) -> Pairs:
    """Scenes of 3 to 29 images that share most of their difference."""
    scene = np.repeat(np.arange(scenes), rng.integers(3, 30, scenes))
    shared = rng.exponential(1, scenes) - 1 if skewed else rng.normal(0, 1, scenes)
    a = rng.uniform(1, 2, len(scene))
    b = a + shift + shared[scene] + rng.normal(0, 0.5, len(scene))
    return Pairs("abs_rel", "none", a, b, ("s",) * len(scene), tuple(map(str, scene)))


def test_a_known_difference_is_found_and_named() -> None:
    rng = np.random.default_rng(0)
    a = rng.lognormal(-2, 0.5, 100)
    b = a - 0.01 + rng.normal(0, 0.02, 100)
    found = verdict(a, b)
    assert found.verdict == "B is better"
    assert found.low < -0.01 < found.high < 0
    assert verdict(b, a).verdict == "A is better"
    # Of delta1, more is better.
    assert verdict(a, b, "delta1").verdict == "A is better"


def test_pairing_sees_what_the_spread_of_pictures_hides() -> None:
    rng = np.random.default_rng(1)
    a = rng.uniform(0.05, 1.0, 60)
    assert verdict(a, a + 0.005 + rng.normal(0, 0.005, 60)).verdict == "A is better"


def test_the_same_question_gets_the_same_answer() -> None:
    rng = np.random.default_rng(2)
    a, b = rng.normal(1, 1, (2, 40))
    assert verdict(a, b) == verdict(a, b)


@pytest.mark.parametrize("skewed", [False, True])
def test_without_a_difference_false_alarms_come_at_the_stated_rate(skewed: bool) -> None:
    rng = np.random.default_rng(3)
    alarms, runs, count = 0, 300, 30
    for run in range(runs):
        noise = rng.exponential(1.0, count) - 1 if skewed else rng.normal(0, 1, count)
        low, high = bootstrap_t(noise, resamples=1000, seed=run)
        alarms += not low <= 0 <= high
    # 5 % are promised; three standard deviations of 300 runs are 3.8 %.
    assert alarms / runs < 0.05 + 0.038
    assert skewed or alarms / runs > 0.05 - 0.038


def test_equal_results_are_no_difference_and_a_constant_one_is_exact() -> None:
    a = np.linspace(0.1, 0.2, 10)
    assert verdict(a, a).verdict == "no difference"
    found = verdict(np.zeros(10), np.full(10, 0.5))
    assert (found.low, found.high, found.verdict) == (0.5, 0.5, "A is better")


@pytest.mark.parametrize("scenes", [LEAST_CLUSTERS, 20])
@pytest.mark.parametrize("skewed", [False, True])
def test_pictures_of_one_scene_are_no_independent_evidence(scenes: int, skewed: bool) -> None:
    alarms, naive, runs = 0, 0, 200
    for run in range(runs):
        pairs = alike(np.random.default_rng(run), scenes, skewed=skewed)
        found = compare(pairs, 1000, run)
        alarms += found.verdict != "no difference"
        low, high = bootstrap_t(pairs.b - pairs.a, 200, run)
        naive += not low <= 0 <= high
    assert (found.drawn, found.clusters) == ("clusters", scenes)
    # 5 % are promised; three standard deviations of 200 runs are 4.6 %. Images alone would cry wolf most of the time.
    assert alarms / runs < 0.05 + 0.046
    assert naive / runs > 0.4


def test_a_difference_that_all_scenes_share_is_found() -> None:
    found = [compare(alike(np.random.default_rng(run), 30, shift=1.0), 1000).verdict for run in range(20)]
    assert found.count("A is better") >= 18


def test_few_scenes_are_told_and_their_pictures_drawn() -> None:
    found = compare(alike(np.random.default_rng(0), LEAST_CLUSTERS - 1))
    assert (found.drawn, found.clusters) == ("pictures", LEAST_CLUSTERS - 1)


def test_a_scene_of_many_pictures_weighs_as_many() -> None:
    a = np.zeros(100)
    b = np.r_[np.full(91, 0.2), np.full(9, 1.2)]
    scenes = (*("big",) * 91, *map(str, range(9)))
    whole = compare(Pairs("rmse", "none", a, b, ("s",) * 100, scenes))
    assert whole.difference == pytest.approx(b.mean())
    assert (whole.clusters, whole.mean_over) == (10, "images")


def test_sources_weigh_the_same_where_the_run_says_so() -> None:
    first = rows([0.0] * 12, layout="rgbd", preset=None)
    second = rows([1.0] * 10 + [5.0] * 2, layout="rgbd", preset=None)
    for row in (*first[10:], *second[10:]):
        row["source"] = row["cluster"] = "small"
    found = compare(pair(first, second, "abs_rel", "none"))
    assert (found.b, found.difference, found.mean_over) == (pytest.approx(3), pytest.approx(3), "sources")
    assert compare(pair(first, first, "abs_rel", "none")).verdict == "no difference"


def test_pictures_are_paired_by_name_and_the_others_are_named() -> None:
    first = rows([1, 2, 3, 4, 5, 6])
    second = [dict(row) for row in reversed(rows([10, 20, 30, 40, 50, 60]))][1:]
    extra = {"name": "x", "source": "s", "align": {"none": {"abs_rel": 1}}}
    pairs = pair(first, [*second, extra, {"name": "y", "source": "s", "align": {}}], "abs_rel", "none")
    assert (pairs.a.tolist(), pairs.b.tolist()) == ([1, 2, 3, 4, 5], [10, 20, 30, 40, 50])
    assert (pairs.only_a, pairs.only_b) == (("s/5",), ("s/x",))


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(DatasetError, match="only 2 images"):
        pair(rows([1, 2]), rows([1, 2]), "abs_rel", "none")
    with pytest.raises(DatasetError, match="scores of A have no abs_rel with alignment median"):
        pair(rows([1] * 9), rows([1] * 9), "abs_rel", "median")
    with pytest.raises(UsageError, match="psnr"):
        pair(rows([1] * 9), rows([1] * 9), "psnr", "none")


@pytest.mark.parametrize("word", ["layout", "preset"])
def test_runs_that_were_scored_otherwise_are_refused(word: str) -> None:
    with pytest.raises(DatasetError, match=f"{word} of A is kitti-garg, of B None"):
        pair(rows([1] * 9, **{word: "kitti-garg"}), rows([1] * 9), "abs_rel", "none")


def test_a_file_that_holds_no_scores_is_named(tmp_path: Path) -> None:
    for content in ("", "no json", json.dumps([1, 2])):
        (tmp_path / "scores.jsonl").write_text(content)
        with pytest.raises(DatasetError, match=r"scores\.jsonl"):
            read_image_lines(tmp_path)


def test_pictures_that_score_the_same_give_a_finite_interval() -> None:
    difference = np.zeros(30)
    difference[:3] = 0.1
    low, high = bootstrap_t(difference, 2000)
    assert 0 <= low < difference.mean() < high < 0.1
