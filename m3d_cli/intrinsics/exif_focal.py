"""Focal lengths that follow from EXIF: by 35 mm equivalent, by focal plane resolution, by sensor size.

Every rule gives a candidate with its own sigma, already checked against what optics and sensors allow.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from m3d_cli.camera import FocalCandidate, FocalSource
from m3d_cli.intrinsics.exif import ExifFacts
from m3d_cli.intrinsics.original_size import IN_CAMERA_CROP_SIGMA, Frame
from m3d_cli.intrinsics.sensor_kinds import (
    LONG_LENS,
    LONG_LENS_KIND,
    SensorKind,
    sensor_bounds,
    sensor_kind,
    usual_diagonals,
)
from m3d_cli.intrinsics.sensors import FULL_FRAME_DIAGONAL, LARGEST_SENSOR, SMALLEST_SENSOR, Sensor, normalised_make
from m3d_cli.intrinsics.wide_lenses import bent_lens
from m3d_cli.intrinsics.xmp import FISHEYE

# Bounds outside of which a number is no focal length of a camera; superzooms reach 3000 mm, half a degree is 114 long
# sides (`camera.FIELDS_OF_VIEW`).
EQUIVALENT_RANGE = (2.0, 4000.0)
USUAL_EQUIVALENTS = (8.0, 400.0)
FOCAL_RATIO_RANGE = (0.2, 114.0)
# Without millimetres, which would need a sensor that exists, a 35 mm equivalent above 720 mm is a slip.
LARGEST_LONE_RATIO = 20.0

# Millimetres in one FocalPlaneResolutionUnit; EXIF defines 2 and 3, files also hold 4 and 5.
UNIT_MILLIMETRES = {2: 25.4, 3: 10.0, 4: 1.0, 5: 0.001}

MILLIMETRES = 4

PLANE_SIGMA = 0.03
PLANE_SIGMA_WITHOUT_SIZE = 0.05
SENSOR_SIGMA = 0.03
NEAR_NAME_SIGMA = 0.05
SENSOR_FLAG_SIGMA = 0.02
UNUSUAL_SIGMA = 0.15
# A zoom factor is written with few digits and its resampling is the camera's secret.
ZOOM_SIGMA = 0.05
LARGEST_ZOOM = 50.0
# f35 / f_mm is compared with the sensor's own factor within this, either with or without the digital zoom.
ZOOM_TOLERANCE = 0.12
# Makers known to count the digital zoom in the 35 mm equivalent (an iPhone of 29 mm writes 57 mm at zoom 1.97).
ZOOM_INCLUDED_MAKES = frozenset(("apple",))
# A lens that is no pinhole, and one below 17 mm (35 mm equivalent), of which many are none.
BENT_SIGMA = 0.25
WIDE_EQUIVALENT, WIDE_SIGMA = 17.0, 0.1
# Viewers that resize a photo keep the pixels per mm of the larger one and write the new size as the camera's.
EDITED_PLANE_SIGMA = 0.4
# What gives a sensor that is not within this share of one that such cameras have.
USUAL_TOLERANCE, ODD_PLANE_SIGMA = 0.05, 0.4
_EDITORS = re.compile(
    r"acd ?see|acd systems|affinity|aperture|capture one|corel|darktable|digikam|dxo|faststone|fotor|gimp|google"
    r"|graphic|image ?magick|iphoto|irfan|lightroom|luminar|microsoft|nikon (transfer|view)|ofoto|paint|photo|picasa"
    r"|pixelmator|polarr|preview|rawtherapee|snapseed|ulead|viewer|windows|xnview|zoner"
)
PANORAMA_SIGMA = 0.5


@dataclass(slots=True)
class _Facts:
    """One photo's facts on their way through the rules, and the warnings they collect."""

    frame: Frame
    exif: ExifFacts
    sensor: Sensor | None
    is_turned: bool
    warnings: list[str]

    @property
    def kind(self) -> SensorKind | None:
        """The kind of a camera that no table has; its sensor's size is known within bounds."""
        if self.sensor is not None:
            return None
        frame = self.frame
        return sensor_kind(self.exif.make, self.exif.model, frame.camera_long, frame.camera_short, self.exif.year)

    @property
    def diagonals(self) -> tuple[float, float]:
        """Sensor diagonals in mm that a camera of this name may have."""
        exif, frame = self.exif, self.frame
        known = (
            None
            if self.sensor
            else sensor_bounds(exif.make, exif.model, frame.camera_long, frame.camera_short, exif.year)
        )
        return known or (SMALLEST_SENSOR, LARGEST_SENSOR)

    @property
    def zoom(self) -> float:
        zoom = self.exif.digital_zoom or 1.0
        return zoom if 1.01 < zoom <= LARGEST_ZOOM else 1.0


