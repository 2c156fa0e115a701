"""Documents of calibrations: JSON, YAML or XML as plain values, and the numbers in them.

Every format is a `DocumentFormat` in a file of its own; `read` tries them in order.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from m3d_cli.camera import LARGEST_SIDE, OPENCV_OFFSET, Distortion, DistortionModel
from m3d_cli.errors import CalibrationError
from m3d_cli.intrinsics.calibration.match import CalibrationEntry, Intrinsics, made_distortion

# Numbers beyond this are no pixels and no coefficients.
LARGEST_NUMBER = 1e12

# Words in the names of models that see all around, and of lenses that see about a half space.
_SPHERES = ("equirect", "spheric", "latlong", "panorama")
_WIDE = ("fish", "omni", "mei", "xi", "alpha", "ftheta", "fov", "ucm", "ds", "sphere", "kannala", "equi", "dual")


@dataclass(frozen=True, slots=True)
class DocumentFormat:
    """A kind of document: its name for messages, whether a document is one, and the intrinsics in it."""

    name: str
    fits: Callable[[Any], bool]
    read: Callable[[Any], tuple[CalibrationEntry, ...]]


def has(document: Any, *names: str) -> bool:
    """Whether the document is a mapping with all these names."""
    return isinstance(document, Mapping) and all(name in document for name in names)


def real(value: Any) -> float:
    """A finite number; texts of numbers count, truth values do not."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise CalibrationError(f"{value!r} is no number")
    try:
        number = float(value)
    except (ValueError, OverflowError) as error:
        raise CalibrationError(f"{value!r:.60} is no number") from error
    if not (math.isfinite(number) and abs(number) <= LARGEST_NUMBER):
        raise CalibrationError(f"{number} is no pixels and no coefficient")
    return number


def reals(values: Any, counts: Sequence[int], what: str) -> list[float]:
    """A flat list of numbers, of one of the lengths ``counts``."""
    if not isinstance(values, (list, tuple)) or len(values) not in counts:
        raise CalibrationError(f"{what} is a list of {' or '.join(map(str, counts))} numbers, not {values!r:.60}")
    return [real(value) for value in values]


def optional(value: Any) -> float | None:
    """A finite number, or None where there is none."""
    return None if value is None else real(value)


def pixels(value: Any) -> int | None:
    """A number of pixels along one side, or None where there is none."""
    if value is None:
        return None
    number = real(value)
    if number != int(number) or not 1 <= number <= LARGEST_SIDE:
        raise CalibrationError(f"{value!r} is no number of pixels")
    return int(number)


def size_of(item: Mapping[str, Any], width: str = "width", height: str = "height") -> tuple[int | None, int | None]:
    """Width and height under these names, None where they are missing."""
    return pixels(item.get(width)), pixels(item.get(height))


def brown(values: Sequence[float]) -> Distortion | None:
    """Brown's terms in OpenCV's order: k1 k2 p1 p2 k3 ..."""
    return made_distortion(DistortionModel.BROWN, values)


def fisheye(values: Sequence[float]) -> Distortion | None:
    """The terms k1 k2 k3 k4 of OpenCV's fisheye, Kannala and Brandt's equidistant model."""
    return made_distortion(DistortionModel.FISHEYE, values)


def of_opencv(
    numbers: Sequence[float], size: tuple[int | None, int | None], distortion: Distortion | None = None
) -> Intrinsics:
    """Intrinsics of fx fy cx cy that count from the centre of the top-left pixel."""
    fx, fy, cx, cy = numbers
    return Intrinsics(fx, fy, cx + OPENCV_OFFSET, cy + OPENCV_OFFSET, *size, distortion)


def unsupported(what: str, name: object, known: Sequence[str]) -> CalibrationError:
    """The error of a camera or lens model that no pinhole with OpenCV's distortion can stand for."""
    bare = str(name).casefold()
    if any(word in bare for word in _SPHERES):
        hint = "leave --intrinsics out: --projection equirectangular takes a photo of 360 x 180 degrees"
    elif any(word in bare for word in _WIDE):
        hint = (
            f"known are {', '.join(known)}; without --intrinsics, --projection fisheye --fov DEGREES takes such a lens"
        )
    else:
        hint = f"known are {', '.join(known)}"
    return CalibrationError(f"{what} {name!r:.60} is not supported", hint=hint)


def by_folder(cameras: Mapping[str, Intrinsics], folders: Mapping[str, Sequence[str]]) -> tuple[CalibrationEntry, ...]:
    """Entries of the cameras of a rig: one for all photos where they are alike, else by the folder a photo is in."""
    if len(set(cameras.values())) == 1:
        return (CalibrationEntry("", next(iter(cameras.values()))),)
    return tuple(
        CalibrationEntry(f"{start}{folder}/*", intrinsics)
        for name, intrinsics in cameras.items()
        for folder in folders[name]
        for start in ("", "*/")
    )
