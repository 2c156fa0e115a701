"""``m3d pointcloud``: photos, or depth that is there already, to point clouds and meshes in metres."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from m3d_cli.cli import options
from m3d_cli.cli.camera_flags import camera_options, refuse_focal
from m3d_cli.cli.console import Talk, show_log
from m3d_cli.cli.dry_run import show_plan
from m3d_cli.cli.running import (
    STDOUT,
    EngineChoice,
    Order,
    refuse_remote,
    remote_out,
    run_into_folder,
    run_to_stdout,
    shared_focal,
)
from m3d_cli.errors import UsageError
from m3d_cli.files.remote import GIGABYTE, is_url

if TYPE_CHECKING:
    from m3d_cli.batch.plan import OutputFormat
    from m3d_cli.files.discover import PhotoFile

_CLOUD = "Cloud"

Out = Annotated[
    str | None,
    typer.Option(
        "--out",
        "-o",
        metavar="DIR",
        envvar="M3D_OUT",
        help="Folder that gets the results, laid out like the inputs; - writes one photo's PLY to stdout.",
        rich_help_panel="Files",
    ),
]
Depth = Annotated[
    Path | None,
    typer.Option(
        "--depth",
        metavar="PATH",
        help="Depth that m3d depth wrote, a folder or a file: no network runs. Photos given beside it lend colours.",
        rich_help_panel="Inputs",
    ),
]
Formats = Annotated[
    str,
    typer.Option(
        "--format",
        metavar="LIST",
        envvar="M3D_CLOUD_FORMAT",
        help="Any of ply, pcd, xyz, glb (textured mesh) and those of m3d depth, with commas.",
        rich_help_panel="Files",
    ),
]
Preview = Annotated[
    bool,
    typer.Option("--preview", help="Also a PNG of the cloud from a raised viewpoint.", rich_help_panel="Files"),
]
AxesName = Annotated[
    str,
    typer.Option(
        "--axes",
        metavar="NAME",
        envvar="M3D_AXES",
        help="opencv (x right, y down, z forward), opengl (y up, z back) or zup (y forward, z up).",
        rich_help_panel=_CLOUD,
    ),
]
KeepEdges = Annotated[
    bool,
    typer.Option("--keep-edges", help="Keep points on depth edges, which float in the air.", rich_help_panel=_CLOUD),
]
MinConfidence = Annotated[
    float | None,
    typer.Option(metavar="C", help="Only points of at least this confidence (0 to 1).", rich_help_panel=_CLOUD),
]
Stride = Annotated[
    int, typer.Option(metavar="N", min=1, help="Every n-th row and column of the photo.", rich_help_panel=_CLOUD)
]
Voxel = Annotated[float | None, typer.Option(metavar="M", help="One point a cube of M metres.", rich_help_panel=_CLOUD)]
Outliers = Annotated[
    bool,
    typer.Option("--remove-outliers", help="Drop points far from their neighbours.", rich_help_panel=_CLOUD),
]
Normals = Annotated[
    bool,
    typer.Option("--normals", help="Normals of the network, or of the depth's surface.", rich_help_panel=_CLOUD),
]


def pointcloud(
    context: typer.Context,
    paths: options.Paths = None,
    files_from: options.FilesFrom = None,
    null_separated: options.NullSeparated = False,
    recursive: options.Recursive = False,
    include: options.Include = None,
    exclude: options.Exclude = None,
    hidden: options.Hidden = False,
    depth: Depth = None,
    focal: options.Focal = None,
    focal_mm: options.FocalMm = None,
    sensor_width: options.SensorWidth = None,
    focal_35mm: options.Focal35 = None,
    fov: options.Fov = None,
    intrinsics: options.IntrinsicsFile = None,
    exif_json: options.ExifJson = None,
    sensor_db: options.SensorDb = None,
    same_camera: options.SameCamera = False,
    require_focal: options.RequireFocal = False,
    out: Out = None,
    formats: Formats = "ply",
    preview: Preview = False,
    keep_extension: options.KeepExtension = False,
    axes: AxesName = "opencv",
    keep_edges: KeepEdges = False,
    max_depth: options.MaxDepth = None,
    min_confidence: MinConfidence = None,
    stride: Stride = 1,
    voxel: Voxel = None,
    remove_outliers: Outliers = False,
    normals: Normals = False,
    model: options.Model = None,
    weights: options.Weights = None,
    device: options.Device = "auto",
    devices: options.Devices = None,
    precision: options.Precision = "auto",
    batch_size: options.BatchSize = None,
    backend: options.Backend = "auto",
    overwrite: options.Overwrite = False,
    dry_run: options.DryRun = False,
    shard: options.ShardOption = None,
    fail_fast: options.FailFast = False,
    max_download: options.MaxDownload = 1.0,
    max_failures: options.MaxFailures = None,
    exit_zero: options.ExitZero = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Write a point cloud in metres for each photo: PLY with colours, and more on request."""
    talk = Talk(quiet, verbose)
    show_log(verbose=verbose)
    target = _target(out, paths, depth)
    photos = _inputs(
        paths,
        depth,
        talk,
        files_from=files_from,
        null_separated=null_separated,
        recursive=recursive,
        include=include,
        exclude=exclude,
        hidden=hidden,
        skip_folders=() if is_url(target) or target == STDOUT else (Path(target),),
    )
    from m3d_cli.batch.plan import parse_formats, plan

    chosen_formats = parse_formats(formats + ",cloud-preview" if preview else formats)
    _tell_mesh(chosen_formats, _only_of_points(context), talk)
    camera = camera_options(
        context,
        focal=focal,
        focal_mm=focal_mm,
        sensor_width=sensor_width,
        focal_35mm=focal_35mm,
        fov=fov,
        intrinsics=intrinsics,
        exif_json=exif_json,
        sensor_db=sensor_db,
        require_focal=require_focal,
    )
    refuse_focal(camera, depth)
    from m3d_cli.batch.clouds import CloudStyle
    from m3d_cli.batch.settings import Settings
    from m3d_cli.pointcloud import parse_axes

    spec, chosen = options.choose_network(model, weights, depth, talk)
    settings = Settings(
        model=spec,
        weights=chosen,
        formats=chosen_formats,
        cloud=CloudStyle(parse_axes(axes), not keep_edges, min_confidence, stride, voxel, remove_outliers, normals),
        max_depth=max_depth,
        precision=precision,
        backend=backend,
        camera=camera,
        stored=depth,
        most_download=round(max_download * GIGABYTE),
    )
    remote = remote_out(target)
    folder = Path(target) if remote is None else remote.local
    order = Order(
        jobs=plan(photos, folder, settings.formats, keep_extension),
        settings=settings,
        engine=EngineChoice.among(devices, device, precision, batch_size, backend),
        same_camera=same_camera,
        overwrite=overwrite,
        most_failures=1 if fail_fast else max_failures,
        exit_zero=exit_zero,
        as_json=as_json,
        remote=remote,
    ).part(shard)
    refuse_remote(order, dry_run=dry_run)
    if target == STDOUT:
        return run_to_stdout(order, talk)
    if dry_run:
        return show_plan(order.jobs, settings, shared_focal(order), overwrite=overwrite, as_json=as_json, talk=talk)
    return run_into_folder(order, folder, talk)


