"""One finished depth map to the files that were asked for: products first, the sidecar that speaks of them last."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from m3d_cli.atomic import write_bytes
from m3d_cli.camera import Camera
from m3d_cli.canonical import CanonicalTransform
from m3d_cli.depthmap import LARGEST_STEP, NORMAL_STEPS, DepthMap, DepthSteps
from m3d_cli.errors import OutputError
from m3d_cli.formats.depth_png import encode_depth_png, encode_steps
from m3d_cli.formats.float_images import encode_npy, encode_npz, encode_pfm, encode_tiff, write_exr
from m3d_cli.formats.normal_png import encode_normal_png
from m3d_cli.formats.png16 import encode_png16
from m3d_cli.formats.previews import encode_preview
from m3d_cli.formats.sidecar import (
    DepthRecord,
    ModelRecord,
    OutputRecord,
    Sidecar,
    camera_record,
    depth_record,
    encode_sidecar,
)
from m3d_cli.inference.photo import CanonicalPhoto, Computed
from m3d_cli.photos.load import LoadedPhoto
from m3d_cli.pipeline.clouds import CLOUD_FORMATS, CloudMaker, axes_note
from m3d_cli.pipeline.plan import Job, OutputFormat
from m3d_cli.pipeline.settings import Settings
from m3d_cli.pipeline.stage_times import Stages
from m3d_cli.version import __version__

# Text chunk of the confidence PNG.
CONFIDENCE_KEY = "m3d:confidence_scale"


@dataclass(frozen=True, slots=True, eq=False)
class Finished:
    """A photo with its depth, and what its sidecar says of camera and network.

    ``image`` (H, W, 3) is the photo at the depth's size where somebody needs it; ``cell`` is how many pixels of the
    depth one pixel of the network covers.
    """

    name: str
    depth: DepthMap | DepthSteps
    camera: Camera
    model: ModelRecord
    cell: float
    image: NDArray[np.uint8] | None = None
    notes: tuple[str, ...] = ()

    @classmethod
    def computed(
        cls, name: str, settings: Settings, photo: LoadedPhoto, canonical: CanonicalPhoto, made: Computed
    ) -> Finished:
        """What the network made of the photo called ``name``; ``made`` comes from the engine."""
        return cls(
            name=name,
            depth=made.depth,
            camera=photo.camera,
            model=model_record(settings, canonical.transform, made),
            cell=1 / canonical.transform.scale,
            image=photo.image if settings.wants_clouds else None,
            notes=photo.notes,
        )

    @property
    def metres(self) -> DepthMap:
        """The depth, as it is read back from a PNG where it was made for one."""
        return self.depth if isinstance(self.depth, DepthMap) else self.depth.metres


@dataclass(frozen=True, slots=True)
class Products:
    """What was written: the sidecar's record of the depth, the points of the cloud where there is one, and the digests
    of the files in the order of `Job.outputs`.
    """

    record: DepthRecord
    points: int | None
    digests: tuple[str, ...]


def write_products(job: Job, settings: Settings, finished: Finished, stages: Stages) -> Products:
    """Write every output of ``job``; raises OutputError."""
    clipped = 0
    digests = []
    clouds = cloud_maker(settings, finished) if settings.wants_clouds else None
    for kind in settings.formats:
        lost, digest = _write_product(job.output(kind), kind, settings, finished, clouds, stages)
        clipped += lost
        digests.append(digest)
    with stages.measured("encode"):
        record = depth_record(finished.depth.summary, clipped)
        data = encode_sidecar(_sidecar(job, settings, finished, record))
    with stages.measured("write"):
        digests.append(write_bytes(job.sidecar, data))
    return Products(record, None if clouds is None else clouds.points, tuple(digests))


def cloud_maker(settings: Settings, finished: Finished) -> CloudMaker:
    """Clouds and meshes of a finished photo, with what they say of its camera and network."""
    camera, model = finished.camera, finished.model
    about = {
        "photo": finished.name,
        "camera": f"fx {camera.fx:.6g} fy {camera.fy:.6g} cx {camera.cx:.6g} cy {camera.cy:.6g} pixels of "
        f"{camera.width} x {camera.height}, focal from {camera.focal_source}, sigma {camera.focal_rel_sigma:.3g}",
        "network": f"{model.name} weights {model.weights_sha256}",
        "made-by": f"m3d {__version__}",
    }
    return CloudMaker(finished.metres, finished.image, settings.cloud, finished.cell, about)


def depth_png(finished: Finished, settings: Settings) -> tuple[bytes, int]:
    """The depth PNG and how many pixels it could not hold."""
    depth = finished.depth
    if isinstance(depth, DepthSteps):
        return encode_steps(depth.values, depth.scale), depth.clipped
    return encode_depth_png(depth.depth, settings.png_scale)


def _write_product(
    path: Path, kind: OutputFormat, settings: Settings, finished: Finished, clouds: CloudMaker | None, stages: Stages
) -> tuple[int, str]:
    """Write one file; returns how many pixels it could not hold, and its digest."""
    if kind is OutputFormat.EXR:
        with stages.measured("encode"):
            return 0, write_exr(path, finished.metres.depth)
    clipped = 0
    with stages.measured("encode"):
        if clouds is not None and kind in CLOUD_FORMATS:
            pieces = clouds.encode(kind)
        elif kind is OutputFormat.PNG:
            data, clipped = depth_png(finished, settings)
            pieces = (data,)
        else:
            pieces = _encode(kind, settings, finished.metres)
    with stages.measured("write"):
        return clipped, write_bytes(path, *pieces)


def _encode(kind: OutputFormat, settings: Settings, result: DepthMap) -> tuple[bytes | memoryview, ...]:
    if kind is OutputFormat.NPY:
        return encode_npy(result.depth)
    if kind is OutputFormat.NPZ:
        return (encode_npz(result),)
    if kind is OutputFormat.TIFF:
        return (encode_tiff(result.depth),)
    if kind is OutputFormat.PFM:
        return encode_pfm(result.depth)
    if kind is OutputFormat.PREVIEW:
        return (encode_preview(result.depth, settings.preview),)
    if kind is OutputFormat.NORMAL:
        return (encode_normal_png(_normals(result)),)
    if kind is OutputFormat.NORMAL_NPY:
        return encode_npy(_normals(result))
    if kind is OutputFormat.CONFIDENCE:
        return (_confidence_png(result),)
    raise AssertionError(f"no encoder of {kind}")


def _normals(result: DepthMap) -> NDArray[np.float32]:
    if result.normals is None:
        raise OutputError("this model gives no normals", hint="leave normal out of --format")
    return result.normals


def _confidence_png(result: DepthMap) -> bytes:
    """Confidence 0..1 as 0..65535, higher is better."""
    if result.confidence is None:
        raise OutputError("this model gives no confidence", hint="leave conf out of --format")
    values = np.rint(np.clip(result.confidence, 0, 1) * LARGEST_STEP).astype(np.uint16)
    return encode_png16(values, {CONFIDENCE_KEY: str(LARGEST_STEP)})


def _sidecar(job: Job, settings: Settings, finished: Finished, depth: DepthRecord) -> Sidecar:
    return Sidecar(
        photo=finished.name,
        m3d_version=__version__,
        camera=camera_record(finished.camera),
        model=finished.model,
        depth=depth,
        outputs=tuple(_output_record(job, kind, settings) for kind in settings.formats),
        notes=(*finished.notes, *clipped_note(depth.clipped_pixels, settings)),
    )


def model_record(settings: Settings, transform: CanonicalTransform, made: Computed) -> ModelRecord:
    canonical = settings.model.canonical
    return ModelRecord(
        name=settings.model.label,
        weights_sha256=settings.weights.sha256,
        licence=settings.model.licence,
        backend=made.backend,
        precision=made.precision,
        variant=str(canonical.variant),
        canonical_focal_px=canonical.focal,
        input_height=canonical.height,
        input_width=canonical.width,
        depth_scale=transform.depth_scale,
        errors=settings.model.errors,
    )


def _output_record(job: Job, kind: OutputFormat, settings: Settings) -> OutputRecord:
    scale = None
    if kind is OutputFormat.PNG:
        scale = settings.png_scale
    if kind is OutputFormat.CONFIDENCE:
        scale = float(LARGEST_STEP)
    if kind is OutputFormat.NORMAL:
        scale = float(NORMAL_STEPS)
    axes = axes_note(settings.cloud, kind) if kind in CLOUD_FORMATS else None
    return OutputRecord(job.output(kind).name, str(kind), scale, axes)


def clipped_note(pixels: int, settings: Settings) -> tuple[str, ...]:
    """What a sidecar says of pixels that are too far for the PNG; sky is, outdoors, so it is no warning."""
    if not pixels:
        return ()
    limit = LARGEST_STEP / settings.png_scale
    return (f"{pixels} pixels are beyond the {limit:.1f} m that the PNG holds and are 0 there",)


def empty_note(points: int | None) -> tuple[str, ...]:
    """The warning of a cloud without points, () for others."""
    if points != 0:
        return ()
    return ("no point of the cloud is left after --max-depth, --min-confidence and the filters",)
