"""What commands over sequences share: photos with depth, their cameras, poses and times."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from m3d_cli.cli import options
from m3d_cli.cli.console import Talk
from m3d_cli.cli.running import EngineChoice, Order, work_into_folder
from m3d_cli.errors import UsageError

if TYPE_CHECKING:
    from m3d_cli.photos.discover import PhotoFile
    from m3d_cli.photos.load import CameraOptions
    from m3d_cli.sequences.frames import SequenceFrame
    from m3d_cli.sequences.poses import PosedFrames
    from m3d_cli.trajectory import Trajectory

_SEQUENCE = "Sequence"
# The work was done, without frames that are damaged.
DAMAGED_EXIT = 3
# What a network writes for a sequence; exact enough for fusion, and a tenth of the time that npz takes.
FORMATS = "png,conf"
# Seconds; `trajectory.TIME_TOLERANCE`, which would load numpy for every --help.
TOLERANCE = 0.02

Poses = Annotated[
    Path | None,
    typer.Option(
        "--poses",
        metavar="PATH",
        help="TUM, KITTI, nerfstudio transforms.json, COLMAP model, 7-Scenes folder or Open3D log.",
        rich_help_panel=_SEQUENCE,
    ),
]
Depth = Annotated[
    Path | None,
    typer.Option(
        "--depth",
        metavar="DIR",
        help="Depth that m3d depth wrote, or a sensor's files named like the photos; else the network runs.",
        rich_help_panel=_SEQUENCE,
    ),
]
DepthScale = Annotated[
    float,
    typer.Option(
        metavar="N",
        help="Steps a metre of a sensor's whole-number files; floats are metres.",
        rich_help_panel=_SEQUENCE,
    ),
]
LayoutName = Annotated[
    str | None,
    typer.Option(
        "--layout",
        metavar="NAME",
        help="PATH is a data set as for m3d eval: tum, 7scenes, scannet, ...",
        rich_help_panel=_SEQUENCE,
    ),
]
Times = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Lines `time name`; times.txt beside the photos and TUM's rgb.txt are found.",
        rich_help_panel=_SEQUENCE,
    ),
]
Tolerance = Annotated[
    float,
    typer.Option(metavar="S", min=0.0, help="Seconds between a frame and its pose.", rich_help_panel=_SEQUENCE),
]
Size = Annotated[
    int,
    typer.Option(
        "--size", metavar="PX", min=32, help="Longer side at which frames are worked on.", rich_help_panel=_SEQUENCE
    ),
]
Out = Annotated[
    Path | None,
    typer.Option("--out", "-o", metavar="DIR", help="Folder that gets the results.", rich_help_panel="Files"),
]


@dataclass(frozen=True, slots=True)
class FrameChoice:
    """Where the frames of a run come from, as given; ``out`` gets the network's depth where none is given."""

    paths: Sequence[str] | None
    recursive: bool
    depth: Path | None
    depth_scale: float
    layout: str | None
    times: Path | None
    out: Path


@dataclass(frozen=True, slots=True)
class NetworkChoice:
    """The network that runs where there is no depth, as given."""

    model: str | None
    weights: Path | None
    engine: EngineChoice
    formats: str = FORMATS


def required_out(out: Path | None, command: str) -> Path:
    """The folder of results; raises UsageError without one."""
    if out is None:
        raise UsageError("no --out given", hint=f"{command} ... --out DIR")
    return out


def find_frames(
    choice: FrameChoice, camera: CameraOptions, network: NetworkChoice, *, same_camera: bool, talk: Talk
) -> tuple[SequenceFrame, ...]:
    """The frames asked for, with their times; without depth the network runs first, as m3d depth does, and resumes."""
    from m3d_cli.sequences.frames import layout_frames, open_frames
    from m3d_cli.sequences.poses import with_times

    if choice.layout is not None:
        if choice.depth is not None or len(choice.paths or ()) != 1:
            raise UsageError("--layout takes one folder, which has its own depth", hint="leave --depth out")
        return with_times(layout_frames(Path((choice.paths or ("",))[0]), choice.layout), choice.times)
    photos = _photos(choice, talk)
    depth = choice.depth
    if depth is None:
        depth = choice.out / "depth"
        _predict(photos, depth, camera, network, same_camera=same_camera, talk=talk)
    elif not depth.is_dir():
        raise UsageError(f"{depth} is no folder of depth", hint="m3d depth PHOTOS --out DIR makes one")
    return with_times(open_frames(photos, depth, camera, choice.depth_scale), choice.times)


