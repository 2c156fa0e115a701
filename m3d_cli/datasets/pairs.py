"""Do an image and a depth map show the same scene? Where depth jumps, an image mostly changes too."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

# Long side in pixels at which edges are compared: coarse enough to forgive a depth sensor's ragged borders.
LONG_SIDE = 256
# ln of the depth ratio between neighbours that is an edge.
JUMP = 0.15
# Pixels by which an edge of the image may lie off the edge of the depth.
OFF = 2
# With fewer edge pixels nothing can be said.
LEAST_EDGES = 150
# Share of the pixels that must be known for neighbours to be compared at all.
DENSE = 0.3


def depth_edges(depth: NDArray[np.float32]) -> NDArray[np.bool_] | None:
    """Edges (h, w) of depth (H, W) at the coarse size; None where too little is known or depth has too few edges."""
    small = _reduced(depth, cv2.INTER_NEAREST)
    if np.count_nonzero(np.isfinite(small)) < DENSE * small.size:
        return None
    edges = np.zeros(small.shape, dtype=np.bool_)
    # Nothing is known of the step between two pixels of sky.
    with np.errstate(invalid="ignore"):
        logs = np.log(small)
        edges[:, 1:] |= np.abs(np.diff(logs, axis=1)) > JUMP
        edges[1:] |= np.abs(np.diff(logs, axis=0)) > JUMP
    return edges if np.count_nonzero(edges) >= LEAST_EDGES else None


def picture_change(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """How strongly the image (H, W, 3) changes around each pixel of the coarse size, (h, w)."""
    small = cv2.GaussianBlur(_reduced(image.astype(np.float32), cv2.INTER_AREA), (0, 0), 0.8)
    across, down = cv2.Sobel(small, cv2.CV_32F, 1, 0), cv2.Sobel(small, cv2.CV_32F, 0, 1)
    change = np.sqrt(across**2 + down**2).max(axis=2)
    size = 2 * OFF + 1
    return np.asarray(cv2.dilate(change, np.ones((size, size), dtype=np.uint8)), dtype=np.float32)


def agreement(edges: NDArray[np.bool_], change: NDArray[np.float32]) -> float:
    """Chance that the image changes more at an edge of the depth than at any other pixel: 0.5 is no relation."""
    others = np.sort(change[~edges])
    places = (np.searchsorted(others, change[edges], "left") + np.searchsorted(others, change[edges], "right")) / 2
    return float(np.mean(places) / max(1, len(others)))


def _reduced(values: NDArray[np.float32], how: int) -> NDArray[np.float32]:
    height, width = values.shape[:2]
    factor = min(1.0, LONG_SIDE / max(height, width))
    size = (max(2, round(width * factor)), max(2, round(height * factor)))
    return np.asarray(cv2.resize(np.ascontiguousarray(values), size, interpolation=how), dtype=np.float32)
