"""``m3d slam sfm``: structure from motion by COLMAP, then metres by the depth of the same photos."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from m3d_cli.cli import options, sequences
from m3d_cli.cli.camera_flags import camera_options
from m3d_cli.cli.console import Talk, show_log
from m3d_cli.cli.slam import scale
from m3d_cli.errors import UsageError

if TYPE_CHECKING:
    from m3d_cli.camera import Camera
    from m3d_cli.photos.load import CameraOptions


def sfm(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Photos of one place, overlapping.")],
    recursive: options.Recursive = False,
    depth: sequences.Depth = None,
    depth_scale: sequences.DepthScale = 1000.0,
    focal: options.Focal = None,
    focal_35mm: options.Focal35 = None,
    fov: options.Fov = None,
    intrinsics: options.IntrinsicsFile = None,
    out: sequences.Out = None,
    sequential: Annotated[
        bool, typer.Option("--sequential", help="Match neighbours only, as in a video: much faster for many photos.")
    ] = False,
    drift: Annotated[bool, typer.Option("--drift", help="Let the scale change along the track.")] = False,
    model: options.Model = None,
    weights: options.Weights = None,
    device: options.Device = "auto",
    precision: options.Precision = "auto",
    batch_size: options.BatchSize = None,
    backend: options.Backend = "auto",
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Find the poses of photos by COLMAP and bring them to metres; a second run goes on where the first stopped."""
    from m3d_cli.sequences.sfm import structure_from_motion

    talk = Talk(quiet, verbose)
    show_log(verbose=verbose)
    target = sequences.required_out(out, "m3d slam sfm")
    if not folder.is_dir():
        raise UsageError(f"{folder}: structure from motion takes one folder of photos")
    listing = options.find_photos([str(folder)], recursive=recursive, skip_folders=(target,))
    photos = [photo for photo in listing.photos if not photo.problem]
    camera = camera_options(context, focal=focal, focal_35mm=focal_35mm, fov=fov, intrinsics=intrinsics)
    shared = _shared(photos[0].path, camera) if photos else None
    talk.say(f"{len(photos)} photos: looking for what they share")
    names = [photo.relative for photo in photos]
    poses = structure_from_motion(folder, names, target / "sfm", shared, sequential=sequential)
    scale(
        context,
        paths=[str(folder)],
        recursive=recursive,
        poses=poses,
        depth=depth,
        depth_scale=depth_scale,
        out=target,
        drift=drift,
        model=model,
        weights=weights,
        device=device,
        precision=precision,
        batch_size=batch_size,
        backend=backend,
        as_json=as_json,
        quiet=quiet,
        verbose=verbose,
    )


def _shared(photo: Path, camera: CameraOptions) -> Camera | None:
    """The camera that the flags say all photos have; None where they say nothing."""
    from m3d_cli.photos.load import read_camera

    if not camera.user.is_given and camera.calibration is None:
        return None
    found, _ = read_camera(photo, camera)
    return found
