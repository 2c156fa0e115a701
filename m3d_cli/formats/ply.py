"""Point clouds as PLY (binary, little-endian), PCD (binary) and XYZ (text); PLY of any kind is read.

Comments say what a bare list of points does not: unit, axes, camera, network.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from m3d_cli.errors import OutputError
from m3d_cli.open3d_import import load_open3d
from m3d_cli.pointcloud import AXES_MEANING, Axes, PointCloud

# Columns by PLY name; a cloud has a group of them or not.
_POINTS = ("x", "y", "z")
_NORMALS = ("nx", "ny", "nz")
_COLOURS = ("red", "green", "blue")
_CONFIDENCE = "confidence"

_PLY_TYPES: Mapping[str, str] = {
    "char": "i1",
    "int8": "i1",
    "uchar": "u1",
    "uint8": "u1",
    "short": "i2",
    "int16": "i2",
    "ushort": "u2",
    "uint16": "u2",
    "int": "i4",
    "int32": "i4",
    "uint": "u4",
    "uint32": "u4",
    "float": "f4",
    "float32": "f4",
    "double": "f8",
    "float64": "f8",
}
_NAMES = {"f4": "float", "u1": "uchar"}
_LONGEST_HEADER = 65536
_LITTLE_ENDIAN = "format binary_little_endian 1.0"
# Bytes of the shortest vertex that another tool may write: "0 0 0" and the end of its line.
_LEAST_VERTEX = 6
_XYZ_ROWS = 100_000


def encode_ply(cloud: PointCloud, comments: Sequence[str] = ()) -> tuple[bytes, memoryview]:
    """Header and body of a PLY file; ``comments`` become comment lines after those on unit and axes."""
    table = _table(cloud)
    lines = ["ply", "format binary_little_endian 1.0"]
    told = ("unit metre", f"axes {cloud.axes}: {AXES_MEANING[cloud.axes]}", *comments)
    lines += [f"comment {_one_line(text)}" for text in told]
    lines.append(f"element vertex {len(cloud)}")
    lines += [f"property {_NAMES[_kind(table, name)]} {name}" for name in table.dtype.names or ()]
    lines.append("end_header")
    return ("\n".join(lines) + "\n").encode("ascii", "backslashreplace"), _bytes_of(table)


def encode_pcd(cloud: PointCloud, comments: Sequence[str] = ()) -> tuple[bytes, memoryview]:
    """Header and body of a binary PCD file (version 0.7); colour is packed into ``rgb`` as PCL has it."""
    table = _pcd_table(cloud)
    names = table.dtype.names or ()
    told = ("unit metre", f"axes {cloud.axes}: {AXES_MEANING[cloud.axes]}", *comments)
    lines = [f"# {_one_line(text)}" for text in told]
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
    """A line a point: x y z in metres with tenths of a millimetre, and r g b where known."""
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
    """The points of a PLY file: binary or ASCII, of any byte order, of points or of a mesh, whose faces are ignored.

    Raises OutputError for a file that is damaged or no PLY.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise OutputError(f"{path}: cannot be read ({error.strerror})") from error
    header, start = _header(data, str(path))
    if _LITTLE_ENDIAN in header and not _has_vertex_lists(header):
        return decode_ply(data, str(path))
    return _read_with_open3d(path, header, len(data) - start)


def _read_with_open3d(path: Path, header: Sequence[str], body: int) -> PointCloud:
    """Points of the kinds that m3d does not write; ``body`` bytes follow the header."""
    count = next((int(words[2]) for words in map(str.split, header) if _is_vertex_count(words)), -1)
    # open3d believes the header: a count that the file cannot hold would be allocated first.
    if not 0 <= count <= body // _LEAST_VERTEX:
        raise OutputError(f"{path}: the PLY is cut short or damaged: {count} points are announced")
    open3d = load_open3d()
    with open3d.utility.VerbosityContextManager(open3d.utility.VerbosityLevel.Error):
        found = open3d.io.read_point_cloud(str(path), format="ply", remove_nan_points=False)
    with np.errstate(over="ignore"):
        points = np.asarray(found.points).astype(np.float32)
    if len(points) != count or not count:
        raise OutputError(
            f"{path}: the PLY cannot be read: {len(points)} of {count} points", hint="write it again, as binary PLY"
        )
    colours = None
    if found.has_colors():
        colours = np.rint(np.clip(np.nan_to_num(np.asarray(found.colors)), 0, 1) * 255).astype(np.uint8)
    normals = np.asarray(found.normals, dtype=np.float32) if found.has_normals() else None
    return PointCloud(points, colours, normals, None, _axes(header))


