"""Lens models by the names that programs write: OpenCV's Brown, OpenCV's fisheye, or one that m3d cannot use."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from m3d_cli.errors import CalibrationError
from m3d_cli.intrinsics.calibration.document import unsupported

KNOWN = (
    "pinhole",
    "perspective",
    "brown",
    "plumb_bob",
    "radtan",
    "rational_polynomial",
    "fisheye",
    "equidistant",
    "kannala_brandt",
)
# Names are compared without case, spaces, hyphens and underscores. These leave the kind of distortion open.
_OPEN = frozenset(("", "none", "pinhole", "simplepinhole", "perspective", "rectified"))
_BROWN = frozenset(
    ("plumbbob", "rationalpolynomial", "radtan", "radialtangential", "brown", "brownconrady", "opencv", "fullopencv")
) | {"simpleradial", "radial"}
_FISHEYE = frozenset(
    ("equidistant", "equi", "fisheye", "opencvfisheye", "fisheyeopencv", "kannalabrandt", "kannalabrandt4")
) | {"kannalabrandt8", "kb4", "kb8"}
_OTHERS = (
    frozenset(
        ("omni", "omnidir", "omnidirectional", "mei", "unified", "ucm", "eucm", "ds", "doublesphere", "fov", "atan")
    )
    | {"ftheta", "division", "radialdivision", "equirectangular", "spherical", "latlong", "scaramuzza", "ocam"}
    | {"equisolid", "stereographic", "orthographic", "cylindrical"}
)

# Keys that name a lens model, and keys that may also name the device.
MODEL_KEYS = frozenset(
    ("distortionmodel", "cameramodel", "lensmodel", "projectionmodel", "modeltype", "distortiontype")
)
_DEVICE_KEYS = frozenset(("model", "cameratype", "lenstype", "lens", "type", "projection"))
_FISHEYE_FLAGS = frozenset(("fisheyemodel", "isfisheye", "fisheye"))
_UNSET = frozenset(("", "none", "0", "0.0", "false", "no", "off"))
# Parameters of omnidirectional models.
_MIRROR_KEYS = frozenset(("xi", "alpha"))


def folded(name: object) -> str:
    """A name without case, spaces, hyphens and underscores; empty for None."""
    return "" if name is None else re.sub(r"[\s_-]", "", str(name).casefold())


def is_fisheye(names: Iterable[object], what: str = "lens model") -> bool:
    """Whether all these ``names`` of one lens mean OpenCV's fisheye; raises `CalibrationError` for any other model."""
    kinds = set()
    for name in names:
        bare = folded(name)
        if bare not in _OPEN | _BROWN | _FISHEYE:
            raise unsupported(what, name, KNOWN)
        kinds |= {bare in _FISHEYE} if bare not in _OPEN else set()
    if len(kinds) > 1:
        raise CalibrationError("the file names both a fisheye lens and another", hint="leave the wrong model out")
    return kinds == {True}


def is_fisheye_document(document: Mapping[str, Any]) -> bool:
    """Whether the keys of a document say that its lens is OpenCV's fisheye; raises for a model that m3d cannot use."""
    items = [(folded(key), value) for key, value in document.items()]
    mirrors = [key for key, value in items if key in _MIRROR_KEYS and value is not None]
    if mirrors:
        raise unsupported("an omnidirectional lens with", mirrors[0], KNOWN)
    names = [value for key, value in items if key in MODEL_KEYS]
    known = _BROWN | _FISHEYE | _OTHERS
    names += [value for key, value in items if key in _DEVICE_KEYS and folded(value) in known]
    flagged = any(folded(value) not in _UNSET for key, value in items if key in _FISHEYE_FLAGS)
    return is_fisheye([*names, "fisheye"] if flagged else names)


def names_lens(document: Mapping[str, Any]) -> bool:
    """Whether a document says anything of its lens beyond focal length and principal point."""
    keys = {folded(key) for key in document}
    given = MODEL_KEYS | _FISHEYE_FLAGS | _MIRROR_KEYS | {"d"}
    return bool(keys & given) or any(key.startswith("dist") for key in keys)
