"""What the flags say about cameras."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from m3d_cli.errors import UsageError

if TYPE_CHECKING:
    from m3d_cli.photos.load import CameraOptions

# Options that exclude one another, by parameter.
_FOCAL_WAYS = ("focal", "focal_mm", "focal_35mm", "fov", "intrinsics")

# Instead of pixels: ask the picture.
_ESTIMATE = "estimate"


def _outranked(context: typer.Context) -> frozenset[str]:
    """Ways to say the focal length that came from the environment, where the command line says another."""
    origins = {name: source.name for name in _FOCAL_WAYS if (source := context.get_parameter_source(name)) is not None}
    if "COMMANDLINE" not in origins.values():
        return frozenset()
    return frozenset(name for name, origin in origins.items() if origin == "ENVIRONMENT")


def camera_options(
    context: typer.Context,
    *,
    focal: str | None = None,
    focal_mm: float | None = None,
    sensor_width: float | None = None,
    focal_35mm: float | None = None,
    fov: float | None = None,
    intrinsics: Path | None = None,
    exif_json: Path | None = None,
    sensor_db: Path | None = None,
    require_focal: bool = False,
) -> CameraOptions:
    """The camera options with their files read; a focal length given as a flag sets aside those of the environment."""
    from m3d_cli.intrinsics.ladder import UserFocal
    from m3d_cli.photos.load import CameraOptions

    outranked = _outranked(context)
    word = None if "focal" in outranked else focal
    return CameraOptions.from_files(
        UserFocal(
            None if word in (None, _ESTIMATE) else _pixels(word),
            None if "focal_mm" in outranked else focal_mm,
            sensor_width,
            None if "focal_35mm" in outranked else focal_35mm,
            None if "fov" in outranked else fov,
        ),
        intrinsics=None if "intrinsics" in outranked else intrinsics,
        exif_json=exif_json,
        sensor_db=sensor_db,
        require_focal=require_focal,
        from_picture=word == _ESTIMATE,
    )


def _pixels(word: str) -> float:
    try:
        return float(word)
    except ValueError:
        raise UsageError(f"--focal {word} is neither a number of pixels nor: {_ESTIMATE}") from None


def refuse_focal(camera: CameraOptions, depth: Path | None) -> None:
    """Raise UsageError for a focal length given beside depth, which has its own in the sidecar."""
    from m3d_cli.intrinsics.ladder import UserFocal

    if depth is not None and (camera.from_picture or camera.user != UserFocal()):
        raise UsageError("--depth knows its focal length, another one cannot be given", hint="run m3d depth with it")