def read_posed(frames: Sequence[SequenceFrame], trajectory: Trajectory, tolerance: float, talk: Talk) -> PosedFrames:
    """Frames matched with poses, without those that cannot be read; how, and what was left out, is told."""
    from m3d_cli.sequences.poses import match

    posed = match(frames, trajectory, tolerance)
    posed = posed.chosen(_checked(posed.frames, talk))
    talk.say(f"{len(posed.frames)} frames matched with poses {posed.rule}")
    if posed.without:
        talk.warn(f"{posed.without} frames have no pose and are left out")
    return posed


def readable(frames: Sequence[SequenceFrame], talk: Talk) -> tuple[SequenceFrame, ...]:
    """The frames without those that cannot be read, which are told; frames without times keep their numbers."""
    places = _checked(frames, talk)
    kept = tuple(frames[place] for place in places)
    if len(kept) == len(frames) or any(frame.time is not None for frame in frames):
        return kept
    return tuple(dataclasses.replace(frame, time=float(place)) for frame, place in zip(kept, places, strict=True))


def end_with_damaged(damaged: int) -> None:
    """End a command that left damaged frames out with its exit code."""
    if damaged:
        raise typer.Exit(DAMAGED_EXIT)


def _checked(frames: Sequence[SequenceFrame], talk: Talk) -> Sequence[int]:
    from m3d_cli.cli.progress import progress
    from m3d_cli.sequences.readable import check

    with progress(len(frames), quiet=talk.quiet) as advance:
        found = check(frames, advance)
    for error in found.errors:
        talk.error(f"{error.code}: {error.message}; the frame is left out")
    if found.guessed_focals:
        share = f"{found.guessed_focals} of {len(frames)} frames"
        talk.warn(
            f"{share}: no focal length was told, metres may be off by 10 to 25 % (1 sigma); --intrinsics tells it"
        )
    return found.readable


def read_poses(poses: Path | None, command: str) -> Trajectory:
    """The trajectory in a file; raises UsageError where none is named."""
    from m3d_cli.formats.trajectories import read_trajectory

    return read_trajectory(required_poses(poses, command))


def required_poses(poses: Path | None, command: str) -> Path:
    """The file of poses; raises UsageError without one."""
    if poses is None:
        raise UsageError("no --poses given", hint=f"{command} PHOTOS --poses FILE --out DIR")
    return poses


def with_pose_intrinsics(camera: CameraOptions, poses: Path | None) -> CameraOptions:
    """The camera options; where none says the focal length, a COLMAP model or transforms.json with poses does."""
    from m3d_cli.formats.colmap import is_colmap
    from m3d_cli.formats.trajectories import TRANSFORMS
    from m3d_cli.intrinsics.calibration.colmap import read_colmap_calibration
    from m3d_cli.intrinsics.calibration.read import read_calibration

    if poses is None or camera.user.is_given or camera.calibration is not None:
        return camera
    if is_colmap(poses):
        return dataclasses.replace(camera, calibration=read_colmap_calibration(poses))
    file = poses / TRANSFORMS if poses.is_dir() else poses
    if file.suffix.lower() == ".json" and file.is_file():
        return dataclasses.replace(camera, calibration=read_calibration(file))
    return camera


def _photos(choice: FrameChoice, talk: Talk) -> tuple[PhotoFile, ...]:
    if not choice.paths:
        if choice.depth is None:
            raise UsageError("no photos named", hint="give a folder of photos, or --depth DIR that m3d depth wrote")
        return ()
    listing = options.find_photos(choice.paths, recursive=choice.recursive, skip_folders=(choice.out,))
    # Lists of times and calibrations lie beside the photos of a sequence: to ignore them is no news.
    talk.detail(listing.summary())
    return listing.photos


def _predict(
    photos: Sequence[PhotoFile],
    out: Path,
    camera: CameraOptions,
    network: NetworkChoice,
    *,
    same_camera: bool,
    talk: Talk,
) -> None:
    from m3d_cli.pipeline.plan import parse_formats, plan
    from m3d_cli.pipeline.settings import Settings

    spec, weights = options.choose_network(network.model, network.weights, None, talk)
    settings = Settings(
        model=spec,
        weights=weights,
        formats=parse_formats(network.formats),
        precision=network.engine.precision,
        backend=network.engine.backend,
        camera=camera,
    )
    jobs = plan(photos, out, settings.formats)
    order = Order(jobs, settings, network.engine, same_camera, False, None, False, False)
    code = work_into_folder(order, out, talk)
    # Photos that failed were named, and will be left out.
    if code not in (0, DAMAGED_EXIT):
        raise typer.Exit(code)
