"""An annotated frame that is still on disk: where its files are, what camera took it, and how its depth is decoded."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from m3d_cli.camera import OPENCV_OFFSET, Camera, FocalSource
from m3d_cli.datasets.depth_files import DepthRule, read_image
from m3d_cli.datasets.sample import Sample
from m3d_cli.depthmap import DepthMap
from m3d_cli.errors import CalibrationError, DatasetError
from m3d_cli.photo import Photo

# Width / height of two maps of one image may differ by this share: both sides are rounded, some to whole patches.
SAME_SHAPE = 0.03
# How a frame's rule says that a mask of the data set is not in the folder.
LOST_MASK = "MASK MISSING"


@dataclass(frozen=True, slots=True)
class Pinhole:
    """Intrinsics in our pixel convention, and the size they belong to where the data set says one."""

    fx: float
    fy: float
    cx: float
    cy: float
    size: tuple[int, int] | None = None
    focal_source: FocalSource = FocalSource.CALIBRATION
    focal_rel_sigma: float = 0.005

    @classmethod
    def opencv(cls, numbers: Iterable[float], size: tuple[int, int] | None = None) -> Pinhole:
        """From fx, fy, cx, cy that count from the centre of the top-left pixel."""
        fx, fy, cx, cy = numbers
        return cls(fx, fy, cx + OPENCV_OFFSET, cy + OPENCV_OFFSET, size)

    def camera(self, path: Path, width: int, height: int) -> Camera:
        """The camera of an image of that size; raises DatasetError where it belongs to another."""
        if self.size is not None and self.size != (width, height):
            raise DatasetError(
                f"{path}: {width} x {height} pixels, its intrinsics are for {self.size[0]} x {self.size[1]}",
                hint="intrinsics belong to one size: restore the image or correct them together",
            )
        numbers = (self.fx, self.fy, self.cx, self.cy)
        try:
            return Camera(width, height, *numbers, self.focal_source, self.focal_rel_sigma).checked()
        except CalibrationError as error:
            raise DatasetError(f"{path}: {error.message}", hint="correct its intrinsics") from error


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One frame of a layout; nothing is decoded before ``read``.

    ``name`` is its path without ending, in forward slashes: predictions are named like it. ``read_depth`` gives float32
    metres along z, NaN unknown, +inf sky; ``fits_depth`` brings depth of another size to the image's by its nearest
    pixels. ``scene`` is the place or drive within ``source`` whose frames are alike; ``rule`` says in words which
    numbers of the depth file are metres.
    """

    name: str
    source: str
    image: Path
    depth: Path
    pinhole: Pinhole
    sparse: bool
    read_image: Callable[[], NDArray[np.uint8]]
    read_depth: Callable[[], NDArray[np.float32]]
    read_normals: Callable[[], NDArray[np.float32]] | None = None
    split: str = ""
    fits_depth: bool = False
    scene: str = ""
    rule: str = ""

    @property
    def cluster(self) -> str:
        """Frames of one cluster are alike and no independent evidence."""
        return f"{self.source}/{self.scene}" if self.scene else self.source

    def truth(self) -> NDArray[np.float32]:
        """True depth (H, W); the image is only decoded where its size decides."""
        depth = self.read_depth()
        return self._fitted(depth, self.read_image().shape[:2]) if self.fits_depth else depth

    def read(self) -> Sample:
        """Image, depth and, where there are some, normals; raises DatasetError naming the file that does not fit."""
        image, depth = self.read_image(), self.read_depth()
        if self.fits_depth:
            depth = self._fitted(depth, image.shape[:2])
        height, width = image.shape[:2]
        if depth.shape != (height, width):
            raise DatasetError(
                f"{self.depth}: {depth.shape[1]} x {depth.shape[0]} pixels, its image {self.image.name} has "
                f"{width} x {height}",
                hint="depth and image must share one size",
            )
        camera = self.pinhole.camera(self.image, width, height)
        normals = self.read_normals() if self.read_normals is not None else None
        return Sample(
            Photo(self.image, image, camera), DepthMap(depth, camera, None, normals), self.source, self.sparse
        )

    def _fitted(self, depth: NDArray[np.float32], size: tuple[int, ...]) -> NDArray[np.float32]:
        if depth.shape == size:
            return depth
        if not same_shape(depth.shape, size):
            raise DatasetError(
                f"{self.depth}: {depth.shape[1]} x {depth.shape[0]} pixels are of another shape than its image's "
                f"{size[1]} x {size[0]}",
                hint="depth and image must show the same",
            )
        return np.asarray(cv2.resize(depth, (size[1], size[0]), interpolation=cv2.INTER_NEAREST), dtype=np.float32)


def frame_of_files(
    name: str,
    source: str,
    image: Path,
    depth: Path,
    pinhole: Pinhole,
    rule: DepthRule,
    *,
    sparse: bool = False,
    mask: Path | None = None,
    split: str = "",
    fits_depth: bool = False,
    scene: str = "",
) -> Frame:
    """The usual frame: an image and a depth file; ``mask`` is a file that is 0 where depth does not hold."""
    read_depth = partial(rule.read, depth, mask)
    read_image = partial(read_picture, image)
    return Frame(
        name,
        source,
        image,
        depth,
        pinhole,
        sparse,
        read_image,
        read_depth,
        split=split,
        fits_depth=fits_depth,
        scene=scene,
        rule=rule.words(),
    )


def same_shape(size: tuple[int, ...], other: tuple[int, ...]) -> bool:
    """Whether maps of these sizes (height, width) can show the same."""
    return min(*size, *other) > 0 and abs(size[1] * other[0] / (size[0] * other[1]) - 1) <= SAME_SHAPE


def read_picture(path: Path) -> NDArray[np.uint8]:
    """8-bit RGB (H, W, 3) as stored, its EXIF orientation left alone: depth and intrinsics belong to these pixels."""
    flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
    return np.asarray(read_image(path, flags, "restore the file"), dtype=np.uint8)


def stem_below(root: Path, path: Path) -> str:
    """The name of a file below ``root`` without its ending, in forward slashes; raises DatasetError for others."""
    try:
        return path.relative_to(root).with_suffix("").as_posix()
    except ValueError as error:
        raise DatasetError(f"{path}: not a file below {root}", hint="lists name files of their data set") from error
