"""One annotated frame: a photo, its true depth, and where it came from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from m3d_cli.depthmap import DepthMap
from m3d_cli.errors import DatasetError
from m3d_cli.photo import Photo


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """A photo and the metric depth of the same pixels.

    ``truth.depth`` is float32 (height, width) metres along z: NaN where unknown, +inf where the pixel is known to be
    beyond everything (sky). ``source`` names the data set (or the synthetic domain), ``sparse`` says that only some
    pixels were measured, as a LiDAR does.
    """

    photo: Photo
    truth: DepthMap
    source: str
    sparse: bool

    def __post_init__(self) -> None:
        if self.photo.camera != self.truth.camera:
            raise DatasetError(f"{self.photo.path}: photo and depth do not share one camera")
        if bool((self.truth.depth <= 0).any()):
            raise DatasetError(f"{self.photo.path}: depth must be positive; unknown is NaN, sky is +inf")

    @property
    def sky(self) -> NDArray[np.bool_]:
        """Where the pixel is known to be beyond everything, (height, width)."""
        return np.isposinf(self.truth.depth)
