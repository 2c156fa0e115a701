"""``m3d measure``: lengths, heights, areas and angles on photos, each with its interval."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from m3d_cli.cli import options
from m3d_cli.cli.camera_flags import camera_options, refuse_focal
from m3d_cli.cli.console import Talk, show_log
from m3d_cli.errors import UsageError

if TYPE_CHECKING:
    from m3d_cli.cli.measuring import MeasureOrder
    from m3d_cli.metrology.request import Wish
    from m3d_cli.photos.discover import PhotoFile

_WHAT = "What to measure (pixels of the upright photo; NAME= before and 'on PLANE' after the points may be left out)"
_KNOWN = "What is known"
_REPORT = "Report"
_ORDER = "m3d.order"

Line = Annotated[
    list[str] | None, typer.Option(metavar="[NAME=]POINTS", help="Distance of two points.", rich_help_panel=_WHAT)
]
PathOption = Annotated[
    list[str] | None,
    typer.Option("--path", metavar="[NAME=]POINTS", help="Length along points.", rich_help_panel=_WHAT),
]
Height = Annotated[
    list[str] | None,
    typer.Option(
        metavar="[NAME=]POINTS",
        help="Upright extent of two points, or height of one above the ground.",
        rich_help_panel=_WHAT,
    ),
]
Area = Annotated[
    list[str] | None, typer.Option(metavar="[NAME=]POINTS", help="Area of a flat polygon.", rich_help_panel=_WHAT)
]
Angle = Annotated[
    list[str] | None,
    typer.Option(metavar="[NAME=]POINTS", help="Angle at the middle one of three points.", rich_help_panel=_WHAT),
]
Range = Annotated[
    list[str] | None,
    typer.Option("--range", metavar="[NAME=]POINT", help="Distance of a point from the camera.", rich_help_panel=_WHAT),
]
Plane = Annotated[
    list[str] | None,
    typer.Option(
        metavar="[NAME=]POINTS",
        help="Flat region: the camera's distance from it; lines may lie on it.",
        rich_help_panel=_WHAT,
    ),
]
Box = Annotated[
    list[str] | None,
    typer.Option(
        metavar="[NAME=]POINTS",
        help="Width, height and depth of what stands between two corners.",
        rich_help_panel=_WHAT,
    ),
]
Ground = Annotated[
    list[str] | None,
    typer.Option(
        metavar="[NAME=]POINTS",
        help="Region of the ground, or auto: what is up, and the camera's height.",
        rich_help_panel=_WHAT,
    ),
]
PlaneDistance = Annotated[
    list[str] | None,
    typer.Option(
        metavar="[NAME=]POINTS|POINTS",
        help="Distance of two parallel flat regions, as a room's width.",
        rich_help_panel=_WHAT,
    ),
]
Spec = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="FILE",
        help="Measurement file for many photos (TOML, CSV; m3d schema measure), or LabelMe, COCO or VIA annotations.",
        rich_help_panel="Inputs",
    ),
]
Ref = Annotated[
    list[str] | None,
    typer.Option(
        metavar="TEXT",
        help="Known length in the photo: 'u1,v1 u2,v2 = 0.297 m' or card:'u1,v1 u2,v2' (a4, letter, euro, ...).",
        rich_help_panel=_KNOWN,
    ),
]
AllowAssumedFocal = Annotated[
    bool,
    typer.Option("--allow-assumed-focal", help="Measure on a guessed focal length too.", rich_help_panel=_KNOWN),
]
Depth = Annotated[
    Path | None,
    typer.Option(
        "--depth",
        metavar="PATH",
        help="Depth that m3d depth wrote, a folder or a file: no network runs.",
        rich_help_panel="Inputs",
    ),
]
Unit = Annotated[
    str | None,
    typer.Option(metavar="UNIT", envvar="M3D_UNIT", help="m, cm, mm, ft or in.", rich_help_panel=_REPORT),
]
ReportFormat = Annotated[
    str | None,
    typer.Option(
        metavar="FORMAT",
        help="json, csv, tsv, md or html on standard output (without it, lines to read); with --out a list of them.",
        show_default=False,
        rich_help_panel=_REPORT,
    ),
]
OutFolder = Annotated[
    Path | None,
    typer.Option(
        "--out",
        "-o",
        metavar="DIR",
        envvar="M3D_OUT",
        help="Folder for reports and annotated photos; a later run goes on there.",
        rich_help_panel=_REPORT,
    ),
]
Pick = Annotated[
    bool,
    typer.Option("--pick", help="Pick points on the photo in a browser, on a page of this computer only."),
]
NoBrowser = Annotated[bool, typer.Option("--no-browser", help="With --pick: print the page's address, open nothing.")]


class MeasureCommand(TyperCommand):
    """Remembers in which order flags of different names came."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse as ever, and keep the order of the parameters."""
        _, _, order = self.make_parser(ctx).parse_args(args=list(args)) if not _wants_help(args) else ([], [], [])
        ctx.meta[_ORDER] = [parameter.name for parameter in order]
        return list(super().parse_args(ctx, args))


