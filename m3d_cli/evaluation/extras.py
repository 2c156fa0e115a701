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
from m3d_cli.errors import UsageError
from m3d_cli.evaluation.boundary import boundary_f1
from m3d_cli.evaluation.cloud_scores import score_clouds
from m3d_cli.evaluation.normal_scores import score_normals
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
    """Names and values of what is wanted and can be had for this frame; sizes of both maps are equal."""
    if not wanted:
        return ()
    found: dict[str, float] = {}
    counted = np.where(preset.mask(truth), truth, np.float32(np.nan))
    if Extra.BOUNDARY in wanted and not frame.sparse:
        found["boundary_f1"] = boundary_f1(prediction, counted)
    camera = frame.pinhole.camera(frame.image, truth.shape[1], truth.shape[0])
    if Extra.NORMALS in wanted and frame.read_normals is not None:
        found |= _normals(frame.read_normals(), prediction, counted, camera)
    if Extra.CLOUD in wanted:
        found |= _cloud(prediction, counted, camera)
    return tuple(found.items())


def _normals(
    true: NDArray[np.float32], prediction: NDArray[np.float32], counted: NDArray[np.float32], camera: Camera
) -> dict[str, float]:
    predicted = with_normals(DepthMap(prediction, camera)).normals
    if predicted is None:
        return {}
    both = np.isfinite(counted) & np.isfinite(prediction)
    scores = asdict(score_normals(predicted[both], true[both]))
    return {f"normal_{name}": value for name, value in scores.items() if name != "pixels"}


def _cloud(prediction: NDArray[np.float32], counted: NDArray[np.float32], camera: Camera) -> dict[str, float]:
    both = np.isfinite(counted) & np.isfinite(prediction) & (prediction > 0)
    if not both.any():
        return {}
    rays = camera.rays()[both]
    scores = asdict(score_clouds(rays * prediction[both][:, None], rays * counted[both][:, None]))
    return {f"cloud_{name}": value for name, value in scores.items()}
