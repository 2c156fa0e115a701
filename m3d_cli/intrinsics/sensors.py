"""Sensor sizes of camera models: the database of lensfun, and ``--sensor-db FILE`` of the user.

A model is found by its exact name or, failing that, by a normalised name that only one camera has. Parts of names are
never compared: "D70" is not a D7000.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from m3d_cli.bounded_files import parse_json, read_bytes, read_text, reading
from m3d_cli.errors import CalibrationError

logger = logging.getLogger(__name__)

# Diagonal of the 36 x 24 mm frame, in millimetres.
FULL_FRAME_DIAGONAL = 43.2666

# Words that company names carry in one file and not in the other.
_COMPANY_WORDS = frozenset(
    [
        "corporation",
        "corp",
        "co",
        "ltd",
        "inc",
        "company",
        "camera",
        "cameras",
        "imaging",
        "optical",
        "industries",
        "techwin",
        "electronics",
        "electric",
        "gmbh",
        "ag",
        "tech",
        "technology",
        "digital",
        "eastman",
        "computer",
        "entertainment",
    ]
)
# Names of product lines that one table writes before a model and another, or EXIF, leaves out.
_LINES = frozenset(["cyber", "shot", "cybershot", "handycam", "lumix", "exilim", "easyshare"])
_NOT_ALPHANUMERIC = re.compile(r"[^0-9a-z]+")

# Sensor diagonals that exist, in millimetres: endoscopes to medium format.
SMALLEST_SENSOR, LARGEST_SENSOR = 2.0, 60.0


@dataclass(frozen=True, slots=True)
class Sensor:
    """Size of a camera's sensor in millimetres: its width (long side) or its diagonal, whichever the source gives."""

    width: float | None
    diagonal: float | None
    exact: bool
    origin: str


@dataclass(frozen=True, slots=True)
class SensorRow:
    """One line of a ``--sensor-db`` file; ``width`` in millimetres."""

    make: str
    model: str
    width: float


@dataclass(frozen=True, slots=True)
class SensorTable:
    """Sensor sizes by camera: the user's rows first, then lensfun's database."""

    rows: tuple[SensorRow, ...] = ()
    use_lensfun: bool = True
    origin: str = "the sensor table"

    def lacks(self, make: str, model: str) -> bool:
        """Whether the user's rows give nothing for a camera."""
        return bool(self.rows) and _find_row(self.rows, make, model) is None

    def find(self, make: str, model: str) -> Sensor | None:
        """Sensor of a camera, or None when it is unknown or its name is ambiguous."""
        if not model:
            return None
        own = _find_row(self.rows, make, model)
        if own is not None or not self.use_lensfun:
            return own
        return _find_in_lensfun(make, model)


def read_sensor_table(path: Path) -> tuple[SensorRow, ...]:
    """Rows of a file of ``Make;Model;width in mm`` lines (OpenMVG, AliceVision) or of OpenSfM's ``sensor_data.json``.

    Further columns and lines starting with # are left out; rows that cannot be true are skipped and counted.
    """
    with reading(path, "the sensor table", CalibrationError):
        listed = _json_fields(path) if path.suffix.lower() == ".json" else _line_fields(path)
        rows: list[SensorRow] = []
        failures: list[CalibrationError] = []
        for place, fields in listed:
            try:
                rows.append(_row(place, fields))
            except CalibrationError as error:
                failures.append(error)
        if not rows:
            raise failures[0] if failures else CalibrationError("the sensor table is empty")
    if failures:
        logger.warning("%s: %d of %d rows are skipped: %s", path, len(failures), len(listed), failures[0].message)
    return tuple(rows)


def _line_fields(path: Path) -> list[tuple[str, list[str]]]:
    lines = enumerate(read_text(path).splitlines(), 1)
    return [(f"line {number}", line.split(";")) for number, line in lines if line.strip() and not line.startswith("#")]


