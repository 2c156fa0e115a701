"""A prediction brought to the size of the truth: it shows the whole image, or it is the known crop of KITTI.

Anything else is refused: stretching a crop over the whole image would score pixels against the wrong places.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from m3d_cli.datasets.frame import SAME_SHAPE, same_shape
from m3d_cli.errors import DatasetError

# Rows and columns that many methods cut from the bottom centre of KITTI's images, and the sizes these have.
KITTI_CROP = (352, 1216)
KITTI_ROWS, KITTI_COLUMNS = (370, 376), (1224, 1242)
RESIZE_RULE = (
    f"prediction to the size of the truth, bilinear, where width / height agrees within {100 * SAME_SHAPE:.0f} %; "
    f"a prediction of {KITTI_CROP[1]} x {KITTI_CROP[0]} is pasted at the bottom centre of a KITTI image, with "
    "nothing known around it; any other shape is refused"
)


def fitted(prediction: NDArray[np.float32], size: tuple[int, ...]) -> NDArray[np.float32]:
    """Prediction (h, w) as (H, W) of ``size``; raises DatasetError where it shows something else than the truth."""
    if prediction.shape == size:
        return prediction
    if prediction.shape == KITTI_CROP and _is_kitti(size):
        return _pasted(prediction, size)
    (rows, columns), (height, width) = prediction.shape, size
    if not same_shape(prediction.shape, size):
        raise DatasetError(
            f"{columns} x {rows} predicted pixels are of another shape than the true {width} x {height}",
            hint="predict whole images, or put crops back at their place with nan around them",
        )
    resized = cv2.resize(prediction, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(resized, dtype=np.float32)


def _is_kitti(size: tuple[int, ...]) -> bool:
    return KITTI_ROWS[0] <= size[0] <= KITTI_ROWS[1] and KITTI_COLUMNS[0] <= size[1] <= KITTI_COLUMNS[1]


def _pasted(crop: NDArray[np.float32], size: tuple[int, ...]) -> NDArray[np.float32]:
    top, left = size[0] - crop.shape[0], (size[1] - crop.shape[1]) // 2
    whole = np.full(size, np.nan, dtype=np.float32)
    whole[top:, left : left + crop.shape[1]] = crop
    return whole
