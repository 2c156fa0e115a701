"""Measurands and references as the pick page holds them: plain data that keeps all that a measurement file says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from m3d_cli.metrology.measurands import OBJECTS, Measurand, Reference
from m3d_cli.metrology.picks import Pick
from m3d_cli.metrology.request import Request


def common_unit(request: Request) -> str | None:
    """The unit of all measurands, where it is one."""
    units = {one.unit for one in request.measurands}
    return units.pop() if len(units) == 1 else None


def page_items(request: Request, unit: str) -> list[dict[str, Any]]:
    """The page's first items; ``unit`` is the one that it shows."""
    items = [_measurand(one, unit) for one in request.measurands] + [_reference(one) for one in request.references]
    return [{"id": number, **item} for number, item in enumerate(items, 1)]


def known_sizes(request: Request) -> dict[str, list[Any]]:
    """Rectangles and markers as a measurement file has them: the page keeps them, and has no tool for them."""
    rectangles = [
        {
            "name": one.name,
            "points": [[pick.u, pick.v] for pick in one.points],
            "size": f"{one.width:.9g}x{one.height:.9g} m",
            "tolerance": one.tolerance,
            "pick_sigma": one.pick_sigma,
            "refine": one.is_refined,
        }
        for one in request.rectangles
    ]
    return {"rectangle": rectangles, "markers": [spec.text for spec in request.markers]}


def _measurand(one: Measurand, unit: str) -> dict[str, Any]:
    return _shared(one) | {
        "kind": str(one.kind),
        "second": _points(one.second),
        "unit": "" if one.unit == unit else one.unit,
    }


def _reference(one: Reference) -> dict[str, Any]:
    known = next((name for name, size in OBJECTS.items() if size == (one.length, one.tolerance)), "")
    length = {"object": known} if known else {"length": f"{one.length:.9g} m", "tolerance": one.tolerance}
    return _shared(one) | {"kind": "reference"} | length


def _shared(one: Measurand | Reference) -> dict[str, Any]:
    return {
        "name": one.name,
        "points": _points(one.points),
        "second": [],
        "on": one.on or "",
        "pick_sigma": one.pick_sigma,
        "length": "",
        "object": "",
    }


def _points(points: Sequence[Pick]) -> list[list[float | str]]:
    """``[u, v]``, and ``[u, v, "near"]`` for a point that says on which side of an edge it lies."""
    return [[pick.u, pick.v] if pick.side is None else [pick.u, pick.v, str(pick.side)] for pick in points]
