"""The Python API: what the commands do, as functions and values. Its names are reached as ``m3d_cli.NAME``."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Unpack

from m3d_cli.atomic import write_bytes
from m3d_cli.camera import Camera
from m3d_cli.depthmap import DepthMap
from m3d_cli.errors import UsageError
from m3d_cli.formats.depth_folder import load_depth as load_stored
from m3d_cli.formats.ply import encode_ply
from m3d_cli.formats.previews import PreviewStyle, encode_preview
from m3d_cli.intrinsics.ladder import FocalFacts, UserFocal, recover_focal
from m3d_cli.metrology.report.content import PhotoReport
from m3d_cli.metrology.spec.flags import request_of_flags
from m3d_cli.models.own_weights import choose_network, chosen_name
from m3d_cli.models.spec import ModelSpec
from m3d_cli.photo import Photo
from m3d_cli.photos.discover import PhotoFile, Selection, find_photos
from m3d_cli.photos.load import CameraSources, LoadedPhoto, load
from m3d_cli.photos.load import load_photo as load_with_camera
from m3d_cli.photos.projection import parse_projection
from m3d_cli.pipeline.clouds import CloudStyle
from m3d_cli.pipeline.journal import Outcome
from m3d_cli.pipeline.measure_run import MeasurePlan
from m3d_cli.pipeline.plan import Job, OutputFormat, parse_formats
from m3d_cli.pipeline.process_photo import prepared, read_photo
from m3d_cli.pipeline.products import Finished, cloud_maker, write_products
from m3d_cli.pipeline.run_plan import RunPlan
from m3d_cli.pipeline.settings import Settings
from m3d_cli.pipeline.shared_engine import SharedEngine
from m3d_cli.pipeline.stage_times import Stages
from m3d_cli.pipeline.worker_processes import WorkerRecipe
from m3d_cli.pipeline.workers import Workers
from m3d_cli.pointcloud import PointCloud

# What a prediction keeps: confidence, and normals where the network gives them.
_KEPT = (OutputFormat.NPZ,)

# "door = line 812,1204 812,388", the name and its = optional.
_MEASUREMENT = re.compile(
    r"(?:(?P<name>[^=]*?)\s*=\s*)?"
    r"(?P<kind>line|path|height|area|angle|range|plane-distance|plane|box|ground)\s+(?P<points>.+)"
)


class Lens(TypedDict, total=False):
    """What may be said of the lens: ``focal`` in pixels, ``focal_35mm`` in mm, ``fov`` (horizontal) in degrees, or
    ``intrinsics``, a calibration file; without any, EXIF or the image decides.
    """

    focal: float | None
    focal_35mm: float | None
    fov: float | None
    intrinsics: str | Path | None


@dataclass(frozen=True, slots=True, eq=False)
class Cloud(PointCloud):
    """A point cloud in metres that can be saved."""

    comments: tuple[str, ...] = field(default=(), kw_only=True)

    def save(self, path: str | Path) -> Path:
        """Write a binary PLY; raises OutputError."""
        write_bytes(Path(path), *encode_ply(self, self.comments))
        return Path(path)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class PredictedDepth(DepthMap):
    """The depth of one photo, and what it was made from."""

    settings: Settings = field(kw_only=True)
    finished: Finished = field(kw_only=True)
    read_image: Callable[[], NDArray[np.uint8]] = field(kw_only=True)

    @property
    def name(self) -> str:
        """The photo's file name."""
        return self.finished.name

    @property
    def image(self) -> NDArray[np.uint8]:
        """The photo at the depth's size (H, W, 3), undistorted; a file is read once more. Raises PhotoError."""
        return self.read_image()

    def pointcloud(
        self,
        *,
        edges: bool = False,
        min_confidence: float | None = None,
        stride: int = 1,
        voxel: float | None = None,
        remove_outliers: bool = False,
        normals: bool = False,
    ) -> Cloud:
        """Points in metres with the photo's colours; ``edges`` keeps those on depth edges, ``voxel`` is in metres."""
        style = CloudStyle(
            edges=not edges,
            min_confidence=min_confidence,
            stride=stride,
            voxel=voxel,
            outliers=remove_outliers,
            normals=normals,
        )
        finished = dataclasses.replace(self.finished, image=self.image)
        maker = cloud_maker(dataclasses.replace(self.settings, cloud=style), finished)
        cloud = maker.cloud
        return Cloud(cloud.points, cloud.colours, cloud.normals, cloud.confidence, cloud.axes, comments=maker.comments)

    def save(self, folder: str | Path, formats: Sequence[str] = ("png",)) -> tuple[Path, ...]:
        """Write the files that `m3d depth --format` names and the sidecar; returns their paths. Raises OutputError."""
        settings = dataclasses.replace(self.settings, formats=parse_formats(",".join(formats)))
        finished = dataclasses.replace(self.finished, image=self.image) if settings.wants_clouds else self.finished
        photo = PhotoFile(Path(self.name), PurePosixPath(self.name))
        job = Job(photo, Path(folder), photo.relative.stem, settings.formats)
        write_products(job, settings, finished, Stages())
        return job.outputs

    def _repr_png_(self) -> bytes:
        """A preview with its colour bar, for notebooks."""
        return encode_preview(self.depth, PreviewStyle())


