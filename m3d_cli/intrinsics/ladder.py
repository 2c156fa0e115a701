"""The focal length of a photo in pixels: one pure function from facts to a camera with source and uncertainty.

The ladder, most trusted first: the user's word, a calibration file, the 35 mm equivalent, the focal plane resolution,
the sensor size, an assumption. Rules of EXIF are checked against each other; what makes no sense is dropped with a
warning. The 35 mm equivalent is by equal diagonal field of view (CIPA DCG-001).
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field

from m3d_cli.camera import FIELDS_OF_VIEW, Camera, Distortion, DistortionModel, FocalCandidate, FocalSource
from m3d_cli.errors import UsageError
from m3d_cli.intrinsics.exif import ExifFacts
from m3d_cli.intrinsics.exif_focal import PANORAMA_SIGMA, exif_candidates
from m3d_cli.intrinsics.original_size import Frame
from m3d_cli.intrinsics.sensor_kinds import is_phone
from m3d_cli.intrinsics.sensors import FULL_FRAME_DIAGONAL, Sensor
from m3d_cli.intrinsics.wide_lenses import is_all_round_shape

# 69.4 degrees over the long side, a phone's main camera (26 mm on 4:3): f = long side / (2 tan(69.4 / 2)) = 0.722 long.
ASSUMED_FOCAL_RATIO = 0.72
# Cameras in use span 55 to 80 degrees.
ASSUMED_SIGMA = 0.25

ASSUMED_WARNING = (
    "focal length unknown, 69.4 degrees assumed: lengths may be off by 25 % (pass --focal or --focal-35mm)"
)
ALL_ROUND_WARNING = (
    "twice as wide as high: if this is a 360-degree photo, give --projection equirectangular; it is taken as flat"
)
# Main lenses of phones have up to 9 mm, on 1" sensors; longer ones are second cameras, 2 to 5 times as long.
LONGEST_MAIN_LENS, SECOND_LENS_SIGMA = 9.5, 0.8

_PLANE = FocalSource.EXIF_FOCAL_PLANE

FOCAL_FLAG_SIGMA = 0.005
MILLIMETRE_FLAG_SIGMA = 0.01
FOV_FLAG_SIGMA = 0.01

# Two rules that differ by more than this disagree; a flag further than this factor from EXIF may be a slip of units.
AGREEMENT = 0.10
SUSPICIOUS_FACTOR = 1.5

# A crop or zoom makes a sensor look smaller, nothing makes it larger; up to this factor a table may be wrong.
LARGER_SENSOR = 1.5

# Focal plane resolutions that nothing confirms were seen up to 20 % off, in cameras that interpolate their pixels.
UNCONFIRMED_PLANE_SIGMA = 0.05


@dataclass(frozen=True, slots=True)
class UserFocal:
    """What the user said about the focal length; at most one of the four ways.

    ``pixels`` is for the upright file as read, ``millimetres`` needs ``sensor_width`` (mm, long side), ``equivalent``
    is the 35 mm equivalent in mm, ``fov`` the horizontal field of view in degrees. ``sensor_width`` alone goes with
    EXIF's focal length.
    """

    pixels: float | None = None
    millimetres: float | None = None
    sensor_width: float | None = None
    equivalent: float | None = None
    fov: float | None = None

    def __post_init__(self) -> None:
        ways = (self.pixels, self.millimetres, self.equivalent, self.fov)
        if sum(way is not None for way in ways) > 1:
            raise UsageError("give one of --focal, --focal-mm, --focal-35mm and --fov, not several")
        for number in (*ways, self.sensor_width):
            if number is not None and not (math.isfinite(number) and number > 0):
                raise UsageError(f"a focal length, sensor width or angle must be a positive number, not {number}")
        if self.fov is not None and not FIELDS_OF_VIEW[0] <= self.fov <= FIELDS_OF_VIEW[1]:
            raise UsageError(
                f"a flat image cannot see {self.fov:g} degrees",
                hint=f"--fov is in degrees, {FIELDS_OF_VIEW[0]:g} to {FIELDS_OF_VIEW[1]:g}",
            )
        if self.millimetres is not None and self.sensor_width is None:
            raise UsageError("--focal-mm needs --sensor-width, the width of the sensor in millimetres")

    @property
    def is_given(self) -> bool:
        """Whether a focal length follows from the flags alone."""
        return any(way is not None for way in (self.pixels, self.millimetres, self.equivalent, self.fov))


@dataclass(frozen=True, slots=True)
class FocalFacts:
    """All that is known about one photo; sizes in pixels of the full upright image.

    ``is_turned`` tells that EXIF's x is the upright y. ``intrinsics`` is the calibration already fitted to this size.
    """

    width: int
    height: int
    exif: ExifFacts = field(default_factory=ExifFacts)
    is_turned: bool = False
    sensor: Sensor | None = None
    user: UserFocal = field(default_factory=UserFocal)
    intrinsics: Camera | None = None
    notes: tuple[str, ...] = ()


def recover_focal(facts: FocalFacts) -> Camera:
    """Best estimate of the focal length from ``facts``; the last resort is an assumption.

    Raises `CalibrationError` where the user or a calibration gives a focal length that no camera has.
    """
    exif = facts.exif
    frame = Frame.of(
        facts.width,
        facts.height,
        exif.width,
        exif.height,
        is_turned=facts.is_turned,
        crop=exif.crop,
        is_phone=is_phone(exif.make, exif.model, facts.width, facts.height),
    )
    found, warnings = exif_candidates(
        frame,
        exif,
        facts.sensor,
        is_turned=facts.is_turned,
        sensor_width=facts.user.sensor_width,
    )
    if facts.user.is_given:
        return _compared(_from_user(facts).checked(), found)
    if facts.intrinsics is not None:
        return _compared(_from_intrinsics(facts, facts.intrinsics.checked()), found)
    notes = (*facts.notes, *warnings)
    if not found:
        return _assumed(facts, notes)
    chosen, disagreement = choose(found)
    estimate = _estimate(facts, chosen, found, (*notes, *disagreement))
    estimate = dataclasses.replace(estimate, cx=frame.centre[0] * facts.width, cy=frame.centre[1] * facts.height)
    return _with_lens(estimate, facts, frame)


def _with_lens(estimate: Camera, facts: FocalFacts, frame: Frame) -> Camera:
    """Principal point and distortion of a lens stated in pixels, where the image is the camera's whole one."""
    lens = facts.exif.pixel_lens
    is_whole = not (facts.is_turned or frame.is_cropped or frame.added_sigma)
    if lens is None or estimate.focal_source is not FocalSource.CALIBRATION or not is_whole:
        return estimate
    scale = estimate.fx / lens.fx
    return dataclasses.replace(
        estimate,
        cx=estimate.cx + lens.offset[0] * scale,
        cy=estimate.cy + lens.offset[1] * scale,
        distortion=Distortion(DistortionModel.BROWN, lens.distortion) if lens.distortion else None,
    )


