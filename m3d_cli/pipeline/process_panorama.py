"""One photo that is not flat, from file to written range: cut into views, each through the network, and joined."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from m3d_cli.atomic import write_bytes
from m3d_cli.depthmap import DepthMap
from m3d_cli.formats.depth_png import encode_depth_png
from m3d_cli.formats.float_images import encode_npy, encode_pfm, encode_tiff
from m3d_cli.formats.previews import encode_preview
from m3d_cli.formats.sidecar import (
    ModelRecord,
    OutputRecord,
    SphericalSidecar,
    ViewsRecord,
    depth_record,
    encode_sidecar,
    spherical_record,
)
from m3d_cli.inference.photo import Wanted, to_canonical
from m3d_cli.panorama import Panel, cut, join, reduced, views_of
from m3d_cli.photos.discover import PhotoFile
from m3d_cli.photos.projection import load_spherical
from m3d_cli.pipeline.clouds import CLOUD_FORMATS, axes_note, encode_points, styled
from m3d_cli.pipeline.journal import Outcome, Status, sizes_and_times
from m3d_cli.pipeline.plan import Job, OutputFormat
from m3d_cli.pipeline.products import Products, clipped_note, empty_note, model_record
from m3d_cli.pipeline.resume import Task, at_hand
from m3d_cli.pipeline.run_context import Ledger, check_stop
from m3d_cli.pipeline.settings import Settings
from m3d_cli.pipeline.shared_engine import SharedEngine
from m3d_cli.pipeline.stage_times import Stages
from m3d_cli.pipeline.upload import RemoteOut
from m3d_cli.pointcloud import PointCloud, edges
from m3d_cli.spherical import RangeMap
from m3d_cli.version import __version__

# Views whose scales differ by more than this make a warning.
NOTED_SPREAD = 0.15


@dataclass(frozen=True, slots=True, eq=False)
class Panorama:
    """A photo with its range, and what its sidecar says: how the views agreed, and the network."""

    name: str
    image: NDArray[np.uint8]
    range: RangeMap
    views: ViewsRecord
    model: ModelRecord
    cell: float
    notes: tuple[str, ...] = ()

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a user should know."""
        spread = self.views.scale_spread
        if spread <= NOTED_SPREAD:
            return self.notes
        return (
            *self.notes,
            f"the scales of the {self.views.count} views differed by {spread:.0%} (one sigma) before they were joined",
        )

    def cloud(self, settings: Settings) -> PointCloud:
        """Its points in the style of the settings."""
        stride = settings.cloud.stride
        keep = np.zeros(self.range.range.shape, np.bool_)
        grid = (slice(stride // 2, None, stride),) * 2
        keep[grid] = np.isfinite(self.range.range[grid])
        if settings.cloud.edges:
            keep &= ~edges(self.range.range, self.cell)
        return styled(PointCloud(self.range.points()[keep], self.image[keep]), settings.cloud)


@dataclass(frozen=True, slots=True)
class PanoramaWork:
    """Range of a photo that is not flat, and the files that ``settings`` ask for; called from many threads at once."""

    settings: Settings
    engine: SharedEngine
    journal: Ledger
    stop: threading.Event
    remote: RemoteOut | None = None

    def __call__(self, task: Task) -> Outcome:
        """Process one photo; raises M3dError, and `Stopped` before anything is written."""
        stages = Stages()
        with at_hand(task, self.settings) as present:
            panorama = computed_panorama(present.job.photo, self.settings, self.engine, self.stop, stages)
            self.journal.started(task.job.photo.name, task.key, task.job.outputs)
            products = _written(task.job, self.settings, panorama, stages)
            camera, model = panorama.range.camera, panorama.model.name
            outcome = written_outcome(
                task, self.journal, products, stages, width=camera.width, height=camera.height, model=model
            )
            if self.remote is not None:
                self.remote.deliver(task.job.outputs)
            return replace(outcome, warnings=(*panorama.warnings, *empty_note(products.points)))


def written_outcome(
    task: Task, journal: Ledger, products: Products, stages: Stages, *, width: int, height: int, model: str
) -> Outcome:
    """The outcome of a photo whose files are written."""
    sizes, times = sizes_and_times(task.job.outputs)
    return Outcome(
        path=task.job.photo.name,
        status=Status.DONE,
        key=task.key,
        outputs=journal.names(task.job.outputs),
        sizes=sizes,
        mtimes_ns=times,
        digests=products.digests,
        width=width,
        height=height,
        median_m=products.record.median_m,
        model=model,
        points=products.points,
        at=time.time(),
        seconds=stages.seconds,
    )


def computed_panorama(
    photo: PhotoFile, settings: Settings, engine: SharedEngine, stop: threading.Event, stages: Stages
) -> Panorama:
    """The range of a photo; raises M3dError, and `Stopped` between two views."""
    assert settings.camera.projection is not None  # noqa: S101 - what this work is for
    with stages.measured("decode"):
        loaded = load_spherical(photo.path, settings.camera.projection, settings.camera.calibration, photo.relative)
        views = views_of(loaded.camera)
        small = reduced(loaded.image, loaded.camera, views[0].camera.focal)
    panels = []
    for view in views:
        check_stop(stop)
        pixels, seen = cut(small, loaded.camera, view)
        canonical = to_canonical(pixels, view.camera, settings.model)
        made = engine.get().compute(canonical, Wanted())
        stages.add("network", made.network_seconds)
        stages.add("upsample", made.upsample_seconds)
        assert isinstance(made.depth, DepthMap)  # noqa: S101 - no steps were asked for
        panels.append(Panel.of(view, made.depth, seen))
    with stages.measured("upsample"):
        joined = join(loaded.camera, panels)
    if settings.max_depth is not None:
        joined.range.range[joined.range.range > settings.max_depth] = np.nan
    flat = views[0].camera
    return Panorama(
        name=str(photo.relative),
        image=loaded.image,
        range=joined.range,
        views=ViewsRecord(len(views), flat.width, flat.height, round(flat.horizontal_fov, 3), round(joined.spread, 4)),
        model=model_record(settings, canonical.transform, made),
        cell=loaded.camera.fx / flat.focal / canonical.transform.scale,
        notes=loaded.notes,
    )


def encoded(kind: OutputFormat, panorama: Panorama, settings: Settings) -> tuple[tuple[bytes | memoryview, ...], int]:
    """The bytes of one image of the range, and how many pixels it could not hold."""
    values = panorama.range.range
    if kind is OutputFormat.PNG:
        data, clipped = encode_depth_png(values, settings.png_scale, "range")
        return (data,), clipped
    if kind is OutputFormat.NPY:
        return encode_npy(values), 0
    if kind is OutputFormat.TIFF:
        return (encode_tiff(values),), 0
    if kind is OutputFormat.PFM:
        return encode_pfm(values), 0
    if kind is OutputFormat.PREVIEW:
        return (encode_preview(values, settings.preview),), 0
    raise AssertionError(f"no encoder of {kind}")


def about(panorama: Panorama) -> tuple[str, ...]:
    """What a file of points says of photo, camera and network."""
    camera, model = panorama.range.camera, panorama.model
    return (
        f"photo {panorama.name}",
        f"camera {camera.projection} {camera.width} x {camera.height}, {camera.fx:.6g} x {camera.fy:.6g} px per radian",
        f"network {model.name} weights {model.weights_sha256}",
        f"made-by m3d {__version__}",
    )


def _written(job: Job, settings: Settings, panorama: Panorama, stages: Stages) -> Products:
    clipped, digests = 0, []
    cloud = panorama.cloud(settings) if settings.wants_clouds else None
    for kind in settings.formats:
        with stages.measured("encode"):
            if cloud is not None and kind in CLOUD_FORMATS:
                pieces, lost = encode_points(kind, cloud, about(panorama)), 0
            else:
                pieces, lost = encoded(kind, panorama, settings)
        clipped += lost
        with stages.measured("write"):
            digests.append(write_bytes(job.output(kind), *pieces))
    record = depth_record(panorama.range.summary, clipped, "range")
    sidecar = SphericalSidecar(
        photo=panorama.name,
        m3d_version=__version__,
        camera=spherical_record(panorama.range.camera, panorama.warnings),
        views=panorama.views,
        model=panorama.model,
        depth=record,
        outputs=tuple(_output_record(job, kind, settings) for kind in settings.formats),
        notes=clipped_note(clipped, settings),
    )
    digests.append(write_bytes(job.sidecar, encode_sidecar(sidecar)))
    return Products(record, None if cloud is None else len(cloud), tuple(digests))


def _output_record(job: Job, kind: OutputFormat, settings: Settings) -> OutputRecord:
    scale = settings.png_scale if kind is OutputFormat.PNG else None
    axes = axes_note(settings.cloud, kind) if kind in CLOUD_FORMATS else None
    return OutputRecord(job.output(kind).name, str(kind), scale, axes)
