"""Metric depth of one photo."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from m3d_cli.camera import Camera
from m3d_cli.errors import OutputError

# Normals in 16 bits: n = (value - NORMAL_ZERO) / NORMAL_STEPS for x, y, z; 0 0 0, which no normal gives, is unknown.
NORMAL_STEPS = 32767
NORMAL_ZERO = 32768
NORMAL_AXES = "x right, y down, z forward; facing the camera; n = (value - 32768) / 32767; 0 0 0 is unknown"

# The farthest step that 16 bits hold; 0 is unknown.
LARGEST_STEP = 65535

# A `DepthSummary` samples at most about this many pixels, on a regular grid: reports need no more.
SAMPLED_PIXELS = 250_000


# Places whose ln depths differ by much more than this belong to objects that err independently.
DEPTH_REACH = 0.3


@dataclass(frozen=True, slots=True)
class DepthErrorModel:
    """Standard deviations of the errors of ln depth of a network.

    ``scale_sigma`` is common to the whole image. ``object_sigma`` belongs to an object: places of equal depth share it,
    places at other depths do not. ``shape_sigma`` changes along a surface: two places a distance d apart, in long sides
    of the image, share exp(-d / ``shape_reach``) of it. So a length on one surface is far more certain than the
    distance between two objects. ``relief_sigma`` is the share by which surfaces recede too little or too much:
    networks make slanted ones too flat. ``confidence_errors`` are pairs of a confidence, rising, and how much larger
    than usual object and shape error are there. ``cell`` is the number of pixels of the depth map that one pixel of the
    network covers: edges are blurred over so many. ``errors_known`` is false for weights whose errors nobody measured:
    the figures are then a guess.
    """

    scale_sigma: float = 0.15
    object_sigma: float = 0.15
    shape_sigma: float = 0.10
    shape_reach: float = 1.0
    confidence_errors: tuple[tuple[float, float], ...] = ()
    relief_sigma: float = 0.2
    cell: float = 1.0
    errors_known: bool = True

    @classmethod
    def exact(cls) -> DepthErrorModel:
        """For depth that is known exactly."""
        return cls(0.0, 0.0, 0.0, relief_sigma=0.0)

    def factors(self, confidences: Sequence[float | None] | NDArray[np.float32]) -> NDArray[np.float64]:
        """How much larger than usual the errors (N,) are at places of these confidences; 1 where none is known."""
        known = np.array([np.nan if one is None else one for one in confidences], dtype=np.float64)
        if not self.confidence_errors:
            return np.ones(len(known))
        places, errors = zip(*self.confidence_errors, strict=True)
        return np.where(np.isfinite(known), np.interp(known, places, errors), 1.0)

    def covariance(
        self,
        places: NDArray[np.float64],
        depths: NDArray[np.float64],
        residuals: NDArray[np.float64],
        factors: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        """Covariance (N, N) of ln depth at ``places`` (N, 2), in long sides of the image, without the scale error.

        ``depths`` (N,) in metres; ``residuals`` (N,) are each place's own relative errors; ``factors`` (N,) those of
        `factors`.
        """
        apart = np.linalg.norm(places[:, None] - places[None], axis=2)
        deeper = np.log(depths)[:, None] - np.log(depths)[None]
        along = self.shape_sigma**2 * np.exp(-apart / self.shape_reach)
        between = self.object_sigma**2 * np.exp(-0.5 * (deeper / DEPTH_REACH) ** 2)
        return np.asarray((along + between) * np.outer(factors, factors) + np.diag(residuals**2))


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class DepthMap:
    """Depth in metres along the optical axis, float32 (height, width), NaN where unknown, and its camera.

    ``confidence`` is (height, width) in 0..1, higher is better; ``normals`` is (height, width, 3), unit length, x
    right, y down, z forward, facing the camera.
    """

    depth: NDArray[np.float32]
    camera: Camera
    confidence: NDArray[np.float32] | None = None
    normals: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        size = (self.camera.height, self.camera.width)
        if self.depth.dtype != np.float32 or self.depth.shape != size:
            raise OutputError(
                f"depth must be float32 {size} like its camera, got {self.depth.dtype} {self.depth.shape}"
            )
        for name, extra in (("confidence", self.confidence), ("normals", self.normals)):
            if extra is not None and extra.shape[:2] != size:
                raise OutputError(f"{name} must be {size} like the depth, got {extra.shape}")

    def __repr__(self) -> str:
        camera, summary = self.camera, self.summary
        known = f"{summary.known / summary.pixels:.0%} known"
        depths = f"{summary.least:.3g} to {summary.largest:.3g} m, {known}" if summary.known else "nothing known"
        focal = f"focal {camera.focal:.1f} px ({camera.focal_source}, sigma {camera.focal_rel_sigma:.1%})"
        return f"{type(self).__name__}({camera.width} x {camera.height} pixels, {depths}, {focal})"

    @property
    def valid(self) -> NDArray[np.bool_]:
        """Where the depth is known, (height, width)."""
        return np.isfinite(self.depth)

    @property
    def summary(self) -> DepthSummary:
        """What reports say of it."""
        return summary_of(self.depth)


@dataclass(frozen=True, slots=True, eq=False)
class DepthSummary:
    """What reports tell of a depth map: its pixels, how many are known, the least and the largest depth in metres (NaN
    where none is known), and a regular sample of float32 metres, NaN where unknown, from which percentiles are taken.
    """

    pixels: int
    known: int
    least: float
    largest: float
    sample: NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class DepthSteps:
    """Depth in whole steps, as 16-bit files hold it: metres = ``values`` / ``scale``, uint16 (height, width).

    A value is 0 where the depth is unknown, or too far for 16 bits, as it is in ``clipped`` pixels. The ``summary`` is
    of the depth before it was rounded.
    """

    values: NDArray[np.uint16]
    scale: float
    clipped: int
    summary: DepthSummary
    camera: Camera

    @property
    def metres(self) -> DepthMap:
        """The depth map that a file of the steps gives back."""
        depth = self.values.astype(np.float32) / np.float32(self.scale)
        depth[self.values == 0] = np.nan
        return DepthMap(depth, self.camera)


def summary_of(depth: NDArray[np.float32]) -> DepthSummary:
    """The summary of metres (height, width), NaN where unknown."""
    return DepthSummary(
        pixels=depth.size,
        known=int(np.count_nonzero(np.isfinite(depth))),
        # fmin and fmax pass over NaN without a copy.
        least=float(np.fmin.reduce(depth, axis=None)),
        largest=float(np.fmax.reduce(depth, axis=None)),
        sample=depth[sampling(depth.size)],
    )


def sampling(pixels: int) -> tuple[slice, slice]:
    """The rows and columns of a depth map of that many pixels which its `DepthSummary` samples."""
    step = max(1, round((pixels / SAMPLED_PIXELS) ** 0.5))
    return slice(step // 2, None, step), slice(step // 2, None, step)


def facing(normals: NDArray[np.float32], camera: Camera) -> NDArray[np.float32]:
    """``normals`` (height, width, 3) turned round where they point away from the camera: n . ray is never positive."""
    x, y = camera.slopes()
    away = normals[..., 0] * x + normals[..., 1] * y + normals[..., 2] > 0
    return np.where(away[..., None], -normals, normals)


def coded_normals(normals: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Unit normals (H, W, 3) in 16 bits; what is not a number becomes unknown."""
    values = np.rint(np.nan_to_num(normals) * NORMAL_STEPS + NORMAL_ZERO)
    values[~np.isfinite(normals).all(axis=2)] = 0
    return np.asarray(values, dtype=np.uint16)


def decoded_normals(values: NDArray[np.uint16]) -> NDArray[np.float32]:
    """Unit normals (H, W, 3) from 16 bits, NaN where unknown."""
    normals = (values.astype(np.float32) - NORMAL_ZERO) / NORMAL_STEPS
    normals[(values == 0).all(axis=2)] = np.nan
    return np.asarray(normals, dtype=np.float32)