def exif_candidates(
    frame: Frame, exif: ExifFacts, sensor: Sensor | None, *, is_turned: bool = False, sensor_width: float | None = None
) -> tuple[tuple[FocalCandidate, ...], tuple[str, ...]]:
    """Candidates in order of trust, and warnings; ``sensor_width`` (mm) is the user's and comes before all."""
    facts = _Facts(frame, exif, sensor, is_turned, [])
    rules = (
        _by_sensor_flag(facts, sensor_width),
        _by_pixel_lens(facts),
        _by_equivalent(facts),
        _by_plane(facts) or _by_plane_width(facts),
        _by_sensor(facts),
    )
    kept = tuple(_adjusted(facts, one) for one in rules if one is not None and _is_sane(facts, one))
    if not kept and (bounded := _by_kind(facts)) is not None and _is_sane(facts, bounded):
        kept = (_adjusted(facts, bounded),)
        facts.warnings.append(
            f"the sensor of this camera is unknown; that of {bounded.note.partition(' of ')[2]} is taken: "
            f"lengths may be off by {bounded.rel_sigma:.0%} (pass --focal, --focal-35mm or --sensor-width)"
        )
    if [one.source for one in kept] == [FocalSource.EXIF_FOCAL_PLANE]:
        kept = (_unconfirmed_plane(facts, kept[0]),)
    kept = tuple(_bent(facts, one) for one in kept)
    _note_bent_lens(facts, kept)
    if kept and frame.is_cropped:
        facts.warnings.append(
            "the image was cropped after it was taken: its focal length and principal point are less certain"
        )
    if kept and exif.crop is not None:
        facts.warnings.append("the image was cropped in an editor, as its XMP says: the crop is taken into account")
    elif kept and frame.is_strip:
        facts.warnings.append("an image this wide is a panorama or a strip: its focal length is uncertain")
    elif kept and frame.added_sigma:
        facts.warnings.append("no sensor has that shape: taken as cut in the camera from a 4:3 sensor")
    if exif.projection not in ("", FISHEYE):
        kept = tuple(one.widened(PANORAMA_SIGMA) for one in kept)
        facts.warnings.append(
            f"the photo is a panorama ({exif.projection}), no flat image: the focal length of its lens is not that of "
            "the image, and lengths are wrong"
        )
    return kept, tuple(facts.warnings)


def _by_sensor_flag(facts: _Facts, width: float | None) -> FocalCandidate | None:
    if width is None:
        return None
    if facts.exif.focal_mm is None:
        facts.warnings.append("--sensor-width is of no use: the photo does not tell its focal length in millimetres")
        return None
    focal = facts.exif.focal_mm / width * facts.frame.long
    note = f"{facts.exif.focal_mm:g} mm on a sensor {width:g} mm wide (--sensor-width)"
    return _zoomed(facts, FocalCandidate(focal, focal, FocalSource.USER, SENSOR_FLAG_SIGMA, note))


