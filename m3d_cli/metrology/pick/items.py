"""Measurements and references as the pick page holds them: plain data that keeps all that a measurement file says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from m3d_cli.metrology.geometry.depth_reading import Pick
from m3d_cli.metrology.quantities import OBJECTS, Measure, Reference
from m3d_cli.metrology.request import Wish


def page_unit(start: Wish) -> str | None:
    """The one unit of all that is there, where it is one."""
    units = {one.unit for one in start.measures}
    return units.pop() if len(units) == 1 else None


def page_items(start: Wish, unit: str) -> list[dict[str, Any]]:
    """What the page begins with; ``unit`` is the one that it shows."""
    items = [_item(one, unit) for one in start.measures] + [_known(one) for one in start.references]
    return [{"id": number, **item} for number, item in enumerate(items, 1)]


def _item(one: Measure, unit: str) -> dict[str, Any]:
    item = _shape(str(one.kind), one.name, one.points, one.on, one.pick_sigma)
    return item | {"second": _points(one.second), "unit": "" if one.unit == unit else one.unit}


def _known(one: Reference) -> dict[str, Any]:
    item = _shape("reference", one.name, one.points, one.on, one.pick_sigma)
    known = next((name for name, size in OBJECTS.items() if size == (one.length, one.tolerance)), "")
    if known:
        return item | {"object": known}
    return item | {"length": f"{one.length:.9g} m", "tolerance": one.tolerance}


def _shape(kind: str, name: str, points: Sequence[Pick], on: str | None, pick_sigma: float) -> dict[str, Any]:
    return {
        "kind": kind,
        "name": name,
        "points": _points(points),
        "second": [],
        "on": on or "",
        "pick_sigma": pick_sigma,
        "length": "",
        "object": "",
    }


def _points(points: Sequence[Pick]) -> list[list[float | str]]:
    """``[u, v]``, and ``[u, v, "near"]`` for a point that says on which side of an edge it lies."""
    return [[pick.u, pick.v] if pick.side is None else [pick.u, pick.v, str(pick.side)] for pick in points]
