"""A photo and its camera, from path to `Photo`: header and EXIF first, pixels only when asked for."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath

import numpy as np
from numpy.typing import NDArray

from m3d_cli.camera import Camera
from m3d_cli.errors import CalibrationError, FocalError, PhotoError, UsageError
from m3d_cli.intrinsics.calibration.match import Calibration, camera_name, fit_to_photo
from m3d_cli.intrinsics.calibration.read import read_calibration
from m3d_cli.intrinsics.exif import ExifFacts, read_exif
from m3d_cli.intrinsics.exif_sidecar import ExifSidecar, read_exif_sidecar
from m3d_cli.intrinsics.ladder import FocalFacts, UserFocal, recover_focal
from m3d_cli.intrinsics.sensors import SensorTable, read_sensor_table
from m3d_cli.intrinsics.wide_lenses import sees_all_round
from m3d_cli.photo import Photo
from m3d_cli.photos.decode import decode, read_info
from m3d_cli.photos.header import PictureInfo, opened
from m3d_cli.photos.projection import ProjectionChoice

# Shares of a side cut off beyond this are reported; an ordinary lens costs a few per cent.
NOTED_LOSS = 0.10

UNDISTORTED = "lens distortion of the calibration was removed; pixels refer to the undistorted image"


@dataclass(frozen=True, slots=True)
class CameraSources:
    """Everything the user may say about cameras; plain values, so it travels to worker processes.

    ``from_image`` asks the image for its focal length whatever EXIF says; ``projection`` is that of photos that are
    not flat, None for flat ones.
    """

    user: UserFocal = field(default_factory=UserFocal)
    calibration: Calibration | None = None
    sidecar: ExifSidecar | None = None
    sensors: SensorTable = field(default_factory=SensorTable)
    require_focal: bool = False
    from_image: bool = False
    projection: ProjectionChoice | None = None

    def __post_init__(self) -> None:
        if self.from_image and self.knows_lens:
            raise UsageError("--focal estimate and another focal length contradict each other", hint="give one of them")
        if self.user.is_given and self.calibration is not None:
            raise UsageError("a focal length flag and --intrinsics contradict each other", hint="give one of them")

    @classmethod
    def from_files(
        cls,
        user: UserFocal | None = None,
        *,
        intrinsics: Path | None = None,
        exif_json: Path | None = None,
        sensor_db: Path | None = None,
        require_focal: bool = False,
        from_image: bool = False,
        projection: ProjectionChoice | None = None,
    ) -> CameraSources:
        """Options with the files read; raises `CalibrationError` for a bad one."""
        return cls(
            user=user or UserFocal(),
            calibration=read_calibration(intrinsics) if intrinsics else None,
            sidecar=read_exif_sidecar(exif_json) if exif_json else None,
            sensors=SensorTable(read_sensor_table(sensor_db), origin=sensor_db.name) if sensor_db else SensorTable(),
            require_focal=require_focal,
            from_image=from_image,
            projection=projection,
        )

    @property
    def knows_lens(self) -> bool:
        """Whether the user gave a focal length or a calibration."""
        return self.user.is_given or self.calibration is not None

    @property
    def digest(self) -> str:
        """Hash of all values: equal options give equal cameras for the same file."""
        return hashlib.sha256(repr(self).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class PhotoFacts:
    """What the header of one photo tells: its image, its EXIF (the sidecar's first), and the focal length."""

    info: PictureInfo
    exif: ExifFacts
    camera: Camera


@dataclass(frozen=True, slots=True, eq=False)
class LoadedPhoto:
    """Pixels for the network and the camera of the full image.

    ``image`` is uint8 (H, W, 3), upright sRGB, undistorted; it may be a reduced copy. ``camera`` always is of the full
    size, without distortion; ``distorted`` is the one that took the photo. ``focal_image`` are the pixels from which
    its focal length will be estimated, if it will.
    """

    path: Path
    image: NDArray[np.uint8]
    camera: Camera
    distorted: Camera
    notes: tuple[str, ...] = ()
    focal_image: NDArray[np.uint8] | None = None


def read_facts(path: Path, options: CameraSources | None = None, relative: PurePath | None = None) -> PhotoFacts:
    """Facts of a photo from its header alone.

    Raises `PhotoError`, also for a panorama that is no flat image, `CalibrationError` for a calibration that cannot be
    of this photo, and `FocalError` when a focal length is required and unknown.
    """
    options = options or CameraSources()
    info = read_info(path)
    exif, notes = _exif(path, relative, options.sidecar)
    if not options.knows_lens and (sign := sees_all_round(exif, info.width, info.height)):
        raise PhotoError(
            f"{path}: an equirectangular panorama, as {sign}, and no flat image",
            hint="--projection equirectangular takes it as one, a focal length or --intrinsics as a flat image",
        )
    facts = _focal_facts(path, relative, options, info, exif, notes)
    try:
        camera = recover_focal(facts)
    except CalibrationError as error:
        raise CalibrationError(f"{path}: {error.message}", hint=error.hint) from error
    if options.require_focal and camera.is_assumed and not options.from_image:
        raise focal_required(path)
    if facts.intrinsics is None:
        camera = _possible(camera)
    return PhotoFacts(info, exif, camera.with_warnings(*_lens_warnings(path, camera)))


def focal_required(path: Path) -> FocalError:
    """The error of a photo that tells no focal length where one is required."""
    return FocalError(
        f"{path}: no focal length known",
        hint="pass --focal, --focal-35mm, --fov or --intrinsics, or leave out --require-focal",
    )


def read_camera(path: Path, options: CameraSources | None = None, relative: PurePath | None = None) -> Camera:
    """Camera of the full upright photo, with its lens distortion."""
    return read_facts(path, options, relative).camera


def load(
    path: Path,
    options: CameraSources | None = None,
    *,
    relative: PurePath | None = None,
    camera: Camera | None = None,
    at_least: tuple[int, int] | None = None,
) -> LoadedPhoto:
    """Pixels and camera; a known ``camera`` saves reading the header again, ``at_least`` allows a reduced copy."""
    from m3d_cli.photos.undistort import undistort, undistorted_camera

    camera = camera or read_camera(path, options, relative)
    decoded = decode(path, at_least)
    camera = camera.with_warnings(*decoded.warnings)
    if camera.distortion is None:
        return LoadedPhoto(path, decoded.image, camera, camera)
    image = undistort(decoded.image, camera)
    return LoadedPhoto(path, image, undistorted_camera(camera), camera, (UNDISTORTED,))


def load_photo(
    path: Path,
    options: CameraSources | None = None,
    *,
    relative: PurePath | None = None,
    camera: Camera | None = None,
) -> Photo:
    """The full photo with the camera of exactly its pixels."""
    loaded = load(path, options, relative=relative, camera=camera)
    return Photo(path, loaded.image, loaded.camera)


def _exif(path: Path, relative: PurePath | None, sidecar: ExifSidecar | None) -> tuple[ExifFacts, tuple[str, ...]]:
    """The file's own facts, behind what the sidecar says of it, and a note where that says nothing."""
    own = read_exif(path, opened)
    if sidecar is None:
        return own, ()
    listed = sidecar.find(path, relative)
    if listed is None:
        return own, (f"{sidecar.origin} has no entry for this photo",)
    notes = () if listed.gives_focal else (f"the entry of this photo in {sidecar.origin} has no focal length",)
    return listed.completed_by(own), notes


def _possible(camera: Camera) -> Camera:
    """The camera without the distortion that its photo states, where no image can be undistorted by it."""
    if camera.distortion is None:
        return camera
    from m3d_cli.photos.undistort import undistorted_camera

    try:
        straight = undistorted_camera(camera)
    except CalibrationError as error:
        return replace(camera, distortion=None).with_warnings(f"the photo's lens distortion is not used: {error}")
    return camera.with_warnings(
        "the lens distortion that the photo states is removed: outputs are of the undistorted image, with a focal "
        f"length of {straight.focal:.0f} px"
    )


def _lens_warnings(path: Path, camera: Camera) -> tuple[str, ...]:
    """What undistorting the image will cost; raises `CalibrationError` when that is impossible."""
    if camera.distortion is None:
        return ()
    from m3d_cli.photos.undistort import lost_share, undistorted_camera

    try:
        undistorted_camera(camera)
    except CalibrationError as error:
        raise CalibrationError(f"{path}: {error.message}", hint=error.hint) from error
    lost = lost_share(camera)
    if lost <= NOTED_LOSS:
        return ()
    return (f"straightening the lens into square pixels cuts off {lost:.0%} of one side",)


def _focal_facts(
    path: Path,
    relative: PurePath | None,
    options: CameraSources,
    info: PictureInfo,
    exif: ExifFacts,
    notes: tuple[str, ...],
) -> FocalFacts:
    intrinsics, calibration_notes = _intrinsics(path, relative, options, info, exif)
    notes = (*notes, *calibration_notes)
    if options.sensors.lacks(exif.make, exif.model):
        camera = f"the camera {exif.make} {exif.model}" if exif.model else "a photo that does not name its camera"
        notes = (*notes, f"{options.sensors.origin} has no row for {camera}")
    sensor = options.sensors.find(exif.make, exif.model) if exif.focal_mm else None
    return FocalFacts(
        width=info.width,
        height=info.height,
        exif=exif,
        is_turned=info.is_turned,
        sensor=sensor,
        user=options.user,
        intrinsics=intrinsics,
        notes=notes,
    )


def _intrinsics(
    path: Path, relative: PurePath | None, options: CameraSources, info: PictureInfo, exif: ExifFacts
) -> tuple[Camera | None, tuple[str, ...]]:
    if options.calibration is None:
        return None, ()
    found = options.calibration.find(path, relative, camera_name(exif.make, exif.model))
    if found is None:
        return None, (f"{options.calibration.origin} has no intrinsics for this photo",)
    return fit_to_photo(found, info.width, info.height, info.orientation, str(path))
