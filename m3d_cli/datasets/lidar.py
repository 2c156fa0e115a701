"""LiDAR points as the sparse depth of an image."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from m3d_cli.camera import Camera


def project_points(points: NDArray[np.float64], camera: Camera) -> NDArray[np.float32]:
    """Depth (H, W) in metres, NaN where no point falls, of points (N, 3) in the camera's axes; the nearest wins."""
    ahead = points[points[:, 2] > 0]
    columns, rows = np.floor(camera.project(ahead)).astype(np.int64).T
    inside = (columns >= 0) & (columns < camera.width) & (rows >= 0) & (rows < camera.height)
    depth = np.full(camera.height * camera.width, np.inf, dtype=np.float32)
    np.minimum.at(depth, rows[inside] * camera.width + columns[inside], ahead[inside, 2].astype(np.float32))
    return np.where(np.isinf(depth), np.float32(np.nan), depth).reshape(camera.height, camera.width)


def pose_matrix(quaternion: NDArray[np.float64], translation: NDArray[np.float64]) -> NDArray[np.float64]:
    """The 4 x 4 matrix of a pose from its quaternion (w, x, y, z) and translation in metres."""
    w, x, y, z = quaternion / np.linalg.norm(quaternion)
    matrix = np.eye(4)
    matrix[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    matrix[:3, 3] = translation
    return matrix
