"""Frames of a sequence: where image and depth come from, decoded one at a time and brought to one size.

Depth is what ``m3d depth`` wrote (a sidecar tells its camera), a folder of depth files of a sensor, or a public layout.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePath

import cv2
import numpy as np
from numpy.typing import NDArray

from m3d_cli.camera import Camera
from m3d_cli.datasets.depth_files import DepthRule, read_raw
from m3d_cli.datasets.frame import Frame, same_shape
from m3d_cli.datasets.layouts import find_layout
from m3d_cli.depthmap import DepthMap
from m3d_cli.errors import DatasetError, NoInputError
from m3d_cli.formats.depth_folder import find_sidecar, load_depth, read_sidecar, stored_sidecars
from m3d_cli.photo_names import natural_key
from m3d_cli.photos.discover import PhotoFile
from m3d_cli.photos.load import CameraSources, load

_METRES = DepthRule()
# Depth files of a sensor, looked for by the photo's name.
SENSOR_SUFFIXES = (".png", ".npy", ".npz", ".tiff", ".tif", ".pgm")


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """One decoded frame: ``depth`` with its camera, ``image`` uint8 (H, W, 3) of the same size where there is one.

    ``cell`` is how many pixels of this depth one pixel of its network covers, 1 for a sensor.
    """

    depth: DepthMap
    image: NDArray[np.uint8] | None = None
    cell: float = 1.0

    def limited(self, longest: int) -> View:
        """The view with its longer side at most ``longest`` pixels; depth by its nearest pixels."""
        camera = self.depth.camera
        factor = longest / max(camera.width, camera.height)
        if factor >= 1:
            return self
        small = camera.resized(max(1, round(camera.width * factor)), max(1, round(camera.height * factor)))
        confidence = self.depth.confidence
        depth = DepthMap(
            nearest_pixels(self.depth.depth, small),
            small,
            None if confidence is None else nearest_pixels(confidence, small),
        )
        return View(depth, None if self.image is None else resized(self.image, small), max(1.0, self.cell * factor))


@dataclass(frozen=True, slots=True)
class SequenceFrame:
    """A frame that is still on disk; ``name`` is its path without ending, ``time`` in seconds where known.

    ``number`` is its place in the whole sequence, where frames before it may have been left out.
    """

    name: str
    photo: Path | None
    read: Callable[[], View]
    time: float | None = None
    number: int | None = None

    def view(self, longest: int) -> View:
        """Image and depth, the longer side at most ``longest`` pixels."""
        return self.read().limited(longest)


def nearest_pixels(values: NDArray[np.float32], camera: Camera) -> NDArray[np.float32]:
    """``values`` (H, W) at the pixel centres of a smaller camera."""
    rows = ((np.arange(camera.height) + 0.5) * values.shape[0] / camera.height).astype(np.intp)
    columns = ((np.arange(camera.width) + 0.5) * values.shape[1] / camera.width).astype(np.intp)
    return np.ascontiguousarray(values[rows[:, None], columns])


def resized(image: NDArray[np.uint8], camera: Camera) -> NDArray[np.uint8]:
    """``image`` at the camera's size."""
    size = (camera.width, camera.height)
    if image.shape[1::-1] == size:
        return image
    way = cv2.INTER_AREA if camera.width < image.shape[1] else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, size, interpolation=way), dtype=np.uint8)


def open_frames(
    photos: Sequence[PhotoFile], depth: Path, options: CameraSources, depth_scale: float = 1000.0
) -> tuple[SequenceFrame, ...]:
    """Frames of photos with the depth in the folder ``depth``, in natural order; without photos those of the depth.

    ``depth_scale`` is how many steps a metre has in a sensor's files of whole numbers. Raises NoInputError for an empty
    folder, and DatasetError for photos without a sensor's depth; without m3d's, a frame says so when it is read.
    """
    is_stored = next(stored_sidecars(depth), None) is not None
    if not photos and is_stored:
        return tuple(_stored_alone(depth, sidecar) for sidecar in stored_sidecars(depth))
    if not photos:
        raise NoInputError(f"{depth}: no depth that m3d wrote", hint="name the photos too, or run m3d depth first")
    ordered = sorted(photos, key=lambda photo: natural_key(photo.relative.as_posix()))
    if is_stored:
        return tuple(_stored_frame(depth, photo, options) for photo in ordered)
    rule = DepthRule(depth_scale)
    return tuple(_sensor_frame(depth, photo, options, rule) for photo in ordered)


