"""Metashape's XML: one exported calibration, or the cameras of a whole project.

Principal points are offsets from the middle of the image (PhotoScan's fx and fy go with absolute ones), counted from
its corner. The tangential terms stand in the other order than OpenCV's.
"""

from __future__ import annotations

from collections.abc import Iterator

from m3d_cli.bounded_files import XmlElement
from m3d_cli.camera import Distortion
from m3d_cli.errors import CalibrationError
from m3d_cli.intrinsics.calibration.document import brown, fisheye, pixels, real, unsupported
from m3d_cli.intrinsics.calibration.match import CalibrationEntry, Intrinsics

NAME = "Metashape's calibration or cameras (XML)"


def is_metashape(root: XmlElement) -> bool:
    """Whether the document holds calibrations of Metashape."""
    return root.name in ("calibration", "document") and next(root.all("calibration"), None) is not None


def read_metashape(root: XmlElement) -> tuple[CalibrationEntry, ...]:
    """The calibration for all photos, or each camera's by its label."""
    if root.name == "calibration":
        return (CalibrationEntry("", _intrinsics(root)),)
    sensors = dict(_sensors(root))
    if len(sensors) == 1:
        return tuple(CalibrationEntry("", found) for found in sensors.values())
    return tuple(
        CalibrationEntry(camera.attributes["label"], sensors[camera.attributes["sensor_id"]])
        for camera in root.all("camera")
        if camera.attributes.get("sensor_id") in sensors and "label" in camera.attributes
    )


def _sensors(root: XmlElement) -> Iterator[tuple[str, Intrinsics]]:
    """By id; the adjusted calibration stands last."""
    for sensor in root.all("sensor"):
        found = [one for one in sensor.all("calibration") if _text(one, "f") or _text(one, "fx")]
        if found:
            yield sensor.attributes.get("id", ""), _intrinsics(found[-1])


def _text(element: XmlElement, name: str) -> str | None:
    child = element.child(name)
    return None if child is None else child.text


def _intrinsics(item: XmlElement) -> Intrinsics:
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
    return Intrinsics(fx, fy, cx, cy, width, height, _distortion(item, numbers))


def _distortion(item: XmlElement, numbers: dict[str, float]) -> Distortion | None:
    model = _text(item, "projection") or item.attributes.get("type") or "frame"
    k1, k2, k3, k4, p1, p2 = (numbers.get(name, 0.0) for name in ("k1", "k2", "k3", "k4", "p1", "p2"))
    if model == "fisheye" and not (p1 or p2):
        return fisheye((k1, k2, k3, k4))
    if model != "frame" or k4:
        raise unsupported(
            "projection", f"{model} with k4 = {k4:g}, p1 = {p1:g}", ("frame with k1 k2 k3 p1 p2", "fisheye")
        )
    return brown((k1, k2, p2, p1, k3))


_NUMBERS = frozenset(("f", "fx", "fy", "cx", "cy", "b1", "b2", "k1", "k2", "k3", "k4", "p1", "p2"))
