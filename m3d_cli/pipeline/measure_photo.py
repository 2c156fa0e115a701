"""From a photo and what is wanted of it to its report and pictures: where depth comes from, and what is written."""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from m3d_cli.atomic import write_bytes
from m3d_cli.depthmap import DepthErrorModel
from m3d_cli.errors import M3dError, OutputError
from m3d_cli.formats.previews import PreviewStyle, render_preview
from m3d_cli.formats.sidecar import scale_trust
from m3d_cli.metrology.lens import Lens
from m3d_cli.metrology.report.content import CameraNote, ModelNote, PhotoReport, Row, answer, encode_report
from m3d_cli.metrology.report.drawing import LONGEST, annotated, jpeg_of
from m3d_cli.metrology.request import Wish
from m3d_cli.photos.decode import decode
from m3d_cli.photos.discover import PhotoFile
from m3d_cli.photos.load import UNDISTORTED, read_camera
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
from m3d_cli.version import __version__

REPORT_SUFFIX = ".measure.json"
PICTURE_SUFFIX = ".measured.jpg"
DEPTH_SUFFIX = ".depth.jpg"

# What a report says of points where the lens was straightened: with the photo at hand, and from its depth alone.
STRAIGHTENED = (
    "lens distortion was removed for measuring: points are pixels of the photo, the depth is drawn straightened"
)
ON_STRAIGHT = "without the photo, points count in its straightened picture"


class MeasureJob(Job):
    """A photo and the files of its measurements."""

    __slots__ = ()

    @property
    def report(self) -> Path:
        """Everything that was measured, as JSON."""
        return self._with_suffix(REPORT_SUFFIX)

    @property
    def picture(self) -> Path:
        """The photo with its lines and values."""
        return self._with_suffix(PICTURE_SUFFIX)

    @property
    def depth_picture(self) -> Path:
        """The depth in colours."""
        return self._with_suffix(DEPTH_SUFFIX)

    @property
    def outputs(self) -> tuple[Path, ...]:
        """Every file of this photo, the report last."""
        return (self.picture, self.depth_picture, self.report)


@dataclass(frozen=True, slots=True, eq=False)
class Sight:
    """A photo with its depth, ready to be measured; ``image`` (H, W, 3) may be smaller than the depth.

    With a ``lens``, the image and all points are the photo's, and the depth is that of its straightened picture.
    """

    photo: str
    finished: Finished
    image: NDArray[np.uint8]
    notes: tuple[str, ...] = ()
    lens: Lens | None = None

    @property
    def errors(self) -> DepthErrorModel:
        """How the errors of the depth behave, as the network's record says."""
        return dataclasses.replace(self.finished.model.errors, cell=self.finished.cell)

    def measured(self, wish: Wish) -> Measured:
        """The answer to ``wish``, as a report."""
        found = answer(self.finished.metres, wish, self.errors, self.photo, self.lens)
        report = PhotoReport(
            photo=self.photo,
            camera=_camera_note(self.finished),
            model=_model_note(self.finished),
            reference=found.reference,
            measurements=tuple(map(self._told, found.rows)),
            m3d_version=__version__,
            notes=(*self.finished.camera.warnings, *self._depth_notes, *self.notes),
        )
        return Measured(report, found.error)

    @property
    def _depth_notes(self) -> tuple[str, ...]:
        notes = self.finished.notes
        return notes if self.lens is None else tuple(STRAIGHTENED if n == UNDISTORTED else n for n in notes)

    def _told(self, row: Row) -> Row:
        """A row with the warning that its points are not those of the photo, where only the straightened depth is."""
        if self.lens is not None or UNDISTORTED not in self.finished.notes or row.error is not None:
            return row
        return replace(row, warnings=(*row.warnings, ON_STRAIGHT))


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """The report of a photo, and the error that kept all of it from being measured."""

    report: PhotoReport
    error: M3dError | None


