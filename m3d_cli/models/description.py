"""What there is to know of each network, for people and as JSON: weights, licence, accuracy, weaknesses."""

from __future__ import annotations

from m3d_cli.models.catalogue import Entry, entry
from m3d_cli.models.spec import SPECS, ModelSpec


def listed() -> list[tuple[ModelSpec, Entry]]:
    """Every network that is not for tests, with its weights."""
    return [(spec, entry(spec.name)) for spec in SPECS.values() if not spec.hidden]


def description(spec: ModelSpec, weights: Entry) -> str:
    """A paragraph for people."""
    rows = (
        ("input", f"{spec.canonical.width} x {spec.canonical.height} pixels"),
        ("licence", spec.licence),
        ("origin", spec.origin),
        ("accuracy", spec.accuracy or "-"),
        ("weak at", spec.weak_at or "-"),
    )
    status = "installed" if weights.is_usable else "not installed"
    head = f"{spec.name}  {status}  {weights.size_text}"
    return "\n".join([head, *(f"  {name:9}{value}" for name, value in rows)])


def facts(spec: ModelSpec, weights: Entry) -> dict[str, object]:
    """The same as JSON has it."""
    return {
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
