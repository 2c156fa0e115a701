"""npy and npz files read with their size known beforehand: a hostile file costs no more memory than its depth does."""

from __future__ import annotations

import math
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from m3d_cli.errors import OutputError

# What damaged files make numpy, zipfile and zlib raise.
_DAMAGED = (
    ValueError,
    EOFError,
    KeyError,
    TypeError,
    SyntaxError,
    RecursionError,
    MemoryError,
    RuntimeError,
    OverflowError,
    UserWarning,
    struct.error,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)
_ENDING = ".npy"


def read_npy(path: Path, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """The float array in an npy file of exactly ``shape``; raises OutputError."""
    try:
        with path.open("rb") as file:
            return _read(file, shape)
    except OSError as error:
        raise OutputError(f"{path}: cannot be read ({error.strerror or error})") from error
    except _DAMAGED as error:
        raise _damaged(path, error) from error


def read_npz(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, NDArray[np.float32]]:
    """Those arrays of an npz file that are named in ``shapes``, each of exactly its shape; raises OutputError."""
    try:
        with zipfile.ZipFile(path) as archive:
            present = [name for name in shapes if name + _ENDING in archive.namelist()]
            return {name: _member(archive, name, shapes[name]) for name in present}
    except OSError as error:
        raise OutputError(f"{path}: cannot be read ({error.strerror or error})") from error
    except _DAMAGED as error:
        raise _damaged(path, error) from error


def _member(archive: zipfile.ZipFile, name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    with archive.open(name + _ENDING) as file:
        return _read(file, shape)


def _read(file: IO[bytes], shape: tuple[int, ...]) -> NDArray[np.float32]:
    version = np.lib.format.read_magic(file)
    header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    found, is_fortran, dtype = header(file)
    if found != shape or is_fortran:
        raise ValueError(f"it holds {' x '.join(map(str, found))} numbers, not {' x '.join(map(str, shape))}")
    if dtype.kind != "f" or dtype.itemsize > 8:
        raise ValueError(f"it holds {dtype}, not float32")
    wanted = math.prod(shape) * dtype.itemsize
    data = file.read(wanted)
    if len(data) != wanted:
        raise ValueError("it is cut short")
    return np.frombuffer(data, dtype).reshape(shape).astype(np.float32)


def _damaged(path: Path, error: Exception) -> OutputError:
    return OutputError(f"{path}: not the array of this depth ({error})", hint="write it again with m3d depth")
