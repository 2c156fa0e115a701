"""Checks of installed weights by name."""

from __future__ import annotations

from pathlib import Path

from m3d_cli.errors import WeightsError
from m3d_cli.models.catalogue import Status, entry, names
from m3d_cli.models.install import verify_installed
from m3d_cli.models.registry import BUNDLED, published_file
from m3d_cli.models.store import find_installed


def installed_names() -> list[str]:
    """Networks whose weights are installed, damaged ones too."""
    return [name for name in names() if entry(name).status is not Status.MISSING]


def verify(name: str) -> str:
    """Read every byte of a network's weights and compare them with the published checksums; raises WeightsError."""
    if name in BUNDLED:
        BUNDLED[name].check()
        return "as published"
    published_file(name)
    installed = find_installed(name)
    if installed is None:
        raise _not_installed(name)
    return verify_installed(installed)


def loaded_file(name: str) -> Path:
    """The file that runs load; raises WeightsError where it is missing or damaged."""
    found = entry(name)
    if found.status is Status.MISSING:
        raise _not_installed(name)
    if found.path is None:
        raise WeightsError(f"the weights of {name} are damaged", hint=f"m3d weights verify {name} shows more")
    return found.path


def _not_installed(name: str) -> WeightsError:
    return WeightsError(f"the weights of {name} are not installed", hint=f"m3d weights pull {name}")
