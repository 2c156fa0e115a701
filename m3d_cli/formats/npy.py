"""npy and npz files read with their size known beforehand: a hostile file costs no more memory than its depth does."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from m3d_cli.bounded_files import reading
from m3d_cli.errors import OutputError
from m3d_cli.formats.array_bounds import check_numbers

_ENDING = ".npy"
_WHAT, _HINT = "not the array of this depth", "write it again with m3d depth"
# Of one number: the largest is a complex long double.
MOST_BYTES_A_NUMBER, _DOUBLE = 32, 8


def read_npy(path: Path, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """The float array in an npy file of exactly ``shape``; raises OutputError."""
    with reading(path, _WHAT, OutputError, _HINT), path.open("rb") as file:
        return _floats(_read(file, _size_of(path), shape))


def read_npz(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, NDArray[np.float32]]:
    """Those arrays of an npz file that are named in ``shapes``, each of exactly its shape; raises OutputError."""
    with reading(path, _WHAT, OutputError, _HINT), zipfile.ZipFile(path) as archive:
        present = [name for name in shapes if name + _ENDING in archive.namelist()]
        return {name: _floats(_member(archive, name, shapes[name])) for name in present}


def read_any(path: Path, key: str) -> NDArray[Any]:
    """The array of an npy file; of an npz, the one called ``key``, else the first. Raises ValueError and more.

    To be called inside `bounded_files.reading`.
    """
    with path.open("rb") as file:
        if not zipfile.is_zipfile(file):
            file.seek(0)
            return _read(file, _size_of(path), None)
    with zipfile.ZipFile(path) as archive:
        names = [name.removesuffix(_ENDING) for name in archive.namelist() if name.endswith(_ENDING)]
        if not names:
            raise ValueError("no array in it")
        return _member(archive, key if key in names else names[0], None)


def _member(archive: zipfile.ZipFile, name: str, shape: tuple[int, ...] | None) -> NDArray[Any]:
    info = archive.getinfo(name + _ENDING)
    with archive.open(info) as file:
        return _read(file, info.compress_size, shape)


def _read(file: IO[bytes], packed_bytes: int, shape: tuple[int, ...] | None) -> NDArray[Any]:
    """An array whose bytes take up ``packed_bytes``; of exactly ``shape`` where one is given."""
    version = np.lib.format.read_magic(file)
    header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    found, is_fortran, dtype = header(file)
    if shape is not None and (found != shape or is_fortran):
        raise ValueError(f"it holds {' x '.join(map(str, found))} numbers, not {' x '.join(map(str, shape))}")
    if dtype.hasobject or dtype.itemsize > MOST_BYTES_A_NUMBER:
        raise ValueError(f"it holds {dtype}, not numbers")
    count = math.prod(found)
    check_numbers(count, packed_bytes)
    wanted = count * dtype.itemsize
    data = file.read(wanted)
    if len(data) != wanted:
        raise ValueError("it is truncated")
    values = np.frombuffer(bytearray(data), dtype)
    return values.reshape(found, order="F" if is_fortran else "C")


def _floats(values: NDArray[Any]) -> NDArray[np.float32]:
    if values.dtype.kind != "f" or values.dtype.itemsize > _DOUBLE:
        raise ValueError(f"it holds {values.dtype}, not float32")
    return values.astype(np.float32, copy=False)


def _size_of(path: Path) -> int:
    return path.stat().st_size