def choose(found: tuple[FocalCandidate, ...]) -> tuple[FocalCandidate, tuple[str, ...]]:
    """The first candidate, unless it stands alone against two that agree; disagreement widens its sigma."""
    first = found[0]
    if first.source is FocalSource.USER:
        return first, ()
    if len(found) == 1:
        return (first.widened(UNCONFIRMED_PLANE_SIGMA) if first.source is _PLANE else first), ()
    rivals = [other for other in found[1:] if _differ(first, other)]
    if not rivals:
        return first, ()
    if first.source is _PLANE:
        # Cameras leave the resolution of the whole sensor in images recorded smaller, editors that of another size.
        what = "belongs to a larger image" if first.focal > rivals[0].focal else "contradicts the size of the sensor"
        note = f"the focal plane resolution {what}; the sensor size is used"
        return rivals[0].widened(UNCONFIRMED_PLANE_SIGMA), (note,)
    listed = ", ".join(f"{one.source}={one.focal:.0f} px" for one in found)
    warning = f"EXIF focal sources disagree: {listed}"
    if len(rivals) == len(found) - 1 and len(found) == 3 and not _differ(found[1], found[2]):
        return found[1], (f"{warning}; the two that agree are used",)
    if len(rivals) < len(found) - 1:
        return first, (f"{warning}; the two that agree are used",)
    table = next((one for one in rivals if one.source is FocalSource.SENSOR_TABLE), None)
    if table is not None and table.focal > LARGER_SENSOR * first.focal:
        return table.widened(UNCONFIRMED_PLANE_SIGMA), (
            f"{warning}; the first needs a larger sensor than this camera's",
        )
    # Nobody confirms the first: half the distance to its rival is a fair standard deviation.
    spread = min(0.5, max(abs(math.log(first.focal / other.focal)) for other in rivals) / 2)
    return dataclasses.replace(first, rel_sigma=max(first.rel_sigma, spread)), (warning,)


