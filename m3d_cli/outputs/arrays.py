"""Depth as float arrays: npy, npz, TIFF, PFM and OpenEXR, all float32 metres with NaN unknown."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

from m3d_cli.depthmap import DepthMap
from m3d_cli.errors import OutputError
from m3d_cli.outputs.atomic import atomic_write, write_bytes


def write_npy(path: Path, depth: NDArray[np.float32]) -> None:
    """One array."""
    with atomic_write(path) as file:
        np.save(file, depth, allow_pickle=False)


def write_npz(path: Path, result: DepthMap) -> None:
    """Compressed ``depth``, ``K`` (3, 3; pixel centres at +0.5) and, where known, ``confidence`` and ``normals``."""
    arrays = {"depth": result.depth, "K": result.camera.matrix}
    if result.confidence is not None:
        arrays["confidence"] = result.confidence
    if result.normals is not None:
        arrays["normals"] = result.normals
    with atomic_write(path) as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


def write_tiff(path: Path, depth: NDArray[np.float32]) -> None:
    """Deflated float32 TIFF."""
    buffer = io.BytesIO()
    tifffile.imwrite(
        buffer, depth, compression="zlib", compressionargs={"level": 1}, predictor=True, description="depth, metres"
    )
    write_bytes(path, buffer.getbuffer())


def write_pfm(path: Path, depth: NDArray[np.float32]) -> None:
    """Little-endian PFM: a text header, then rows from the bottom up."""
    height, width = depth.shape
    header = f"Pf\n{width} {height}\n-1.0\n".encode()
    write_bytes(path, header + np.flipud(depth).astype("<f4").tobytes())


def read_pfm(path: Path) -> NDArray[np.float32]:
    """The depth of a one-channel PFM."""
    data = path.read_bytes()
    kind, size, order, body = data.split(b"\n", 3)
    width, height = (int(n) for n in size.split())
    if kind != b"Pf" or len(body) != 4 * width * height:
        raise OutputError(f"{path}: not a one-channel PFM of the size it states")
    dtype = "<f4" if float(order) < 0 else ">f4"
    return np.flipud(np.frombuffer(body, dtype=dtype).reshape(height, width)).astype(np.float32)


def write_exr(path: Path, depth: NDArray[np.float32]) -> None:
    """OpenEXR with one float channel ``Z``; needs the ``exr`` extra."""
    try:
        import OpenEXR
    except ImportError as error:
        raise OutputError(f"{path}: writing EXR needs OpenEXR", hint="pip install 'm3d-cli[exr]'") from error
    part = path.with_name(path.name + ".part")
    path.parent.mkdir(parents=True, exist_ok=True)
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    try:
        OpenEXR.File(header, {"Z": np.ascontiguousarray(depth)}).write(str(part))
        part.replace(path)
    except (OSError, RuntimeError) as error:
        raise OutputError(f"{path}: cannot be written ({error})") from error
    finally:
        part.unlink(missing_ok=True)
