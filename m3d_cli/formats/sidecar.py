"""The JSON beside each depth map: which camera was assumed and why, which weights, what the depth looks like.

It holds nothing that changes from run to run (times stand in the journal), so equal work gives equal bytes.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, fields, is_dataclass

import numpy as np

from m3d_cli.camera import Camera, FocalCandidate, FocalSource
from m3d_cli.depthmap import DepthErrorModel, DepthSummary
from m3d_cli.spherical import SphericalCamera

# What `focal_trust` was called, and is written as too for one release.
OLD_TRUST = "scale_trust"

PERCENTILES = (1, 50, 99)
# Fields of the error model as a sidecar has them; its cell follows from the canonical transform.
ERROR_FIELDS = tuple(field.name for field in fields(DepthErrorModel) if field.name != "cell")


@dataclass(frozen=True, slots=True)
class CameraRecord:
    """The camera in pixels of the photo as read, upright; ``pixel_centre`` is where the top-left one's lies."""

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
    focal_trust: str
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
    """The network, its weights, its canonical camera and its errors, whose fields stand beside the others in JSON."""

    name: str
    weights_sha256: str
    licence: str
    backend: str
    precision: str
    variant: str
    canonical_focal_px: float
    input_height: int
    input_width: int
    depth_scale: float
    errors: DepthErrorModel


@dataclass(frozen=True, slots=True)
class DepthRecord:
    """The depth map: metres along the optical axis, or along each ray where ``type`` is "range".

    ``clipped`` pixels are too far for the PNG and 0 there.
    """

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
    """A file written for the photo, by name beside the sidecar; depth in metres is value / scale where there is one,
    ``axes`` those of points."""

    file: str
    format: str
    scale: float | None = None
    axes: str | None = None


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


@dataclass(frozen=True, slots=True)
class SphericalRecord:
    """The camera of a photo that is not flat (`m3d_cli.spherical`): ``fx``, ``fy`` are pixels per radian."""

    projection: str
    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    terms: tuple[float, ...]
    reach_deg: float
    warnings: tuple[str, ...]
    pixel_centre: float = 0.5


@dataclass(frozen=True, slots=True)
class ViewsRecord:
    """The flat views that a photo was cut into; ``scale_spread`` is the standard deviation of ln scale between them."""

    count: int
    width: int
    height: int
    horizontal_fov_deg: float
    scale_spread: float


@dataclass(frozen=True, slots=True)
class SphericalSidecar:
    """Everything that is said about one range map."""

    photo: str
    m3d_version: str
    camera: SphericalRecord
    views: ViewsRecord
    model: ModelRecord
    depth: DepthRecord
    outputs: tuple[OutputRecord, ...]
    notes: tuple[str, ...] = ()


def focal_trust(camera: Camera) -> str:
    """How far the focal length can be trusted: ``high`` (known), ``medium`` (loosely known), ``low`` (assumed).

    It is no word on the depth: a network may be far off on a photo whose focal length is known.
    """
    if camera.focal_rel_sigma <= 0.05:
        return "high"
    return "medium" if camera.focal_rel_sigma < 0.2 else "low"


def camera_record(camera: Camera) -> CameraRecord:
    """What a sidecar says of a camera."""
    return CameraRecord(
        width=camera.width,
        height=camera.height,
        fx=camera.fx,
        fy=camera.fy,
        cx=camera.cx,
        cy=camera.cy,
        focal_px=camera.focal,
        focal_source=str(camera.focal_source),
        focal_rel_sigma=camera.focal_rel_sigma,
        horizontal_fov_deg=round(camera.horizontal_fov, 3),
        focal_trust=focal_trust(camera),
        derivation=camera.derivation,
        candidates=tuple(CandidateRecord(one.focal, str(one.source), one.rel_sigma) for one in camera.candidates),
        warnings=camera.warnings,
    )


def recorded_camera(record: CameraRecord) -> Camera:
    """The camera that a sidecar describes; raises ValueError or CalibrationError for an impossible one."""
    shift = 0.5 - record.pixel_centre
    return Camera(
        width=record.width,
        height=record.height,
        fx=record.fx,
        fy=record.fy,
        cx=record.cx + shift,
        cy=record.cy + shift,
        focal_source=FocalSource(record.focal_source),
        focal_rel_sigma=record.focal_rel_sigma,
        derivation=record.derivation,
        candidates=tuple(
            FocalCandidate(one.focal_px, one.focal_px, FocalSource(one.source), one.rel_sigma, "")
            for one in record.candidates
        ),
        warnings=record.warnings,
    )


def spherical_record(camera: SphericalCamera, warnings: tuple[str, ...]) -> SphericalRecord:
    """What a sidecar says of a camera that is not flat."""
    return SphericalRecord(
        projection=str(camera.projection),
        width=camera.width,
        height=camera.height,
        fx=camera.fx,
        fy=camera.fy,
        cx=camera.cx,
        cy=camera.cy,
        terms=camera.terms,
        reach_deg=round(math.degrees(camera.reach), 3),
        warnings=warnings,
    )


def depth_record(summary: DepthSummary, clipped: int, kind: str = "z") -> DepthRecord:
    """Statistics of a depth map, or of a range map (``kind`` "range"); percentiles are of the sample.

    ``clipped`` pixels do not fit into the PNG.
    """
    sample = summary.sample[np.isfinite(summary.sample)]
    low, middle, high = np.percentile(sample, PERCENTILES) if sample.size else (np.nan, np.nan, np.nan)
    return DepthRecord(
        min_m=_metres(summary.least),
        p01_m=_metres(low),
        median_m=_metres(middle),
        p99_m=_metres(high),
        max_m=_metres(summary.largest),
        known_pixels=summary.known,
        unknown_pixels=summary.pixels - summary.known,
        clipped_pixels=clipped,
        type=kind,
    )


def encode_sidecar(sidecar: Sidecar | SphericalSidecar) -> bytes:
    """``sidecar`` as indented JSON."""
    text = json.dumps(sidecar, indent=2, ensure_ascii=False, allow_nan=False, default=_content)
    return (text + "\n").encode("utf-8", "backslashreplace")


def _content(record: object) -> dict[str, object]:
    """Fields of a dataclass, without the deep copies of `dataclasses.asdict`."""
    if not is_dataclass(record):
        raise TypeError(f"{type(record).__name__} has no place in a sidecar")
    content = {field.name: getattr(record, field.name) for field in fields(record)}
    if isinstance(record, CameraRecord):
        content[OLD_TRUST] = record.focal_trust
    if isinstance(record, ModelRecord):
        # A guess is nobody's error model: without measured ones there are no figures.
        known = ERROR_FIELDS if record.errors.errors_known else ("errors_known",)
        content |= {name: getattr(record.errors, name) for name in known}
        del content["errors"]
    return content


def _metres(value: float | np.floating) -> float | None:
    return round(float(value), 4) if np.isfinite(value) else None
