"""How the errors of a network's depth behave: what `measure` needs to say how sure it is.

The error of ln depth has three parts: one common to the image (scale), one that things at different depths do not
share (object), and one that changes along a surface (shape): two places on one surface a distance d apart differ by
sigma sqrt(2 (1 - exp(-d / reach))). Beside them surfaces recede too little, or too much, by a share of how much they
do (relief). Spreads are robust, as depth edges must not speak for surfaces.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from m3d_cli.camera import Camera
from m3d_cli.depthmap import DepthErrorModel

# Patches tried in an image, their sides in long sides of the image, and places looked at in each.
PATCHES = 400
SIDES = (0.015, 0.35)
PLACES = 60
# A patch is one plane when this share of its places lies on it, within so much of the depth.
FLAT_SHARE, FLAT = 0.95, 0.015
# A patch whose relative inverse depth changes by less than this over a slope x / z of 1 hardly recedes.
STEEP = 0.5
# Limits of the classes of distance, in long sides of the image.
CLASSES = np.geomspace(0.01, 0.3, 12)
# Weight (patches' worth of pairs) that a class needs.
LEAST_WEIGHT = 3.0
# Classes of confidence, and pixels of each image that count for them.
LEVELS, PIXELS = 6, 20_000
# Standard deviation of a normal distribution in units of its median absolute deviation.
MAD = 1.4826
_SEED = 0


@dataclass(frozen=True, slots=True)
class PictureErrors:
    """Of one image: median error, robust spread of the rest, and along surfaces the sum of root differences and the
    weight for each class of distance; ``relief`` is by how much surfaces recede too much, NaN where none recedes.
    """

    scale: float
    spread: float
    roots: NDArray[np.float64]
    weights: NDArray[np.float64]
    relief: float


def picture_errors(prediction: NDArray[np.float32], truth: NDArray[np.float32], camera: Camera) -> PictureErrors:
    """Errors ln(prediction / truth) of metres (H, W), where both are known."""
    with np.errstate(invalid="ignore", divide="ignore"):
        errors = np.log(prediction.astype(np.float64) / truth)
    errors[~np.isfinite(errors)] = np.nan
    scale = float(np.nanmedian(errors))
    rng = np.random.default_rng(_SEED)
    roots, weights, reliefs = np.zeros(len(CLASSES) - 1), np.zeros(len(CLASSES) - 1), []
    for _ in range(PATCHES):
        found = _patch(errors, truth, camera, rng)
        if found is not None:
            roots, weights = roots + found[0], weights + found[1]
            reliefs += [found[2]] if np.isfinite(found[2]) else []
    relief = float(np.median(reliefs)) if reliefs else np.nan
    return PictureErrors(scale, MAD * float(np.nanmedian(np.abs(errors - scale))), roots, weights, relief)


def fit_errors(pictures: Sequence[PictureErrors]) -> DepthErrorModel:
    """The error model of several images, each of the same weight."""
    scale = float(np.sqrt(np.mean([picture.scale**2 for picture in pictures])))
    spread = float(np.sqrt(np.mean([picture.spread**2 for picture in pictures])))
    roots = np.sum([picture.roots for picture in pictures], axis=0)
    weights = np.sum([picture.weights for picture in pictures], axis=0)
    known = weights > LEAST_WEIGHT
    # Fourth power of the mean root (Cressie and Hawkins, 1980) estimates the mean square without its outliers.
    level = (roots[known] / weights[known]) ** 4 / 0.457 / 2
    sigma, reach = _fitted(np.sqrt(CLASSES[:-1] * CLASSES[1:])[known], level)
    reliefs = [picture.relief for picture in pictures if np.isfinite(picture.relief)]
    relief = float(np.sqrt(np.mean(np.square(reliefs)))) if reliefs else 0.0
    return DepthErrorModel(scale, float(np.sqrt(max(spread**2 - sigma**2, 0))), sigma, reach, relief_sigma=relief)


def fit_confidence(
    confidences: Sequence[NDArray[np.float32]], errors: Sequence[NDArray[np.float64]]
) -> tuple[tuple[float, float], ...]:
    """Pairs of a confidence and how much larger than usual the error is there, from maps of several images.

    ``errors`` are those of ln depth without each image's scale, NaN where unknown. Classes hold equal numbers of
    pixels, every image the same number; a more confident class is never the worse one.
    """
    rng = np.random.default_rng(_SEED)
    kept = []
    for confidence, error in zip(confidences, errors, strict=True):
        known = np.flatnonzero(np.isfinite(error) & np.isfinite(confidence))
        chosen = rng.choice(known, PIXELS) if len(known) else known
        kept.append(np.stack([confidence.ravel()[chosen], np.abs(error.ravel()[chosen])]))
    said, size = np.concatenate(kept, axis=1)
    limits = np.quantile(said, np.linspace(0, 1, LEVELS + 1))
    number = np.clip(np.searchsorted(limits, said, side="right") - 1, 0, LEVELS - 1)
    spread = np.array([np.median(size[number == level]) for level in range(LEVELS)])
    falling = np.maximum.accumulate(spread[::-1])[::-1]
    usual = np.sqrt(np.mean(falling**2))
    middle = [float(np.median(said[number == level])) for level in range(LEVELS)]
    return tuple((round(place, 3), round(float(one / usual), 3)) for place, one in zip(middle, falling, strict=True))


def _patch(
    errors: NDArray[np.float64], truth: NDArray[np.float32], camera: Camera, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64], float] | None:
    """Root differences by class within a random flat patch, weighing one in all, and its relief; None where it is not
    flat.
    """
    long_side = max(truth.shape)
    side = int(long_side * np.exp(rng.uniform(*np.log(SIDES))))
    if not 4 < side < min(truth.shape):
        return None
    top, left = rng.integers(0, truth.shape[0] - side), rng.integers(0, truth.shape[1] - side)
    chosen = rng.permutation(side * side)[:PLACES]
    rows, columns = top + chosen // side, left + chosen % side
    known = np.isfinite(errors[rows, columns])
    if known.mean() < FLAT_SHARE:
        return None
    rows, columns = rows[known], columns[known]
    x, y = camera.slopes()
    rays = np.stack([x[0, columns], y[rows, 0], np.ones(len(rows))], axis=1).astype(np.float64)
    inverse = 1 / truth[rows, columns].astype(np.float64)
    if not _is_flat(rays, inverse):
        return None
    first, second = np.triu_indices(len(rows), 1)
    apart = np.hypot(rows[first] - rows[second], columns[first] - columns[second]) / long_side
    roots = np.sqrt(np.abs(errors[rows[first], columns[first]] - errors[rows[second], columns[second]]))
    number = np.digitize(apart, CLASSES) - 1
    inside = (number >= 0) & (number < len(CLASSES) - 1)
    total = max(1, int(inside.sum()))
    count = len(CLASSES) - 1
    sums = np.bincount(number[inside], roots[inside], minlength=count)
    relief = _relief(rays, inverse, errors[rows, columns])
    return sums / total, np.bincount(number[inside], minlength=count) / total, relief


def _relief(rays: NDArray[np.float64], inverse: NDArray[np.float64], errors: NDArray[np.float64]) -> float:
    """How much more a patch recedes in the prediction, as a share of how much it does; NaN where it hardly does."""
    true, said = _receding(rays, inverse), _receding(rays, inverse * np.exp(-errors))
    steep = float(true @ true)
    return float(said @ true) / steep - 1 if steep >= STEEP**2 else np.nan


def _receding(rays: NDArray[np.float64], inverse: NDArray[np.float64]) -> NDArray[np.float64]:
    """Relative change of inverse depth (2,) along the slopes x / z and y / z."""
    plane = np.linalg.lstsq(rays, inverse, rcond=None)[0]
    return np.asarray(plane[:2] / (plane @ rays.mean(axis=0)))


def _is_flat(rays: NDArray[np.float64], inverse: NDArray[np.float64]) -> bool:
    plane = np.linalg.lstsq(rays, inverse, rcond=None)[0]
    return bool(np.mean(np.abs(rays @ plane / inverse - 1) < FLAT) >= FLAT_SHARE)


def _fitted(apart: NDArray[np.float64], level: NDArray[np.float64]) -> tuple[float, float]:
    """Sigma and reach of half the mean square difference, least squares in relative terms over a list of reaches."""
    best = (np.inf, 0.0, 1.0)
    for reach in np.geomspace(0.01, 1.0, 150):
        ratio = (1 - np.exp(-apart / reach)) / level
        variance = ratio.sum() / (ratio**2).sum()
        misfit = float(((variance * ratio - 1) ** 2).sum())
        if misfit < best[0]:
            best = (misfit, float(np.sqrt(variance)), float(reach))
    return best[1], best[2]
