"""Point clouds as PLY (binary, little-endian), PCD (binary) and XYZ (text), and the points of any PLY file read.

Comments say what a bare list of points does not: unit, axes, camera, network.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from m3d_cli.errors import OutputError
from m3d_cli.formats.ply_header import PlyElement, PlyHeader, read_header
from m3d_cli.pointcloud import AXES_MEANING, Axes, PointCloud

# Columns by PLY name; a cloud has a group of them or not.
_POINTS = ("x", "y", "z")
_NORMALS = ("nx", "ny", "nz")
_COLOURS = ("red", "green", "blue")
_CONFIDENCE = "confidence"

_NAMES = {"f4": "float", "u1": "uchar"}
_XYZ_ROWS = 100_000
_MILLIMETRE = 1e-3


def encode_ply(cloud: PointCloud, comments: Sequence[str] = ()) -> tuple[bytes, memoryview]:
    """Header and body of a PLY file; ``comments`` become comment lines after those on unit and axes."""
    table = _table(cloud)
    lines = ["ply", "format binary_little_endian 1.0"]
    notes = ("unit metre", f"axes {cloud.axes}: {AXES_MEANING[cloud.axes]}", *comments)
    lines += [f"comment {_one_line(text)}" for text in notes]
    lines.append(f"element vertex {len(cloud)}")
    lines += [f"property {_NAMES[_kind(table, name)]} {name}" for name in table.dtype.names or ()]
    lines.append("end_header")
    return ("\n".join(lines) + "\n").encode("ascii", "backslashreplace"), _bytes_of(table)


def encode_pcd(cloud: PointCloud, comments: Sequence[str] = ()) -> tuple[bytes, memoryview]:
    """Header and body of a binary PCD file (version 0.7); colour is packed into ``rgb`` as PCL has it."""
    table = _pcd_table(cloud)
    names = table.dtype.names or ()
    notes = ("unit metre", f"axes {cloud.axes}: {AXES_MEANING[cloud.axes]}", *comments)
    lines = [f"# {_one_line(text)}" for text in notes]
    lines += [
        "VERSION 0.7",
        f"FIELDS {' '.join(names)}",
        f"SIZE {' '.join('4' for _ in names)}",
        f"TYPE {' '.join('U' if _kind(table, name) == 'u4' else 'F' for name in names)}",
        f"COUNT {' '.join('1' for _ in names)}",
        f"WIDTH {len(cloud)}",
        "HEIGHT 1",
        "VIEWPOINT 0 0 0 1 0 0 0",
        f"POINTS {len(cloud)}",
        "DATA binary",
    ]
    return ("\n".join(lines) + "\n").encode("ascii", "backslashreplace"), _bytes_of(table)


def encode_xyz(cloud: PointCloud) -> bytes:
    """One line per point: x y z in metres with tenths of a millimetre, and r g b where known."""
    pieces = []
    for start in range(0, len(cloud), _XYZ_ROWS):
        rows = slice(start, start + _XYZ_ROWS)
        points = cloud.points[rows].astype(np.float64)
        if cloud.colours is None:
            line, values = "%.4f %.4f %.4f\n", points
        else:
            line = "%.4f %.4f %.4f %d %d %d\n"
            values = np.concatenate([points, cloud.colours[rows]], axis=1)
        pieces.append((line * len(values) % tuple(values.ravel().tolist())).encode())
    return b"".join(pieces)


def read_ply(path: Path) -> PointCloud:
    """The points of a PLY file, or the corners of a mesh: text or binary of either byte order, by any tool.

    Properties other than position, colour, normal and confidence are left out. Raises OutputError for files that cannot
    be read, are damaged, or lose more than a millimetre in single precision.
    """
    header = read_header(path)
    table = _vertices(path, header)
    columns = set(table.dtype.names or ())
    with np.errstate(over="ignore", invalid="ignore"):
        return PointCloud(
            _points(table, path),
            _colours(table) if columns.issuperset(_COLOURS) else None,
            _columns(table, _NORMALS).astype(np.float32) if columns.issuperset(_NORMALS) else None,
            table[_CONFIDENCE].astype(np.float32) if _CONFIDENCE in columns else None,
            _axes(header),
        )


def _table(cloud: PointCloud) -> NDArray[np.void]:
    groups: list[tuple[tuple[str, ...], str, NDArray[np.float32] | NDArray[np.uint8] | None]] = [
        (_POINTS, "<f4", cloud.points),
        (_NORMALS, "<f4", cloud.normals),
        (_COLOURS, "u1", cloud.colours),
        ((_CONFIDENCE,), "<f4", None if cloud.confidence is None else cloud.confidence[:, None]),
    ]
    known = [(names, kind, values) for names, kind, values in groups if values is not None]
    table = np.empty(len(cloud), dtype=[(name, kind) for names, kind, _ in known for name in names])
    for names, _, values in known:
        for column, name in enumerate(names):
            table[name] = values[:, column]
    return table


def _pcd_table(cloud: PointCloud) -> NDArray[np.void]:
    fields = [(name, "<f4") for name in _POINTS]
    fields += [("rgb", "<u4")] if cloud.colours is not None else []
    fields += [(f"normal_{axis}", "<f4") for axis in _POINTS] if cloud.normals is not None else []
    table = np.empty(len(cloud), dtype=fields)
    for column, axis in enumerate(_POINTS):
        table[axis] = cloud.points[:, column]
        if cloud.normals is not None:
            table[f"normal_{axis}"] = cloud.normals[:, column]
    if cloud.colours is not None:
        red, green, blue = cloud.colours.astype(np.uint32).T
        table["rgb"] = red << 16 | green << 8 | blue
    return table


def _kind(table: NDArray[np.void], name: str) -> str:
    return np.dtype(table.dtype[name]).str[1:]


def _bytes_of(table: NDArray[np.void]) -> memoryview:
    return table.view(np.uint8).data if len(table) else memoryview(b"")


def _one_line(text: str) -> str:
    # Some readers look for the word that ends a header anywhere in a line.
    return re.sub(r"[\x00-\x1f\x7f]+", " ", text).replace("end_header", "end header")


def _vertices(path: Path, header: PlyHeader) -> NDArray[np.void]:
    # By NumPy: open3d takes 2.7 times as long for millions of points, and returns a truncated file without an error.
    names = [element.name for element in header.elements]
    *before, vertex = header.elements[: names.index("vertex") + 1]
    if any(element.has_list for element in (*before, vertex)):
        raise OutputError(f"{path}: its points stand behind lists", hint="save it again with the vertices first")
    if not {column.name for column in vertex.properties}.issuperset(_POINTS):
        raise OutputError(f"{path}: the PLY has no x, y and z")
    try:
        if not header.order:
            return _text_table(path, header.length, sum(element.count for element in before), vertex)
        start = header.length + sum(element.least_bytes(header.order) for element in before)
        return np.fromfile(path, vertex.dtype(header.order), vertex.count, offset=start)
    except OSError as error:
        raise OutputError(f"{path}: cannot be read ({error.strerror or error})") from error


def _text_table(path: Path, start: int, skipped: int, vertex: PlyElement) -> NDArray[np.void]:
    dtype = vertex.dtype("=")
    if not vertex.count:
        return np.empty(0, dtype)
    with path.open("rb") as file:
        file.seek(start)
        lines = io.TextIOWrapper(file, "latin-1")
        try:
            table = np.loadtxt(lines, dtype, comments=None, skiprows=skipped, max_rows=vertex.count, ndmin=1)
        except ValueError as error:
            raise OutputError(f"{path}: its points are damaged ({error})") from error
    if len(table) < vertex.count:
        raise OutputError(f"{path}: the PLY is truncated: it has {len(table)} of its {vertex.count} points")
    return table


def _points(table: NDArray[np.void], path: Path) -> NDArray[np.float32]:
    exact = _columns(table, _POINTS)
    if exact.dtype == np.float32:
        return exact.astype(np.float32)
    points = exact.astype(np.float32)
    lost = np.where(np.isfinite(exact), np.abs(points - exact), 0)
    if lost.max(initial=0) > _MILLIMETRE:
        raise OutputError(
            f"{path}: coordinates as large as {np.abs(exact[lost > _MILLIMETRE]).max():.3g} m lose millimetres",
            hint="shift the points to near the origin and save them again",
        )
    return points


def _colours(table: NDArray[np.void]) -> NDArray[np.uint8]:
    """Colours as bytes, from bytes, 16 bits, or fractions of one."""
    colours = _columns(table, _COLOURS)
    if colours.dtype.kind == "f":
        colours = np.rint(255 * np.clip(np.nan_to_num(colours), 0, 1))
    elif colours.dtype == np.uint16:
        colours = colours >> 8
    return np.asarray(np.clip(colours, 0, 255), dtype=np.uint8)


def _columns(table: NDArray[np.void], names: Sequence[str]) -> NDArray[Any]:
    return np.stack([table[name] for name in names], axis=1)


def _axes(header: PlyHeader) -> Axes:
    named = (axes for comment in header.comments for axes in Axes if comment.startswith(f"axes {axes}:"))
    return next(named, Axes.OPENCV)
