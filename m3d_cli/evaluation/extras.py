"""What can be measured beyond the usual scores: depth edges, surface normals, the surface as points in space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from m3d_cli.camera import Camera
from m3d_cli.datasets.frame import Frame
from m3d_cli.depthmap import DepthMap
from m3d_cli.errors import DatasetError, UsageError
from m3d_cli.evaluation.alignment import LEAST_DEPTH
from m3d_cli.evaluation.boundary import boundary_f1
from m3d_cli.evaluation.cloud_scores import score_clouds
from m3d_cli.evaluation.normal_scores import UNKNOWN_DEGREES, is_direction, score_normals
from m3d_cli.evaluation.presets import Preset
from m3d_cli.pointcloud import with_normals


class Extra(str, Enum):
    """``boundary``: F1 of depth edges, for dense truth; ``normals``: angles, where the data set has normals, against
    those of the predicted surface; ``cloud``: Chamfer and F-score of the unaligned surface.
    """

    BOUNDARY = "boundary"
    NORMALS = "normals"
    CLOUD = "cloud"

    def __str__(self) -> str:
        return self.value


# How each is counted, for the result file.
RULES = {
    Extra.BOUNDARY: "dense truth only; an image whose truth has no depth edge is not counted",
    Extra.NORMALS: f"a true normal where nothing was predicted counts as {UNKNOWN_DEGREES:g} degrees off",
    Extra.CLOUD: (
        "accuracy and precision over predicted points, completeness and recall over all true points that count, "
        f"predicted or not; an image with nothing predicted counts as {LEAST_DEPTH:g} m all over"
    ),
}


def parse_extras(text: str) -> tuple[Extra, ...]:
    """Extras from a list with commas."""
    names = list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    known = [str(extra) for extra in Extra]
    wrong = [name for name in names if name not in known]
    if wrong:
        raise UsageError(f"--also {', '.join(wrong)} is unknown", hint=f"any of {', '.join(known)}")
    return tuple(Extra(name) for name in names)


def extra_scores(
    frame: Frame,
    prediction: NDArray[np.float32],
    truth: NDArray[np.float32],
    preset: Preset,
    wanted: Sequence[Extra],
) -> tuple[tuple[str, float], ...]:
    """Names and values of what is wanted and can be had for this frame; sizes of both maps are equal.

    What was not predicted counts against the prediction, by RULES.
    """
    if not wanted:
        return ()
    found: dict[str, float] = {}
    counted = np.where(preset.mask(truth), truth, np.float32(np.nan))
    if Extra.BOUNDARY in wanted and not frame.sparse:
        found |= _boundary(prediction, counted)
    camera = frame.pinhole.camera(frame.image, truth.shape[1], truth.shape[0])
    if Extra.NORMALS in wanted and frame.read_normals is not None:
        true = _of_size(frame, frame.read_normals(), truth.shape)
        found |= _normals(true, prediction, counted, camera)
    if Extra.CLOUD in wanted:
        found |= _cloud(prediction, counted, camera)
    return tuple(found.items())


def _boundary(prediction: NDArray[np.float32], counted: NDArray[np.float32]) -> dict[str, float]:
    value = boundary_f1(prediction, counted)
    return {} if np.isnan(value) else {"boundary_f1": value}


def _of_size(frame: Frame, normals: NDArray[np.float32], size: tuple[int, ...]) -> NDArray[np.float32]:
    if normals.shape[:2] != size:
        rows, columns = normals.shape[:2]
        raise DatasetError(
            f"{frame.image}: its normals have {columns} x {rows} pixels, its depth {size[1]} x {size[0]}",
            hint="depth and normals must share one size",
        )
    return normals


def _normals(
    true: NDArray[np.float32], prediction: NDArray[np.float32], counted: NDArray[np.float32], camera: Camera
) -> dict[str, float]:
    surface = np.where(prediction > 0, prediction, np.float32(np.nan))
    predicted = with_normals(DepthMap(surface, camera)).normals
    where = np.isfinite(counted) & is_direction(true)
    if predicted is None or not where.any():
        return {}
    scores = asdict(score_normals(predicted[where], true[where]))
    return {f"normal_{name}": value for name, value in scores.items() if name != "pixels"}


def _cloud(prediction: NDArray[np.float32], counted: NDArray[np.float32], camera: Camera) -> dict[str, float]:
    true = np.isfinite(counted)
    if not true.any():
        return {}
    known = true & np.isfinite(prediction) & (prediction > 0)
    if not known.any():
        known, prediction = true, np.full_like(prediction, LEAST_DEPTH)
    rays = camera.rays()
    points, surface = (rays[where] * depth[where][:, None] for where, depth in ((known, prediction), (true, counted)))
    scores = asdict(score_clouds(points, surface))
    return {f"cloud_{name}": value for name, value in scores.items()}
