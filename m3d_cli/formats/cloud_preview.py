"""An image of a point cloud from a raised viewpoint, by numpy alone: no display, no GPU."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from m3d_cli.errors import OutputError
from m3d_cli.pointcloud import Axes, PointCloud

PAPER = (246, 246, 246)
WIDTH, HEIGHT = 1280, 960
_FIELD = math.radians(50)
_YAW, _PITCH = math.radians(18), math.radians(22)  # how far the viewer stands to the side and above
_MOST_POINTS = 3_000_000
_REACH = (2, 98)  # percentiles of the points that the image holds
_FILLED = 0.9  # of the image's width or height is what lies between them
_CLOSEST = 4.0  # magnification up to which a small cloud is shown larger
_FAR_OFF = 1_000_000  # pixels


def encode_cloud_preview(cloud: PointCloud, width: int = WIDTH, height: int = HEIGHT) -> bytes:
    """The preview of a cloud as an 8-bit PNG."""
    ok, data = cv2.imencode(".png", render_cloud(cloud, width, height)[..., ::-1])
    if not ok:
        raise OutputError("the PNG encoder refused the preview")
    return data.tobytes()


def render_cloud(cloud: PointCloud, width: int = WIDTH, height: int = HEIGHT) -> NDArray[np.uint8]:
    """RGB image (height, width, 3): each point is a square as large as its neighbours are apart, the nearest wins."""
    canvas = np.full((height, width, 3), PAPER, dtype=np.uint8)
    if not len(cloud):
        return canvas
    points, colours = _sampled(cloud.turned(Axes.OPENCV))
    seen = _seen_from_above(points)
    ahead = seen[:, 2] > 1e-3
    seen, colours = seen[ahead], colours[ahead]
    u, v = _filling(seen[:, :2] / seen[:, 2:], width, height)
    depth = np.full((height, width), np.inf, dtype=np.float32)
    for du, dv in _footprint(len(seen), width * height):
        _paint(canvas, depth, u + du, v + dv, seen[:, 2], colours)
    return canvas


def _sampled(cloud: PointCloud) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    step = max(1, math.ceil(len(cloud) / _MOST_POINTS))
    points = cloud.points[::step]
    if cloud.colours is not None:
        return points, cloud.colours[::step]
    near, far = np.percentile(points[:, 2], _REACH)
    shade = np.clip(255 * (far - points[:, 2]) / max(far - near, 1e-6), 0, 255).astype(np.uint8)
    return points, cv2.applyColorMap(shade[:, None], cv2.COLORMAP_TURBO)[:, 0, ::-1]


def _seen_from_above(points: NDArray[np.float32]) -> NDArray[np.float32]:
    """The points in the axes of a viewer who looks at their middle from above and the side, far enough to see all."""
    low, high = np.percentile(points, _REACH, axis=0)
    middle = np.median(points, axis=0)
    c, s = math.cos(_YAW), math.sin(_YAW)
    side = np.array([[c, 0, -s], [0, 1, 0], [s, 0, c]])
    c, s = math.cos(_PITCH), math.sin(_PITCH)
    raise_ = np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    turned = (points - middle) @ (raise_ @ side).T.astype(np.float32)
    # From where the photo was taken, moved back until the middle half of the points fits.
    spread = float(np.linalg.norm(high[:2] - low[:2]))
    back = max(float(middle[2]), 0.55 * spread / math.tan(_FIELD / 2))
    return np.asarray(turned + np.array([0, 0, back]), dtype=np.float32)


def _filling(slopes: NDArray[np.float32], width: int, height: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Columns and rows of slopes x/z and y/z (N, 2) in an image that nearly all of them fill, none of it wasted."""
    low, high = np.percentile(slopes, _REACH, axis=0)
    size = np.array([width, height])
    usual = 0.5 * width / math.tan(_FIELD / 2)
    scale = min(_CLOSEST * usual, float((_FILLED * size / np.maximum(high - low, 1e-6)).min()))
    place = np.rint((slopes - (low + high) / 2) * scale + size / 2).clip(-_FAR_OFF, _FAR_OFF).astype(np.int64)
    return place[:, 0], place[:, 1]


def _footprint(count: int, pixels: int) -> list[tuple[int, int]]:
    """Offsets of the pixels that one point covers: more when points are few."""
    side = int(np.clip(round(math.sqrt(1.6 * pixels / count)), 1, 5))
    span = range(-(side // 2), side - side // 2)
    return [(du, dv) for du in span for dv in span]


def _paint(
    canvas: NDArray[np.uint8],
    depth: NDArray[np.float32],
    u: NDArray[np.int64],
    v: NDArray[np.int64],
    z: NDArray[np.float32],
    colours: NDArray[np.uint8],
) -> None:
    height, width = depth.shape
    inside = (u >= 0) & (u < width) & (v >= 0) & (v < height)
    place = v[inside] * width + u[inside]
    z = z[inside]
    nearest = depth.ravel()
    np.minimum.at(nearest, place, z)
    wins = nearest[place] == z
    canvas.reshape(-1, 3)[place[wins]] = colours[inside][wins]
