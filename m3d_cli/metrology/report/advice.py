"""What limits a measurement, and what would make it more certain."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from m3d_cli.metrology.measurands import ON_SURFACES, REGIONS, Kind
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
_SQUARELY = "photograph it from closer and head-on"
_PICK = "pick the points more exactly on a larger image, or measure a longer stretch"
_LONGER = "use a longer reference, or a second one"
_GROUND = "add the ground plane (--ground)"

# Terms with less than this share of the variance get no advice.
_LEAST_SHARE = 0.15


def improvements(found: Measurement, focal_source: str, *, is_scaled: bool) -> tuple[str, ...]:
    """What would make the interval narrower, the most helpful first."""
    total = sum(sigma**2 for sigma in found.sigma.values())
    if total <= 0:
        return ()
    terms = sorted(found.sigma, key=lambda term: -found.sigma[term])
    large = [term for term in terms if found.sigma[term] ** 2 >= _LEAST_SHARE * total]
    kind = found.measurand.kind
    advice = dict.fromkeys(each for term in large for each in _advice(term, kind, focal_source, is_scaled=is_scaled))
    # A reference beside it does what any other reference does.
    return tuple(each for each in advice if each != _REFERENCE or _NEARBY not in advice)


def _advice(term: Term, kind: Kind, focal_source: str, *, is_scaled: bool) -> tuple[str, ...]:
    # A known length shares the errors of depth only where it lies beside the points.
    needs_scale = not is_scaled and kind.power > 0
    if term is Term.FOCAL:
        return (_FOCAL,) if focal_source not in ("user", "calibration") else ("calibrate the camera (--intrinsics)",)
    if term is Term.SCALE:
        return (_REFERENCE,) if needs_scale else ()
    if term is Term.LOCAL:
        first = _SURFACE if kind in ON_SURFACES else _REGION if kind in REGIONS else _SQUARELY
        return (first, _NEARBY) if needs_scale else (first,)
    return ({Term.REFERENCE: _LONGER, Term.UPRIGHT: _GROUND, Term.PICK: _PICK}[term],)
