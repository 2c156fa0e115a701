"""Two surfaces compared: accuracy, completeness, Chamfer distance, F-scores, and a cloud coloured by error."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from m3d_cli.errors import OutputError, UsageError
from m3d_cli.evaluation.cloud_scores import nearest
from m3d_cli.formats.ply import read_ply
from m3d_cli.formats.ply_header import read_header
from m3d_cli.open3d_import import load_open3d
from m3d_cli.pointcloud import PointCloud
from m3d_cli.trajectory import Similarity

# Points drawn from a mesh.
SAMPLES = 200_000
# Metres within which the registration pairs points, first and last.
REGISTRATION_REACH = (0.5, 0.1)
REGISTRATION_STEPS = 60


class CloudAlignment(str, Enum):
    """What may be taken off before clouds are compared: nothing, a rigid motion, or a rigid motion and scale."""

    NONE = "none"
    RIGID = "rigid"
    SCALED = "scaled"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, slots=True)
class AtThreshold:
    """Shares of points nearer than ``metres`` to the other cloud."""

    metres: float
    precision: float
    recall: float
    f_score: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """Metres: ``accuracy`` from A to B, ``completeness`` from B to A, ``chamfer_l1`` their mean; after ``alignment``,
    which multiplied A by ``scale``.
    """

    alignment: CloudAlignment
    scale: float
    points: tuple[int, int]
    accuracy: float
    completeness: float
    chamfer_l1: float
    thresholds: tuple[AtThreshold, ...]


def read_points(path: Path) -> PointCloud:
    """Points of a PLY file; of a mesh, points drawn evenly from its surface. Raises OutputError."""
    faces = read_header(path).count("face")
    cloud = read_ply(path)
    if faces:
        cloud = PointCloud(_drawn(path, faces, len(cloud)))
    known: NDArray[np.bool_] = np.all(np.isfinite(cloud.points), axis=1)
    if not known.any():
        raise OutputError(f"{path}: no points in it", hint="an empty cloud cannot be compared")
    return cloud if known.all() else cloud.chosen(known)


def compare(
    cloud: PointCloud, truth: PointCloud, thresholds: Sequence[float], alignment: CloudAlignment
) -> tuple[Comparison, PointCloud]:
    """The comparison of ``cloud`` with ``truth``, and the aligned cloud coloured by its distance to it."""
    if not thresholds or not all(math.isfinite(value) and value > 0 for value in thresholds):
        raise UsageError("thresholds are positive metres", hint="--thresholds 0.02,0.05")
    similarity = register(cloud.points, truth.points, alignment)
    points = similarity.apply(cloud.points.astype(np.float64))
    there, back = nearest(points, truth.points), nearest(truth.points, points)
    accuracy, completeness = float(there.mean()), float(back.mean())
    comparison = Comparison(
        alignment,
        similarity.scale,
        (len(cloud), len(truth)),
        accuracy,
        completeness,
        (accuracy + completeness) / 2,
        tuple(_at(there, back, metres) for metres in thresholds),
    )
    return comparison, PointCloud(points.astype(np.float32), error_colours(there, 2 * max(thresholds)))


def register(points: NDArray[np.floating], truth: NDArray[np.floating], alignment: CloudAlignment) -> Similarity:
    """The motion of ``points`` onto ``truth`` by iterated closest points from where they are (Besl and McKay 1992)."""
    matrix = np.eye(4)
    if alignment is not CloudAlignment.NONE:
        registration: Any = load_open3d().pipelines.registration
        way = registration.TransformationEstimationPointToPoint(alignment is CloudAlignment.SCALED)
        steps = registration.ICPConvergenceCriteria(max_iteration=REGISTRATION_STEPS)
        source, target = _to_open3d(points), _to_open3d(truth)
        for reach in REGISTRATION_REACH:
            matrix = registration.registration_icp(source, target, reach, matrix, way, steps).transformation
    scale = float(np.cbrt(np.linalg.det(matrix[:3, :3])))
    return Similarity(matrix[:3, :3] / scale, matrix[:3, 3], scale)


def error_colours(distance: NDArray[np.float64], largest: float) -> NDArray[np.uint8]:
    """Colours (N, 3) from blue (no error) to red (``largest`` metres and more)."""
    grey = np.clip(255 * distance / largest, 0, 255).astype(np.uint8)
    return np.ascontiguousarray(cv2.applyColorMap(grey[:, None], cv2.COLORMAP_TURBO)[:, 0, ::-1], dtype=np.uint8)


def _at(there: NDArray[np.float64], back: NDArray[np.float64], metres: float) -> AtThreshold:
    precision, recall = float(np.mean(there < metres)), float(np.mean(back < metres))
    both = precision + recall
    return AtThreshold(metres, precision, recall, 2 * precision * recall / both if both else 0.0)


def _drawn(path: Path, faces: int, corners: int) -> NDArray[np.float32]:
    """Points (SAMPLES, 3) spread evenly over a mesh."""
    o3d = load_open3d()
    with o3d.utility.VerbosityContextManager(o3d.utility.VerbosityLevel.Error):
        mesh = o3d.io.read_triangle_mesh(str(path))
    triangles = np.asarray(mesh.triangles)
    # open3d returns what it could read of a damaged file, and draws from corners that do not exist.
    if len(triangles) < faces or triangles.min() < 0 or triangles.max() >= corners:
        raise OutputError(
            f"{path}: {len(triangles)} triangles can be read of the {faces} faces of the mesh",
            hint="save it again as a mesh of triangles, or without faces to compare its points",
        )
    o3d.utility.random.seed(0)
    return np.asarray(mesh.sample_points_uniformly(SAMPLES).points, dtype=np.float32)


def _to_open3d(points: NDArray[np.floating]) -> Any:
    o3d = load_open3d()
    return o3d.geometry.PointCloud(o3d.utility.Vector3dVector(np.ascontiguousarray(points, dtype=np.float64)))


def parse_alignment(name: str) -> CloudAlignment:
    """The alignment called ``name``; raises UsageError."""
    try:
        return CloudAlignment(name)
    except ValueError as error:
        raise UsageError(f"--align {name} is unknown", hint=f"one of {', '.join(CloudAlignment)}") from error


def comparison_text(result: Comparison) -> str:
    """The comparison as lines of name, tab, value."""
    lines = [
        f"alignment\t{result.alignment}\tscale {result.scale:.4f}",
        f"accuracy\t{result.accuracy:.4f} m",
        f"completeness\t{result.completeness:.4f} m",
        f"chamfer_l1\t{result.chamfer_l1:.4f} m",
    ]
    lines += [
        f"f_score@{at.metres:g}m\t{at.f_score:.4f}\tprecision {at.precision:.4f}\trecall {at.recall:.4f}"
        for at in result.thresholds
    ]
    return "\n".join(lines)


def parse_thresholds(text: str) -> tuple[float, ...]:
    """Distances in metres separated by commas; raises UsageError."""
    try:
        return tuple(float(part) for part in text.split(",") if part.strip())
    except ValueError as error:
        raise UsageError(f"--thresholds {text} are no metres", hint="--thresholds 0.02,0.05") from error
