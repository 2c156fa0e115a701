"""Measurement files of every format from disk, distinguished by suffix and content."""

from __future__ import annotations

from pathlib import Path

from m3d_cli.errors import UsageError
from m3d_cli.metrology.spec.annotations import VIA_COLUMN, parse_annotations, parse_via_csv
from m3d_cli.metrology.spec.measurement_file import MOST_BYTES, Sheet, parse_csv, parse_toml

_HINT = "a measurement file is TOML, CSV, or JSON of LabelMe, COCO or VIA"


def read_sheet(path: Path, unit: str | None = None) -> Sheet:
    """The sheet in a file, or in all JSON files of a folder; ``unit`` overrides the file's. Raises UsageError."""
    if path.is_dir():
        sheets = [_read(file, unit) for file in sorted(path.glob("*.json"))]
        if not sheets:
            raise UsageError(f"{path}: no JSON files in it", hint=_HINT)
        return Sheet(tuple(entry for sheet in sheets for entry in sheet.entries))
    return _read(path, unit)


def _read(path: Path, unit: str | None) -> Sheet:
    text = _text(path)
    kind = path.suffix.lower()
    if kind == ".toml":
        return parse_toml(text, str(path), unit)
    if kind == ".json":
        return parse_annotations(text, str(path), unit or "m")
    if kind in (".csv", ".tsv", ".txt"):
        is_via = VIA_COLUMN in next((line for line in text.splitlines() if line.strip()), "")
        return parse_via_csv(text, str(path), unit or "m") if is_via else parse_csv(text, str(path), unit)
    raise UsageError(f"{path}: its suffix is of no measurement file", hint=_HINT)


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise UsageError(f"{path}: too large for a measurement file", hint=_HINT)
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})", hint=_HINT) from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not UTF-8 text", hint=_HINT) from error
