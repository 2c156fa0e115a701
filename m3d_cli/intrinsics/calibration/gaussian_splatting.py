"""``cameras.json`` of 3D Gaussian splatting: focal lengths of named images, principal points in the middle."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from m3d_cli.intrinsics.calibration.document import DocumentFormat, has, real, size_of
from m3d_cli.intrinsics.calibration.match import CalibrationEntry, Intrinsics


def _is_splatting(document: Any) -> bool:
    return isinstance(document, list) and bool(document) and all(has(one, "img_name", "fx", "fy") for one in document)


def _read_splatting(document: list[Mapping[str, Any]]) -> tuple[CalibrationEntry, ...]:
    return tuple(
        CalibrationEntry(
            str(one["img_name"]),
            Intrinsics(real(one["fx"]), real(one["fy"]), None, None, *size_of(one)),
        )
        for one in document
    )


SPLATTING = DocumentFormat("cameras.json of Gaussian splatting", _is_splatting, _read_splatting)
