"""``m3d measure``: lengths, heights, areas and angles on photos, each with its interval."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import typer
from typer.core import TyperCommand

from m3d_cli.cli import option_groups as groups
from m3d_cli.cli.grouping import grouped, option, setting
from m3d_cli.cli.measure_output import checked_formats, measure_to_stdout, serve_page
from m3d_cli.cli.pointcloud import ExistingDepth
from m3d_cli.cli.running import photos_of
from m3d_cli.errors import UsageError

if TYPE_CHECKING:
    from m3d_cli.metrology.request import Request

_WHAT = "What to measure (pixels of the upright photo; NAME= before and 'on PLANE' after the points are optional)"
_KNOWN = "What is known"
_ORDER = "m3d.order"
_POINTS = "[NAME=]POINTS"


@dataclass(frozen=True, slots=True)
class QuantityOptions:
    """What to measure, one field per kind."""

    PANEL: ClassVar[str] = _WHAT

    line: Annotated[list[str] | None, option("Distance of two points.", metavar=_POINTS)] = None
    path: Annotated[list[str] | None, option("Length along points.", metavar=_POINTS)] = None
    height: Annotated[list[str] | None, option("Upright extent, or height above the ground.", metavar=_POINTS)] = None
    area: Annotated[list[str] | None, option("Area of a flat polygon.", metavar=_POINTS)] = None
    angle: Annotated[list[str] | None, option("Angle at the middle one of three points.", metavar=_POINTS)] = None
    range_: Annotated[list[str] | None, option("Distance of a point.", "--range", metavar="[NAME=]POINT")] = None
    plane: Annotated[list[str] | None, option("Flat region: its distance; lines may lie on it.", metavar=_POINTS)] = (
        None
    )
    box: Annotated[list[str] | None, option("Width, height, depth between two corners.", metavar=_POINTS)] = None
    ground: Annotated[list[str] | None, option("Ground, a region or auto: its normal is up.", metavar=_POINTS)] = None
    plane_distance: Annotated[list[str] | None, option("Distance of two walls.", metavar=f"{_POINTS}|POINTS")] = None

    def request(self, context: typer.Context, known: KnownOptions, unit: str | None) -> Request:
        """What the command line asks for, in its order; raises UsageError."""
        from m3d_cli.metrology.spec.flags import allowances_in, check_unit_option, request_of_flags

        check_unit_option(unit)
        kinds = {name: name.rstrip("_").replace("_", "-") for name in self.__slots__}
        left = {name: iter(getattr(self, name) or ()) for name in kinds}
        found = [(kinds[name], next(left[name])) for name in context.meta.get(_ORDER, ()) if name in kinds]
        found += [(kinds[name], text) for name, texts in left.items() for text in texts]
        rectangles, markers = known.rect or (), known.markers or ()
        return request_of_flags(
            found, known.ref or (), unit or "m", rectangles=rectangles, markers=markers, **allowances_in(known)
        )


@dataclass(frozen=True, slots=True)
class MeasureInputs(groups.InputOptions):
    """Photos, what to measure on them, and existing depth maps."""

    spec: Annotated[
        list[Path] | None,
        option(
            "Measurement file for many photos (TOML, CSV; m3d schema measure), or LabelMe, COCO, VIA annotations.",
            metavar="FILE",
        ),
    ] = None
    depth: ExistingDepth = None

    @property
    def is_lone(self) -> bool:
        """Whether one photo or one depth file was given as such."""
        if self.files_from is not None:
            return False
        if not self.paths:
            return self.depth is not None and self.depth.is_file()
        return len(self.paths) == 1 and Path(self.paths[0]).is_file()


@dataclass(frozen=True, slots=True)
class KnownOptions:
    """What is known about the scene."""

    PANEL: ClassVar[str] = _KNOWN

    ref: Annotated[
        list[str] | None,
        option(
            "Known length in the photo: 'u1,v1 u2,v2 = 0.297 m' or card:'u1,v1 u2,v2' (a4, letter, euro, ...).",
            metavar="TEXT",
        ),
    ] = None
    rect: Annotated[
        list[str] | None,
        option("Rectangle, corners in order: '[NAME=]0.6x0.45: u,v u,v u,v u,v' (or a4, card, ...).", metavar="TEXT"),
    ] = None
    markers: Annotated[
        list[str] | None, option("Markers to find: apriltag36h11:0.05, chessboard:9x6:0.025, ...", metavar="SPEC")
    ] = None
    allow_assumed_focal: Annotated[bool, option("Measure with an assumed focal length too.")] = False
    allow_unknown_errors: Annotated[bool, option("Measure with weights whose errors nobody measured too.")] = False


@dataclass(frozen=True, slots=True)
class MeasureOutput:
    """Reports, and where they go."""

    PANEL: ClassVar[str] = groups.OUTPUT

    unit: Annotated[str | None, setting("m, cm, mm, ft or in.", metavar="UNIT")] = None
    report: Annotated[
        str | None,
        option(
            "json, csv, tsv, md or html on standard output (default: readable lines); with --out a list of them.",
            metavar="FORMAT",
            show_default=False,
        ),
    ] = None
    out: Annotated[
        Path | None,
        setting("Folder for reports and annotated photos; a later run continues there.", "--out", "-o", metavar="DIR"),
    ] = None
    max_depth: Annotated[float | None, setting("Depth beyond M metres becomes unknown.", metavar="M")] = None
    pick: Annotated[bool, option("Pick points on the photo in a browser, on a page of this computer only.")] = False
    no_browser: Annotated[bool, option("With --pick: print the page's address, open nothing.")] = False


class MeasureCommand(TyperCommand):
    """Keeps the order of options of different names."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse as usual, and keep the order of the parameters."""
        # With --help the parser would print the help and exit before the usual parsing can.
        if not {"-h", "--help"} & set(args):
            _, _, order = self.make_parser(ctx).parse_args(args=list(args))
            ctx.meta[_ORDER] = [parameter.name for parameter in order]
        return list(super().parse_args(ctx, args))


