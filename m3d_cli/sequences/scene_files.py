"""Files of a reconstructed scene."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from m3d_cli.atomic import write_bytes
from m3d_cli.formats.cloud_preview import encode_cloud_preview
from m3d_cli.formats.ply import encode_ply
from m3d_cli.formats.surface import encode_surface
from m3d_cli.reporter import Reporter
from m3d_cli.sequences.fusion import FusionOptions
from m3d_cli.sequences.poses import PosedFrames
from m3d_cli.sequences.reconstruct import Scene
from m3d_cli.sequences.scale import constant_scale, frame_scales
from m3d_cli.sequences.scale_observations import observed


def write_scene(folder: Path, scene: Scene, posed: PosedFrames, fusion: FusionOptions, *, preview: bool) -> None:
    """``mesh.ply``, ``cloud.ply``, ``reconstruct.json``, and ``preview.png`` where wanted."""
    comments = (f"world of the poses, {scene.frames} frames, voxels of {fusion.voxel:g} m",)
    write_bytes(folder / "mesh.ply", *encode_surface(scene.surface, comments))
    write_bytes(folder / "cloud.ply", *encode_ply(scene.surface.corners, comments))
    if preview:
        write_bytes(folder / "preview.png", encode_cloud_preview(scene.surface.corners))
    scales = {frame.name: round(float(s), 6) for frame, s in zip(posed.frames, scene.scales, strict=True)}
    content = {
        "fusion": asdict(fusion),
        "matched": posed.rule,
        "without_pose": posed.without,
        "damaged": posed.damaged,
        "depth_scales": scales,
    }
    write_bytes(folder / "reconstruct.json", (json.dumps(content, indent=1) + "\n").encode())


def parallax_scale(posed: PosedFrames, size: int, report: Reporter) -> float:
    """The factor that makes depth agree with corners triangulated from the poses."""
    with report.progress(len(posed.frames)) as advance:
        found = constant_scale(frame_scales(observed(posed, None, size, advance)))
    factor = 1 / found.middle
    report.say(
        f"depth times {factor:.4f} agrees with parallax: {found.frames} frames, standard error {found.error:.1%}"
    )
    return factor
