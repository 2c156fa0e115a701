"""A surface of triangles in metres, with colours and normals at its corners, as binary PLY."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from m3d_cli.formats.ply import encode_ply
from m3d_cli.pointcloud import PointCloud

_END = b"end_header\n"


@dataclass(frozen=True, slots=True, eq=False)
class Surface:
    """``corners`` are the vertices as a cloud, ``triangles`` (M, 3) the places of each one's corners among them."""

    corners: PointCloud
    triangles: NDArray[np.int32]


def encode_surface(surface: Surface, comments: Sequence[str] = ()) -> tuple[bytes, memoryview, bytes]:
    """Header, vertices and faces of a PLY file."""
    header, vertices = encode_ply(surface.corners, comments)
    count = len(surface.triangles)
    faces = f"element face {count}\nproperty list uchar int vertex_indices\n".encode()
    table = np.empty(count, dtype=[("count", "u1"), ("corners", "<i4", 3)])
    table["count"], table["corners"] = 3, surface.triangles
    return header.removesuffix(_END) + faces + _END, vertices, table.tobytes()