@grouped
def measure(
    context: typer.Context,
    *,
    inputs: MeasureInputs,
    quantities: QuantityOptions,
    known: KnownOptions,
    camera: groups.SharedCameraOptions,
    output: MeasureOutput,
    network: groups.NetworkOptions,
    run: groups.FailureOptions,
    report: groups.MessageOptions,
) -> None:
    """Measure on photos: lengths, heights, areas and angles with their intervals, and what limits them."""
    messages = report.start()
    from m3d_cli.pipeline.measure_run import MeasurePlan, requests_for
    from m3d_cli.pipeline.measure_session import measure_into_folder
    from m3d_cli.pipeline.settings import check_stored_camera

    own = quantities.request(context, known, output.unit)
    if inputs.is_empty and inputs.depth is None:
        raise UsageError("nothing to measure on: no photos and no --depth", hint='m3d measure PHOTO --line "1,2 3,4"')
    photos = photos_of(inputs, inputs.depth, None if output.out is None else str(output.out), messages)
    sources = camera.sources(context)
    check_stored_camera(sources, inputs.depth)
    settings = network.settings(messages, inputs.depth, formats=(), max_depth=output.max_depth, camera=sources)
    formats = checked_formats(output.report, is_folder=output.out is not None or output.pick)
    specs = tuple(inputs.spec or ())
    workers = network.workers()
    if output.pick:
        from m3d_cli.pipeline.pick_page import PickSession

        if camera.same_camera:
            raise UsageError(
                "--same-camera needs many photos and --pick takes one",
                hint="m3d exif PHOTOS --same-camera shows the focal length; give it with --focal",
            )
        session = PickSession(photos, own, specs, settings, output.out, formats, output.unit, overwrite=run.overwrite)
        return serve_page(session, workers, messages, opens_browser=not output.no_browser)
    requests, unused = requests_for(photos, own, specs, output.unit)
    for match in unused:
        messages.warn(f"no photo matches {match} of the measurement file")
    listed = tuple(photo for photo in photos if photo.relative in requests)
    plan = MeasurePlan(listed, settings, workers, requests, camera.same_camera, run.overwrite)
    if output.out is not None:
        code = measure_into_folder(plan, output.out, formats, messages)
    else:
        code = measure_to_stdout(plan, formats[0], messages, is_list=not inputs.is_lone)
    if code and not run.exit_zero:
        raise typer.Exit(code)
    return None
