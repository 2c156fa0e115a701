"""Metashape's XML: one exported calibration, or the cameras of a whole project.

Principal points are offsets from the middle of the image (PhotoScan's fx and fy go with absolute ones), counted from
its corner. The tangential terms stand in the other order than OpenCV's.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from m3d_cli.bounded_files import XmlElement
from m3d_cli.camera import Distortion
from m3d_cli.errors import CalibrationError
from m3d_cli.intrinsics.calibration.document import brown, fisheye, pixels, real, unsupported
from m3d_cli.intrinsics.calibration.match import CalibrationEntry, Intrinsics
from m3d_cli.intrinsics.calibration.opencv import NOTED_SKEW

NAME = "Metashape's calibration or cameras (XML)"


def is_metashape(root: XmlElement) -> bool:
    """Whether the document holds calibrations of Metashape."""
    return root.name in ("calibration", "document") and next(root.all("calibration"), None) is not None


def read_metashape(root: XmlElement) -> tuple[CalibrationEntry, ...]:
    """The calibration for all photos, or each camera's by its label."""
    if root.name == "calibration":
        return (CalibrationEntry("", _intrinsics(root)),)
    chunks = list(root.all("chunk")) or [root]
    entries = [entry for chunk in chunks for entry in _of_chunk(chunk)]
    if not entries:
        raise CalibrationError(
            "no photo of this project has a calibrated sensor", hint="align the photos first, or export the calibration"
        )
    return tuple(dict.fromkeys(entries))


def _of_chunk(chunk: XmlElement) -> Iterator[CalibrationEntry]:
    """The cameras of a chunk by their labels; without cameras, its only sensor for all photos."""
    sensors = dict(_sensors(chunk))
    cameras = [one for one in chunk.all("camera") if "label" in one.attributes and "sensor_id" in one.attributes]
    for camera in cameras:
        if found := sensors.get(camera.attributes["sensor_id"]):
            yield CalibrationEntry(camera.attributes["label"], found)
    if not cameras and len(sensors) == 1 == len(list(chunk.all("sensor"))):
        yield from (CalibrationEntry("", found) for found in sensors.values())


def _sensors(chunk: XmlElement) -> Iterator[tuple[str, Intrinsics]]:
    """By id; the adjusted calibration comes before the initial one, which may be a guess from EXIF."""
    for sensor in chunk.all("sensor"):
        found = [one for one in sensor.all("calibration") if _text(one, "f") or _text(one, "fx")]
        if not found:
            continue
        adjusted = [one for one in found if one.attributes.get("class") == "adjusted"]
        intrinsics = _intrinsics((adjusted or found)[-1], sensor.attributes.get("type"))
        if not adjusted and found[-1].attributes.get("class") == "initial":
            note = "the calibration is Metashape's initial one, which no alignment has adjusted"
            intrinsics = dataclasses.replace(intrinsics, notes=(*intrinsics.notes, note))
        yield sensor.attributes.get("id", ""), intrinsics


def _text(element: XmlElement, name: str) -> str | None:
    child = element.child(name)
    return None if child is None else child.text


def _intrinsics(item: XmlElement, sensor_type: str | None = None) -> Intrinsics:
    resolution = item.child("resolution")
    size = resolution.attributes if resolution else {}
    width = pixels(size.get("width") or _text(item, "width"))
    height = pixels(size.get("height") or _text(item, "height"))
    numbers = {child.name: real(child.text) for child in item.children if child.name in _NUMBERS and child.text}
    if width is None or height is None or not ({"f", "fx"} & set(numbers)):
        raise CalibrationError("a calibration of Metashape needs width, height and f")
    cx, cy, fx = numbers.get("cx", 0.0), numbers.get("cy", 0.0), numbers.get("fx", 0.0)
    if "f" in numbers:
        fx = numbers["f"] + numbers.get("b1", 0.0)
        cx, cy = cx + width / 2, cy + height / 2
    fy = numbers.get("f", numbers.get("fy", fx))
    model = _text(item, "projection") or item.attributes.get("type") or sensor_type or "frame"
    skew = numbers.get("b2", numbers.get("skew", 0.0))
    notes = (f"the skew of the calibration ({skew:g} px) is left out",) if abs(skew) > NOTED_SKEW else ()
    return Intrinsics(fx, fy, cx, cy, width, height, _distortion(model, numbers), notes=notes)


def _distortion(model: str, numbers: dict[str, float]) -> Distortion | None:
    k1, k2, k3, k4, p1, p2 = (numbers.get(name, 0.0) for name in ("k1", "k2", "k3", "k4", "p1", "p2"))
    if numbers.get("p3") or numbers.get("p4"):
        raise unsupported("projection", f"{model} with p3 and p4", ("frame with k1 k2 k3 p1 p2", "fisheye"))
    if model == "fisheye" and not (p1 or p2):
        return fisheye((k1, k2, k3, k4))
    if model != "frame" or k4:
        raise unsupported(
            "projection", f"{model} with k4 = {k4:g}, p1 = {p1:g}", ("frame with k1 k2 k3 p1 p2", "fisheye")
        )
    return brown((k1, k2, p2, p1, k3))


_NUMBERS = frozenset(("f", "fx", "fy", "cx", "cy", "b1", "b2", "skew", "k1", "k2", "k3", "k4", "p1", "p2", "p3", "p4"))