def _differ(one: FocalCandidate, other: FocalCandidate) -> bool:
    return abs(one.focal / other.focal - 1) > AGREEMENT


def _estimate(
    facts: FocalFacts, chosen: FocalCandidate, found: tuple[FocalCandidate, ...], warnings: tuple[str, ...]
) -> Camera:
    return Camera(
        width=facts.width,
        height=facts.height,
        fx=chosen.fx,
        fy=chosen.fy,
        cx=facts.width / 2,
        cy=facts.height / 2,
        focal_source=chosen.source,
        focal_rel_sigma=chosen.rel_sigma,
        derivation=chosen.note,
        candidates=found,
        warnings=warnings,
    )


def _assumed(facts: FocalFacts, warnings: tuple[str, ...]) -> Camera:
    focal = ASSUMED_FOCAL_RATIO * max(facts.width, facts.height)
    note = "69.4 degrees over the long side"
    chosen = FocalCandidate(focal, focal, FocalSource.ASSUMED, ASSUMED_SIGMA, note)
    if facts.exif.projection:
        chosen = chosen.widened(PANORAMA_SIGMA)
    elif is_all_round_shape(facts.width, facts.height):
        chosen = chosen.widened(PANORAMA_SIGMA)
        warnings = (*warnings, ALL_ROUND_WARNING)
    # A phone's main camera is what the assumption is of: for a phone it counts as evidence beside what the image says.
    is_of_phone = is_phone(facts.exif.make, facts.exif.model, facts.width, facts.height)
    if is_of_phone and (facts.exif.focal_mm or 0) > LONGEST_MAIN_LENS:
        chosen, is_of_phone = chosen.widened(SECOND_LENS_SIGMA), False
        warnings = (*warnings, f"a lens of {facts.exif.focal_mm:g} mm is not a phone's main one, and may see far less")
    return _estimate(facts, chosen, (chosen,) if is_of_phone else (), (*warnings, ASSUMED_WARNING))


def _from_user(facts: FocalFacts) -> Camera:
    focal, sigma, note = _user_focal(facts)
    chosen = FocalCandidate(focal, focal, FocalSource.USER, sigma, note)
    return _estimate(facts, chosen, (chosen,), facts.notes)


def _user_focal(facts: FocalFacts) -> tuple[float, float, str]:
    """Focal length in pixels, relative sigma and derivation of the flag that is set."""
    user = facts.user
    if user.pixels is not None:
        return user.pixels, FOCAL_FLAG_SIGMA, "--focal"
    if user.fov is not None:
        focal = facts.width / 2 / math.tan(math.radians(user.fov) / 2)
        return focal, FOV_FLAG_SIGMA, f"--fov {user.fov:g} degrees over the width"
    if user.equivalent is not None:
        focal = user.equivalent / FULL_FRAME_DIAGONAL * math.hypot(facts.width, facts.height)
        return focal, math.hypot(0.5 / user.equivalent, 0.02), f"--focal-35mm {user.equivalent:g} mm over the diagonal"
    millimetres, width = user.millimetres or math.nan, user.sensor_width or math.nan
    focal = millimetres / width * max(facts.width, facts.height)
    return focal, MILLIMETRE_FLAG_SIGMA, f"--focal-mm {millimetres:g} mm on a sensor {width:g} mm wide"


def _from_intrinsics(facts: FocalFacts, camera: Camera) -> Camera:
    chosen = FocalCandidate(camera.fx, camera.fy, FocalSource.CALIBRATION, camera.focal_rel_sigma, "calibration file")
    estimate = _estimate(facts, chosen, (chosen,), facts.notes)
    return dataclasses.replace(estimate, cx=camera.cx, cy=camera.cy, distortion=camera.distortion)


def _compared(estimate: Camera, found: tuple[FocalCandidate, ...]) -> Camera:
    """``estimate`` with EXIF's candidates beside it, and a warning when they are far off."""
    estimate = dataclasses.replace(estimate, candidates=(*estimate.candidates, *found))
    if found and abs(math.log(estimate.focal / found[0].focal)) > math.log(SUSPICIOUS_FACTOR):
        return estimate.with_warnings(
            f"the focal length given is {estimate.focal:.0f} px, the photo's own data say {found[0].focal:.0f} px "
            f"({found[0].note}); focal lengths are in pixels of the upright file"
        )
    return estimate
