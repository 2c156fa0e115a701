"""What there is of each network's weights on this machine: the facts behind every list. Loads no torch."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from m3d_cli.errors import UsageError, WeightsError
from m3d_cli.models.registry import BUNDLED, PUBLISHED, PublishedFile, WeightsFile
from m3d_cli.models.spec import SPECS, model_spec
from m3d_cli.models.store import Installed, find_installed


class Status(str, Enum):
    """Whether weights are there; ``own`` are installed, but not the published ones."""

    INSTALLED = "installed"
    OWN = "own"
    MISSING = "missing"
    DAMAGED = "damaged"

    def __str__(self) -> str:
        return self.value


MEGABYTE = 1e6


@dataclass(frozen=True, slots=True)
class Entry:
    """Weights of one network; ``size`` in bytes, of the checkpoint; ``path`` None when nothing usable is there."""

    name: str
    status: Status
    path: Path | None
    size: int
    is_size_exact: bool
    sha256: str
    origin: str
    licence: str

    @property
    def is_usable(self) -> bool:
        """Whether a run can load them."""
        return self.status in (Status.INSTALLED, Status.OWN)

    @property
    def size_text(self) -> str:
        """The size for people."""
        return f"{'' if self.is_size_exact else 'about '}{self.size / MEGABYTE:.0f} MB"

    @property
    def facts(self) -> dict[str, object]:
        """Everything, as JSON has it."""
        return {
            "name": self.name,
            "status": str(self.status),
            "path": str(self.path) if self.path is not None else None,
            "bytes": self.size,
            "bytes_exact": self.is_size_exact,
            "sha256": self.sha256,
            "origin": self.origin,
            "licence": self.licence,
        }


def names() -> list[str]:
    """Networks that have weights to list, those for tests left out."""
    listed = (*BUNDLED, *PUBLISHED)
    return [name for name in listed if name not in SPECS or not SPECS[name].hidden]


def entry(name: str) -> Entry:
    """What there is of ``name``; raises UsageError for a network that has no weights."""
    if name in BUNDLED:
        return _bundled(BUNDLED[name])
    if name in PUBLISHED:
        return _published(PUBLISHED[name])
    model_spec(name)
    raise UsageError(f"{name} has no weights of its own", hint="see m3d weights list", code="NO_MODEL")


def _bundled(file: WeightsFile) -> Entry:
    status = Status.INSTALLED if file.is_installed else Status.DAMAGED
    licence = model_spec(file.model).licence
    return Entry(file.model, status, file.path, file.size, True, file.sha256, "in the package", licence)


def _published(file: PublishedFile) -> Entry:
    status, installed = _find(file)
    if installed is None:
        return Entry(file.model, status, None, file.size, file.is_size_exact, file.sha256, file.url, file.licence)
    is_own = status is Status.OWN
    return Entry(
        file.model,
        status,
        installed.path,
        installed.checkpoint.size,
        True,
        installed.sha256,
        installed.called if is_own else file.url,
        "as you have it" if is_own else file.licence,
    )


def _find(file: PublishedFile) -> tuple[Status, Installed | None]:
    try:
        installed = find_installed(file.model)
        if installed is None:
            return Status.MISSING, None
        installed.check()
    except WeightsError:
        return Status.DAMAGED, None
    return (Status.INSTALLED if installed.sha256 == file.sha256 else Status.OWN), installed