def look(
    photo: PhotoFile, shared: Shared | None, settings: Settings, engine: SharedEngine, *, whole: bool = False
) -> Sight:
    """A photo with its depth: read back where ``settings.stored`` says so, else from the network.

    Its image may be a reduced copy unless the ``whole`` of it is wanted.
    """
    if settings.stored is not None:
        return _look_back(photo, settings)
    name = str(photo.relative)
    loaded, canonical = prepared(read_photo(photo, shared, settings), settings, engine, is_shared=shared is not None)
    made = engine.get().compute(canonical, settings.wanted)
    finished = Finished.computed(name, settings, loaded, canonical, made)
    at_least = None if whole else _shown_size(loaded.camera.width, loaded.camera.height)
    return Sight(name, finished, decode(photo.path, at_least).image, lens=Lens.of(loaded.distorted))


def _look_back(photo: PhotoFile, settings: Settings) -> Sight:
    """A photo, or where it is missing its depth in colours, with an existing depth map."""
    finished = read_back(photo, settings)
    image = finished.image
    if image is None:
        return Sight(finished.name, finished, render_depth(finished))
    notes, name = _size_notes(image, finished), str(photo.relative)
    if UNDISTORTED not in finished.notes:
        return Sight(name, finished, image, notes)
    camera = read_camera(photo.path, settings.camera, photo.relative)
    lens = Lens.of(camera.resized(finished.camera.width, finished.camera.height))
    if lens is None or not lens.fits(finished.metres.camera):
        raise OutputError(
            f"{photo.path}: its depth was made with another lens model than is given now",
            hint="give the same --intrinsics as m3d depth had",
        )
    return Sight(name, finished, decode(photo.path).image, notes, lens)


def render_depth(finished: Finished) -> NDArray[np.uint8]:
    """The depth in colours, with a bar that says what they mean."""
    return render_preview(finished.metres.depth, PreviewStyle())


@dataclass(frozen=True, slots=True)
class MeasureWork:
    """Measurements on a photo, and their report; ``wishes`` by the relative name of a photo."""

    settings: Settings
    engine: SharedEngine
    journal: Ledger
    wishes: Mapping[PurePosixPath, Wish]

    def __call__(self, task: Task) -> Outcome:
        """Measure on one photo and write its report; raises M3dError."""
        job, stages = task.job, Stages()
        assert isinstance(job, MeasureJob)  # noqa: S101 - planned so
        with stages.measured("decode"):
            sight = look(job.photo, task.shared, self.settings, self.engine)
        measured = sight.measured(self.wishes[job.photo.relative])
        if measured.error is not None:
            raise measured.error
        self.journal.started(str(job.photo.path), task.key, job.outputs)
        with stages.measured("write"):
            digests = write_measured(job, sight, measured.report)
        return measured_outcome(task, self.journal, sight, measured.report, stages, digests)


def measured_outcome(
    task: Task, journal: Ledger, sight: Sight, report: PhotoReport, stages: Stages, digests: tuple[str, ...]
) -> Outcome:
    """What the journal keeps of a photo whose files are written."""
    camera = sight.finished.camera
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
        scale_trust=scale_trust(camera),
        model=sight.finished.model.name,
        warnings=report.notes,
        at=time.time(),
        seconds=stages.seconds,
    )


def write_measured(job: MeasureJob, sight: Sight, report: PhotoReport) -> tuple[str, ...]:
    """Write the annotated photo, the depth in colours, and the report; returns their digests. Raises OutputError."""
    camera = sight.finished.camera
    return (
        write_bytes(job.picture, annotated(sight.image, (camera.width, camera.height), report)),
        write_bytes(job.depth_picture, jpeg_of(render_depth(sight.finished))),
        write_bytes(job.report, encode_report(report).encode("utf-8", "backslashreplace")),
    )


def wish_key(settings_digest: str, wish: Wish) -> str:
    """Digest of what is wanted of a photo, so that a change of it is measured again."""
    text = f"{settings_digest}\0{wish!r}"
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def _shown_size(width: int, height: int) -> tuple[int, int]:
    """The smallest size that still fills a report's picture."""
    factor = min(1.0, LONGEST / max(width, height))
    return max(1, round(width * factor)), max(1, round(height * factor))


def _size_notes(image: NDArray[np.uint8], finished: Finished) -> tuple[str, ...]:
    height, width = image.shape[:2]
    camera = finished.camera
    if (width, height) == (camera.width, camera.height):
        return ()
    return (f"the photo has {width} x {height} pixels, its depth {camera.width} x {camera.height}: points are its",)


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
