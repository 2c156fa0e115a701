"""The service behind the pick page: its first items, values of the points on it, and saving them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from m3d_cli.atomic import write_bytes
from m3d_cli.errors import M3dError, OutputError, PhotoError, UsageError
from m3d_cli.metrology.measurands import OBJECTS
from m3d_cli.metrology.pick.items import common_unit, known_sizes, page_items
from m3d_cli.metrology.pick.server import PickService, error_content
from m3d_cli.metrology.report.content import plain
from m3d_cli.metrology.report.drawing import jpeg_of
from m3d_cli.metrology.request import ALLOWANCES, Refusal, Request, check_names, with_distinct_names
from m3d_cli.metrology.spec.measurement_file import Sheet, SheetFile, sheet_of, validated
from m3d_cli.metrology.spec.read import read_sheet
from m3d_cli.metrology.spec.toml import encode_toml
from m3d_cli.photos.discover import PhotoFile
from m3d_cli.pipeline.journal import Journal
from m3d_cli.pipeline.measure_photo import (
    MeasurablePhoto,
    MeasureJob,
    load_measurable,
    measured_outcome,
    write_measured,
)
from m3d_cli.pipeline.measure_reports import write_reports
from m3d_cli.pipeline.measure_run import measure_tasks, plan_measuring
from m3d_cli.pipeline.settings import Settings
from m3d_cli.pipeline.shared_engine import SharedEngine
from m3d_cli.pipeline.stage_times import Stages
from m3d_cli.pipeline.worker_processes import WorkerRecipe
from m3d_cli.pipeline.workers import Workers
from m3d_cli.version import __version__

SHEET_SUFFIX = ".sizes.toml"
# The folder of the files when none is given.
USUAL_OUT = Path("measured")
_PLACE = "the page"


@dataclass(frozen=True, slots=True)
class PickStart:
    """The page's first requests: ``own`` of the flags, and ``listed``, that of measurement files.

    ``saved`` is the content of the measurement file that Save replaces, where the page shows all of it.
    """

    own: Request
    listed: Request
    sources: tuple[Path, ...]
    saved: bytes | None

    @property
    def not_shown(self) -> tuple[Refusal, ...]:
        """Refusals, which have no points for the page to show."""
        return tuple(item for item in (*self.own.items, *self.listed.items) if isinstance(item, Refusal))

    def together(self, width: int, height: int) -> Request:
        """Both on a photo of that size without duplicates; raises UsageError, MeasureError for other aspect ratios."""
        parts = (self.own.fitted(width, height), self.listed.fitted(width, height))
        items = dict.fromkeys(item for part in parts for item in part.items)
        references = dict.fromkeys(one for part in parts for one in part.references)
        rectangles, markers = (
            tuple(dict.fromkeys(one for part in parts for one in getattr(part, name)))
            for name in ("rectangles", "markers")
        )
        surfaces = {one.on for part in parts for one in part.measurands} | {one.on for one in references}
        check_names([item for item in items if item.name in surfaces], "the flags and the measurement file")
        focal, errors = (any(getattr(part, name) for part in parts) for name in ALLOWANCES)
        return Request(
            with_distinct_names(tuple(items)),
            with_distinct_names(tuple(references)),
            focal,
            errors,
            rectangles=rectangles,
            markers=markers,
        )


def sheet_path(job: MeasureJob) -> Path:
    """The measurement file that Save writes."""
    return job.report.with_name(job.name.rpartition("/")[2] + SHEET_SUFFIX)


def pick_start(job: MeasureJob, own: Request, specs: Sequence[Path], unit: str | None) -> PickStart:
    """The requests of flags and ``specs``; without specs, what the page saved before. Raises UsageError."""
    saved = sheet_path(job)
    sources = tuple(specs) or ((saved,) if saved.is_file() else ())
    sheets = {path: read_sheet(path, unit) for path in sources}
    whole = Sheet(tuple(entry for sheet in sheets.values() for entry in sheet.entries))
    listed = whole.request_for(job.photo.relative)
    if listed is None and sources:
        names = ", ".join(str(path) for path in sources)
        raise UsageError(f"{names}: no entry for {job.photo.relative}", hint="match = ... names the photo")
    shown = next((sheet for path, sheet in sheets.items() if path.resolve() == saved.resolve()), None)
    is_all = shown is not None and [entry.match for entry in shown.entries] == [str(job.photo.relative)]
    start = PickStart(own, listed or Request(), sources, saved.read_bytes() if is_all else None)
    return start if not start.not_shown else PickStart(own, start.listed, sources, None)


class PickSession:
    """One photo on the page: its first items, values of the points there, and Save."""

    def __init__(
        self,
        photos: Sequence[PhotoFile],
        own: Request,
        specs: Sequence[Path],
        settings: Settings,
        out: Path | None,
        formats: Sequence[str],
        unit: str | None,
        *,
        overwrite: bool,
    ) -> None:
        """Raises UsageError unless there is one photo, and PhotoError where it cannot be read."""
        if len(photos) != 1:
            raise UsageError(f"--pick takes one photo, not {len(photos)}", hint="name one photo")
        (self.job,) = plan_measuring(photos, out or USUAL_OUT)
        if self.job.photo.problem:
            raise PhotoError(f"{self.job.photo.path}: {self.job.photo.problem}")
        self.start = pick_start(self.job, own, specs, unit)
        self._settings = settings
        self._formats = tuple(formats)
        self._unit = unit
        self._overwrite = overwrite
        self._saved = self.start.saved
        self._not_drawn: dict[str, list[Any]] = {}

    def service(self, workers: Workers) -> PickService:
        """What the server needs, with the depth of the photo computed."""
        recipe = WorkerRecipe(self._settings, workers.options, 1, self.job.out)
        with closing(SharedEngine(recipe.engine)) as engine:
            photo = load_measurable(self.job.photo, None, self._settings, engine, full_size=True)
        camera = photo.finished.camera
        request = self.start.together(camera.width, camera.height)
        self._not_drawn = known_sizes(request)
        unit = self._unit or common_unit(request) or "m"
        info = {
            "photo": photo.name,
            "width": camera.width,
            "height": camera.height,
            "camera": f"{camera.width} x {camera.height}, focal {camera.focal:.0f} px ({camera.focal_source})",
            "assumed": camera.is_assumed,
            **{name: getattr(request, name) for name in ALLOWANCES},
            "unit": unit,
            "objects": list(OBJECTS),
            "items": page_items(request, unit),
            "version": __version__,
        }
        return PickService(jpeg_of(photo.image), info, partial(self._measure, photo), partial(self._save, photo))

    def _measure(self, photo: MeasurablePhoto, content: Mapping[str, Any]) -> dict[str, Any]:
        """The report of what the page holds, as plain data; raises UsageError."""
        return plain(photo.measured(_request(self._file(content))).report)

    def _save(self, photo: MeasurablePhoto, content: Mapping[str, Any]) -> dict[str, Any]:
        """Write what the page holds: the measurement file, the photo's report, and those of its folder.

        Raises OutputError where that would replace a file which the page did not load, unless ``replace`` is set.
        """
        file = self._file({name: value for name, value in content.items() if name != "replace"})
        request = _request(file)
        if not request.items:
            raise UsageError("there is nothing to save yet", hint="measure something first")
        with Journal(self.job.out) as journal:
            if not (content.get("replace") is True or self._overwrite):
                self._check_replaceable(journal)
            self._saved = encode_toml(file).encode()
            write_bytes(sheet_path(self.job), self._saved)
            error = self._write(journal, photo, request)
        if error is not None:
            return {"files": [str(sheet_path(self.job))], "error": error_content(error)}
        pages = write_reports(self.job.out, self._formats, {})
        return {"files": [str(path) for path in (sheet_path(self.job), *self.job.outputs, *pages)]}

    def _write(self, journal: Journal, photo: MeasurablePhoto, request: Request) -> M3dError | None:
        """Write and journal the photo's report and images; returns the error that kept all from being measured."""
        measured = photo.measured(request)
        if measured.error is not None:
            return measured.error
        requests = {self.job.photo.relative: request}
        (task,) = measure_tasks([self.job], self._settings, journal, None, requests, overwrite=True)
        journal.started(str(self.job.photo.path), task.key, self.job.outputs)
        digests = write_measured(self.job, photo, measured.report)
        journal.write(measured_outcome(task, journal, photo, measured.report, Stages(), digests))
        return None

    def _check_replaceable(self, journal: Journal) -> None:
        sheet = sheet_path(self.job)
        is_ours = self._saved is not None and sheet.is_file() and sheet.read_bytes() == self._saved
        for path in (sheet, *self.job.outputs):
            if path.exists() and not (is_ours and (path == sheet or journal.owns(path))):
                raise OutputError(
                    f"{path} exists already and was not loaded by this page",
                    hint="replace it, or start again with another --out",
                    code="OUTPUT_EXISTS",
                )

    def _file(self, content: Mapping[str, Any]) -> SheetFile:
        """A measurement file of one photo from what the page sent, and what it was started with but does not draw."""
        known = {"unit", *ALLOWANCES, "measure", "reference"}
        if not content.keys() <= known:
            raise UsageError(f"{_PLACE}: {', '.join(sorted(content.keys() - known))} is unknown")
        whole = {name: content[name] for name in ("unit", *ALLOWANCES) if name in content}
        part = {name: content[name] for name in ("measure", "reference") if name in content}
        entry = {"match": str(self.job.photo.relative), **self._not_drawn, **part}
        return validated({**whole, "photo": [entry]}, _PLACE)


def _request(file: SheetFile) -> Request:
    return sheet_of(file, _PLACE).entries[0].request
