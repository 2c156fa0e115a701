"""Scores of two runs for the same images; runs that were not scored alike are refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from m3d_cli.errors import DatasetError, UsageError
from m3d_cli.evaluation.metrics import METRICS
from m3d_cli.evaluation.results import BY_SOURCE

# Fewer images than this say nothing about a mean.
LEAST_PICTURES = 5
# What both runs must share.
ALIKE = ("layout", "preset")

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Values (N,) of A and B for the images that both have, with the source and the cluster of each.

    ``by_source`` says that sources weigh the same each; ``only_a`` and ``only_b`` name images that one side has.
    """

    metric: str
    align: str
    a: NDArray[np.float64]
    b: NDArray[np.float64]
    sources: tuple[str, ...]
    clusters: tuple[str, ...]
    by_source: bool = False
    only_a: tuple[str, ...] = ()
    only_b: tuple[str, ...] = ()


def pair(a: Sequence[Row], b: Sequence[Row], metric: str, align: str) -> Pairs:
    """The images of both, in the order of A; raises where the runs were not scored alike or lack the score."""
    if metric not in METRICS:
        raise UsageError(f"metric {metric} is unknown", hint=f"one of {', '.join(METRICS)}")
    layout = _layout_of_both(a, b)
    first, second = _values("A", a, metric, align), _values("B", b, metric, align)
    names = [name for name in first if name in second]
    if len(names) < LEAST_PICTURES:
        raise DatasetError(f"only {len(names)} images are in both", hint="score the same data set with both")
    rows = {_name(row): row for row in a}
    return Pairs(
        metric,
        align,
        np.array([first[name] for name in names]),
        np.array([second[name] for name in names]),
        tuple(str(rows[name].get("source", "")) for name in names),
        tuple(str(rows[name].get("cluster", rows[name].get("source", ""))) for name in names),
        layout == BY_SOURCE,
        tuple(name for name in first if name not in second),
        tuple(name for name in second if name not in first),
    )


def _layout_of_both(a: Sequence[Row], b: Sequence[Row]) -> object:
    """The layout that both were scored on; raises DatasetError where they differ in what must be ALIKE."""
    for word in ALIKE:
        said = [{row.get(word) for row in side} for side in (a, b)]
        if said[0] != said[1] or len(said[0]) > 1:
            mine, theirs = (", ".join(sorted(map(str, side))) for side in said)
            raise DatasetError(f"{word} of A is {mine}, of B {theirs}", hint=f"score both with the same {word}")
    return a[0].get("layout") if a else None


def _name(row: Row) -> str:
    return f"{row.get('source', '')}/{row['name']}"


def _values(side: str, rows: Sequence[Row], metric: str, align: str) -> dict[str, float]:
    """Value by image; images without scores are left out."""
    try:
        return {_name(row): float(row["align"][align][metric]) for row in rows if row["align"]}
    except (KeyError, TypeError, ValueError) as error:
        raise DatasetError(
            f"the scores of {side} have no {metric} with alignment {align}",
            hint="m3d eval ... --align none,median,scale-shift",
        ) from error
