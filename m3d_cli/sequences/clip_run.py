"""A clip, or a folder of frames, from end to end: frames, depth of one camera, flicker, filter and preview video."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

from m3d_cli.atomic import write_bytes
from m3d_cli.errors import UsageError
from m3d_cli.formats.depth_folder import find_sidecar
from m3d_cli.formats.previews import PreviewStyle
from m3d_cli.photos.discover import PhotoFile, Selection, find_photos
from m3d_cli.photos.load import CameraSources
from m3d_cli.reporter import Reporter
from m3d_cli.sequences.extract import Sampling, expected_frames, extract
from m3d_cli.sequences.frames import SequenceFrame, open_frames
from m3d_cli.sequences.open_sequence import Network, SequenceSource, readable_frames
from m3d_cli.sequences.poses import frame_keys, with_times
from m3d_cli.sequences.temporal import TemporalFilter
from m3d_cli.sequences.video import Steadiness, steady
from m3d_cli.sequences.video_preview import write_preview
from m3d_cli.trajectory import Keys

# Frames per second of a preview where the frames have no times.
SHOWN_RATE = 30.0


@dataclass(frozen=True, slots=True)
class ClipResult:
    """The folder of depth to use, what `video.json` says, and how many frames were damaged."""

    depth: Path
    content: dict[str, object]
    damaged: int


@dataclass(frozen=True, slots=True)
class ClipRun:
    """What to do with a clip; ``temporal`` is the share of the past that the filter keeps, None for no filter."""

    clip: Path
    out: Path
    camera: CameraSources
    sampling: Sampling
    temporal: float | None = None
    style: PreviewStyle | None = None

    def __post_init__(self) -> None:
        if self.temporal is not None:
            TemporalFilter(self.temporal)  # raises UsageError for a share out of range

    def process(self, network: Network, report: Reporter) -> ClipResult:
        """Depth of every frame, its flicker, the filtered depth, and ``preview.mp4`` where a ``style`` is given."""
        folder, notes = self._frames(report)
        source = SequenceSource([str(folder)], self.out, self.camera, same_camera=True)
        listed = source.open(network, report)
        frames = readable_frames(listed, report)
        found = self._steadied(frames, report)
        final = self.out / ("filtered" if self.temporal is not None else "depth")
        if self.style is not None:
            shown = dataclasses.replace(self.style, vmin=found.near, vmax=max(found.far, 1.02 * found.near))
            self._preview(open_frames(_photos_of(frames, folder), final, self.camera), shown, report)
        facts = {"frames": len(frames), "filter": self.temporal, **dataclasses.asdict(found), "notes": list(notes)}
        text = json.dumps({**facts, "depth": final.name}, indent=1) + "\n"
        write_bytes(self.out / "video.json", text.encode())
        return ClipResult(final, facts, len(listed) - len(frames))

    def _frames(self, report: Reporter) -> tuple[Path, tuple[str, ...]]:
        """The folder of frames, and what was wrong with the clip; frames of a video are extracted first."""
        if self.clip.is_dir():
            if self.sampling != Sampling():
                raise UsageError("a folder of frames is used as it is", hint="--every, --fps, --limit are for videos")
            return self.clip, ()
        with report.progress(expected_frames(self.clip, self.sampling)) as advance:
            found = extract(self.clip, self.out / "frames", self.sampling, advance)
        report.say(f"{found.frames} frames extracted from {self.clip.name}")
        for note in found.notes:
            report.warn(f"{self.clip}: {note}")
        return self.out / "frames", found.notes

    def _steadied(self, frames: tuple[SequenceFrame, ...], report: Reporter) -> Steadiness:
        names = [Path(frame.photo.name) for frame in frames if frame.photo is not None]
        sidecars = [find_sidecar(self.out / "depth", name) for name in names]
        filtered = self.out / "filtered" if self.temporal is not None else None
        with report.progress(len(frames)) as advance:
            return steady(frames, sidecars, filtered, self.temporal or 0.0, advance)

    def _preview(self, frames: tuple[SequenceFrame, ...], style: PreviewStyle, report: Reporter) -> None:
        timed = with_times(frames)
        times, keys = frame_keys(timed)
        seconds = times if keys is Keys.TIMES else times / SHOWN_RATE
        with report.progress(len(frames)) as advance:
            write_preview(self.out / "preview.mp4", timed, seconds, style, advance)


def _photos_of(frames: tuple[SequenceFrame, ...], folder: Path) -> tuple[PhotoFile, ...]:
    """The photos of the frames, as they are listed in their folder."""
    kept = {frame.photo for frame in frames}
    return tuple(photo for photo in find_photos([str(folder)], Selection()).photos if photo.path in kept)
