"""Structure from motion by COLMAP (`pycolmap`): poses and points of photos, without scale."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from m3d_cli.camera import Camera
from m3d_cli.errors import PoseError, UsageError
from m3d_cli.extras import install_hint
from m3d_cli.photos.discover import Selection, find_photos
from m3d_cli.photos.load import CameraSources, read_camera
from m3d_cli.reporter import Reporter

logger = logging.getLogger(__name__)

DATABASE = "database.db"
MODELS = "models"


def structure_from_motion(
    root: Path, names: Sequence[PurePosixPath], folder: Path, camera: Camera | None, *, sequential: bool
) -> Path:
    """The folder of the largest COLMAP model of the photos ``names`` below ``root``; everything goes into ``folder``.

    ``camera`` is that of all photos, where it is known and shared; else COLMAP finds the focal lengths, beginning with
    EXIF's. ``sequential`` matches neighbours only. A model found there already is taken as it is. Raises UsageError
    without pycolmap or where ``folder`` holds other files, and PoseError where no two photos belong together.
    """
    if (done := _largest(folder / MODELS)) is not None:
        return done
    colmap = _colmap()
    _remove_unfinished(folder)
    (folder / MODELS).mkdir(parents=True)
    database = folder / DATABASE
    mode = colmap.CameraMode.AUTO if camera is None else colmap.CameraMode.SINGLE
    listed = [name.as_posix() for name in names]
    colmap.extract_features(database, root, listed, mode, reader_options=_reader(colmap, camera))
    (colmap.match_sequential if sequential else colmap.match_exhaustive)(database)
    colmap.incremental_mapping(database, root, folder / MODELS)
    found = _largest(folder / MODELS)
    if found is None:
        raise PoseError(
            f"{root}: structure from motion brought no two photos together",
            hint="photos must overlap and be taken from different places; m3d slam odometry needs less",
        )
    return found


def _remove_unfinished(folder: Path) -> None:
    """Remove what a run that was interrupted left; raises UsageError where anything else lies there."""
    if not folder.exists():
        return
    own = (MODELS, DATABASE, f"{DATABASE}-shm", f"{DATABASE}-wal", f"{DATABASE}-journal")
    if folder.is_symlink() or any(path.name not in own for path in folder.iterdir()):
        raise UsageError(f"{folder}: holds files that are not of m3d slam sfm", hint="choose another --out")
    shutil.rmtree(folder)


def _colmap() -> Any:
    try:
        import pycolmap
    except ImportError as error:
        raise UsageError("structure from motion needs pycolmap", hint=install_hint("sfm")) from error
    pycolmap.logging.minloglevel = pycolmap.logging.ERROR
    return pycolmap


def _reader(colmap: Any, camera: Camera | None) -> Any:
    options = colmap.ImageReaderOptions()
    if camera is not None:
        options.camera_model = "PINHOLE"
        # COLMAP's pixel centres lie at +0.5, as ours do.
        options.camera_params = f"{camera.fx},{camera.fy},{camera.cx},{camera.cy}"
    return options


def _largest(folder: Path) -> Path | None:
    """The model with the most images; COLMAP writes several where the photos fall into parts."""
    found = sorted(folder.glob("*/images.bin"), key=lambda path: path.stat().st_size)
    if len(found) > 1:
        logger.warning("the photos fall into %d parts; the largest is used", len(found))
    return found[-1].parent if found else None


def shared_camera(photo: Path, camera: CameraSources) -> Camera | None:
    """The camera that the sources give to all photos; None where they give none."""
    if not camera.user.is_given and camera.calibration is None:
        return None
    return read_camera(photo, camera)


def find_poses(
    folder: Path, out: Path, camera: CameraSources, report: Reporter, recursive: bool = False, *, sequential: bool
) -> Path:
    """The COLMAP model of the photos in ``folder``, kept in ``out``/sfm; raises UsageError where there is no folder."""
    if not folder.is_dir():
        raise UsageError(f"{folder}: structure from motion takes one folder of photos")
    listing = find_photos([str(folder)], Selection(recursive=recursive, skip_folders=(out,)))
    photos = [photo for photo in listing.photos if not photo.problem]
    common = shared_camera(photos[0].path, camera) if photos else None
    report.say(f"{len(photos)} photos: matching features")
    names = [photo.relative for photo in photos]
    return structure_from_motion(folder, names, out / "sfm", common, sequential=sequential)
