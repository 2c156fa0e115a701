"""One photo from file to written depth: decode, network, products, journal."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace

from m3d_cli.camera import Camera
from m3d_cli.formats.sidecar import focal_trust
from m3d_cli.inference.photo import CanonicalPhoto, canonical_transform, to_canonical
from m3d_cli.intrinsics.estimated import estimated_from_image
from m3d_cli.models.spec import ModelSpec
from m3d_cli.photos.decode import focal_copy
from m3d_cli.photos.discover import PhotoFile
from m3d_cli.photos.load import LoadedPhoto, load
from m3d_cli.photos.undistort import undistorted_camera
from m3d_cli.pipeline.clouds import CLOUD_FORMATS, encode_points
from m3d_cli.pipeline.existing_depth import read_back
from m3d_cli.pipeline.journal import Outcome
from m3d_cli.pipeline.plan import OutputFormat
from m3d_cli.pipeline.process_panorama import PanoramaWork, about, computed_panorama, encoded, written_outcome
from m3d_cli.pipeline.products import (
    Finished,
    Products,
    clipped_note,
    cloud_maker,
    depth_png,
    empty_note,
    write_products,
)
from m3d_cli.pipeline.resume import Shared, Task, at_hand, camera_of
from m3d_cli.pipeline.run_context import Ledger, check_stop
from m3d_cli.pipeline.settings import Settings
from m3d_cli.pipeline.shared_engine import SharedEngine
from m3d_cli.pipeline.stage_times import Stages
from m3d_cli.pipeline.upload import RemoteOut


@dataclass(frozen=True, slots=True)
class DepthWork:
    """Depth of a photo, and the files that ``settings`` ask for; called from many threads at once."""

    settings: Settings
    engine: SharedEngine
    journal: Ledger
    stop: threading.Event
    remote: RemoteOut | None = None

    def __call__(self, task: Task) -> Outcome:
        """Process one photo; raises M3dError, and `Stopped` before anything is written."""
        stages = Stages()
        with at_hand(task, self.settings) as present:
            finished = self._finished(present, stages)
            self.journal.started(task.job.photo.name, task.key, task.job.outputs)
            products = write_products(task.job, self.settings, finished, stages)
            outcome = self._done(task, finished, products, stages)
            if self.remote is not None:
                self.remote.deliver(task.job.outputs)
            return outcome

    def _finished(self, task: Task, stages: Stages) -> Finished:
        photo = task.job.photo
        if self.settings.stored is not None:
            return read_back(photo, self.settings)
        with stages.measured("decode"):
            loaded = read_photo(photo, task.shared, self.settings)
        check_stop(self.stop)
        with stages.measured("network"):
            loaded, canonical = prepared(loaded, self.settings, self.engine, is_shared=task.shared is not None)
        computed = self.engine.get().compute(canonical, self.settings.wanted_by_files)
        stages.add("network", computed.network_seconds)
        stages.add("upsample", computed.upsample_seconds)
        return Finished.computed(str(photo.relative), self.settings, loaded, canonical, computed)

    def _done(self, task: Task, finished: Finished, products: Products, stages: Stages) -> Outcome:
        camera, model = finished.camera, finished.model.name
        outcome = written_outcome(
            task, self.journal, products, stages, width=camera.width, height=camera.height, model=model
        )
        return replace(
            outcome,
            focal_px=camera.focal,
            focal_source=str(camera.focal_source),
            focal_rel_sigma=camera.focal_rel_sigma,
            focal_trust=focal_trust(camera),
            warnings=(*camera.warnings, *empty_note(products.points)),
        )


def photo_work(
    settings: Settings, engine: SharedEngine, journal: Ledger, stop: threading.Event, remote: RemoteOut | None = None
) -> DepthWork | PanoramaWork:
    """What is done with each photo: depth of flat ones, range of others."""
    kind = DepthWork if settings.camera.projection is None else PanoramaWork
    return kind(settings, engine, journal, stop, remote)


def read_photo(photo: PhotoFile, shared: Shared | None, settings: Settings) -> LoadedPhoto:
    """A photo, decoded no larger than the network needs unless its colours are wanted."""
    camera = camera_of(photo, shared, settings.camera)
    at_least = None if settings.wants_clouds else _needed_size(camera, settings.model)
    loaded = load(photo.path, settings.camera, relative=photo.relative, camera=camera, at_least=at_least)
    if not settings.estimates_focal(camera, is_shared=shared is not None):
        return loaded
    return replace(loaded, focal_image=focal_copy(photo.path, loaded.image))


def prepared(
    photo: LoadedPhoto, settings: Settings, engine: SharedEngine, *, is_shared: bool
) -> tuple[LoadedPhoto, CanonicalPhoto]:
    """The photo, its focal length estimated from the image where that is wanted, and the network's input."""
    camera = photo.distorted
    if settings.estimates_focal(camera, is_shared=is_shared):
        image = photo.image if photo.focal_image is None else photo.focal_image
        opinion = engine.get().focal(image, camera.width, camera.height)
        camera = estimated_from_image(camera, opinion, is_asked=settings.camera.from_image)
        photo = replace(photo, camera=camera, distorted=camera)
    return photo, to_canonical(photo.image, photo.camera, settings.model)