def _is_vertex_count(words: Sequence[str]) -> bool:
    return list(words[:2]) == ["element", "vertex"] and len(words) == 3 and words[2].isdecimal() and len(words[2]) < 12


def _has_vertex_lists(header: Sequence[str]) -> bool:
    """Whether other elements come before the vertices, or vertices have lists: sizes then differ from row to row."""
    elements = [line.split()[1] for line in header if line.startswith("element ") and len(line.split()) == 3]
    first = next((index for index, line in enumerate(header) if line.startswith("element ")), len(header))
    own = []
    for line in header[first + 1 :]:
        if line.startswith("element "):
            break
        own.append(line)
    return elements[:1] not in (["vertex"], []) or any(line.startswith("property list") for line in own)


def decode_ply(data: bytes, name: str) -> PointCloud:
    """Points of a PLY file's bytes; raises OutputError for damaged ones and for kinds that m3d does not write."""
    header, start = _header(data, name)
    if _LITTLE_ENDIAN not in header:
        raise OutputError(f"{name}: only binary little-endian PLY can be read from memory")
    count, dtype = _vertex_layout(header, name)
    if start + count * dtype.itemsize > len(data):
        raise OutputError(f"{name}: the PLY is cut short: {count} points are announced")
    table = np.frombuffer(data, dtype, count, start)
    columns = set(dtype.names or ())
    if not columns.issuperset(_POINTS):
        raise OutputError(f"{name}: the PLY has no x, y and z")
    return PointCloud(
        _columns(table, _POINTS, np.float32),
        _columns(table, _COLOURS, np.uint8) if columns.issuperset(_COLOURS) else None,
        _columns(table, _NORMALS, np.float32) if columns.issuperset(_NORMALS) else None,
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


def _header(data: bytes, name: str) -> tuple[list[str], int]:
    end = data.find(b"end_header", 0, _LONGEST_HEADER)
    if not data.startswith((b"ply\n", b"ply\r\n")) or end < 0:
        raise OutputError(f"{name}: not a PLY file")
    lines = data[:end].decode("latin-1").replace("\r\n", "\n").split("\n")[1:-1]
    ending = 2 if data[end + 10 : end + 12] == b"\r\n" else 1
    return lines, end + len(b"end_header") + ending


def _vertex_layout(header: Sequence[str], name: str) -> tuple[int, np.dtype[np.void]]:
    count, fields, element = -1, [], ""
    for line in header:
        words = line.split()
        if words[:1] == ["element"] and len(words) == 3:
            element = words[1]
            if count < 0 and element != "vertex":
                raise OutputError(f"{name}: its first element is {element}, not vertex")
            if element == "vertex":
                count = int(words[2]) if words[2].isdecimal() and len(words[2]) < 12 else -1
        elif words[:1] == ["property"] and element == "vertex":
            if len(words) != 3 or words[1] not in _PLY_TYPES:
                raise OutputError(f"{name}: the PLY property {line[:80]!r} is not understood")
            fields.append((words[2], "<" + _PLY_TYPES[words[1]]))
    if count < 0 or not fields or len({field for field, _ in fields}) < len(fields):
        raise OutputError(f"{name}: the PLY's header does not describe its points")
    return count, np.dtype(fields)


def _columns(table: NDArray[np.void], names: Sequence[str], kind: type) -> NDArray:  # type: ignore[type-arg]
    return np.stack([table[name].astype(kind) for name in names], axis=1)


def _axes(header: Sequence[str]) -> Axes:
    for line in header:
        for axes in Axes:
            if line.startswith(f"comment axes {axes}:"):
                return axes
    return Axes.OPENCV