def frames_to_come(photos: Sequence[PhotoFile]) -> tuple[SequenceFrame, ...]:
    """The frames that photos will be once they have depth, in natural order: names to match with poses."""

    def read() -> View:
        raise DatasetError("this frame has no depth yet")

    ordered = sorted(photos, key=lambda photo: natural_key(photo.relative.as_posix()))
    return tuple(SequenceFrame(photo.relative.with_suffix("").as_posix(), photo.path, read) for photo in ordered)


def layout_frames(root: Path, layout: str) -> tuple[SequenceFrame, ...]:
    """Frames of a data set in a public layout, in natural order."""
    frames = sorted(find_layout(layout).find(root), key=lambda frame: natural_key(frame.name))
    if not frames:
        raise NoInputError(f"{root}: no frames in the layout {layout}", hint="m3d datasets check says what is missing")
    return tuple(SequenceFrame(frame.name, frame.image, partial(_read_layout, frame)) for frame in frames)


def _read_layout(frame: Frame) -> View:
    sample = frame.read()
    depth = np.where(np.isfinite(sample.truth.depth), sample.truth.depth, np.float32(np.nan))
    return View(dataclasses.replace(sample.truth, depth=depth, normals=None), sample.photo.image)


def _stored_frame(folder: Path, photo: PhotoFile, options: CameraSources) -> SequenceFrame:
    read = partial(_read_named, folder, photo, options)
    return SequenceFrame(photo.relative.with_suffix("").as_posix(), photo.path, read)


def _read_named(folder: Path, photo: PhotoFile, options: CameraSources) -> View:
    return _read_stored(find_sidecar(folder, PurePath(photo.relative)), photo.path, options)


def _stored_alone(folder: Path, sidecar: Path) -> SequenceFrame:
    name = PurePath(read_sidecar(sidecar).photo).with_suffix("").as_posix()
    return SequenceFrame(name, None, partial(_read_stored, sidecar, None, CameraSources()))


def _read_stored(sidecar: Path, photo: Path | None, options: CameraSources) -> View:
    stored = load_depth(sidecar)
    depth = dataclasses.replace(stored.depth, normals=None)
    image = None if photo is None else resized(load(photo, options).image, depth.camera)
    return View(depth, image, stored.cell)


def _sensor_frame(folder: Path, photo: PhotoFile, options: CameraSources, rule: DepthRule) -> SequenceFrame:
    stem = photo.relative.with_suffix("")
    places = [folder / f"{name}{suffix}" for name in (stem, stem.name) for suffix in SENSOR_SUFFIXES]
    file = next((place for place in places if place.is_file()), None)
    if file is None:
        raise DatasetError(f"{photo.path}: no depth named {stem.name} in {folder}", hint="remove the photo")
    return SequenceFrame(stem.as_posix(), photo.path, partial(_read_sensor, photo.path, file, options, rule))


def _read_sensor(photo: Path, file: Path, options: CameraSources, rule: DepthRule) -> View:
    loaded, raw = load(photo, options), read_raw(file)
    # Files of floating-point numbers hold metres; steps are for whole numbers.
    depth = (_METRES if np.issubdtype(raw.dtype, np.floating) else rule).metres(raw)
    if not same_shape(depth.shape, (loaded.camera.height, loaded.camera.width)):
        raise DatasetError(
            f"{file}: {depth.shape[1]} x {depth.shape[0]} pixels are of another shape than the photo's "
            f"{loaded.camera.width} x {loaded.camera.height}",
            hint="depth must be registered to the photo",
        )
    camera = loaded.camera.resized(depth.shape[1], depth.shape[0])
    return View(DepthMap(depth, camera), resized(loaded.image, camera))
