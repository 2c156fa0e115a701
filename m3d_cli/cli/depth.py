"""``m3d depth``: photos in, a metric depth map and a sidecar for each out."""

from __future__ import annotations

from pathlib import Path

import typer

from m3d_cli.cli import options
from m3d_cli.cli.camera_flags import camera_options
from m3d_cli.cli.console import Talk, show_log
from m3d_cli.cli.dry_run import show_plan
from m3d_cli.cli.running import (
    STDOUT,
    EngineChoice,
    Order,
    ray_choice,
    refuse_remote,
    remote_out,
    run_into_folder,
    run_to_stdout,
    shared_focal,
)
from m3d_cli.errors import UsageError
from m3d_cli.files.remote import GIGABYTE, is_url


def depth(
    context: typer.Context,
    paths: options.Paths = None,
    files_from: options.FilesFrom = None,
    null_separated: options.NullSeparated = False,
    recursive: options.Recursive = False,
    include: options.Include = None,
    exclude: options.Exclude = None,
    hidden: options.Hidden = False,
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
    out: options.Out = None,
    formats: options.Formats = "png",
    png_scale: options.PngScale = 1000.0,
    keep_extension: options.KeepExtension = False,
    max_depth: options.MaxDepth = None,
    vmin: options.Vmin = None,
    vmax: options.Vmax = None,
    colour_map: options.ColourMap = "turbo",
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
    engine: options.EngineName = "local",
    ray_address: options.RayAddress = None,
    ray_actors: options.RayActors = None,
    fail_fast: options.FailFast = False,
    max_download: options.MaxDownload = 1.0,
    max_failures: options.MaxFailures = None,
    exit_zero: options.ExitZero = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Write the metric depth of each photo: a 16-bit PNG in millimetres and a JSON sidecar."""
    if out is None:
        raise UsageError("no --out given", hint="m3d depth PHOTOS --out DIR; nothing is written beside your photos")
    if out == STDOUT and dry_run:
        raise UsageError("--dry-run shows a plan and --out - writes a picture to stdout", hint="leave one out")
    talk = Talk(quiet, verbose)
    show_log(verbose=verbose)
    listing = options.find_photos(
        paths,
        files_from=files_from,
        null_separated=null_separated,
        recursive=recursive,
        include=include,
        exclude=exclude,
        hidden=hidden,
        takes_urls=True,
        skip_folders=() if is_url(out) or out == STDOUT else (Path(out),),
    )
    (talk.say if listing.ignored else talk.detail)(listing.summary())
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
    from m3d_cli.batch.plan import parse_formats, plan
    from m3d_cli.batch.settings import Settings
    from m3d_cli.models.registry import choose_weights
    from m3d_cli.models.spec import model_spec
    from m3d_cli.outputs.preview import PreviewStyle

    spec = model_spec(options.choose_model(model, talk, weights))
    settings = Settings(
        model=spec,
        weights=choose_weights(spec, weights),
        formats=parse_formats(formats),
        png_scale=png_scale,
        preview=PreviewStyle(colour_map, vmin, vmax),
        max_depth=max_depth,
        precision=precision,
        backend=backend,
        camera=camera,
        most_download=round(max_download * GIGABYTE),
    )
    remote = remote_out(out)
    folder = Path(out) if remote is None else remote.local
    order = Order(
        jobs=plan(listing.photos, folder, settings.formats, keep_extension),
        settings=settings,
        engine=EngineChoice.among(devices, device, precision, batch_size, backend),
        ray=ray_choice(engine, ray_address, ray_actors, device, devices),
        same_camera=same_camera,
        overwrite=overwrite,
        most_failures=1 if fail_fast else max_failures,
        exit_zero=exit_zero,
        as_json=as_json,
        remote=remote,
    ).part(shard)
    refuse_remote(order, dry_run=dry_run)
    if out == STDOUT:
        return run_to_stdout(order, talk)
    if dry_run:
        return show_plan(order.jobs, settings, shared_focal(order), overwrite=overwrite, as_json=as_json, talk=talk)
    return run_into_folder(order, folder, talk)
