"""``m3d models``: which networks there are, what may be done with them, and how good they are."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from m3d_cli.cli import options
from m3d_cli.cli.console import write_line

if TYPE_CHECKING:
    from m3d_cli.models.registry import WeightsFile
    from m3d_cli.models.spec import ModelSpec

MEGABYTE = 1_000_000


def models(as_json: options.Json = False) -> None:
    """List the networks: installed or not, size, licence, accuracy, weaknesses."""
    from m3d_cli.models.registry import BUNDLED
    from m3d_cli.models.spec import SPECS

    for spec in SPECS.values():
        if spec.hidden:
            continue
        weights = BUNDLED.get(spec.name)
        for line in [_json(spec, weights)] if as_json else _text(spec, weights):
            write_line(line)


def _text(spec: ModelSpec, weights: WeightsFile | None) -> list[str]:
    installed = weights is not None and weights.is_installed
    size = f"{weights.size / MEGABYTE:.0f} MB" if weights is not None and weights.size else "-"
    rows = (
        ("input", f"{spec.canonical.width} x {spec.canonical.height} pixels"),
        ("licence", spec.licence),
        ("origin", spec.origin),
        ("accuracy", spec.accuracy or "-"),
        ("weak at", spec.weak_at or "-"),
    )
    head = f"{spec.name}  {'installed' if installed else 'not installed'}  {size}"
    return [head, *(f"  {name:9}{value}" for name, value in rows)]


def _json(spec: ModelSpec, weights: WeightsFile | None) -> str:
    fields = {
        "name": spec.name,
        "installed": weights is not None and weights.is_installed,
        "path": str(weights.path) if weights is not None else None,
        "bytes": weights.size if weights is not None else None,
        "sha256": weights.sha256 if weights is not None else None,
        "licence": spec.licence,
        "origin": spec.origin,
        "accuracy": spec.accuracy,
        "weak_at": spec.weak_at,
        "input_width": spec.canonical.width,
        "input_height": spec.canonical.height,
        "canonical_focal_px": spec.canonical.focal,
    }
    return json.dumps(fields)
