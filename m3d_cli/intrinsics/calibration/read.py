"""Readers of ``--intrinsics`` files; each returns principal points that count from the image's corner.

COLMAP, nerfstudio and Metashape count from the corner as m3d does. What follows OpenCV counts from the centre of the
top-left pixel and is moved by half a pixel.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

from m3d_cli.bounded_files import (
    TABLE_BYTES,
    YAML_BYTES,
    check_entries,
    parse_json,
    parse_xml,
    parse_yaml,
    read_bytes,
    read_first_document,
    read_text,
    reading,
)
from m3d_cli.errors import CalibrationError
from m3d_cli.intrinsics.calibration.colmap import colmap_cameras_file, read_colmap
from m3d_cli.intrinsics.calibration.gaussian_splatting import SPLATTING
from m3d_cli.intrinsics.calibration.kalibr import EUROC, KALIBR
from m3d_cli.intrinsics.calibration.kitti import KITTI, is_kitti, read_kitti
from m3d_cli.intrinsics.calibration.match import Calibration, CalibrationEntry, Intrinsics
from m3d_cli.intrinsics.calibration.metashape import NAME, is_metashape, read_metashape
from m3d_cli.intrinsics.calibration.nerfstudio import NERFSTUDIO
from m3d_cli.intrinsics.calibration.numbers import named_numbers, read_named, read_npy, read_numbers
from m3d_cli.intrinsics.calibration.open3d import OPEN3D
from m3d_cli.intrinsics.calibration.opencv import OPENCV, storage_document
from m3d_cli.intrinsics.calibration.opensfm import OPENSFM
from m3d_cli.intrinsics.calibration.orb_slam import ORB_SLAM
from m3d_cli.intrinsics.calibration.ost import OST, is_ost, read_ost
from m3d_cli.intrinsics.calibration.own import OWN, POLYCAM
from m3d_cli.intrinsics.calibration.realsense import REALSENSE
from m3d_cli.intrinsics.calibration.record3d import RECORD3D
from m3d_cli.intrinsics.calibration.vins import VINS

# Asked in this order; the first that a document fits reads it.
_DOCUMENTS = (
    NERFSTUDIO,
    POLYCAM,
    REALSENSE,
    RECORD3D,
    OPEN3D,
    SPLATTING,
    KALIBR,
    EUROC,
    ORB_SLAM,
    VINS,
    OPENSFM,
    OPENCV,
    OWN,
)
# A key of a camera at the beginning of a line, which none of the texts below has, and the bytes looked at.
_YAML_KEY = re.compile(r"^(?:%YAML\b|(?:[Kk]|camera_matrix|camera_model|distortion_model)[ \t]*:)", re.MULTILINE)
_HEAD_BYTES = 65_536
_OTHERS = (
    NAME,
    "COLMAP's cameras.txt, cameras.bin or their folder",
    KITTI,
    OST,
    "4, 8 or 9 numbers or a matrix (txt, csv, npy)",
)


def read_calibration(path: Path) -> Calibration:
    """The calibration in ``path``; raises `CalibrationError` naming what is wrong with it."""
    with reading(path, "the calibration", CalibrationError):
        entries = _entries(path)
        check_entries(len(entries))
        if not entries:
            raise CalibrationError("no intrinsics in this file")
        for entry in entries:
            _check(entry.intrinsics)
    return Calibration(path.name, entries)


def _entries(path: Path) -> tuple[CalibrationEntry, ...]:
    if path.is_dir():
        return read_colmap(colmap_cameras_file(path))
    suffix = path.suffix.lower()
    if suffix == ".npy":
        return read_npy(read_bytes(path))
    if suffix == ".json":
        return _from_document(parse_json(read_bytes(path)))
    if suffix in (".yml", ".yaml"):
        return _from_document(parse_yaml(read_first_document(path, YAML_BYTES)))
    if suffix == ".xml":
        root = parse_xml(read_bytes(path))
        return read_metashape(root) if is_metashape(root) else _from_document(storage_document(root))
    if path.name == "cameras.bin":
        return read_colmap(path)
    if suffix not in ("", ".txt", ".csv", ".ini"):
        raise _unknown()
    if _is_yaml(path):
        return _from_document(parse_yaml(read_first_document(path, YAML_BYTES)))
    return _from_text(path, read_text(path, TABLE_BYTES))


def _from_text(path: Path, text: str) -> tuple[CalibrationEntry, ...]:
    if is_kitti(text):
        return read_kitti(text)
    if is_ost(text):
        return read_ost(text)
    if not _has_letters(text):
        return read_numbers(text)
    if (found := named_numbers(text)) is not None:
        return read_named(found)
    if any(word.isupper() for line in text.splitlines() for word in line.split()[1:2]):
        return read_colmap(path)
    raise _unknown()


def _from_document(document: Any) -> tuple[CalibrationEntry, ...]:
    found = next((each for each in _DOCUMENTS if each.fits(document)), None)
    if found is None:
        raise _unknown()
    return found.read(document)


def _unknown() -> CalibrationError:
    known = [each.name for each in _DOCUMENTS] + list(_OTHERS)
    return CalibrationError("no calibration that is known", hint=f"looked for: {'; '.join(known)}")


def _is_yaml(path: Path) -> bool:
    """Whether a file without YAML's suffix begins as a camera_info of ROS or as OpenCV's storage."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES).decode("utf-8-sig", errors="replace")
    return _YAML_KEY.search(head) is not None and not is_kitti(head)


def _has_letters(text: str) -> bool:
    """Whether there is more than numbers."""
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return any(letter.isalpha() and letter not in "eE" for line in lines for letter in line)


def _check(intrinsics: Intrinsics) -> None:
    numbers = [intrinsics.fx, intrinsics.fy, intrinsics.cx or 0.0, intrinsics.cy or 0.0]
    if not all(map(math.isfinite, numbers)) or min(intrinsics.fx, intrinsics.fy) <= 0:
        raise CalibrationError(f"focal lengths must be positive and finite, got {numbers}")
    size = (intrinsics.width, intrinsics.height)
    if any(side is not None and side < 1 for side in size):
        raise CalibrationError(f"an image of {size[0]} x {size[1]} pixels has no area")
