"""Weight files the project vouches for, and their checksums. Loads no torch, so listing is quick."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from m3d_cli.errors import WeightsError
from m3d_cli.models.spec import ModelSpec

BUNDLE = Path(__file__).parent / "bundled"


@dataclass(frozen=True, slots=True)
class WeightsFile:
    """A weight file the project vouches for; ``size`` in bytes."""

    model: str
    path: Path
    size: int
    sha256: str

    @property
    def is_installed(self) -> bool:
        """Whether a file of the right size is there; `verify` looks closer."""
        return self.size > 0 and self.path.is_file() and self.path.stat().st_size == self.size


BUNDLED = {
    "lite": WeightsFile(
        "lite",
        BUNDLE / "lite.safetensors",
        40577276,
        "cb950e53569cb708a1cc6f5a7e3c2524cc637a4aabe119f4a37373fc5a0cea40",
    ),
}


def sha256_of(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def verify(file: WeightsFile) -> None:
    """Raise WeightsError unless the file is there, whole and unchanged."""
    hint = "reinstall m3d"
    if not file.path.exists():
        raise WeightsError(f"{file.path}: the weights of {file.model} are not installed", hint=hint)
    size = file.path.stat().st_size
    if size != file.size:
        raise WeightsError(f"{file.path}: {size} bytes, expected {file.size}", hint=hint)
    if sha256_of(file.path) != file.sha256:
        raise WeightsError(f"{file.path}: the checksum is wrong", hint=hint)


@dataclass(frozen=True, slots=True)
class ChosenWeights:
    """The weights a run uses: a file (None for the seeded test network) and what names them in every sidecar."""

    path: Path | None
    sha256: str
    vouched: WeightsFile | None = None

    def check(self) -> None:
        """Raise WeightsError when a vouched file is missing or not the one vouched for."""
        if self.vouched is not None:
            verify(self.vouched)


def choose_weights(spec: ModelSpec, local: Path | None = None) -> ChosenWeights:
    """The user's own file, the bundled one, or, for hidden test networks, none; raises WeightsError."""
    if local is not None:
        return ChosenWeights(local, _digest_of_local(local))
    if spec.hidden:
        return ChosenWeights(None, hashlib.sha256(spec.name.encode()).hexdigest())
    file = BUNDLED.get(spec.name)
    if file is None:
        raise WeightsError(f"the weights of {spec.name} are not installed", hint="give a file with --weights")
    return ChosenWeights(file.path, file.sha256, file)


def _digest_of_local(path: Path) -> str:
    try:
        return sha256_of(path)
    except OSError as error:
        raise WeightsError(f"{path}: the weights cannot be read ({error.strerror})", hint="check --weights") from error
