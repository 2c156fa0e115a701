"""``m3d reconstruct``: frames with poses become one surface in metres."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from m3d_cli.cli import options, sequences
from m3d_cli.cli.camera_flags import camera_options
from m3d_cli.cli.console import Talk, show_log, write_line
from m3d_cli.cli.progress import progress
from m3d_cli.cli.running import EngineChoice

if TYPE_CHECKING:
    from m3d_cli.sequences.fusion import FusionOptions
    from m3d_cli.sequences.poses import PosedFrames
    from m3d_cli.sequences.reconstruct import Scene

_FUSION = "Fusion"

Voxel = Annotated[float, typer.Option(metavar="M", help="Side of a voxel in metres.", rich_help_panel=_FUSION)]
MaxDepth = Annotated[
    float, typer.Option(metavar="M", help="Depth beyond M metres is not fused.", rich_help_panel=_FUSION)
]
Views = Annotated[
    int, typer.Option(metavar="N", min=1, help="Frames that must have seen a surface.", rich_help_panel=_FUSION)
]
KeepEdges = Annotated[bool, typer.Option("--keep-edges", help="Fuse depth edges too.", rich_help_panel=_FUSION)]
MinConfidence = Annotated[
    float, typer.Option(metavar="C", help="Only depth of at least this confidence.", rich_help_panel=_FUSION)
]
Refine = Annotated[
    bool,
    typer.Option(
        "--refine", help="Give each frame's depth the scale that fits the shared surface.", rich_help_panel=_FUSION
    ),
]
Parallax = Annotated[
    bool,
    typer.Option(
        "--parallax",
        help="Give all depth the one scale that corners followed through the photos have; needs poses in metres.",
        rich_help_panel=_FUSION,
    ),
]
Preview = Annotated[
    bool, typer.Option("--preview", help="Also a PNG of the cloud from a raised viewpoint.", rich_help_panel="Files")
]


def reconstruct(
    context: typer.Context,
    paths: options.Paths = None,
    recursive: options.Recursive = False,
    poses: sequences.Poses = None,
    depth: sequences.Depth = None,
    depth_scale: sequences.DepthScale = 1000.0,
    layout: sequences.LayoutName = None,
    times: sequences.Times = None,
    tolerance: sequences.Tolerance = sequences.TOLERANCE,
    size: sequences.Size = 640,
    focal: options.Focal = None,
    focal_35mm: options.Focal35 = None,
    fov: options.Fov = None,
    intrinsics: options.IntrinsicsFile = None,
    same_camera: options.SameCamera = False,
    out: sequences.Out = None,
    voxel: Voxel = 0.02,
    max_depth: MaxDepth = 5.0,
    views: Views = 2,
    keep_edges: KeepEdges = False,
    min_confidence: MinConfidence = 0.0,
    refine: Refine = False,
    parallax: Parallax = False,
    preview: Preview = False,
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
    """Fuse photos, or depth that is there already, with known poses into a mesh and a cloud in metres."""
    talk = Talk(quiet, verbose)
    show_log(verbose=verbose)
    target = sequences.required_out(out, "m3d reconstruct")
    trajectory = sequences.read_poses(poses, "m3d reconstruct")
    camera = camera_options(context, focal=focal, focal_35mm=focal_35mm, fov=fov, intrinsics=intrinsics)
    camera = sequences.with_pose_intrinsics(camera, poses)
    from m3d_cli.sequences.fusion import FusionOptions
    from m3d_cli.sequences.reconstruct import reconstruct as fuse

    fusion = FusionOptions(
        voxel, max_depth=max_depth, fewest_views=views, edges=not keep_edges, min_confidence=min_confidence
    )
    choice = sequences.FrameChoice(paths, recursive, depth, depth_scale, layout, times, target)
    network = sequences.NetworkChoice(model, weights, EngineChoice(device, precision, batch_size, backend))
    frames = sequences.find_frames(choice, camera, network, same_camera=same_camera, talk=talk)
    posed = sequences.read_posed(frames, trajectory, tolerance, talk)
    factor = _parallax_scale(posed, size, talk) if parallax else 1.0
    with progress(len(posed.frames), quiet=quiet) as advance:
        scene = fuse(posed, fusion, size, refine=refine, scale=factor, advance=advance)
    _write(target, scene, posed, fusion, preview=preview)
    _tell(target, scene, as_json=as_json, talk=talk)
    sequences.end_with_damaged(posed.damaged)


def _parallax_scale(posed: PosedFrames, size: int, talk: Talk) -> float:
    """The factor that makes depth agree with corners triangulated from the poses."""
    from m3d_cli.sequences.scale import constant_scale, frame_scales
    from m3d_cli.sequences.scale_observations import observed

    with progress(len(posed.frames), quiet=talk.quiet) as advance:
        found = constant_scale(frame_scales(observed(posed, None, size, advance)))
    factor = 1 / found.middle
    talk.say(f"depth times {factor:.4f} agrees with parallax: {found.frames} frames, standard error {found.error:.1%}")
    return factor


def _write(target: Path, scene: Scene, posed: PosedFrames, fusion: FusionOptions, *, preview: bool) -> None:
    from dataclasses import asdict

    from m3d_cli.atomic import write_bytes
    from m3d_cli.formats.cloud_preview import encode_cloud_preview
    from m3d_cli.formats.ply import encode_ply
    from m3d_cli.formats.surface import encode_surface

    comments = (f"world of the poses, {scene.frames} frames, voxels of {fusion.voxel:g} m",)
    write_bytes(target / "mesh.ply", *encode_surface(scene.surface, comments))
    write_bytes(target / "cloud.ply", *encode_ply(scene.surface.corners, comments))
    if preview:
        write_bytes(target / "preview.png", encode_cloud_preview(scene.surface.corners))
    scales = {frame.name: round(float(s), 6) for frame, s in zip(posed.frames, scene.scales, strict=True)}
    content = {
        "fusion": asdict(fusion),
        "matched": posed.rule,
        "without_pose": posed.without,
        "damaged": posed.damaged,
        "depth_scales": scales,
    }
    write_bytes(target / "reconstruct.json", (json.dumps(content, indent=1) + "\n").encode())


def _tell(target: Path, scene: Scene, *, as_json: bool, talk: Talk) -> None:
    points, triangles = len(scene.surface.corners), len(scene.surface.triangles)
    talk.say(f"{scene.frames} frames became {points} points and {triangles} triangles")
    if as_json:
        content = {"mesh": str(target / "mesh.ply"), "cloud": str(target / "cloud.ply"), "frames": scene.frames}
        return write_line(json.dumps({**content, "points": points, "triangles": triangles}))
    return write_line(str(target / "mesh.ply"))
