"""Robust planes through regions of a depth map.

A plane is the vector q with ``1 / Z = q . (x, y, 1)`` for the ray slopes x, y: linear in inverse depth, where the noise
of a depth map is nearest to even. Its normal is q / |q|, its distance from the camera 1 / |q| metres.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from m3d_cli.depthmap import DepthErrorModel, DepthMap
from m3d_cli.metrology.picks import MeasureError

# Pixels of a region that take part in the fit; more add nothing on a smooth map.
MOST_SAMPLES = 4000
# Points whose errors are propagated into the plane's covariance.
TRACED = 49
TRIALS = 256
# Inliers are within this share of the depth, or within this many median residuals of all that are not wild.
INLIER = 0.02
NOISE_BAND = 3.0
WILD = 0.2
LEAST_POINTS = 12
# Standard deviation of a region's pixels in its narrow direction.
LEAST_SPREAD = 1.0
_SEED = 20230721


@dataclass(frozen=True, slots=True, eq=False)
class Plane:
    """A fitted plane: ``q`` (3,) 1/m, its covariance (3, 3) from shape errors of the depth, and how well it fits.

    ``rms`` is the residual along the normal in metres, ``inliers`` the share of the region that lies on the plane. An
    exact one (``is_exact``) owes nothing to the network: neither its scale nor its focal length moves it.
    """

    q: NDArray[np.float64]
    covariance: NDArray[np.float64]
    rms: float
    inliers: float
    is_exact: bool = False

    @property
    def normal(self) -> NDArray[np.float64]:
        """Unit normal (3,), away from the camera."""
        return np.asarray(self.q / np.linalg.norm(self.q))


def fit_plane(depth: DepthMap, region: NDArray[np.bool_], errors: DepthErrorModel, name: str) -> Plane:
    """The plane that most of ``region`` (H, W) lies on: RANSAC, then least squares; raises MeasureError."""
    rows, columns = np.nonzero(region & depth.valid)
    if len(rows) < LEAST_POINTS:
        raise MeasureError(
            f"{name}: only {len(rows)} pixels of the region have known depth", hint="choose a larger region"
        )
    chosen = np.linspace(0, len(rows) - 1, min(MOST_SAMPLES, len(rows))).astype(np.int64)
    rows, columns = rows[chosen], columns[chosen]
    x, y = depth.camera.slopes()
    rays = np.stack([x[0, columns], y[rows, 0], np.ones(len(rows))], axis=1).astype(np.float64)
    inverse = 1 / depth.depth[rows, columns].astype(np.float64)
    _check_extent(np.stack([columns, rows], axis=1).astype(np.float64), name)
    inside = _consensus(rays, inverse)
    if inside.sum() < LEAST_POINTS:
        raise MeasureError(f"{name}: the region holds no plane", hint="choose a flat region")
    q = np.asarray(np.linalg.lstsq(rays[inside], inverse[inside], rcond=None)[0], dtype=np.float64)
    places = np.stack([columns, rows], axis=1).astype(np.float64)[inside] / max(depth.depth.shape)
    sure = np.full(len(rows), None) if depth.confidence is None else depth.confidence[rows, columns]
    factors = errors.factors(sure[inside])
    covariance = _covariance(rays[inside], inverse[inside], places, q, errors, factors)
    distances = (rays[inside] / inverse[inside, None]) @ q - 1
    rms = float(np.sqrt(np.mean(distances**2)) / np.linalg.norm(q))
    return Plane(q, covariance, rms, float(inside.mean()))


def polygon_region(depth: DepthMap, corners: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Pixels (H, W) inside the polygon of ``corners`` (N, 2) pixels."""
    mask = np.zeros(depth.depth.shape, dtype=np.uint8)
    cv2.fillPoly(mask, [np.rint((corners - 0.5) * 256).astype(np.int32)], 1, shift=8)
    return mask.astype(np.bool_)


def ground_region(depth: DepthMap) -> NDArray[np.bool_]:
    """Where the ground is looked for by default: the lower third of the image."""
    region = np.zeros(depth.depth.shape, dtype=np.bool_)
    region[depth.camera.height * 2 // 3 :] = True
    return region


def _check_extent(pixels: NDArray[np.float64], name: str) -> None:
    """Raise MeasureError for a region that is a line: it could lie on any plane through it."""
    spread = np.linalg.svd(pixels - pixels.mean(axis=0), compute_uv=False) / np.sqrt(len(pixels))
    if spread[-1] < LEAST_SPREAD:
        raise MeasureError(f"{name}: the region is too thin to define a plane", hint="choose a region with some area")


def _consensus(rays: NDArray[np.float64], inverse: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which points lie on the plane that three of them span and most agree with."""
    rng = np.random.default_rng(_SEED)
    best = np.zeros(len(rays), dtype=np.bool_)
    found: NDArray[np.float64] | None = None
    for _ in range(TRIALS):
        three = rng.choice(len(rays), 3, replace=False)
        try:
            q = np.asarray(np.linalg.solve(rays[three], inverse[three]), dtype=np.float64)
        except np.linalg.LinAlgError:
            continue
        inside = np.abs(rays @ q - inverse) < INLIER * inverse
        if inside.sum() > best.sum():
            best, found = inside, q
    if found is None:
        return best
    # Noise wider than the band must not thin out a plane: the band follows the residuals' own spread.
    residuals = np.abs(rays @ found / inverse - 1)
    return np.asarray(residuals < max(INLIER, NOISE_BAND * float(np.median(residuals[residuals < WILD]))))


def _covariance(
    rays: NDArray[np.float64],
    inverse: NDArray[np.float64],
    places: NDArray[np.float64],
    q: NDArray[np.float64],
    errors: DepthErrorModel,
    factors: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Covariance of ``q`` from the correlated errors of depth, propagated through points spread over the region, and
    from the error of how much the plane recedes.
    """
    traced = np.linspace(0, len(rays) - 1, min(TRACED, len(rays))).astype(np.int64)
    estimator = np.linalg.pinv(rays[traced])
    level = inverse[traced]
    residual = float(np.std((rays @ q - inverse) / inverse)) if math.isfinite(errors.shape_sigma) else 0.0
    own = np.full(len(traced), residual)
    correlated = errors.covariance(places[traced], 1 / level, own, factors[traced]) * np.outer(level, level)
    # What a plane facing the camera, through its middle, would not have.
    receding = q - np.array([0.0, 0.0, q @ rays.mean(axis=0)])
    relief = errors.relief_sigma**2 * np.outer(receding, receding)
    return np.asarray(estimator @ correlated @ estimator.T + relief)