def _json_fields(path: Path) -> list[tuple[str, list[str]]]:
    """OpenSfM's keys are make and model in one text."""
    table = parse_json(read_bytes(path))
    if not isinstance(table, dict):
        raise CalibrationError("not of the form {make model: width in mm}")
    return [(repr(name), [name.partition(" ")[0], name, str(width)]) for name, width in table.items()]


def _row(place: str, fields: list[str]) -> SensorRow:
    try:
        make, model, width = fields[0].strip(), fields[1].strip(), float(fields[2])
    except (IndexError, ValueError) as error:
        raise CalibrationError(f"{place} is not of the form Make;Model;width in mm: {';'.join(fields):.60}") from error
    if not SMALLEST_SENSOR / 2 <= width <= LARGEST_SENSOR:
        raise CalibrationError(f"{place}: a sensor {width:g} mm wide does not exist")
    return SensorRow(make, model, width)


def normalised_make(make: str) -> str:
    """``NIKON CORPORATION`` -> ``nikon``."""
    words = _NOT_ALPHANUMERIC.sub(" ", make.casefold()).split()
    return " ".join(word for word in words if word not in _COMPANY_WORDS) or " ".join(words)


def normalised_model(make: str, model: str) -> str:
    """``Canon EOS 40D`` of ``Canon`` -> ``eos40d``: make, product line and all but letters and digits go."""
    plain = _NOT_ALPHANUMERIC.sub(" ", model.casefold()).split()
    prefix = set(normalised_make(make).split()) | _COMPANY_WORDS | _LINES
    while len(plain) > 1 and plain[0] in prefix:
        plain = plain[1:]
    return "".join(plain)


def _find_row(rows: tuple[SensorRow, ...], make: str, model: str) -> Sensor | None:
    exact = [
        row.width for row in rows if (row.make.casefold(), row.model.casefold()) == (make.casefold(), model.casefold())
    ]
    if len(set(exact)) == 1:
        return Sensor(exact[0], None, True, "sensor table")
    # The first word of a make is all that some tables give.
    first, plain = normalised_make(make).partition(" ")[0], normalised_model(make, model)
    near = {
        row.width
        for row in rows
        if normalised_make(row.make).partition(" ")[0] == first
        and normalised_model(f"{row.make} {make}", row.model) == plain
    }
    return Sensor(near.pop(), None, False, "sensor table") if len(near) == 1 else None


def _find_in_lensfun(make: str, model: str) -> Sensor | None:
    exact, near = _lensfun()
    crop = exact.get((make.casefold(), model.casefold()))
    if crop is not None:
        return Sensor(None, FULL_FRAME_DIAGONAL / crop, True, "lensfun")
    crop = near.get((normalised_make(make), normalised_model(make, model)))
    return Sensor(None, FULL_FRAME_DIAGONAL / crop, False, "lensfun") if crop is not None else None


@cache
def _lensfun() -> tuple[dict[tuple[str, str], float], dict[tuple[str, str], float]]:
    """Crop factors of lensfun by exact (case-folded) and by normalised name; ambiguous names are left out."""
    import lensfunpy

    cameras = [
        (str(c.maker), str(c.model), float(c.crop_factor)) for c in lensfunpy.Database().cameras if c.crop_factor
    ]
    exact = _unambiguous(((make.casefold(), model.casefold()), crop) for make, model, crop in cameras)
    near = _unambiguous(((normalised_make(make), normalised_model(make, model)), crop) for make, model, crop in cameras)
    return exact, near


def _unambiguous(pairs: Iterable[tuple[tuple[str, str], float]]) -> dict[tuple[str, str], float]:
    """Name -> crop factor where all entries of that name agree within 2 % (a body may be listed once a mount)."""
    found: dict[tuple[str, str], list[float]] = {}
    for name, crop in pairs:
        found.setdefault(name, []).append(crop)
    return {name: crops[0] for name, crops in found.items() if max(crops) / min(crops) < 1.02}
