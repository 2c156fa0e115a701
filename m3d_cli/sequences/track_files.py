"""Files of trajectories and metric scales that `m3d slam` writes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from m3d_cli.atomic import write_bytes
from m3d_cli.formats.colmap import write_colmap_binary, write_colmap_text
from m3d_cli.formats.surface import encode_surface
from m3d_cli.formats.trajectory_tables import encode_kitti, encode_tum
from m3d_cli.reporter import Reporter
from m3d_cli.sequences.colmap_scale import metric_model, model_of
from m3d_cli.sequences.frames import SequenceFrame
from m3d_cli.sequences.fusion import FusionOptions
from m3d_cli.sequences.odometry import Odometry
from m3d_cli.sequences.poses import PosedFrames
from m3d_cli.sequences.reconstruct import reconstruct
from m3d_cli.sequences.scale import TrackScale, constant_scale, drifting_scale, frame_scales, rescaled
from m3d_cli.sequences.scale_observations import observed
from m3d_cli.trajectory import Trajectory

NAME = "trajectory"
# A scale that ends this much off where it began drifts.
NOTED_DRIFT = 0.1


def write_trajectory(trajectory: Trajectory, folder: Path, name: str = NAME) -> None:
    """``name.txt`` as TUM has it, and ``name.kitti.txt``."""
    write_bytes(folder / f"{name}.txt", encode_tum(trajectory))
    write_bytes(folder / f"{name}.kitti.txt", encode_kitti(trajectory))


def segment_names(found: Odometry) -> list[str]:
    """Names of the segments' files."""
    count = len(found.segments)
    return [NAME] if count == 1 else [f"{NAME}-{number}" for number in range(1, count + 1)]


def write_segments(found: Odometry, folder: Path) -> None:
    """A trajectory per segment."""
    for name, segment in zip(segment_names(found), found.segments, strict=True):
        write_trajectory(segment.trajectory, folder, name)


def write_map(
    frames: tuple[SequenceFrame, ...], found: Odometry, folder: Path, fusion: FusionOptions, size: int
) -> None:
    """``map.ply``: the frames of the longest segment fused at ``size`` pixels."""
    longest = found.longest
    posed = PosedFrames(frames[longest.first : longest.last + 1], longest.trajectory, "by odometry", 0)
    scene = reconstruct(posed, fusion, size, refine=False)
    write_bytes(folder / "map.ply", *encode_surface(scene.surface, (f"odometry, {scene.frames} frames",)))


def write_metric(poses: Path, posed: PosedFrames, found: TrackScale, folder: Path) -> None:
    """The trajectory, and the COLMAP model where ``poses`` is one, in metres; ``scale.json`` with the scales."""
    metric = rescaled(posed.trajectory, found)
    if (sparse := model_of(poses)) is not None:
        model = metric_model(sparse, posed.trajectory.names or (), metric, found)
        write_colmap_text(model, folder / "sparse" / "text")
        write_colmap_binary(model, folder / "sparse" / "0")
    write_trajectory(metric, folder)
    content = {**scale_summary(found), "scales": [round(float(value), 8) for value in found.scale]}
    write_bytes(folder / "scale.json", (json.dumps(content) + "\n").encode())


def scale_summary(found: TrackScale) -> dict[str, object]:
    """A scale as JSON has it."""
    ends = {"first": float(found.scale[0]), "last": float(found.scale[-1])}
    rest = {"spread": found.spread, "error": found.error, "frames": found.frames, "jumps": list(found.jumps)}
    return {"scale": found.middle, **ends, **rest}


def scale_track(
    poses: Path, posed: PosedFrames, folder: Path, size: int, reach: int, report: Reporter, *, drifts: bool
) -> TrackScale:
    """The metric scale of a track by the depth of its frames, at ``size`` pixels, written by `write_metric`.

    ``drifts`` lets it change along the track, smooth over ``reach`` frames; else a drift is reported.
    """
    with report.progress(len(posed.frames)) as advance:
        scales = frame_scales(observed(posed, model_of(poses), size, advance))
    drifting = drifting_scale(scales, reach)
    found = drifting if drifts else constant_scale(scales)
    ratio = float(drifting.scale[-1] / drifting.scale[0])
    if not drifts and (drifting.jumps or abs(ratio - 1) > max(NOTED_DRIFT, 3 * drifting.error)):
        jumps = f", with {len(drifting.jumps)} jumps" if drifting.jumps else ""
        ends = f"from {drifting.scale[0]:.4g} to {drifting.scale[-1]:.4g}"
        report.warn(f"the scale goes {ends}{jumps}: --drift corrects it")
    write_metric(poses, posed, found, folder)
    return found


def scale_text(found: TrackScale, folder: Path, *, as_json: bool) -> str:
    """The scale as one line, for people or as JSON."""
    if as_json:
        return json.dumps({**scale_summary(found), "trajectory": str(folder / f"{NAME}.txt")})
    ends = f"{found.scale[0]:.5g} to {found.scale[-1]:.5g} " if found.scale[0] != found.scale[-1] else ""
    return (
        f"{found.middle:.6g}\t{ends}metres per unit, frames spread {found.spread:.1%}, "
        f"standard error {found.error:.1%}, {found.frames} frames, {len(found.jumps)} jumps"
    )


def segment_lines(found: Odometry, folder: Path, *, as_json: bool) -> Iterator[str]:
    """A line per segment, for people or as JSON."""
    for name, segment in zip(segment_names(found), found.segments, strict=True):
        length, file = segment.trajectory.length, str(folder / f"{name}.txt")
        facts = {"first": segment.first, "last": segment.last, "key_frames": segment.key_frames, "loops": segment.loops}
        if as_json:
            yield json.dumps({"trajectory": file, **facts, "metres": round(length, 4)})
        else:
            yield f"{file}\tframes {segment.first} to {segment.last}\t{length:.3f} m\t{segment.loops} loops"
