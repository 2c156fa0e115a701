"""Calibrated intrinsics: which entry of an ``--intrinsics`` file belongs to a photo, and how it fits the photo's size.

Principal points count from the corner of the image (centre of the top-left pixel at 0.5), as everywhere in m3d; the
readers convert. COLMAP works on pixels as stored, whatever EXIF says, so its calibrations turn with every orientation.
Other tools mostly turn images upright first: theirs belong to the stored pixels only where the size shows it.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import math
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

from m3d_cli.camera import Camera, Distortion, DistortionModel, FocalSource
from m3d_cli.errors import CalibrationError
from m3d_cli.intrinsics.original_size import ASPECT_TOLERANCE
from m3d_cli.photo_names import NameIndex

CALIBRATION_SIGMA = 0.005

# Principal points further from the middle than this part of a side do not belong to this image.
CENTRE_TOLERANCE = 0.25

# Without a size, a principal point this far from the photo's middle may be that of an image of another size.
UNSIZED_TOLERANCE = 0.07

# What the focal length of such a calibration is worth; one of another size may be wrong by the ratio of the sizes.
DOUBTED_SIGMA, MOST_DOUBTED_SIGMA = 0.15, 0.5

# Sides are taken as swapped where the principal point is this far off, and with the sides swapped less than a third.
SWAPPED_OFFSET = 0.10

# A principal point without a size belongs to an image of the photo's shape where its two ratios agree this well.
SAME_SHAPE = 0.05

# Principal points further from the middle than this part of both sides are no lens: a corner stands for "unknown".
CORNER = 0.49

# Principal points further from the middle than this part of a side notice a mirror or a half turn of the image.
NOTED_OFFSET = 0.005

# Brown coefficients beyond these (thin prism, tilt) do not turn with the image.
TURNING_COEFFICIENTS = 8


@dataclass(frozen=True, slots=True)
class Intrinsics:
    """Focal lengths and principal point in pixels for an image of the given size; unknown parts are None.

    ``is_stored`` tells that they are of the pixels as stored, before EXIF's orientation; ``in_widths`` that the focal
    lengths are in widths of the photo, whose size the file does not give; ``notes`` say what of the file's numbers
    could not be kept. ``region`` (left, top, width, height) is the part of the image that photos may show.
    """

    fx: float
    fy: float
    cx: float | None = None
    cy: float | None = None
    width: int | None = None
    height: int | None = None
    distortion: Distortion | None = None
    is_stored: bool = False
    in_widths: bool = False
    notes: tuple[str, ...] = ()
    region: tuple[int, int, int, int] | None = None


@dataclass(frozen=True, slots=True)
class CalibrationEntry:
    """Intrinsics of the photos that ``pattern`` (a path, name, stem or glob) fits; an empty pattern fits all.

    With a ``camera`` (`camera_name`) and no pattern they are of the photos of that camera.
    """

    pattern: str
    intrinsics: Intrinsics
    camera: str = ""


@dataclass(frozen=True, slots=True)
class Calibration:
    """All entries of one ``--intrinsics`` file."""

    origin: str
    entries: tuple[CalibrationEntry, ...]
    _index: NameIndex = field(init=False, repr=False, compare=False)
    _globs: tuple[CalibrationEntry, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_index", NameIndex([entry.pattern for entry in self.entries]))
        globs = tuple(entry for entry in self.entries if any(sign in entry.pattern for sign in "*?["))
        object.__setattr__(self, "_globs", globs)

    @property
    def of_cameras(self) -> tuple[CalibrationEntry, ...]:
        """The entries that are found by the camera which took the photo."""
        return tuple(entry for entry in self.entries if entry.camera)

    def find(self, path: PurePath, relative: PurePath | None = None, camera: str = "") -> Intrinsics | None:
        """Intrinsics for a photo: by path, name or stem, then by glob, by ``camera``, then the entry for all."""
        position = self._index.find(path, relative)
        if position is not None:
            return self.entries[position].intrinsics
        spellings = {path.as_posix(), path.name, (relative or path).as_posix()}
        for entry in self._globs:
            if any(fnmatch.fnmatch(text, entry.pattern) for text in spellings):
                return entry.intrinsics
        everywhere = [entry for entry in self.entries if not entry.pattern and entry.camera in ("", camera)]
        return everywhere[0].intrinsics if everywhere else None


def camera_name(make: str, model: str) -> str:
    """A camera's name as OpenSfM writes it: lower case, the make once; empty where the photo does not name it."""
    make, model = make.casefold().strip(), model.casefold()
    return " ".join(f"{make} {model.replace(make, '') if make else model}".split()) if model.strip() else ""


