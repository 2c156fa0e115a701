"""What limits a measurement, in words, and what a person could do about it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from m3d_cli.metrology.quantities import REGIONS, Kind
from m3d_cli.metrology.solve import Measurement
from m3d_cli.metrology.uncertainty import Term

# Terms as a report names them.
MEANING: Mapping[str, str] = MappingProxyType(
    {
        Term.FOCAL.value: "focal length of the camera",
        Term.SCALE.value: "scale of the network's depth",
        Term.LOCAL.value: "depth at the points themselves",
        Term.PICK.value: "where exactly the points are",
        Term.REFERENCE.value: "tolerance of the reference",
        Term.UPRIGHT.value: "how level the camera was held",
    }
)

_REFERENCE = "add a reference: a length you know in the same photo (--ref)"
_FOCAL = "give the focal length (--focal, --focal-35mm) or a calibration (--intrinsics)"
_SURFACE = "put the points on one flat surface and name its plane (on ...), or pick away from edges"
_REGION = "outline a larger region of the flat surface, without edges and gaps"
_NEARBY = "add a reference beside it, equally far from the camera (--ref)"
_SQUARELY = "photograph it from nearer by and squarely"
_PICK = "pick the points more exactly on a larger picture, or measure a longer stretch"
_LONGER = "use a longer reference, or a second one"
_GROUND = "add the ground plane (--ground)"

_ON_SURFACES = (Kind.DISTANCE, Kind.PATH, Kind.ANGLE, Kind.RANGE)

# Terms with less than this share of the variance are not worth a word.
_WORTH_IT = 0.15


def improvements(found: Measurement, focal_source: str, *, is_scaled: bool) -> tuple[str, ...]:
    """What would make the interval narrower, the most helpful first."""
    total = sum(sigma**2 for sigma in found.sigma.values())
    if total <= 0:
        return ()
    terms = sorted(found.sigma, key=lambda term: -found.sigma[term])
    worth = [term for term in terms if found.sigma[term] ** 2 >= _WORTH_IT * total]
    words = [word for term in worth for word in _words(term, found.kind, focal_source, is_scaled=is_scaled)]
    # The one reference that is beside it does what any does.
    return tuple(word for word in dict.fromkeys(words) if word != _REFERENCE or _NEARBY not in words)


def _words(term: Term, kind: Kind, focal_source: str, *, is_scaled: bool) -> tuple[str, ...]:
    if term is Term.FOCAL:
        return (_FOCAL,) if focal_source not in ("user", "calibration") else ("calibrate the camera (--intrinsics)",)
    if term is Term.SCALE:
        return () if is_scaled or kind.power == 0 else (_REFERENCE,)
    if term is Term.REFERENCE:
        return (_LONGER,)
    if term is Term.UPRIGHT:
        return (_GROUND,)
    if term is Term.PICK:
        return (_PICK,)
    return _local_words(kind, is_scaled=is_scaled)


def _local_words(kind: Kind, *, is_scaled: bool) -> tuple[str, ...]:
    """What helps against errors of depth at the points themselves: a nearby known length shares them."""
    first = _SURFACE if kind in _ON_SURFACES else _REGION if kind in REGIONS else _SQUARELY
    return (first,) if is_scaled or kind.power == 0 else (first, _NEARBY)
