"""``m3d video``: a clip, or a folder of frames, becomes depth a frame and a video to look at."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from m3d_cli.cli import options, sequences
from m3d_cli.cli.camera_flags import camera_options
from m3d_cli.cli.console import Talk, show_log, write_line
from m3d_cli.cli.progress import progress
from m3d_cli.cli.running import EngineChoice
from m3d_cli.errors import UsageError

if TYPE_CHECKING:
    from m3d_cli.formats.previews import PreviewStyle
    from m3d_cli.photos.discover import PhotoFile
    from m3d_cli.sequences.frames import SequenceFrame
    from m3d_cli.sequences.video import Steadiness

_CLIP = "Clip"
# Frames a second of a preview where the frames have no times.
SHOWN_RATE = 30.0

Every = Annotated[int, typer.Option(metavar="N", min=1, help="Every n-th frame.", rich_help_panel=_CLIP)]
Fps = Annotated[
    float | None, typer.Option("--fps", metavar="R", help="At most R frames a second.", rich_help_panel=_CLIP)
]
Most = Annotated[
    int | None, typer.Option("--limit", metavar="N", min=1, help="The first N of these.", rich_help_panel=_CLIP)
]
Filter = Annotated[
    float | None,
    typer.Option(
        "--filter",
        metavar="A",
        help="Steady depth along the optical flow: each frame keeps the share A of the past, such as 0.7.",
        rich_help_panel=_CLIP,
    ),
]
Npz = Annotated[bool, typer.Option("--npz", help="Also npz files, with float depth.", rich_help_panel="Files")]
NoPreview = Annotated[bool, typer.Option("--no-preview", help="No preview.mp4.", rich_help_panel="Files")]


def video(
    context: typer.Context,
    clip: Annotated[Path, typer.Argument(metavar="CLIP", help="A video, or a folder of frames of one camera.")],
    out: sequences.Out = None,
    every: Every = 1,
    fps: Fps = None,
    most: Most = None,
    temporal: Filter = None,
    npz: Npz = False,
    no_preview: NoPreview = False,
    colour_map: options.ColourMap = "turbo",
    focal: options.Focal = None,
    focal_35mm: options.Focal35 = None,
    fov: options.Fov = None,
    intrinsics: options.IntrinsicsFile = None,
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
    """Write metric depth of every frame with one camera for the clip, its flicker, and a preview video."""
    talk = Talk(quiet, verbose)
    show_log(verbose=verbose)
    target = sequences.required_out(out, "m3d video")
    camera = camera_options(context, focal=focal, focal_35mm=focal_35mm, fov=fov, intrinsics=intrinsics)
    from m3d_cli.formats.previews import PreviewStyle
    from m3d_cli.sequences.frames import open_frames
    from m3d_cli.sequences.temporal import TemporalFilter

    style = PreviewStyle(colour_map)
    if temporal is not None:
        TemporalFilter(temporal)
    folder, notes = _frames_of(clip, target, (every, fps, most), talk)
    choice = sequences.FrameChoice([str(folder)], False, None, 1000.0, None, None, target)
    engine = EngineChoice(device, precision, batch_size, backend)
    formats = "png,npz" if npz else sequences.FORMATS
    network = sequences.NetworkChoice(model, weights, engine, formats)
    frames = sequences.find_frames(choice, camera, network, same_camera=True, talk=talk)
    listed, frames = len(frames), sequences.readable(frames, talk)
    found = _steadied(frames, target, temporal, quiet=quiet)
    final = "filtered" if temporal is not None else "depth"
    if not no_preview:
        shown = dataclasses.replace(style, vmin=found.near, vmax=max(found.far, 1.02 * found.near))
        _preview(open_frames(_photos_of(frames, folder), target / final, camera), target, shown, quiet=quiet)
    content = {"frames": len(frames), "filter": temporal, **dataclasses.asdict(found), "notes": list(notes)}
    _finish(target, final, content, as_json=as_json, talk=talk)
    sequences.end_with_damaged(listed - len(frames))


def _photos_of(frames: tuple[SequenceFrame, ...], folder: Path) -> tuple[PhotoFile, ...]:
    """The photos of the frames, as they are listed in their folder."""
    kept = {frame.photo for frame in frames}
    return tuple(photo for photo in options.find_photos([str(folder)]).photos if photo.path in kept)


def _frames_of(
    clip: Path, target: Path, sampling: tuple[int, float | None, int | None], talk: Talk
) -> tuple[Path, tuple[str, ...]]:
    """The folder of frames, and what was wrong with the clip; frames of a video are taken out first."""
    from m3d_cli.sequences.extract import Sampling, expected_frames, extract

    if clip.is_dir():
        if sampling != (1, None, None):
            raise UsageError("a folder of frames is taken as it is", hint="--every, --fps and --limit are for videos")
        return clip, ()
    every, rate, most = sampling
    wanted = Sampling(every, rate, most)
    with progress(expected_frames(clip, wanted), quiet=talk.quiet) as advance:
        found = extract(clip, target / "frames", wanted, advance)
    talk.say(f"{found.frames} frames taken from {clip.name}")
    for note in found.notes:
        talk.warn(f"{clip}: {note}")
    return target / "frames", found.notes


def _steadied(frames: tuple[SequenceFrame, ...], target: Path, temporal: float | None, *, quiet: bool) -> Steadiness:
    from m3d_cli.formats.depth_folder import find_sidecar
    from m3d_cli.sequences.video import steady

    names = [Path(frame.photo.name) for frame in frames if frame.photo is not None]
    sidecars = [find_sidecar(target / "depth", name) for name in names]
    filtered = target / "filtered" if temporal is not None else None
    with progress(len(frames), quiet=quiet) as advance:
        return steady(frames, sidecars, filtered, temporal or 0.0, advance)


def _preview(frames: tuple[SequenceFrame, ...], target: Path, style: PreviewStyle, *, quiet: bool) -> None:
    from m3d_cli.sequences.poses import frame_times, with_times
    from m3d_cli.sequences.video_preview import write_preview

    timed = with_times(frames)
    times = frame_times(timed)
    seconds = times if timed[0].time is not None else times / SHOWN_RATE
    with progress(len(frames), quiet=quiet) as advance:
        write_preview(target / "preview.mp4", timed, seconds, style, advance)


def _finish(target: Path, final: str, content: dict[str, object], *, as_json: bool, talk: Talk) -> None:
    from m3d_cli.atomic import write_bytes

    write_bytes(target / "video.json", (json.dumps({**content, "depth": final}, indent=1) + "\n").encode())
    shares = [f"{content[name]:.2%}" for name in ("flicker", "filtered_flicker") if content[name] is not None]
    talk.say(f"warped temporal error a frame: {', filtered '.join(shares) or 'unknown'}")
    write_line(json.dumps({**content, "depth": str(target / final)}) if as_json else str(target / final))