def fit_to_photo(
    intrinsics: Intrinsics, width: int, height: int, orientation: int, name: str
) -> tuple[Camera, tuple[str, ...]]:
    """Camera of an upright photo ``width`` x ``height``, and notes on what had to be adapted.

    ``orientation`` is the photo's EXIF value, by which a calibration of the stored pixels is turned. Raises
    `CalibrationError` when the calibration is of an image of another shape.
    """
    camera, notes = _calibrated_camera(intrinsics, width, height, name)
    turn = _turn(camera, width, height, orientation, is_stored=intrinsics.is_stored)
    if turn != 1:
        try:
            camera = turned(camera, turn)
        except CalibrationError as error:
            raise CalibrationError(f"{name}: {error.message}", hint=error.hint) from error
        notes = (*notes, f"calibration turned like the photo (orientation {turn})")
    elif orientation in (2, 3, 4) and _is_off_centre(camera):
        notes = (*notes, f"calibration taken as that of the upright image (the photo has orientation {orientation})")
    if (camera.width, camera.height) == (width, height):
        return camera, notes
    ratio = (width * camera.height) / (height * camera.width)
    if abs(ratio - 1) > ASPECT_TOLERANCE:
        raise CalibrationError(
            f"{name}: the calibration is for {camera.width} x {camera.height} pixels, the photo has {width} x {height}",
            hint="a cropped photo needs its own intrinsics",
        )
    note = f"calibration scaled from {camera.width} x {camera.height} pixels"
    return camera.resized(width, height), (*notes, note)


def _turn(camera: Camera, width: int, height: int, orientation: int, *, is_stored: bool) -> int:
    """Orientation by which the calibration must be turned to fit the upright photo; 1 for none."""
    shape = (camera.width - camera.height) * (width - height)
    if shape < 0:
        return orientation if orientation >= 5 else 6
    # A landscape calibration of an upright landscape photo stored sideways was made of an upright copy.
    if not is_stored or (orientation >= 5 and shape > 0):
        return 1
    return orientation


def _is_off_centre(camera: Camera) -> bool:
    return _offset(camera.cx, camera.cy, camera.width, camera.height) > NOTED_OFFSET


def _offset(cx: float, cy: float, width: int, height: int) -> float:
    """How far a principal point is from the middle of an image, in parts of a side."""
    return max(abs(cx / width - 0.5), abs(cy / height - 0.5))


def _calibrated_camera(intrinsics: Intrinsics, width: int, height: int, name: str) -> tuple[Camera, tuple[str, ...]]:
    """The calibration as a camera, of the photo's size where it tells none, and notes."""
    is_size_known = intrinsics.width is not None and intrinsics.height is not None
    intrinsics = _with_sides_in_order(intrinsics) if is_size_known else _with_size(intrinsics, width, height)
    own_width, own_height = intrinsics.width or width, intrinsics.height or height
    unit = own_width if intrinsics.in_widths else 1
    camera = Camera(
        width=own_width,
        height=own_height,
        fx=intrinsics.fx * unit,
        fy=intrinsics.fy * unit,
        cx=own_width / 2 if intrinsics.cx is None else intrinsics.cx,
        cy=own_height / 2 if intrinsics.cy is None else intrinsics.cy,
        focal_source=FocalSource.CALIBRATION,
        focal_rel_sigma=CALIBRATION_SIGMA,
        distortion=intrinsics.distortion,
    )
    _check_centre(camera, name, is_size_known=is_size_known)
    camera, doubts = _doubted(camera, is_size_known=is_size_known)
    if intrinsics.region is not None and (own_width, own_height) != (width, height):
        camera, note = _within_region(camera, intrinsics.region, width, height, name)
        doubts = (*doubts, note)
    return camera, (*intrinsics.notes, *doubts)


def _with_sides_in_order(intrinsics: Intrinsics) -> Intrinsics:
    """Width and height the other way round where the principal point fits only so."""
    cx, cy, width, height = intrinsics.cx, intrinsics.cy, intrinsics.width, intrinsics.height
    if cx is None or cy is None or width is None or height is None:
        return intrinsics
    given = _offset(cx, cy, width, height)
    if given <= SWAPPED_OFFSET or _offset(cx, cy, height, width) >= given / 3:
        return intrinsics
    note = f"width and height of the calibration are swapped: its principal point fits {height} x {width} pixels"
    return dataclasses.replace(intrinsics, width=height, height=width, notes=(*intrinsics.notes, note))


def _with_size(intrinsics: Intrinsics, width: int, height: int) -> Intrinsics:
    """The photo's size for a calibration without one.

    A focal length in widths goes with every size of the photo; the principal point beside it is scaled to this one.
    """
    notes = (*intrinsics.notes, "the calibration does not tell its image size; the size of the photo is taken")
    sized = dataclasses.replace(intrinsics, width=width, height=height, notes=notes)
    if not intrinsics.in_widths or not intrinsics.cx or not intrinsics.cy:
        return sized
    across, down = intrinsics.cx / width, intrinsics.cy / height
    if min(across, down) <= 0 or abs(across / down - 1) > SAME_SHAPE or abs(across + down - 1) <= NOTED_OFFSET:
        return sized
    note = "the principal point is scaled to the photo, as one near the middle"
    scale = across + down
    return dataclasses.replace(sized, cx=intrinsics.cx / scale, cy=intrinsics.cy / scale, notes=(*notes, note))


