"""Photos that are not flat, as the user says which: an all-round panorama, or a fisheye lens."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path, PurePath

import numpy as np
from numpy.typing import NDArray

from m3d_cli.camera import DistortionModel
from m3d_cli.errors import CalibrationError, M3dError, UsageError
from m3d_cli.intrinsics.calibration.match import Calibration, fit_to_photo
from m3d_cli.intrinsics.exif import read_exif
from m3d_cli.photos.decode import decode
from m3d_cli.photos.header import PictureInfo, opened
from m3d_cli.spherical import WIDEST_FISHEYE, Projection, SphericalCamera

# The image of a circular fisheye lens leaves the corners black: squares of this share of the sides, up to this grey.
_CORNER = 0.04
_BLACK = 16


@dataclass(frozen=True, slots=True)
class ProjectionChoice:
    """A projection, and what a fisheye's width sees in degrees where that was given."""

    kind: Projection
    field_of_view: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class SphericalPhoto:
    """Upright sRGB pixels, uint8 (H, W, 3), the camera that took them, and what of it is doubtful."""

    image: NDArray[np.uint8]
    camera: SphericalCamera
    notes: tuple[str, ...] = ()


def parse_projection(name: str | None, field_of_view: float | None) -> ProjectionChoice | None:
    """The projection called ``name``, None for a flat photo; raises UsageError."""
    if name is None or name == "flat":
        return None
    try:
        kind = Projection(name.lower())
    except ValueError as error:
        raise UsageError(f"--projection {name} is unknown", hint=f"flat, {' or '.join(Projection)}") from error
    if kind is Projection.EQUIRECTANGULAR and field_of_view is not None:
        raise UsageError("an equirectangular photo has 360 x 180 degrees", hint="leave --fov out")
    return ProjectionChoice(kind, field_of_view)


def load_spherical(
    path: Path, choice: ProjectionChoice, calibration: Calibration | None = None, relative: PurePath | None = None
) -> SphericalPhoto:
    """A photo and its camera; raises `PhotoError`, and `CalibrationError` where it cannot be of that projection."""
    decoded = decode(path)
    try:
        camera, notes = _camera(path, choice, calibration, relative, decoded.info)
    except M3dError as error:
        message = error.message if str(path) in error.message else f"{path}: {error.message}"
        raise CalibrationError(message, hint=error.hint) from error
    return SphericalPhoto(decoded.image, _within_circle(decoded.image, camera), (*decoded.warnings, *notes))


def _camera(
    path: Path,
    choice: ProjectionChoice,
    calibration: Calibration | None,
    relative: PurePath | None,
    info: PictureInfo,
) -> tuple[SphericalCamera, tuple[str, ...]]:
    """The camera, and notes on how its calibration was fitted to the photo."""
    if choice.kind is Projection.EQUIRECTANGULAR:
        part = read_exif(path, opened).sphere_part
        if part is None or part.is_whole:
            return SphericalCamera.full_sphere(info.width, info.height), ()
        size = (info.width, info.height)
        return SphericalCamera.part_of_sphere(size, part.whole, part.left, part.top, part.size), ()
    if choice.field_of_view is not None:
        return SphericalCamera.equidistant(info.width, info.height, choice.field_of_view), ()
    found = calibration.find(path, relative) if calibration is not None else None
    if found is None:
        raise CalibrationError(
            "the lens of a fisheye photo must be known", hint="give --fov (degrees over the width) or --intrinsics"
        )
    flat, notes = fit_to_photo(found, info.width, info.height, info.orientation, str(path))
    if flat.distortion is None or flat.distortion.model is not DistortionModel.FISHEYE:
        raise CalibrationError("its calibration is of no fisheye lens", hint="leave --projection out")
    terms = (*flat.distortion.coefficients, 0.0, 0.0, 0.0, 0.0)[:4]
    camera = SphericalCamera(
        Projection.FISHEYE, info.width, info.height, flat.fx, flat.fy, flat.cx, flat.cy, terms, WIDEST_FISHEYE
    )
    return camera, (*notes, *flat.warnings)


def _within_circle(image: NDArray[np.uint8], camera: SphericalCamera) -> SphericalCamera:
    """Nothing is seen beyond the image circle of a fisheye whose corners are black."""
    if camera.projection is not Projection.FISHEYE:
        return camera
    high, wide = (max(1, round(_CORNER * side)) for side in image.shape[:2])
    rows = np.r_[:high, image.shape[0] - high : image.shape[0]]
    columns = np.r_[:wide, image.shape[1] - wide : image.shape[1]]
    if float(image[np.ix_(rows, columns)].mean()) > _BLACK:
        return camera
    nearest = min(camera.cx, camera.width - camera.cx, camera.cy, camera.height - camera.cy)
    angle = float(camera.angle(np.array([nearest / camera.fx]))[0])
    return replace(camera, reach=min(camera.reach, angle)) if math.isfinite(angle) else camera
