"""From a photo and a request to its report and images: where the depth comes from, and what is written."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from m3d_cli.atomic import write_bytes
from m3d_cli.errors import M3dError, OutputError
from m3d_cli.formats.previews import PreviewStyle, render_preview
from m3d_cli.formats.sidecar import focal_trust
from m3d_cli.metrology.geometry.lens import Lens
from m3d_cli.metrology.report.content import CameraNote, ModelNote, PhotoReport, encode_report, photo_report
from m3d_cli.metrology.report.drawing import LONGEST, annotated, jpeg_of
from m3d_cli.metrology.request import Request
from m3d_cli.metrology.solve import solve
from m3d_cli.photos.decode import decode
from m3d_cli.photos.discover import PhotoFile
from m3d_cli.photos.load import UNDISTORTED, read_camera
from m3d_cli.photos.undistort import undistort
from m3d_cli.pipeline.existing_depth import read_back
from m3d_cli.pipeline.journal import Outcome, Status, sizes_and_times
from m3d_cli.pipeline.plan import Job
from m3d_cli.pipeline.process_photo import prepared, read_photo
from m3d_cli.pipeline.products import Finished
from m3d_cli.pipeline.resume import Shared, Task
from m3d_cli.pipeline.run_context import Ledger
from m3d_cli.pipeline.settings import Settings
from m3d_cli.pipeline.shared_engine import SharedEngine
from m3d_cli.pipeline.stage_times import Stages

REPORT_SUFFIX = ".measure.json"
ANNOTATED_SUFFIX = ".measured.jpg"
DEPTH_SUFFIX = ".depth.jpg"

# Notes on points where lens distortion was removed: with the photo at hand, and from its depth alone.
POINTS_OF_PHOTO = (
    "lens distortion was removed for measuring: points are pixels of the photo, the depth is drawn undistorted"
)
POINTS_OF_UNDISTORTED = "without the photo, points are pixels of its undistorted image"


class MeasureJob(Job):
    """A photo and the files of its measurements."""

    __slots__ = ()

    @property
    def report(self) -> Path:
        """Everything that was measured, as JSON."""
        return self._with_suffix(REPORT_SUFFIX)

    @property
    def annotated(self) -> Path:
        """The photo with its lines and values."""
        return self._with_suffix(ANNOTATED_SUFFIX)

    @property
    def depth_preview(self) -> Path:
        """The depth in colours."""
        return self._with_suffix(DEPTH_SUFFIX)

    @property
    def outputs(self) -> tuple[Path, ...]:
        """Every file of this photo, the report last."""
        return (self.annotated, self.depth_preview, self.report)


@dataclass(frozen=True, slots=True, eq=False)
class MeasurablePhoto:
    """A photo with its depth; ``image`` (H, W, 3) may be smaller than the depth.

    With a ``lens``, the image and all points are the photo's, and the depth is that of its undistorted image.
    """

    name: str
    finished: Finished
    image: NDArray[np.uint8]
    notes: tuple[str, ...] = ()
    lens: Lens | None = None
    has_photo: bool = True

    def measured(self, request: Request) -> Measured:
        """The measurements of ``request``, as a report."""
        finished = self.finished
        errors = replace(finished.model.errors, cell=finished.cell)
        solution = solve(finished.metres, request, errors, self.name, self.lens, self._seen(request))
        depth_notes = finished.notes
        if self.lens is not None:
            depth_notes = tuple(POINTS_OF_PHOTO if note == UNDISTORTED else note for note in depth_notes)
        notes = (*finished.camera.warnings, *depth_notes, *self.notes)
        report = photo_report(self.name, solution, _camera_note(finished), _model_note(finished), notes)
        if self.lens is None and UNDISTORTED in finished.notes:
            rows = (
                row if row.error is not None else replace(row, warnings=(*row.warnings, POINTS_OF_UNDISTORTED))
                for row in report.measurements
            )
            report = replace(report, measurements=tuple(rows))
        return Measured(report, solution.error)

    def _seen(self, request: Request) -> NDArray[np.uint8] | None:
        """The undistorted image that the depth is of, where things of known size are to be found in it."""
        if not (request.needs_image and self.has_photo):
            return None
        return self.image if self.lens is None else undistort(self.image, self.lens.camera)

    def annotated_jpeg(self, report: PhotoReport) -> bytes:
        """The photo with the lines and values of ``report``."""
        camera = self.finished.camera
        return annotated(self.image, (camera.width, camera.height), report)

    def depth_jpeg(self) -> bytes:
        """The depth in colours, with a colour bar in metres."""
        return jpeg_of(_depth_image(self.finished))


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """The report of a photo, and the error that kept all of it from being measured."""

    report: PhotoReport
    error: M3dError | None


def load_measurable(
    photo: PhotoFile, shared: Shared | None, settings: Settings, engine: SharedEngine, *, full_size: bool = False
) -> MeasurablePhoto:
    """A photo with its depth: read back where ``settings.stored`` says so, else from the network.

    Its image may be a reduced copy unless ``full_size`` is set.
    """
    if settings.stored is not None:
        return _load_stored(photo, settings)
    name = str(photo.relative)
    loaded, canonical = prepared(read_photo(photo, shared, settings), settings, engine, is_shared=shared is not None)
    made = engine.get().compute(canonical, settings.wanted)
    finished = Finished.computed(name, settings, loaded, canonical, made)
    # The smallest size that still fills an image of the report.
    width, height = loaded.camera.width, loaded.camera.height
    factor = min(1.0, LONGEST / max(width, height))
    at_least = None if full_size else (max(1, round(width * factor)), max(1, round(height * factor)))
    return MeasurablePhoto(name, finished, decode(photo.path, at_least).image, lens=Lens.of(loaded.distorted))


def _load_stored(photo: PhotoFile, settings: Settings) -> MeasurablePhoto:
    """A photo, or where it is missing its depth in colours, with an existing depth map."""
    finished = read_back(photo, settings)
    image, camera = finished.image, finished.camera
    if image is None:
        return MeasurablePhoto(finished.name, finished, _depth_image(finished), has_photo=False)
    name = str(photo.relative)
    height, width = image.shape[:2]
    notes: tuple[str, ...] = ()
    if (width, height) != (camera.width, camera.height):
        depth_size = f"{camera.width} x {camera.height}"
        notes = (f"the photo has {width} x {height} pixels, its depth {depth_size}: points are pixels of the depth",)
    if UNDISTORTED not in finished.notes:
        return MeasurablePhoto(name, finished, image, notes)
    of_photo = read_camera(photo.path, settings.camera, photo.relative)
    lens = Lens.of(of_photo.resized(camera.width, camera.height))
    if lens is None or not lens.fits(finished.metres.camera):
        raise OutputError(
            f"{photo.path}: its depth was made with another lens model than is given now",
            hint="give the same --intrinsics as m3d depth had",
        )
    return MeasurablePhoto(name, finished, decode(photo.path).image, notes, lens)


def _depth_image(finished: Finished) -> NDArray[np.uint8]:
    return render_preview(finished.metres.depth, PreviewStyle())


@dataclass(frozen=True, slots=True)
class MeasureWork:
    """Measurements on a photo, and their report; ``requests`` by the relative name of a photo."""

    settings: Settings
    engine: SharedEngine
    journal: Ledger
    requests: Mapping[PurePosixPath, Request]

    def __call__(self, task: Task) -> Outcome:
        """Measure on one photo and write its report; raises M3dError."""
        job, stages = task.job, Stages()
        assert isinstance(job, MeasureJob)  # noqa: S101 - plan_measuring makes no others
        with stages.measured("decode"):
            request = self.requests[job.photo.relative]
            photo = load_measurable(job.photo, task.shared, self.settings, self.engine, full_size=request.needs_image)
        measured = photo.measured(request)
        if measured.error is not None:
            raise measured.error
        self.journal.started(str(job.photo.path), task.key, job.outputs)
        with stages.measured("write"):
            digests = write_measured(job, photo, measured.report)
        return measured_outcome(task, self.journal, photo, measured.report, stages, digests)


def measured_outcome(
    task: Task, journal: Ledger, photo: MeasurablePhoto, report: PhotoReport, stages: Stages, digests: tuple[str, ...]
) -> Outcome:
    """What the journal keeps of a photo whose files are written."""
    camera = photo.finished.camera
    sizes, times = sizes_and_times(task.job.outputs)
    return Outcome(
        path=str(task.job.photo.path),
        status=Status.DONE,
        key=task.key,
        outputs=journal.names(task.job.outputs),
        sizes=sizes,
        mtimes_ns=times,
        digests=digests,
        width=camera.width,
        height=camera.height,
        focal_px=camera.focal,
        focal_source=str(camera.focal_source),
        focal_rel_sigma=camera.focal_rel_sigma,
        focal_trust=focal_trust(camera),
        model=photo.finished.model.name,
        warnings=report.notes,
        at=time.time(),
        seconds=stages.seconds,
    )


def write_measured(job: MeasureJob, photo: MeasurablePhoto, report: PhotoReport) -> tuple[str, ...]:
    """Write the annotated photo, the depth in colours, and the report; returns their digests. Raises OutputError."""
    return (
        write_bytes(job.annotated, photo.annotated_jpeg(report)),
        write_bytes(job.depth_preview, photo.depth_jpeg()),
        write_bytes(job.report, encode_report(report).encode("utf-8", "backslashreplace")),
    )


def request_key(settings_digest: str, request: Request) -> str:
    """Digest of a request, so that a photo whose request changed is measured again."""
    text = f"{settings_digest}\0{request!r}"
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def _camera_note(finished: Finished) -> CameraNote:
    camera = finished.camera
    return CameraNote(
        width=camera.width,
        height=camera.height,
        fx=camera.fx,
        fy=camera.fy,
        cx=camera.cx,
        cy=camera.cy,
        focal_source=str(camera.focal_source),
        focal_rel_sigma=camera.focal_rel_sigma,
        derivation=camera.derivation,
    )


def _model_note(finished: Finished) -> ModelNote:
    model = finished.model
    return ModelNote(model.name, model.weights_sha256, model.licence)
