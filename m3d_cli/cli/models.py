"""``m3d models``: which networks there are, what may be done with them, and how good they are."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from m3d_cli.cli.option_groups import Json
from m3d_cli.cli.streams import write_line

if TYPE_CHECKING:
    from m3d_cli.models.catalogue import Entry
    from m3d_cli.models.spec import ModelSpec


def models(as_json: Json = False) -> None:
    """List the networks: installed or not, size, licence, accuracy, weaknesses."""
    from m3d_cli.models.catalogue import entry
    from m3d_cli.models.spec import SPECS

    for spec in SPECS.values():
        if spec.hidden:
            continue
        weights = entry(spec.name)
        for line in [_json(spec, weights)] if as_json else _text(spec, weights):
            write_line(line)


def _text(spec: ModelSpec, weights: Entry) -> list[str]:
    rows = (
        ("input", f"{spec.canonical.width} x {spec.canonical.height} pixels"),
        ("licence", spec.licence),
        ("origin", spec.origin),
        ("accuracy", spec.accuracy or "-"),
        ("weak at", spec.weak_at or "-"),
    )
    status = "installed" if weights.is_usable else "not installed"
    head = f"{spec.name}  {status}  {weights.size_text}"
    return [head, *(f"  {name:9}{value}" for name, value in rows)]


def _json(spec: ModelSpec, weights: Entry) -> str:
    fields = {
        "name": spec.name,
        "installed": weights.is_usable,
        "path": str(weights.path) if weights.path is not None else None,
        "bytes": weights.size,
        "sha256": weights.sha256,
        "licence": spec.licence,
        "origin": spec.origin,
        "accuracy": spec.accuracy,
        "weak_at": spec.weak_at,
        "input_width": spec.canonical.width,
        "input_height": spec.canonical.height,
        "canonical_focal_px": spec.canonical.focal,
    }
    return json.dumps(fields)
