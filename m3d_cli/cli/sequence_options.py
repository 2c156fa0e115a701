"""Options that commands over sequences share, and what they become."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import typer

from m3d_cli.cli.console import Messages
from m3d_cli.cli.grouping import option, setting
from m3d_cli.cli.option_groups import INPUT, OUTPUT, NetworkOptions
from m3d_cli.errors import UsageError

if TYPE_CHECKING:
    from m3d_cli.photos.load import CameraSources
    from m3d_cli.sequences.open_sequence import Network, SequenceSource

SEQUENCE = "Sequence"
# The work was done, without frames that are damaged.
DAMAGED_EXIT = 3
# Seconds; `trajectory.TIME_TOLERANCE`, which would load numpy for every --help.
TOLERANCE = 0.02

Tolerance = Annotated[float, option("Seconds between a frame and its pose.", metavar="S", min=0.0)]


@dataclass(frozen=True, slots=True)
class FrameInput:
    """Photos of a sequence, with their depth and times."""

    PANEL: ClassVar[str] = INPUT

    paths: Annotated[
        list[str] | None,
        typer.Argument(metavar="PATH...", help="Photos, folders, or quoted globs.", show_default=False),
    ] = None
    recursive: Annotated[bool, setting("Also read subfolders.", "--recursive", "-r")] = False

    depth: Annotated[
        Path | None, option("Existing depth maps, or a sensor's files named like the photos.", metavar="DIR")
    ] = None
    depth_scale: Annotated[
        float, option("Steps per metre of a sensor's integer files; floats are metres.", metavar="N")
    ] = 1000.0
    layout: Annotated[str | None, option("PATH is a data set as for m3d eval: tum, scannet, ...", metavar="NAME")] = (
        None
    )
    times: Annotated[
        Path | None, option("Lines `time name`; times.txt and TUM's rgb.txt are found.", metavar="FILE")
    ] = None

    def source(self, out: Path, camera: CameraSources, *, same_camera: bool) -> SequenceSource:
        """Where the frames come from; ``out``/depth gets the network's depth where none exists."""
        from m3d_cli.sequences.open_sequence import SequenceSource

        where = (self.recursive, self.depth, self.depth_scale, self.layout, self.times)
        return SequenceSource(self.paths or (), out, camera, *where, same_camera)

    def network(self, network: NetworkOptions, messages: Messages) -> Network | None:
        """The network that computes depth; None where depth exists."""
        exists = self.depth is not None or self.layout is not None
        return None if exists else network_of(network, messages)


@dataclass(frozen=True, slots=True)
class PosedInput(FrameInput):
    """Photos of a sequence with known poses."""

    poses: Annotated[
        Path | None, option("TUM, KITTI, nerfstudio, COLMAP, 7-Scenes folder or Open3D log.", metavar="PATH")
    ] = None
    tolerance: Tolerance = TOLERANCE

    def poses_file(self, command: str) -> Path:
        """The file of poses; raises UsageError without one."""
        if self.poses is None:
            raise UsageError("no --poses given", hint=f"{command} PHOTOS --poses FILE --out DIR")
        return self.poses


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