def _by_pixel_lens(facts: _Facts) -> FocalCandidate | None:
    """The lens in pixels that a drone or a depth photo states."""
    lens = facts.exif.pixel_lens
    if lens is None:
        return None
    # Without a size of its own the lens is of the camera's whole image.
    scale = facts.frame.long / (lens.long or facts.frame.camera_long)
    fx, fy = (lens.fy, lens.fx) if facts.is_turned else (lens.fx, lens.fy)
    note = f"{lens.fx:g} px over {lens.long or facts.frame.camera_long:g} px ({lens.tag})"
    found = FocalCandidate(fx * scale, fy * scale, FocalSource.CALIBRATION, lens.rel_sigma, note)
    return _zoomed(facts, found)


def _by_equivalent(facts: _Facts) -> FocalCandidate | None:
    """f = f35 / 43.2666 * diagonal; the tag is a whole number, so half a millimetre is its rounding."""
    equivalent = facts.exif.focal_35mm
    if equivalent is None or not EQUIVALENT_RANGE[0] < equivalent < EQUIVALENT_RANGE[1]:
        return None
    focal = equivalent / FULL_FRAME_DIAGONAL * facts.frame.diagonal
    sigma = math.hypot(0.5 / equivalent, 0.02)
    found = FocalCandidate(
        focal, focal, FocalSource.EXIF_35MM, sigma, f"{equivalent:g} mm equivalent over the diagonal"
    )
    if not USUAL_EQUIVALENTS[0] <= equivalent <= USUAL_EQUIVALENTS[1]:
        facts.warnings.append(f"a 35 mm equivalent of {equivalent:g} mm is unusual")
        found = found.widened(UNUSUAL_SIGMA)
    if facts.frame.may_be_cut_in_camera:
        found = found.widened(IN_CAMERA_CROP_SIGMA)
    return _equivalent_zoomed(facts, found)


def _equivalent_zoomed(facts: _Facts, found: FocalCandidate) -> FocalCandidate:
    """Makers differ in whether the 35 mm equivalent includes the digital zoom; only the sensor's size can tell."""
    zoom, native = facts.zoom, _native_diagonal(facts)
    if zoom == 1.0 or normalised_make(facts.exif.make) in ZOOM_INCLUDED_MAKES:
        return found
    if native and facts.exif.focal_mm and facts.exif.focal_35mm:
        excess = math.log(facts.exif.focal_35mm / facts.exif.focal_mm * native / FULL_FRAME_DIAGONAL)
        without, included = abs(excess), abs(excess - math.log(zoom))
        if min(without, included) <= ZOOM_TOLERANCE:
            return found if included <= without else found.zoomed(zoom).widened(ZOOM_SIGMA)
    if (is_included := _zoom_by_bounds(facts, zoom)) is not None:
        return found if is_included else found.zoomed(zoom).widened(ZOOM_SIGMA)
    facts.warnings.append(f"digital zoom {zoom:g}: the photo does not tell whether its 35 mm equivalent includes it")
    return found.widened(min(0.5, math.log(zoom) / 2))


def _zoom_by_bounds(facts: _Facts, zoom: float) -> bool | None:
    """Whether the 35 mm equivalent includes the zoom, where only one answer gives a sensor that such cameras have."""
    exif, frame = facts.exif, facts.frame
    bounds = sensor_bounds(exif.make, exif.model, frame.camera_long, frame.camera_short, exif.year)
    if bounds is None or not exif.focal_mm or not exif.focal_35mm:
        return None
    diagonal = exif.focal_mm * FULL_FRAME_DIAGONAL / exif.focal_35mm
    without, included = (bounds[0] <= one <= bounds[1] for one in (diagonal, diagonal * zoom))
    return included if without != included else None


def _native_diagonal(facts: _Facts) -> float | None:
    """Diagonal in mm of the whole sensor, from the sensor table or else from the focal plane resolution."""
    sensor, frame = facts.sensor, facts.frame
    if sensor and sensor.diagonal:
        return sensor.diagonal
    if sensor and sensor.width:
        return sensor.width * math.hypot(1.0, frame.camera_short / frame.camera_long)
    density = _plane_density(facts, quiet=True)
    return math.hypot(frame.camera_long, frame.camera_short) / density[0] if density else None