def _target(out: str | None, paths: list[str] | None, depth: Path | None) -> str:
    if not paths and depth is None:
        raise UsageError("nothing to do: no photos and no --depth", hint="m3d pointcloud PHOTOS --out DIR")
    if out is None:
        raise UsageError("no --out given", hint="m3d pointcloud PHOTOS --out DIR, or --out - for one PLY on stdout")
    return out


def _only_of_points(context: typer.Context) -> tuple[str, ...]:
    """Flags on the command line that a mesh does not follow."""
    flags = {"voxel": "--voxel", "remove_outliers": "--remove-outliers", "normals": "--normals"}
    if context.params.get("axes") != "opengl":
        flags["axes"] = "--axes"
    sources = {name: context.get_parameter_source(name) for name in flags}
    return tuple(flags[name] for name, source in sources.items() if source is not None and source.name == "COMMANDLINE")


def _tell_mesh(formats: tuple[OutputFormat, ...], flags: tuple[str, ...], talk: Talk) -> None:
    """Say which ``flags`` a GLB does not follow; raises UsageError where nothing else is written."""
    if "glb" not in formats or not flags:
        return
    told = f"{', '.join(flags)}: a GLB is a mesh of the depth grid in glTF's own axes and does not follow this"
    if not any(kind in formats for kind in ("ply", "pcd", "xyz", "cloud-preview")):
        raise UsageError(told, hint="leave it out, or write points: --format ply")
    talk.warn(told)


def _inputs(
    paths: list[str] | None, depth: Path | None, talk: Talk, *, skip_folders: tuple[Path, ...], **choice: object
) -> tuple[PhotoFile, ...]:
    """Photos, or where none are given the sidecars of the depth itself."""
    if depth is not None and not paths and choice["files_from"] is None:
        from m3d_cli.batch.stored import stored_inputs

        return stored_inputs(depth)
    listing = options.find_photos(paths, skip_folders=skip_folders, takes_urls=depth is None, **choice)  # type: ignore[arg-type]
    (talk.say if listing.ignored else talk.detail)(listing.summary())
    return listing.photos
