"""Paired bootstrap: the right verdict where there is a difference, and no more false alarms than stated."""

import json
from pathlib import Path

import numpy as np
import pytest

from m3d_cli.errors import DatasetError, UsageError
from m3d_cli.evaluation.compare import bootstrap_t, compare, paired
from m3d_cli.evaluation.results import read_image_lines


def rows(values: list[float], metric: str = "abs_rel") -> list[dict[str, object]]:
    return [{"name": f"{i}", "source": "s", "align": {"none": {metric: value}}} for i, value in enumerate(values)]


def test_a_known_difference_is_found_and_named() -> None:
    rng = np.random.default_rng(0)
    a = rng.lognormal(-2, 0.5, 100)
    b = a - 0.01 + rng.normal(0, 0.02, 100)
    found = compare(a, b)
    assert found.verdict == "B is better"
    assert found.low < -0.01 < found.high < 0
    assert compare(b, a).verdict == "A is better"
    # Of delta1, more is better.
    assert compare(a, b, "delta1").verdict == "A is better"


def test_pairing_sees_what_the_spread_of_pictures_hides() -> None:
    rng = np.random.default_rng(1)
    a = rng.uniform(0.05, 1.0, 60)
    assert compare(a, a + 0.005 + rng.normal(0, 0.005, 60)).verdict == "A is better"


def test_the_same_question_gets_the_same_answer() -> None:
    rng = np.random.default_rng(2)
    a, b = rng.normal(1, 1, (2, 40))
    assert compare(a, b) == compare(a, b)


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
    assert compare(a, a).verdict == "no difference"
    found = compare(np.zeros(10), np.full(10, 0.5))
    assert (found.low, found.high, found.verdict) == (0.5, 0.5, "A is better")


def test_pictures_are_paired_by_name() -> None:
    first = rows([1, 2, 3, 4, 5, 6])
    second = [dict(row) for row in reversed(rows([10, 20, 30, 40, 50, 60]))][1:]
    a, b = paired(first, [*second, {"name": "x", "source": "s", "align": {}}], "abs_rel", "none")
    assert (a.tolist(), b.tolist()) == ([1, 2, 3, 4, 5], [10, 20, 30, 40, 50])


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(DatasetError, match="only 2 pictures"):
        paired(rows([1, 2]), rows([1, 2]), "abs_rel", "none")
    with pytest.raises(DatasetError, match="alignment median"):
        paired(rows([1] * 9), rows([1] * 9), "abs_rel", "median")
    with pytest.raises(UsageError, match="psnr"):
        paired(rows([1] * 9), rows([1] * 9), "psnr", "none")


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
