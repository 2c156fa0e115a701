"""Weights in pieces small enough to be sent back, each set of them whole or not there.

A piece is called ``lite-NAME-HASH-K.of.N``: HASH is the start of the SHA-256 of all pieces together.
"""

from __future__ import annotations

import hashlib
import re
import tempfile
from pathlib import Path

from torch import nn

from m3d_cli.models.weights import save_weights

PIECE_BYTES = 15 * 2**20
_PIECE = re.compile(r"lite-(?P<name>\w+)-(?P<hash>[0-9a-f]{10})-(?P<number>\d+)\.of\.(?P<count>\d+)")


def save_pieces(network: nn.Module, folder: Path, name: str) -> str:
    """Write the network's compact weights as the set ``name``; an older set of that name then goes."""
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "lite.safetensors"
        save_weights(network, path, compact=True)
        return write_pieces(path.read_bytes(), folder, name)


def write_pieces(data: bytes, folder: Path, name: str, most: int = PIECE_BYTES) -> str:
    """Write ``data`` in pieces of at most ``most`` bytes; returns its hash."""
    folder.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256(data).hexdigest()[:10]
    starts = range(0, len(data), most)
    for number, start in enumerate(starts, 1):
        path = folder / f"lite-{name}-{digest}-{number}.of.{len(starts)}"
        part = path.with_name(f"{path.name}.part")
        part.write_bytes(data[start : start + most])
        part.replace(path)
    for path in folder.iterdir():
        found = _PIECE.fullmatch(path.name)
        if found and found["name"] == name and found["hash"] != digest:
            path.unlink()
    return digest


def read_pieces(folder: Path, name: str) -> bytes | None:
    """The newest whole set ``name`` in ``folder``, None without one."""
    sets: dict[str, list[Path]] = {}
    for path in sorted(folder.glob(f"lite-{name}-*")):
        found = _PIECE.fullmatch(path.name)
        if found:
            sets.setdefault(found["hash"], []).append(path)
    for digest, paths in sorted(sets.items(), key=lambda item: -max(path.stat().st_mtime for path in item[1])):
        paths.sort(key=lambda path: int(_PIECE.fullmatch(path.name)["number"]))
        data = b"".join(path.read_bytes() for path in paths)
        if hashlib.sha256(data).hexdigest()[:10] == digest:
            return data
    return None
