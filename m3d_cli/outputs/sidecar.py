"""The JSON beside each depth map: which camera was assumed and why, which weights, what the depth looks like.

It holds nothing that changes from run to run (times stand in the journal), so equal work gives equal bytes.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from m3d_cli.camera import Camera
from m3d_cli.depthmap import DepthMap
from m3d_cli.outputs.atomic import write_bytes

PERCENTILES = (1, 50, 99)

# Percentiles are taken over at most about this many pixels, on a regular grid: reports need no more.
SAMPLED_PIXELS = 250_000


@dataclass(frozen=True, slots=True)
class CameraRecord:
    """The camera in pixels of the photo as read, upright; ``pixel_centre`` is where the top-left pixel's centre lies."""

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    focal_px: float
    focal_source: str
    focal_rel_sigma: float
    horizontal_fov_deg: float
    scale_trust: str
    derivation: str
    candidates: tuple[CandidateRecord, ...]
    warnings: tuple[str, ...]
    pixel_centre: float = 0.5


@dataclass(frozen=True, slots=True)
class CandidateRecord:
    """One way the focal length could have been found."""

    focal_px: float
    source: str
    rel_sigma: float


@dataclass(frozen=True, slots=True)
class ModelRecord:
    """The network, its weights and its canonical camera."""

    name: str
    weights_sha256: str
    licence: str
    precision: str
    variant: str
    canonical_focal_px: float
    input_height: int
    input_width: int
    depth_scale: float


@dataclass(frozen=True, slots=True)
class DepthRecord:
    """The depth map: metres along the optical axis. ``clipped`` pixels are too far for the PNG and 0 there."""

    min_m: float | None
    p01_m: float | None
    median_m: float | None
    p99_m: float | None
    max_m: float | None
    known_pixels: int
    unknown_pixels: int
    clipped_pixels: int
    type: str = "z"
    unit: str = "metre"


@dataclass(frozen=True, slots=True)
class OutputRecord:
    """A file written for the photo, by name beside the sidecar; depth in metres is value / scale where there is one."""

    file: str
    format: str
    scale: float | None = None


@dataclass(frozen=True, slots=True)
class Sidecar:
    """Everything that is said about one depth map."""

    photo: str
    m3d_version: str
    camera: CameraRecord
    model: ModelRecord
    depth: DepthRecord
    outputs: tuple[OutputRecord, ...]
    notes: tuple[str, ...] = ()


def scale_trust(camera: Camera) -> str:
    """In a word, how far metres can be trusted: ``high`` (known focal), ``medium`` (loosely known), ``low`` (assumed)."""
    if camera.focal_rel_sigma <= 0.05:
        return "high"
    return "medium" if camera.focal_rel_sigma < 0.2 else "low"


def depth_record(result: DepthMap, clipped: int) -> DepthRecord:
    """Statistics of a depth map."""
    known = np.isfinite(result.depth)
    count = int(np.count_nonzero(known))
    if count == 0:
        return DepthRecord(None, None, None, None, None, 0, result.depth.size, clipped)
    step = max(1, int(np.sqrt(result.depth.size / SAMPLED_PIXELS)))
    sample = result.depth[::step, ::step]
    sample = sample[np.isfinite(sample)]
    low, middle, high = np.percentile(sample, PERCENTILES) if sample.size else (np.nan, np.nan, np.nan)
    return DepthRecord(
        min_m=_metres(np.nanmin(result.depth)),
        p01_m=_metres(low),
        median_m=_metres(middle),
        p99_m=_metres(high),
        max_m=_metres(np.nanmax(result.depth)),
        known_pixels=count,
        unknown_pixels=result.depth.size - count,
        clipped_pixels=clipped,
    )


def write_sidecar(path: Path, sidecar: Sidecar) -> None:
    """Write ``sidecar`` as indented JSON."""
    text = json.dumps(asdict(sidecar), indent=2, ensure_ascii=False, allow_nan=False)
    write_bytes(path, (text + "\n").encode("utf-8", "surrogateescape"))


def _metres(value: float | np.floating) -> float | None:
    return round(float(value), 4) if np.isfinite(value) else None