def measure(
    context: typer.Context,
    paths: options.Paths = None,
    line: Line = None,
    path: PathOption = None,
    height: Height = None,
    area: Area = None,
    angle: Angle = None,
    range_: Range = None,
    plane: Plane = None,
    box: Box = None,
    ground: Ground = None,
    plane_distance: PlaneDistance = None,
    pick: Pick = False,
    no_browser: NoBrowser = False,
    ref: Ref = None,
    spec: Spec = None,
    depth: Depth = None,
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
    allow_assumed_focal: AllowAssumedFocal = False,
    unit: Unit = None,
    report: ReportFormat = None,
    out: OutFolder = None,
    max_depth: options.MaxDepth = None,
    model: options.Model = None,
    weights: options.Weights = None,
    device: options.Device = "auto",
    precision: options.Precision = "auto",
    batch_size: options.BatchSize = None,
    backend: options.Backend = "auto",
    overwrite: options.Overwrite = False,
    exit_zero: options.ExitZero = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Measure on photos: lengths, heights, areas and angles with their intervals, and what limits them."""
    talk = Talk(quiet, verbose)
    show_log(verbose=verbose)
    from m3d_cli.cli.measuring import MeasureOrder, checked_formats, checked_unit
    from m3d_cli.cli.running import EngineChoice

    checked_unit(unit)
    flags = {
        "line": line,
        "path": path,
        "height": height,
        "area": area,
        "angle": angle,
        "range": range_,
        "plane": plane,
        "box": box,
        "ground": ground,
        "plane-distance": plane_distance,
    }
    own = _wish_of_flags(context, flags, ref, unit, allow_assumed_focal=allow_assumed_focal)
    photos = _photos(
        paths,
        depth,
        talk,
        files_from=files_from,
        null_separated=null_separated,
        recursive=recursive,
        include=include,
        exclude=exclude,
        hidden=hidden,
        skip_folders=(out,) if out is not None else (),
    )
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
    )
    refuse_focal(camera, depth)
    from m3d_cli.pipeline.settings import Settings

    network, chosen = options.choose_network(model, weights, depth, talk)
    settings = Settings(
        model=network,
        weights=chosen,
        formats=(),
        max_depth=max_depth,
        precision=precision,
        backend=backend,
        camera=camera,
        stored=depth,
    )
    order = MeasureOrder(
        photos=photos,
        settings=settings,
        engine=EngineChoice(device, precision, batch_size, backend),
        own=own,
        specs=tuple(spec or ()),
        unit=unit,
        formats=checked_formats(report, is_folder=out is not None or pick),
        out=out,
        same_camera=same_camera,
        overwrite=overwrite,
        exit_zero=exit_zero,
        allow_assumed_focal=allow_assumed_focal,
        is_lone=_is_lone(paths, depth, files_from),
    )
    _start(order, talk, pick=pick, no_browser=no_browser)


def _start(order: MeasureOrder, talk: Talk, *, pick: bool, no_browser: bool) -> None:
    from m3d_cli.cli.measuring import measure_into_folder, measure_to_stdout

    if pick:
        from m3d_cli.cli.picking import pick_points

        pick_points(order, talk, opens_browser=not no_browser)
    elif order.out is not None:
        measure_into_folder(order, order.out, talk)
    else:
        measure_to_stdout(order, talk)


def _wish_of_flags(
    context: typer.Context,
    flags: dict[str, list[str] | None],
    references: list[str] | None,
    unit: str | None,
    *,
    allow_assumed_focal: bool,
) -> Wish:
    """What the flags want, in the order in which they were given."""
    from m3d_cli.metrology.request import wish_of_flags

    names = {flag.replace("-", "_"): flag for flag in flags} | {"range_": "range"}
    left = {flag: iter(texts or ()) for flag, texts in flags.items()}
    ordered = [(names[name], next(left[names[name]])) for name in context.meta.get(_ORDER, ()) if name in names]
    ordered += [(flag, text) for flag, texts in left.items() for text in texts]
    return wish_of_flags(ordered, references or (), unit or "m", allow_assumed_focal=allow_assumed_focal)


def _photos(
    paths: list[str] | None, depth: Path | None, talk: Talk, *, skip_folders: tuple[Path, ...], **choice: object
) -> tuple[PhotoFile, ...]:
    if not paths and depth is None and choice["files_from"] is None:
        raise UsageError("nothing to measure on: no photos and no --depth", hint='m3d measure PHOTO --line "1,2 3,4"')
    if depth is not None and not paths and choice["files_from"] is None:
        from m3d_cli.pipeline.existing_depth import stored_inputs

        return stored_inputs(depth)
    listing = options.find_photos(paths, skip_folders=skip_folders, **choice)  # type: ignore[arg-type]
    (talk.say if listing.ignored else talk.detail)(listing.summary())
    return listing.photos


def _is_lone(paths: list[str] | None, depth: Path | None, files_from: str | None) -> bool:
    """Whether one photo or one depth file was given as such."""
    if files_from is not None:
        return False
    if not paths:
        return depth is not None and depth.is_file()
    return len(paths) == 1 and Path(paths[0]).is_file()


def _wants_help(args: list[str]) -> bool:
    return any(each in ("-h", "--help") for each in args)