def _within_region(
    camera: Camera, region: tuple[int, int, int, int], width: int, height: int, name: str
) -> tuple[Camera, str]:
    """The camera of the region of interest, which a photo of its size shows (sensor_msgs/CameraInfo)."""
    left, top, wide, high = region
    if (wide, high) != (width, height):
        raise CalibrationError(
            f"{name}: the photo has {width} x {height} pixels, the calibrated image {camera.width} x {camera.height} "
            f"and its region of interest {wide} x {high}",
            hint="leave roi out where photos show the whole image; else give the intrinsics of the photos themselves",
        )
    note = f"the calibration's region of interest is taken: {wide} x {high} pixels from ({left}, {top})"
    return camera.cropped(left, top, wide, high), note


def _doubted(camera: Camera, *, is_size_known: bool) -> tuple[Camera, tuple[str, ...]]:
    """A wider sigma and a note where the principal point makes the calibration doubtful."""
    off = _offset(camera.cx, camera.cy, camera.width, camera.height)
    if off <= (CENTRE_TOLERANCE if is_size_known else UNSIZED_TOLERANCE):
        return camera, ()
    where = f"the principal point ({camera.cx:.1f}, {camera.cy:.1f}) is {off:.0%} of a side from the middle"
    if is_size_known:
        note = f"{where}: check the calibration; lengths may be off by {DOUBTED_SIGMA:.0%}"
        return dataclasses.replace(camera, focal_rel_sigma=DOUBTED_SIGMA), (note,)
    # The larger of the ratios of sizes that would bring the principal point to the middle.
    ratio = max(abs(math.log(2 * camera.cx / camera.width)), abs(math.log(2 * camera.cy / camera.height)))
    sigma = min(max(DOUBTED_SIGMA, ratio), MOST_DOUBTED_SIGMA)
    note = (
        f"{where}: the calibration may be of an image of another size, lengths may be off by {sigma:.0%} "
        "(give its width and height)"
    )
    return dataclasses.replace(camera, focal_rel_sigma=sigma), (note,)


def _check_centre(camera: Camera, name: str, *, is_size_known: bool) -> None:
    """A principal point far from the middle belongs to another image, unless the file insists with a size."""
    off_x, off_y = abs(camera.cx / camera.width - 0.5), abs(camera.cy / camera.height - 0.5)
    if min(off_x, off_y) > CORNER:
        raise CalibrationError(
            f"{name}: the principal point ({camera.cx:.1f}, {camera.cy:.1f}) is a corner of the image",
            hint="leave cx and cy out where they are unknown; a matrix is read row by row or column by column",
        )
    if max(off_x, off_y) <= (0.5 if is_size_known else CENTRE_TOLERANCE):
        return
    raise CalibrationError(
        f"{name}: the principal point ({camera.cx:.1f}, {camera.cy:.1f}) does not fit an image of "
        f"{camera.width} x {camera.height} pixels",
        hint="give the size the calibration was made for (width, height)",
    )


def made_distortion(model: DistortionModel, values: Any) -> Distortion | None:
    """Distortion of ``values``, or None for Brown's when all are zero: a fisheye lens without terms is equidistant.

    OpenCV's numbers of coefficients are enforced by zeros.
    """
    numbers = [float(value) for value in values]
    if not any(numbers) and model is DistortionModel.BROWN:
        return None
    lengths = (4,) if model is DistortionModel.FISHEYE else (4, 5, 8, 12, 14)
    length = next((each for each in lengths if each >= len(numbers)), None)
    if length is None or not all(map(math.isfinite, numbers)):
        raise CalibrationError(f"{model} distortion does not have {len(numbers)} coefficients")
    return Distortion(model, (*numbers, *(0.0 for _ in range(length - len(numbers)))))


def turned(camera: Camera, orientation: int) -> Camera:
    """`Camera.rotated` that also turns the tangential terms of Brown's distortion.

    (p2, p1) is a vector in the image plane: the displacement r^2 t + 2 x (x . t) of a point x turns and mirrors
    with it.
    """
    upright = camera.rotated(orientation)
    lens = camera.distortion
    if lens is None or lens.model is DistortionModel.FISHEYE or len(lens.coefficients) < 4:
        return upright
    if any(lens.coefficients[TURNING_COEFFICIENTS:]):
        raise CalibrationError(
            "thin prism and tilt coefficients cannot be turned", hint="calibrate with upright images"
        )
    coefficients = list(lens.coefficients)
    coefficients[3], coefficients[2] = _turned_vector(lens.coefficients[3], lens.coefficients[2], orientation)
    return dataclasses.replace(upright, distortion=Distortion(lens.model, tuple(coefficients)))


def _turned_vector(x: float, y: float, orientation: int) -> tuple[float, float]:
    if orientation >= 5:
        x, y = y, x
    return (-x if orientation in (2, 3, 6, 7) else x), (-y if orientation in (3, 4, 7, 8) else y)
