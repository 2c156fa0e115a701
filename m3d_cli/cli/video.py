"""``m3d video``: a clip, or a folder of frames, becomes depth per frame and a video to look at."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import typer

from m3d_cli.cli.grouping import grouped, option
from m3d_cli.cli.option_groups import ColourMap, FocalOptions, NetworkOptions, ReportOptions
from m3d_cli.cli.sequence_options import FolderOutput, exit_with_damaged, network_of
from m3d_cli.cli.streams import write_line

_CLIP = "Clip"


@dataclass(frozen=True, slots=True)
class ClipOptions:
    """Which frames of the clip, and how steady their depth is made."""

    PANEL: ClassVar[str] = _CLIP

    clip: Annotated[Path, typer.Argument(metavar="CLIP", help="A video, or a folder of frames of one camera.")]
    every: Annotated[int, option("Every n-th frame.", metavar="N", min=1)] = 1
    fps: Annotated[float | None, option("At most R frames per second.", metavar="R")] = None
    most: Annotated[int | None, option("The first N of these.", "--limit", metavar="N", min=1)] = None
    temporal: Annotated[
        float | None,
        option(
            "Steady depth along the optical flow: keep the share A of the past, such as 0.7.", "--filter", metavar="A"
        ),
    ] = None


@dataclass(frozen=True, slots=True)
class ClipOutput(FolderOutput):
    """Files of the clip."""

    npz: Annotated[bool, option("Also npz files, with float depth.")] = False
    no_preview: Annotated[bool, option("No preview.mp4.")] = False
    colour_map: ColourMap = "turbo"


@grouped
def video(
    context: typer.Context,
    *,
    frames: ClipOptions,
    camera: FocalOptions,
    output: ClipOutput,
    network: NetworkOptions,
    report: ReportOptions,
) -> None:
    """Write metric depth of every frame with one camera for the clip, its flicker, and a preview video."""
    messages = report.start()
    folder = output.folder("m3d video")
    sources = camera.sources(context)
    from m3d_cli.formats.previews import PreviewStyle
    from m3d_cli.sequences.clip_run import ClipRun
    from m3d_cli.sequences.extract import Sampling

    sampling = Sampling(frames.every, frames.fps, frames.most)
    style = PreviewStyle(output.colour_map)
    run = ClipRun(frames.clip, folder, sources, sampling, frames.temporal, None if output.no_preview else style)
    found = run.process(network_of(network, messages, "png,npz" if output.npz else None), messages)
    shares = [found.content[name] for name in ("flicker", "filtered_flicker")]
    text = ", filtered ".join(f"{share:.2%}" for share in shares if share is not None)
    messages.say(f"warped temporal error per frame: {text or 'unknown'}")
    write_line(json.dumps({**found.content, "depth": str(found.depth)}) if report.as_json else str(found.depth))
    exit_with_damaged(found.damaged)
