"""The frames of a sequence as commands name them: photos with existing depth maps or those of a network, and poses."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from m3d_cli.errors import FocalError, UsageError
from m3d_cli.formats.colmap import is_colmap
from m3d_cli.formats.trajectories import TRANSFORMS, read_trajectory
from m3d_cli.intrinsics.calibration.colmap import read_colmap_calibration
from m3d_cli.intrinsics.calibration.read import read_calibration
from m3d_cli.models.registry import ChosenWeights
from m3d_cli.models.spec import ModelSpec
from m3d_cli.photos.discover import PhotoFile, Selection, find_photos
from m3d_cli.photos.load import CameraSources
from m3d_cli.pipeline.plan import parse_formats
from m3d_cli.pipeline.run_plan import RunPlan
from m3d_cli.pipeline.settings import Settings
from m3d_cli.pipeline.tally import Tally
from m3d_cli.pipeline.workers import Workers
from m3d_cli.reporter import Reporter
from m3d_cli.sequences.frames import SequenceFrame, frames_to_come, layout_frames, open_frames
from m3d_cli.sequences.poses import PosedFrames, match, with_times
from m3d_cli.sequences.readable import check
from m3d_cli.trajectory import Trajectory

# What a network writes for a sequence; exact enough for fusion, and a tenth of the time that npz takes.
FORMATS = "png,conf"


@dataclass(frozen=True, slots=True)
class Network:
    """The network that computes depth where none exists, and what runs it."""

    model: ModelSpec
    weights: ChosenWeights
    workers: Workers = field(default_factory=Workers)
    formats: str = FORMATS


@dataclass(frozen=True, slots=True)
class SequenceSource:
    """Where the frames of a run come from; ``out`` gets the network's depth where no ``depth`` is given.

    ``depth_scale`` are the steps per metre of a sensor's whole-number files. With a ``layout``, the one path is a data
    set that has its own depth.
    """

    paths: Sequence[str]
    out: Path
    camera: CameraSources
    recursive: bool = False
    depth: Path | None = None
    depth_scale: float = 1000.0
    layout: str | None = None
    times: Path | None = None
    same_camera: bool = False

    def open(
        self,
        network: Network | None,
        report: Reporter,
        check: Callable[[Sequence[SequenceFrame]], object] = lambda frames: None,
    ) -> tuple[SequenceFrame, ...]:
        """The frames with their times; without existing depth the network runs first, and resumes.

        Before the network runs, ``check`` gets the frames, which have no depth yet, and may raise.
        """
        if self.layout is not None:
            if self.depth is not None or len(self.paths) != 1:
                raise UsageError("--layout takes one folder, which has its own depth", hint="leave --depth out")
            return with_times(layout_frames(Path(self.paths[0]), self.layout), self.times)
        photos = self._photos(report)
        depth = self.depth
        if depth is None:
            assert network is not None  # noqa: S101 - callers give one where depth is to be computed
            depth = self.out / "depth"
            check(with_times(frames_to_come(photos), self.times))
            self._predict(photos, depth, network, report)
        elif not depth.is_dir():
            raise UsageError(f"{depth} is not a folder of depth maps", hint="m3d depth PHOTOS --out DIR makes one")
        return with_times(open_frames(photos, depth, self.camera, self.depth_scale), self.times)

    def _photos(self, report: Reporter) -> tuple[PhotoFile, ...]:
        if not self.paths:
            if self.depth is None:
                raise UsageError("no photos named", hint="give a folder of photos, or --depth DIR of m3d depth")
            return ()
        listing = find_photos(self.paths, Selection(recursive=self.recursive, skip_folders=(self.out,)))
        # Lists of times and calibrations lie beside the photos of a sequence: ignoring them is no news.
        report.detail(listing.summary())
        return listing.photos

    def _predict(self, photos: Sequence[PhotoFile], out: Path, network: Network, report: Reporter) -> None:
        settings = Settings(
            model=network.model,
            weights=network.weights,
            formats=parse_formats(network.formats),
            precision=network.workers.precision,
            backend=network.workers.backend,
            camera=self.camera,
        )
        plan = RunPlan.of(photos, str(out), settings, network.workers, same_camera=self.same_camera)
        tally = Tally(len(photos), plan.waits_for)
        with plan.started(tally.add) as outcomes:
            for _ in tally.follow(outcomes, report):
                pass
        tally.report(report)
        # Other photos that failed are left out later.
        if tally.exit_code == FocalError.exit_code:
            raise FocalError("photos without a known focal length have no depth", hint="give --focal or --intrinsics")


def with_pose_intrinsics(camera: CameraSources, poses: Path) -> CameraSources:
    """The camera sources; where none gives the focal length, a COLMAP model or transforms.json with poses does."""
    if camera.user.is_given or camera.calibration is not None:
        return camera
    if is_colmap(poses):
        return dataclasses.replace(camera, calibration=read_colmap_calibration(poses))
    file = poses / TRANSFORMS if poses.is_dir() else poses
    if file.suffix.lower() == ".json" and file.is_file():
        return dataclasses.replace(camera, calibration=read_calibration(file))
    return camera


def open_posed(
    source: SequenceSource, poses: Path, tolerance: float, network: Network | None, report: Reporter
) -> PosedFrames:
    """The frames of a sequence with the poses in a file, which is read first; raises PoseError."""
    trajectory = read_trajectory(poses)
    for remark in trajectory.remarks:
        report.warn(f"{poses}: {remark}")
    source = dataclasses.replace(source, camera=with_pose_intrinsics(source.camera, poses))
    frames = source.open(network, report, lambda coming: match(coming, trajectory, tolerance))
    return posed_frames(frames, trajectory, tolerance, report)


def posed_frames(
    frames: Sequence[SequenceFrame], trajectory: Trajectory, tolerance: float, report: Reporter
) -> PosedFrames:
    """Frames matched with poses (``tolerance`` in seconds), without those that cannot be read."""
    posed = match(frames, trajectory, tolerance)
    posed = posed.chosen(_readable(posed.frames, report))
    report.say(f"{len(posed.frames)} frames matched with poses {posed.rule}")
    if posed.without:
        report.warn(f"{posed.without} frames have no pose and are left out")
    return posed


def readable_frames(frames: Sequence[SequenceFrame], report: Reporter) -> tuple[SequenceFrame, ...]:
    """The frames without those that cannot be read; the others keep their numbers."""
    return tuple(dataclasses.replace(frames[place], number=place) for place in _readable(frames, report))


def _readable(frames: Sequence[SequenceFrame], report: Reporter) -> Sequence[int]:
    with report.progress(len(frames)) as advance:
        found = check(frames, advance)
    for error in found.errors:
        report.error(f"{error.code}: {error.message}; the frame is left out")
    if found.guessed_focals:
        share = f"{found.guessed_focals} of {len(frames)} frames"
        report.warn(f"{share}: focal length unknown, metres may be off by 10 to 25 % (1 sigma); give --intrinsics")
    return found.readable
