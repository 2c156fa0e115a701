"""Options that commands over sequences share, and what they become."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import typer

from m3d_cli.cli.console import Messages
from m3d_cli.cli.grouping import option
from m3d_cli.cli.option_groups import OUTPUT, NetworkOptions, SequenceInput
from m3d_cli.errors import UsageError

if TYPE_CHECKING:
    from m3d_cli.photos.load import CameraSources
    from m3d_cli.sequences.frames import SequenceFrame
    from m3d_cli.sequences.open_sequence import Network
    from m3d_cli.sequences.poses import PosedFrames

SEQUENCE = "Sequence"
# The work was done, without frames that are damaged.
DAMAGED_EXIT = 3
# Seconds; `trajectory.TIME_TOLERANCE`, which would load numpy for every --help.
TOLERANCE = 0.02

Tolerance = Annotated[float, option("Seconds between a frame and its pose.", metavar="S", min=0.0)]


@dataclass(frozen=True, slots=True)
class FrameInput(SequenceInput):
    """Photos of a sequence, with their depth and times."""

    depth: Annotated[
        Path | None,
        option(
            "Existing depth maps of m3d depth, or a sensor's files named like the photos; else the network runs.",
            metavar="DIR",
        ),
    ] = None
    depth_scale: Annotated[
        float, option("Steps per metre of a sensor's whole-number files; floats are metres.", metavar="N")
    ] = 1000.0
    layout: Annotated[
        str | None, option("PATH is a data set as for m3d eval: tum, 7scenes, scannet, ...", metavar="NAME")
    ] = None
    times: Annotated[
        Path | None,
        option("Lines `time name`; times.txt beside the photos and TUM's rgb.txt are found.", metavar="FILE"),
    ] = None

    def open(
        self,
        out: Path,
        camera: CameraSources,
        network: NetworkOptions,
        messages: Messages,
        *,
        same_camera: bool = False,
    ) -> tuple[SequenceFrame, ...]:
        """The frames; without existing depth the network runs first, into ``out``/depth."""
        from m3d_cli.sequences.open_sequence import SequenceSource

        source = SequenceSource(
            self.paths or (),
            out,
            camera,
            self.recursive,
            self.depth,
            self.depth_scale,
            self.layout,
            self.times,
            same_camera,
        )
        needs_network = self.depth is None and self.layout is None
        return source.open(network_of(network, messages) if needs_network else None, messages)


@dataclass(frozen=True, slots=True)
class PosedInput(FrameInput):
    """Photos of a sequence with known poses."""

    poses: Annotated[
        Path | None,
        option("TUM, KITTI, nerfstudio transforms.json, COLMAP model, 7-Scenes folder or Open3D log.", metavar="PATH"),
    ] = None
    tolerance: Tolerance = TOLERANCE

    def poses_file(self, command: str) -> Path:
        """The file of poses; raises UsageError without one."""
        if self.poses is None:
            raise UsageError("no --poses given", hint=f"{command} PHOTOS --poses FILE --out DIR")
        return self.poses

    def open_posed(
        self,
        poses: Path,
        out: Path,
        camera: CameraSources,
        network: NetworkOptions,
        messages: Messages,
        *,
        same_camera: bool,
    ) -> PosedFrames:
        """The frames with their poses, which are read first."""
        from m3d_cli.formats.trajectories import read_trajectory
        from m3d_cli.sequences.open_sequence import posed_frames, with_pose_intrinsics

        trajectory = read_trajectory(poses)
        camera = with_pose_intrinsics(camera, poses)
        frames = self.open(out, camera, network, messages, same_camera=same_camera)
        return posed_frames(frames, trajectory, self.tolerance, messages)


@dataclass(frozen=True, slots=True)
class FolderOutput:
    """The folder of results."""

    PANEL: ClassVar[str] = OUTPUT

    out: Annotated[Path | None, option("Folder that gets the results.", "--out", "-o", metavar="DIR")] = None

    def folder(self, command: str) -> Path:
        """The folder; raises UsageError without one."""
        if self.out is None:
            raise UsageError("no --out given", hint=f"{command} ... --out DIR")
        return self.out


def network_of(network: NetworkOptions, messages: Messages, formats: str | None = None) -> Network:
    """The network that computes depth where none exists."""
    from m3d_cli.sequences.open_sequence import FORMATS, Network

    spec, weights = network.chosen(messages)
    return Network(spec, weights, network.workers(), formats or FORMATS)


def exit_with_damaged(damaged: int) -> None:
    """Exit with 3 where damaged frames were left out."""
    if damaged:
        raise typer.Exit(DAMAGED_EXIT)
