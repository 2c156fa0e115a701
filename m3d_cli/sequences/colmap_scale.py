"""A COLMAP model brought to metres: its poses as the metric trajectory has them, its points with the cameras."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from m3d_cli.formats.colmap import ColmapImage, ColmapModel, is_colmap, read_colmap_model
from m3d_cli.sequences.scale import TrackScale
from m3d_cli.trajectory import Trajectory, inverse


def model_of(poses: Path) -> ColmapModel | None:
    """The COLMAP model that the poses are of; None where they are of another kind."""
    return read_colmap_model(poses) if is_colmap(poses) else None


def metric_model(model: ColmapModel, names: Sequence[str], metric: Trajectory, scale: TrackScale) -> ColmapModel:
    """The images called ``names`` at their metric poses, and the points that they see.

    A point is moved with each image that sees it, at that image's scale; where the scale drifts the images differ a
    little, and the point is their mean.
    """
    by_name = {image.name: image for image in model.images}
    images = tuple(by_name[name] for name in names)
    total = np.zeros_like(model.points.positions)
    seen = np.zeros(len(total))
    for image, pose, factor in zip(images, metric.poses, scale.scale, strict=True):
        rows = model.seen_by(image)
        total[rows] += _moved(model.points.positions[rows], image, pose, float(factor))
        seen[rows] += 1
    kept = seen > 0
    points = dataclasses.replace(
        model.points,
        numbers=model.points.numbers[kept],
        positions=total[kept] / seen[kept, None],
        colours=model.points.colours[kept],
        errors=model.points.errors[kept],
    )
    posed = zip(images, inverse(metric.poses), strict=True)
    return ColmapModel(
        model.cameras, tuple(dataclasses.replace(image, camera_from_world=pose) for image, pose in posed), points
    )


def _moved(
    points: NDArray[np.float64], image: ColmapImage, world_from_camera: NDArray[np.float64], factor: float
) -> NDArray[np.float64]:
    pose = image.camera_from_world
    seen = factor * (points @ pose[:3, :3].T + pose[:3, 3])
    return np.asarray(seen @ world_from_camera[:3, :3].T + world_from_camera[:3, 3])
