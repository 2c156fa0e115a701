"""Record3D's metadata: ``K`` column by column and numbers per frame, in OpenCV's pixel grid."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from m3d_cli.intrinsics.calibration.document import DocumentFormat, has, of_opencv, reals, size_of
from m3d_cli.intrinsics.calibration.lens_models import names_lens
from m3d_cli.intrinsics.calibration.match import CalibrationEntry
from m3d_cli.intrinsics.calibration.open3d import of_columns


def _read_record3d(document: Mapping[str, Any]) -> tuple[CalibrationEntry, ...]:
    """The matrix of the recording, and fx fy cx cy of each frame (0.jpg, 1.jpg, ...) where they differ."""
    size = size_of(document, "w", "h")
    frames = tuple(
        CalibrationEntry(str(index), of_opencv(reals(row, (4,), "perFrameIntrinsicCoeffs"), size))
        for index, row in enumerate(document.get("perFrameIntrinsicCoeffs") or ())
    )
    return (*frames, CalibrationEntry("", of_columns(document, "K", "w", "h")))


# Record3D knows no lens distortion: a K beside some is a script's.
RECORD3D = DocumentFormat("Record3D's metadata", lambda d: has(d, "K", "w", "h") and not names_lens(d), _read_record3d)
