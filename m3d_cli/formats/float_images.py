"""Depth as float arrays: npy, npz, TIFF, PFM and OpenEXR, all float32 metres with NaN unknown."""

from __future__ import annotations

import importlib.util
import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from m3d_cli.atomic import atomic_path, digest_of
from m3d_cli.depthmap import DepthMap
from m3d_cli.errors import OutputError
from m3d_cli.extras import install_hint

# TIFF tags of a description and of the float predictor, which makes deflate work on depth.
_DESCRIPTION, _PREDICTOR, _FLOAT_PREDICTOR = 270, 317, 3


def encode_npy(values: NDArray[np.float32]) -> tuple[bytes, memoryview]:
    """Header and data of an npy file; the data is the array itself, not a copy."""
    header = io.BytesIO()
    whole = np.ascontiguousarray(values, dtype="<f4")
    np.lib.format.write_array_header_1_0(header, np.lib.format.header_data_from_array_1_0(whole))
    return header.getvalue(), _bytes_view(whole)


def encode_npz(result: DepthMap) -> memoryview:
    """Compressed ``depth``, ``K`` (3, 3; pixel centres at +0.5) and, where known, ``confidence`` and ``normals``."""
    buffer = io.BytesIO()
    arrays: dict[str, NDArray[np.floating]] = {"depth": result.depth, "K": result.camera.matrix}
    if result.confidence is not None:
        arrays["confidence"] = result.confidence
    if result.normals is not None:
        arrays["normals"] = result.normals
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return buffer.getbuffer()


def encode_tiff(depth: NDArray[np.float32]) -> memoryview:
    """Deflated float32 TIFF."""
    buffer = io.BytesIO()
    tags = {_DESCRIPTION: "depth along the optical axis, metres, NaN unknown", _PREDICTOR: _FLOAT_PREDICTOR}
    Image.fromarray(depth).save(buffer, "TIFF", compression="tiff_adobe_deflate", tiffinfo=tags)
    return buffer.getbuffer()


def encode_pfm(depth: NDArray[np.float32]) -> tuple[bytes, memoryview]:
    """Little-endian PFM: a text header, then rows from the bottom up."""
    height, width = depth.shape
    return f"Pf\n{width} {height}\n-1.0\n".encode(), _bytes_view(np.ascontiguousarray(depth[::-1], dtype="<f4"))


def can_write_exr() -> bool:
    """Whether the optional package that writes OpenEXR is installed."""
    return importlib.util.find_spec("OpenEXR") is not None


def write_exr(path: Path, depth: NDArray[np.float32]) -> str:
    """OpenEXR with one float channel ``Z``; returns its digest. Raises OutputError, also without the ``exr`` extra."""
    try:
        import OpenEXR
    except ImportError as error:
        raise OutputError(f"{path}: writing EXR needs OpenEXR", hint=install_hint("exr")) from error
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    with atomic_path(path) as part:
        try:
            OpenEXR.File(header, {"Z": np.ascontiguousarray(depth)}).write(str(part))
        except RuntimeError as error:
            raise OutputError(f"{path}: cannot be written ({error})") from error
        return digest_of(part)


def _bytes_view(array: NDArray[np.float32]) -> memoryview:
    return array.reshape(-1).data.cast("B")
