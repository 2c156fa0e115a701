"""``m3d compare``: how far one surface is from another."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from m3d_cli.cli.console import Messages
from m3d_cli.cli.option_groups import Json, Quiet
from m3d_cli.cli.streams import write_line


def compare(
    cloud: Annotated[Path, typer.Argument(metavar="A", help="PLY to be judged: points or a mesh.")],
    truth: Annotated[Path, typer.Argument(metavar="B", help="PLY to compare with.")],
    thresholds: Annotated[str, typer.Option(metavar="LIST", help="Metres for F-scores.")] = "0.02,0.05,0.10",
    alignment: Annotated[str, typer.Option("--align", metavar="NAME", help="none, rigid or scaled.")] = "none",
    voxel: Annotated[float | None, typer.Option(metavar="M", help="First thin both to one point per cube.")] = None,
    errors: Annotated[Path | None, typer.Option(metavar="FILE", help="PLY of A coloured by distance to B.")] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Accuracy (A to B), completeness (B to A), Chamfer-l1 and F-scores of two surfaces, in metres."""
    from m3d_cli.atomic import write_bytes
    from m3d_cli.formats.ply import encode_ply
    from m3d_cli.sequences.surface_compare import compare as compare_clouds
    from m3d_cli.sequences.surface_compare import comparison_text, parse_alignment, parse_thresholds, read_points

    way, metres = parse_alignment(alignment), parse_thresholds(thresholds)
    first, second = read_points(cloud), read_points(truth)
    if voxel is not None:
        first, second = first.thinned(voxel), second.thinned(voxel)
    result, coloured = compare_clouds(first, second, metres, way)
    if errors is not None:
        note = f"colours: distance to {truth.name}, blue 0, red {2 * max(metres):g} m and more; alignment {way}"
        write_bytes(errors, *encode_ply(coloured, (note,)))
        Messages(quiet).say(note)
    write_line(json.dumps(asdict(result)) if as_json else comparison_text(result))