def _by_plane(facts: _Facts) -> FocalCandidate | None:
    """f = f_mm * pixels per mm, for the camera's own pixels: a resized image scales it."""
    density = _plane_density(facts)
    if density is None or facts.exif.focal_mm is None:
        return None
    fx, fy = (facts.exif.focal_mm * each * facts.frame.scale for each in density)
    if facts.is_turned:
        fx, fy = fy, fx
    sigma = PLANE_SIGMA if facts.frame.is_original_known else PLANE_SIGMA_WITHOUT_SIZE
    note = f"{facts.exif.focal_mm:g} mm at {density[0]:.1f} pixels per mm"
    return _zoomed(facts, FocalCandidate(fx, fy, FocalSource.EXIF_FOCAL_PLANE, sigma, note))


def _unconfirmed_plane(facts: _Facts, found: FocalCandidate) -> FocalCandidate:
    """A resolution that nothing else confirms, and that may be of another size than the one EXIF gives.

    Editors that resize write the new size, of which nothing shows; a camera's own resolution gives a sensor that
    cameras have.
    """
    if facts.frame.scale != 1.0 or facts.exif.focal_mm is None:
        return found
    diagonal = facts.exif.focal_mm * facts.frame.diagonal / found.focal * facts.zoom
    if _EDITORS.search(facts.exif.software.casefold()):
        why, sigma = f"{facts.exif.software} wrote this file", EDITED_PLANE_SIGMA
    elif not any(abs(diagonal / usual - 1) <= USUAL_TOLERANCE for usual in usual_diagonals(facts.kind)):
        why, sigma = f"it gives a sensor of {diagonal:.1f} mm, which such cameras do not have", ODD_PLANE_SIGMA
    else:
        return found
    facts.warnings.append(f"the focal plane resolution, which nothing confirms, may belong to another size: {why}")
    return found.widened(sigma)


def _bent(facts: _Facts, found: FocalCandidate) -> FocalCandidate:
    """Sigma of a lens that is no pinhole, or so wide that it hardly can be one."""
    if found.source is FocalSource.USER:
        return found
    if bent_lens(facts.exif):
        return found.widened(BENT_SIGMA)
    return found.widened(WIDE_SIGMA) if _equivalent(facts, found) < WIDE_EQUIVALENT else found


def _note_bent_lens(facts: _Facts, kept: tuple[FocalCandidate, ...]) -> None:
    what = bent_lens(facts.exif)
    is_wide = any(_equivalent(facts, one) < WIDE_EQUIVALENT for one in kept)
    if not what and not is_wide:
        return
    facts.warnings.append(
        f"{what or 'so wide a lens'} may bend straight lines, and the photo is taken as flat: for a fisheye give "
        "--projection fisheye with --fov or --intrinsics"
    )


def _equivalent(facts: _Facts, found: FocalCandidate) -> float:
    """The 35 mm equivalent in mm of a focal length in pixels, before any digital zoom."""
    return found.focal / facts.zoom / facts.frame.diagonal * FULL_FRAME_DIAGONAL


def _by_plane_width(facts: _Facts) -> FocalCandidate | None:
    """Thermal cameras write the width of their sensor in mm where its pixels per mm belong."""
    width, millimetres, kind = facts.exif.plane_x, facts.exif.focal_mm, facts.kind
    if width is None or millimetres is None or kind is None or facts.exif.plane_unit != MILLIMETRES:
        return None
    if not kind.smallest <= width * facts.frame.diagonal / facts.frame.long <= kind.largest:
        return None
    focal = millimetres / width * facts.frame.long
    note = f"{millimetres:g} mm on a sensor {width:g} mm wide (written as its resolution)"
    return FocalCandidate(focal, focal, FocalSource.EXIF_FOCAL_PLANE, PLANE_SIGMA_WITHOUT_SIZE, note)


