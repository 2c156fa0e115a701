"""The depth grid as a triangle mesh, cut at depth edges and textured with the photo, in one binary glTF 2.0 file (GLB).

glTF prescribes metres and OpenGL's axes: x right, y up, z backward.
"""

from __future__ import annotations

import io
import json
import math
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from m3d_cli.depthmap import DepthMap
from m3d_cli.pointcloud import Axes, CloudFilter, PointCloud, kept_pixels

# A mesh of more vertices than this makes viewers slow; the grid is thinned to stay below.
MOST_VERTICES = 1_000_000
LONGEST_TEXTURE = 4096  # pixels
TEXTURE_QUALITY = 90

# Corners of one triangle farther apart in depth than this factor belong to different things.
MOST_STRETCH = 2.0

_FLOAT, _UINT = 5126, 5125  # component types of glTF
_VERTICES, _INDICES = 34962, 34963  # its buffer targets


@dataclass(frozen=True, slots=True, eq=False)
class Mesh:
    """``vertices`` (N, 3) metres in OpenGL's axes, ``uv`` (N, 2) from the photo's top left, ``triangles`` (M, 3)
    counter-clockwise towards the camera; every ``stride``-th row and column of the depth was taken.
    """

    vertices: NDArray[np.float32]
    uv: NDArray[np.float32]
    triangles: NDArray[np.uint32]
    stride: int = 1

    @property
    def size(self) -> int:
        """How many vertices there are that a triangle may use; 0 without any triangle."""
        return len(self.vertices) if len(self.triangles) else 0

    @classmethod
    def from_depth(cls, depth: DepthMap, choice: CloudFilter) -> Mesh:
        """Neighbouring kept pixels joined by triangles; raises nothing, and may be empty."""
        stride = max(choice.stride, math.ceil(math.sqrt(depth.depth.size / MOST_VERTICES)))
        choice = CloudFilter(choice.edges, choice.max_depth, choice.min_confidence, stride, choice.cell)
        keep = kept_pixels(depth, choice)
        grid = (slice(stride // 2, None, stride),) * 2
        kept, z = keep[grid], depth.depth[grid]
        number = np.cumsum(kept).reshape(kept.shape).astype(np.uint32) - 1
        cloud = PointCloud.from_depth(depth, choice=choice).turned(Axes.OPENGL)
        rows, columns = np.nonzero(keep)
        uv = np.stack([(columns + 0.5) / depth.camera.width, (rows + 0.5) / depth.camera.height], axis=1)
        return cls(cloud.points, uv.astype(np.float32), _triangles(kept, z, number), stride)


def encode_glb(mesh: Mesh, photo: NDArray[np.uint8] | None, extras: dict[str, str] | None = None) -> bytes:
    """The GLB of a mesh; ``photo`` (H, W, 3) is its texture, ``extras`` go into the file's asset entry."""
    parts: list[tuple[bytes, int | None]] = [
        (mesh.vertices.astype("<f4").tobytes(), _VERTICES),
        (mesh.uv.astype("<f4").tobytes(), _VERTICES),
        (mesh.triangles.astype("<u4").tobytes(), _INDICES),
    ]
    if photo is not None:
        parts.append((_jpeg(photo), None))
    views, binary = _buffer(parts)
    scene = _scene(mesh, views, len(binary), photo is not None, extras or {})
    text = json.dumps(scene, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(binary), b"BIN\0") + binary
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks


def _triangles(kept: NDArray[np.bool_], z: NDArray[np.float32], number: NDArray[np.uint32]) -> NDArray[np.uint32]:
    corners = {
        "a": (slice(None, -1), slice(None, -1)),
        "b": (slice(None, -1), slice(1, None)),
        "c": (slice(1, None), slice(None, -1)),
        "d": (slice(1, None), slice(1, None)),
    }
    found = []
    for names in ("acb", "bcd"):
        depths = np.stack([z[corners[name]] for name in names])
        whole = np.logical_and.reduce([kept[corners[name]] for name in names])
        whole &= np.fmax.reduce(depths) <= MOST_STRETCH * np.fmin.reduce(depths)
        found.append(np.stack([number[corners[name]][whole] for name in names], axis=1))
    return np.concatenate(found)


def _jpeg(photo: NDArray[np.uint8]) -> bytes:
    picture = Image.fromarray(photo)
    picture.thumbnail((LONGEST_TEXTURE, LONGEST_TEXTURE))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=TEXTURE_QUALITY)
    return buffer.getvalue()


def _buffer(parts: list[tuple[bytes, int | None]]) -> tuple[list[dict[str, int]], bytes]:
    """The parts one after the other, each on a multiple of four bytes, and a view of each."""
    views, pieces, offset = [], [], 0
    for data, target in parts:
        view = {"buffer": 0, "byteOffset": offset, "byteLength": len(data)}
        views.append(view if target is None else {**view, "target": target})
        pieces.append(data + b"\0" * (-len(data) % 4))
        offset += len(pieces[-1])
    return views, b"".join(pieces)


def _scene(mesh: Mesh, views: list[dict[str, int]], size: int, textured: bool, extras: dict[str, str]) -> Any:
    if not len(mesh.triangles):
        # glTF has no empty accessors: a mesh of nothing is a scene of nothing.
        return {"asset": _asset(extras), "scene": 0, "scenes": [{}]}
    low, high = mesh.vertices.min(axis=0).tolist(), mesh.vertices.max(axis=0).tolist()
    count = len(mesh.vertices)
    material: dict[str, Any] = {"metallicFactor": 0, "roughnessFactor": 1}
    textures: dict[str, Any] = {}
    if textured:
        material["baseColorTexture"] = {"index": 0}
        textures = {
            "textures": [{"source": 0, "sampler": 0}],
            "samplers": [{"wrapS": 33071, "wrapT": 33071}],
            "images": [{"bufferView": 3, "mimeType": "image/jpeg"}],
        }
    return {
        "asset": _asset(extras),
        "extensionsUsed": ["KHR_materials_unlit"],
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0, "TEXCOORD_0": 1}, "indices": 2, "material": 0}]}],
        "materials": [
            {"pbrMetallicRoughness": material, "doubleSided": True, "extensions": {"KHR_materials_unlit": {}}}
        ],
        **textures,
        "buffers": [{"byteLength": size}],
        "bufferViews": views,
        "accessors": [
            {"bufferView": 0, "componentType": _FLOAT, "count": count, "type": "VEC3", "min": low, "max": high},
            {"bufferView": 1, "componentType": _FLOAT, "count": count, "type": "VEC2"},
            {"bufferView": 2, "componentType": _UINT, "count": mesh.triangles.size, "type": "SCALAR"},
        ],
    }


def _asset(extras: dict[str, str]) -> dict[str, Any]:
    return {"version": "2.0", "generator": "m3d", "extras": {"unit": "metre", **extras}}