class Model:
    """A network, loaded with the first photo; close it, or use it in a ``with`` block, to free its memory."""

    def __init__(self, settings: Settings, workers: Workers) -> None:
        self._settings = settings
        self._engine = SharedEngine(WorkerRecipe(settings, workers.options, 1, Path()).engine)

    @property
    def spec(self) -> ModelSpec:
        """Canonical camera, licence, accuracy and weaknesses of the network."""
        return self._settings.model

    def predict(
        self,
        photo: str | Path | Photo | NDArray[np.uint8],
        *,
        max_depth: float | None = None,
        **lens: Unpack[Lens],
    ) -> PredictedDepth:
        """Metric depth of a file, a `Photo`, or upright RGB pixels (H, W, 3) uint8.

        ``focal`` is in pixels, ``focal_35mm`` in mm, ``fov`` (horizontal) in degrees, ``intrinsics`` a calibration
        file; without any, EXIF or the image decides, and ``result.camera.focal_source`` says which. Depth beyond
        ``max_depth`` metres becomes unknown. Raises PhotoError, CalibrationError, WeightsError, DeviceError.
        """
        sources = _sources(lens)
        settings = dataclasses.replace(self._settings, camera=sources, max_depth=max_depth)
        loaded, canonical = prepared(_loaded(photo, settings), settings, self._engine, is_shared=False)
        made = self._engine.get().compute(canonical, settings.wanted_by_files)
        finished = Finished.computed(loaded.path.name, settings, loaded, canonical, made)
        depth = finished.metres
        return PredictedDepth(
            depth.depth,
            depth.camera,
            depth.confidence,
            depth.normals,
            settings=settings,
            finished=finished,
            read_image=_image_of(photo, loaded, sources),
        )

    def close(self) -> None:
        """Free the network."""
        self._engine.close()

    def __enter__(self) -> Model:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def load_model(
    name: str | None = None,
    *,
    weights: str | Path | None = None,
    device: str = "auto",
    precision: str = "auto",
    backend: str = "auto",
) -> Model:
    """A network by name (`m3d models` lists them), by default the best installed one.

    Raises UsageError for an unknown name, WeightsError where its weights are not installed.
    """
    settings = _settings(name, weights, _KEPT, CameraSources(), precision=precision, backend=backend)
    return Model(settings, Workers((device,), precision, None, backend))


def load_photo(
    path: str | Path,
    **lens: Unpack[Lens],
) -> Photo:
    """A photo upright and undistorted, with the camera of its pixels. Raises PhotoError, CalibrationError."""
    return load_with_camera(Path(path), _sources(lens))


def load_depth(path: str | Path) -> DepthMap:
    """A depth map that m3d wrote, from its file, its sidecar or a folder that holds one. Raises OutputError."""
    return load_stored(Path(path)).depth


def run(
    paths: Sequence[str | Path],
    out: str | Path,
    *,
    model: str | None = None,
    weights: str | Path | None = None,
    formats: Sequence[str] = ("png",),
    recursive: bool = False,
    same_camera: bool = False,
    projection: str | None = None,
    max_depth: float | None = None,
    device: str = "auto",
    precision: str = "auto",
    overwrite: bool = False,
    **lens: Unpack[Lens],
) -> Iterator[Outcome]:
    """Process files and folders as `m3d depth` does, with its journal: a second call does what is missing.

    ``projection`` is that of photos that are not flat ("equirectangular", "fisheye"), of which range is written.
    Yields an `Outcome` per photo, in order; a photo that failed has an ``error``. Raises what ends a whole run.
    """
    sources = _sources(lens, projection)
    kinds = parse_formats(",".join(formats))
    settings = _settings(model, weights, kinds, sources, precision=precision, max_depth=max_depth)
    listing = find_photos([str(path) for path in paths], Selection(recursive=recursive, skip_folders=(Path(out),)))
    workers = Workers((device,), precision)
    plan = RunPlan.of(listing.photos, str(out), settings, workers, same_camera=same_camera, overwrite=overwrite)
    with plan.started(lambda outcome: None) as outcomes:
        yield from outcomes