@dataclass(frozen=True, slots=True, eq=False)
class LoneFile:
    """A file for a pipe, and what the user should know about it."""

    pieces: tuple[bytes | memoryview, ...]
    warnings: tuple[str, ...]


def lone_file(task: Task, settings: Settings, engine: SharedEngine) -> LoneFile:
    """The one product of one photo (a depth PNG or a cloud), with no file and no journal."""
    (kind,) = settings.formats
    if settings.camera.projection is not None:
        return _lone_range(task, kind, settings, engine)
    with at_hand(task, settings) as present:
        finished = computed(present.job.photo, task.shared, settings, engine)
    warnings = finished.camera.warnings
    if kind in CLOUD_FORMATS:
        clouds = cloud_maker(settings, finished)
        pieces = clouds.encode(kind)
        return LoneFile(pieces, (*warnings, *empty_note(clouds.points)))
    data, clipped = depth_png(finished, settings)
    return LoneFile((data,), (*warnings, *clipped_note(clipped, settings)))


def _lone_range(task: Task, kind: OutputFormat, settings: Settings, engine: SharedEngine) -> LoneFile:
    with at_hand(task, settings) as present:
        panorama = computed_panorama(present.job.photo, settings, engine, threading.Event(), Stages())
    if kind in CLOUD_FORMATS:
        cloud = panorama.cloud(settings)
        return LoneFile(encode_points(kind, cloud, about(panorama)), (*panorama.warnings, *empty_note(len(cloud))))
    pieces, clipped = encoded(kind, panorama, settings)
    return LoneFile(pieces, (*panorama.warnings, *clipped_note(clipped, settings)))


def computed(photo: PhotoFile, shared: Shared | None, settings: Settings, engine: SharedEngine) -> Finished:
    """A photo with its depth: read back where ``settings.stored`` says so, else from the network."""
    if settings.stored is not None:
        return read_back(photo, settings)
    loaded = read_photo(photo, shared, settings)
    loaded, canonical = prepared(loaded, settings, engine, is_shared=shared is not None)
    made = engine.get().compute(canonical, settings.wanted_by_files)
    return Finished.computed(str(photo.relative), settings, loaded, canonical, made)


def _needed_size(camera: Camera, spec: ModelSpec) -> tuple[int, int]:
    """Width and height of the smallest copy of ``camera``'s image that still fills the network's input."""
    straight = undistorted_camera(camera)
    transform = canonical_transform(straight, spec)
    # Undistorting enlarges the middle of the image.
    zoom = max(1.0, straight.focal / min(camera.fx, camera.fy))
    return round(transform.inner_width * zoom), round(transform.inner_height * zoom)
