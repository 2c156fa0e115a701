"""Depth of an earlier run as the start of new products: no network runs, and torch is never loaded."""

from __future__ import annotations

import dataclasses
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from m3d_cli.depthmap import DepthMap
from m3d_cli.errors import NoInputError, OutputError
from m3d_cli.formats.depth_folder import SIDECAR_SUFFIX, StoredDepth, load_depth, stored_sidecars, stored_source
from m3d_cli.photos.discover import PhotoFile
from m3d_cli.photos.load import UNDISTORTED, load
from m3d_cli.pipeline.products import Finished
from m3d_cli.pipeline.settings import Settings


def stored_inputs(path: Path) -> tuple[PhotoFile, ...]:
    """The depth in a folder, or one depth file, as the inputs of a run; raises NoInputError for an empty folder."""
    if not path.is_dir():
        sidecar = path if path.suffix == SIDECAR_SUFFIX else path.with_name(path.stem + SIDECAR_SUFFIX)
        return (PhotoFile(path if path.is_file() else sidecar, PurePosixPath(sidecar.name)),)
    found = tuple(PhotoFile(file, PurePosixPath(file.relative_to(path).as_posix())) for file in stored_sidecars(path))
    if not found:
        raise NoInputError(f"{path}: no depth in it", hint="m3d depth PHOTOS --out DIR writes it")
    return found


def read_back(photo: PhotoFile, settings: Settings) -> Finished:
    """The depth of one photo from ``settings.stored``, its colours from the photo where that is the input."""
    stored = load_depth(stored_source(photo.path, photo.relative, settings.stored or Path()))
    image = None
    if not _is_depth(photo, stored):
        loaded = load(photo.path, settings.camera, relative=photo.relative)
        if (UNDISTORTED in loaded.notes) != (UNDISTORTED in stored.sidecar.notes):
            raise OutputError(
                f"{photo.path}: its depth was made with another lens model than is given now",
                hint="give the same --intrinsics as m3d depth had, or none if it had none",
            )
        image = loaded.image
    return Finished(
        name=stored.photo,
        depth=_limited(stored.depth, settings.max_depth),
        camera=stored.camera,
        model=stored.model,
        cell=stored.cell,
        image=image,
        notes=stored.sidecar.notes,
    )


def _is_depth(photo: PhotoFile, stored: StoredDepth) -> bool:
    return photo.path in (stored.file, stored.sidecar_file)


def _limited(depth: DepthMap, max_depth: float | None) -> DepthMap:
    if max_depth is None:
        return depth
    kept: NDArray[np.float32] = np.where(depth.depth <= max_depth, depth.depth, np.float32(np.nan))
    return dataclasses.replace(depth, depth=kept)