def measure(
    photo: str | Path,
    measurements: Sequence[str],
    *,
    references: Sequence[str] = (),
    unit: str = "m",
    allow_assumed_focal: bool = False,
    allow_unknown_errors: bool = False,
    model: str | None = None,
    weights: str | Path | None = None,
    depth: str | Path | None = None,
    device: str = "auto",
    **lens: Unpack[Lens],
) -> PhotoReport:
    """Measure on one photo, as `m3d measure` does: ``["door = line 812,1204 812,388", "height 400,90 400,1300"]``.

    ``references`` are known lengths ("u1,v1 u2,v2 = 0.297 m"); ``depth`` is a folder of existing depth maps. Each row
    of the report has a value with its 95 % interval, or an error. Raises what keeps all of it from being measured.
    """
    request = request_of_flags(
        [_parsed(text) for text in measurements],
        references,
        unit,
        allow_assumed_focal=allow_assumed_focal,
        allow_unknown_errors=allow_unknown_errors,
    )
    sources = _sources(lens)
    settings = _settings(model, weights, (), sources, stored=None if depth is None else Path(depth))
    file = PhotoFile(Path(photo), PurePosixPath(Path(photo).name))
    plan = MeasurePlan((file,), settings, Workers((device,)), {file.relative: request})
    ((illustrated, error),) = plan.in_memory(images=False)
    if error is not None:
        raise error
    return illustrated.report


def _parsed(text: str) -> tuple[str, str]:
    """Kind and points of a measurement, the points with their name."""
    found = _MEASUREMENT.fullmatch(text.strip())
    if found is None:
        raise UsageError(f"{text!r} is no measurement", hint='for example "door = line 812,1204 812,388"')
    name = found["name"]
    return found["kind"], found["points"] if name is None else f"{name}={found['points']}"


def _sources(lens: Lens, projection: str | None = None) -> CameraSources:
    if unknown := sorted(lens.keys() - Lens.__annotations__.keys()):
        raise TypeError(f"unexpected keyword argument {unknown[0]!r}")
    intrinsics, fov = lens.get("intrinsics"), lens.get("fov")
    choice = parse_projection(projection, fov)
    user = UserFocal(pixels=lens.get("focal"), equivalent=lens.get("focal_35mm"), fov=fov if choice is None else None)
    return CameraSources.from_files(
        user, intrinsics=None if intrinsics is None else Path(intrinsics), projection=choice
    )


def _settings(
    name: str | None,
    weights: str | Path | None,
    formats: tuple[OutputFormat, ...],
    camera: CameraSources,
    *,
    precision: str = "auto",
    backend: str = "auto",
    max_depth: float | None = None,
    stored: Path | None = None,
) -> Settings:
    file = None if weights is None else Path(weights)
    spec, chosen = choose_network(chosen_name(name, file)[0], file)
    return Settings(
        model=spec,
        weights=chosen,
        formats=formats,
        max_depth=max_depth,
        precision=precision,
        backend=backend,
        camera=camera,
        stored=stored,
    )


def _loaded(photo: str | Path | Photo | NDArray[np.uint8], settings: Settings) -> LoadedPhoto:
    if isinstance(photo, (str, Path)):
        path = Path(photo)
        return read_photo(PhotoFile(path, PurePosixPath(path.name)), None, settings)
    if isinstance(photo, Photo):
        return LoadedPhoto(photo.path, photo.image, photo.camera, photo.camera)
    camera = _camera_of(photo, settings)
    # A `Photo` checks the type and shape of the pixels.
    checked = Photo(Path("array.png"), photo, camera)
    return LoadedPhoto(checked.path, checked.image, camera, camera)


def _camera_of(image: NDArray[np.uint8], settings: Settings) -> Camera:
    height, width = image.shape[:2]
    return recover_focal(FocalFacts(width, height, user=settings.camera.user))


def _image_of(
    photo: str | Path | Photo | NDArray[np.uint8], loaded: LoadedPhoto, sources: CameraSources
) -> Callable[[], NDArray[np.uint8]]:
    """What reads the whole photo: a file was decoded no larger than the network needs."""
    if isinstance(photo, (str, Path)):
        return lambda: load(loaded.path, sources, camera=loaded.distorted).image
    return lambda: loaded.image
