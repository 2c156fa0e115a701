"""The foreground inside a box drawn on the photo, and the points where it ends."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from m3d_cli.depthmap import DepthMap
from m3d_cli.measure.reading import MeasureError, Pick
from m3d_cli.measure.spec import Measure

# Depths on either side of the largest gap belong to different things when they differ by this share.
GAP = 0.05
# A thing that fills less of its box than this was not meant.
LEAST_SHARE = 0.05
# Ends are taken this far inside the sorted points: the outermost ones are smeared.
_TRIM = 0.01
_BINS = 96


@dataclass(frozen=True, slots=True)
class BoxEnds:
    """Pairs of pixels at which the foreground begins and ends along x, y and z."""

    ends: tuple[tuple[Pick, Pick], tuple[Pick, Pick], tuple[Pick, Pick]]
    warnings: tuple[str, ...]


def box_extremes(depth: DepthMap, measure: Measure) -> BoxEnds:
    """The ends of the nearest thing in the box between two corners; raises MeasureError for an empty box."""
    rows, columns = _window(depth, measure)
    values = depth.depth[rows, columns]
    known = np.isfinite(values)
    if known.sum() < 16:
        raise MeasureError(f"{measure.name}: the box holds no known depth", hint="draw it around the thing")
    front, is_cut = _foreground(values, known)
    v, u = np.nonzero(front)
    picks = np.stack([u + columns.start + 0.5, v + rows.start + 0.5], axis=1)
    x, y = depth.camera.slopes()
    z = values[front]
    points = (x[0, u + columns.start] * z, y[v + rows.start, 0] * z, z)
    warnings = () if is_cut else ("nothing stands out in the box: its whole content was measured",)
    first, second, third = (_ends(axis, picks) for axis in points)
    return BoxEnds((first, second, third), warnings)


def _window(depth: DepthMap, measure: Measure) -> tuple[slice, slice]:
    one, other = measure.points
    left, right = sorted((one.u, other.u))
    top, bottom = sorted((one.v, other.v))
    if right - left < 4 or bottom - top < 4:
        raise MeasureError(f"{measure.name}: the box is smaller than four pixels")
    if left < 0 or top < 0 or right > depth.camera.width or bottom > depth.camera.height:
        raise MeasureError(f"{measure.name}: the box reaches outside the picture")
    return slice(int(top), int(np.ceil(bottom))), slice(int(left), int(np.ceil(right)))


def _foreground(values: NDArray[np.float32], known: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], bool]:
    """Pixels nearer than the emptiest place of the depths' histogram, between-class variance deciding (Otsu)."""
    logs = np.log(values[known])
    counts, limits = np.histogram(logs, _BINS)
    middles = (limits[:-1] + limits[1:]) / 2
    below = np.cumsum(counts)[:-1]
    sums = np.cumsum(counts * middles)
    above = len(logs) - below
    with np.errstate(divide="ignore", invalid="ignore"):
        apart = (sums[-1] - sums[:-1]) / above - sums[:-1] / below
        score = np.where((below > 0) & (above > 0), below * above * apart**2, 0)
    # Between two things every cut of the empty stretch scores the same: the middle one leaves both whole.
    best = int(np.median(np.flatnonzero(score >= score.max() * (1 - 1e-9))))
    cut = float(np.exp(limits[best + 1]))
    near = known & (values < cut)
    far = known & ~near
    is_cut = bool(near.any() and far.any()) and values[far].min() > values[near].max() * (1 + GAP / 4)
    is_cut = is_cut and np.median(values[far]) > np.median(values[near]) * (1 + GAP)
    if not is_cut or near.sum() < LEAST_SHARE * known.sum():
        return known, False
    return near, True


def _ends(values: NDArray[np.float32], picks: NDArray[np.float64]) -> tuple[Pick, Pick]:
    order = np.argsort(values)
    trim = int(_TRIM * len(order))
    low, high = picks[order[trim]], picks[order[len(order) - 1 - trim]]
    return Pick(float(low[0]), float(low[1])), Pick(float(high[0]), float(high[1]))
