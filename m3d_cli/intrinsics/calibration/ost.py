"""``ost.txt`` of ROS's camera_calibration: headings with numbers below, in OpenCV's pixel grid."""

from __future__ import annotations

import dataclasses

import numpy as np

from m3d_cli.errors import CalibrationError
from m3d_cli.intrinsics.calibration.document import brown, pixels, real, reals
from m3d_cli.intrinsics.calibration.match import CalibrationEntry
from m3d_cli.intrinsics.calibration.opencv import from_matrix

OST = "ROS's ost.txt"


def is_ost(text: str) -> bool:
    """Whether the text has the headings of ROS's camera_calibration."""
    return "camera matrix" in text.splitlines() and "[image]" in text.splitlines()


def read_ost(text: str) -> tuple[CalibrationEntry, ...]:
    """Headings with their numbers below."""
    count = sum(line.strip() == "camera matrix" for line in text.splitlines())
    if count > 1:
        raise CalibrationError(
            f"{count} cameras, and nothing here says which photo is whose",
            hint="keep one camera in the file: from its [image] to its projection",
        )
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    sections: dict[str, list[float]] = {}
    title = ""
    for line in lines:
        if line[0].isalpha() or line[0] == "[":
            title = line
        else:
            sections.setdefault(title, []).extend(real(word) for word in line.split()[:16])
    matrix = np.array(reals(sections.get("camera matrix"), (9,), "camera matrix")).reshape(3, 3)
    size = [sections.get(name, [None])[0] for name in ("width", "height")]
    if None in size:
        raise CalibrationError("no width and height under [image]")
    found = dataclasses.replace(
        from_matrix(matrix),
        width=pixels(size[0]),
        height=pixels(size[1]),
        distortion=brown(sections.get("distortion", [])),
    )
    return (CalibrationEntry("", found),)
