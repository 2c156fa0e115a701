"""Which markers and boards to look for, as people write it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

import cv2

from m3d_cli.errors import UsageError

_HINT = "apriltag36h11:0.05, aruco4x4_50:0.05, charuco:7x5:0.03:0.022 or chessboard:9x6:0.025 (sizes in metres)"


class MarkerKind(str, Enum):
    """What is looked for."""

    MARKER = "marker"
    CHARUCO = "charuco"
    CHESSBOARD = "chessboard"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, slots=True)
class MarkerSpec:
    """Markers of a ``dictionary``, or a board of ``columns`` x ``rows``; ``size`` and ``marker`` in metres.

    ``size`` is the side of a marker or of a board's square; a chessboard's columns and rows are its inner corners, a
    ChArUco board's its squares.
    """

    text: str
    kind: MarkerKind
    size: float
    dictionary: str = ""
    columns: int = 0
    rows: int = 0
    marker: float = 0.0


def marker_spec(text: str) -> MarkerSpec:
    """``family:size``, ``charuco:CxR:square:marker[:family]`` or ``chessboard:CxR:square``; raises UsageError."""
    name, *parts = text.strip().casefold().split(":")
    try:
        if name == "chessboard":
            columns, rows = _grid(parts[0])
            (size,) = map(float, parts[1:])
            found = MarkerSpec(text, MarkerKind.CHESSBOARD, size, "", columns, rows)
        elif name == "charuco":
            columns, rows = _grid(parts[0])
            dictionary = _dictionary(parts[3] if len(parts) == 4 else "aruco4x4_50")
            size, marker = map(float, parts[1:3])
            found = MarkerSpec(text, MarkerKind.CHARUCO, size, dictionary, columns, rows, marker)
        else:
            (size,) = map(float, parts)
            found = MarkerSpec(text, MarkerKind.MARKER, size, _dictionary(name))
    except (ValueError, IndexError, KeyError) as error:
        raise UsageError(f"--markers {text} is none that is known", hint=_HINT) from error
    is_possible = found.size > 0 and (found.kind is not MarkerKind.CHARUCO or 0 < found.marker < found.size)
    if not is_possible or (found.kind is not MarkerKind.MARKER and min(found.columns, found.rows) < 2):
        raise UsageError(f"--markers {text}: no such board", hint=_HINT)
    return found


def _grid(text: str) -> tuple[int, int]:
    columns, rows = map(int, text.split("x"))
    return columns, rows


def _dictionary(name: str) -> str:
    """OpenCV's name of a family: ``apriltag36h11`` is ``DICT_APRILTAG_36h11``, ``aruco4x4_50`` is ``DICT_4X4_50``."""
    known = {entry.casefold(): entry for entry in dir(cv2.aruco) if entry.startswith("DICT_")}
    plain = re.sub(r"^aruco_?", "", name)
    plain = re.sub(r"^apriltag_?", "apriltag_", plain)
    return known[f"dict_{'aruco_' if plain == 'original' else ''}{plain}"]