def _plane_density(facts: _Facts, *, quiet: bool = False) -> tuple[float, float] | None:
    """Pixels per mm on the sensor along x and y, or None when no unit gives a sensor that exists."""
    x, y = facts.exif.plane_x, facts.exif.plane_y
    if x is None:
        x = y
    if x is None:
        return None
    y = y if y is not None and 0.9 <= x / y <= 1.1 else x
    unit, (smallest, largest) = facts.exif.plane_unit or 2, facts.diagonals
    # Some cameras confuse inch and centimetre; the sensor's size shows which it must have been.
    for tried in (unit, {2: 3, 3: 2}.get(unit, unit)):
        millimetres = UNIT_MILLIMETRES[tried]
        diagonal = math.hypot(facts.frame.camera_long, facts.frame.camera_short) / x * millimetres
        if smallest <= diagonal <= largest:
            if tried != unit and not quiet:
                facts.warnings.append("the unit of the focal plane resolution is wrong; inch and cm were exchanged")
            return x / millimetres, y / millimetres
        if SMALLEST_SENSOR <= diagonal <= LARGEST_SENSOR:
            break  # A sensor of another camera: the image was resized, not the unit confused.
    if not quiet:
        facts.warnings.append("the focal plane resolution does not belong to this image size and is not used")
    return None


def _by_sensor(facts: _Facts) -> FocalCandidate | None:
    sensor, millimetres = facts.sensor, facts.exif.focal_mm
    if sensor is None or millimetres is None:
        return None
    sigma = SENSOR_SIGMA if sensor.exact else NEAR_NAME_SIGMA
    if sensor.width:
        focal, size = millimetres / sensor.width * facts.frame.long, f"{sensor.width:.2f} mm wide"
    elif sensor.diagonal:
        focal, size = millimetres / sensor.diagonal * facts.frame.diagonal, f"of {sensor.diagonal:.2f} mm diagonal"
    else:
        return None
    if facts.frame.may_be_cut_in_camera:
        sigma = math.hypot(sigma, IN_CAMERA_CROP_SIGMA)
    note = f"{millimetres:g} mm on a sensor {size} ({sensor.origin})"
    return _zoomed(facts, FocalCandidate(focal, focal, FocalSource.SENSOR_TABLE, sigma, note))


def _by_kind(facts: _Facts) -> FocalCandidate | None:
    """The usual sensor of such cameras, where only the millimetres are known."""
    kind, millimetres = facts.kind, facts.exif.focal_mm
    if kind is None and millimetres is not None and millimetres > LONG_LENS:
        kind = LONG_LENS_KIND
    if kind is None or millimetres is None:
        return None
    focal = millimetres / kind.usual * facts.frame.diagonal
    note = f"{millimetres:g} mm on the usual sensor of {kind.name}, {kind.usual:.1f} mm in diagonal"
    return _zoomed(facts, FocalCandidate(focal, focal, FocalSource.SENSOR_TABLE, kind.sigma, note))


def _zoomed(facts: _Facts, found: FocalCandidate) -> FocalCandidate:
    """Rules from the real focal length never include the digital zoom."""
    return found if facts.zoom == 1.0 else found.zoomed(facts.zoom).widened(ZOOM_SIGMA)


def _is_sane(facts: _Facts, found: FocalCandidate) -> bool:
    """Whether the focal length is one a camera can have, given its sensor would have to exist too."""
    ratio = found.focal / facts.frame.long
    largest = LARGEST_LONE_RATIO if facts.exif.focal_mm is None else FOCAL_RATIO_RANGE[1]
    if not FOCAL_RATIO_RANGE[0] < ratio < largest:
        facts.warnings.append(f"{found.source}: {found.note} is out of range and not used")
        return False
    if facts.exif.focal_mm is None:
        return True
    diagonal = facts.exif.focal_mm * facts.frame.diagonal / found.focal * facts.zoom
    if not SMALLEST_SENSOR <= diagonal <= LARGEST_SENSOR:
        facts.warnings.append(
            f"{found.source}: {found.note} would need a sensor of {diagonal:.2f} mm diagonal and is not used"
        )
        return False
    return True


def _adjusted(facts: _Facts, found: FocalCandidate) -> FocalCandidate:
    """Sigma of what concerns every rule: a crop."""
    return found.widened(facts.frame.crop_sigma)
