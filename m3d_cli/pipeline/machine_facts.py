"""What m3d can do on this machine: versions, devices, formats, weights."""

from __future__ import annotations

import platform
import sys
from importlib.util import find_spec

from m3d_cli.formats.float_images import can_write_exr
from m3d_cli.inference.backends import is_installed
from m3d_cli.inference.photo import available_cores
from m3d_cli.models.catalogue import entry, names
from m3d_cli.models.onnx_file import AUTO, BACKENDS
from m3d_cli.models.store import weights_folder
from m3d_cli.photos.header import readable_formats
from m3d_cli.pipeline.plan import OutputFormat
from m3d_cli.pipeline.workers import ENGINES, LOCAL
from m3d_cli.private_folder import can_lock
from m3d_cli.version import __version__


def machine_facts() -> dict[str, str | list[str]]:
    """What `m3d doctor` shows, by name."""
    # Loads torch.
    from m3d_cli.inference.device import choose_compute, device_names, torch_version

    weights = [f"{name} {entry(name).status}" for name in names()]
    return {
        "m3d": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "torch": torch_version(),
        "devices": device_names(),
        "default": str(choose_compute()),
        "cores": str(available_cores()),
        "backends": [name for name in BACKENDS if name != AUTO and is_installed(name)],
        "engines": [name for name in ENGINES if name == LOCAL or find_spec(name) is not None],
        "reads": _readable(),
        "writes": _writable(),
        "weights": weights,
        "weights folder": str(weights_folder()),
        "run lock": "yes" if can_lock() else "no: keep two runs out of one folder yourself",
        "terminal": "yes" if sys.stderr.isatty() else "no",
    }


def _readable() -> list[str]:

    return [str(kind) for kind in readable_formats()]


def _writable() -> list[str]:

    missing = () if can_write_exr() else (OutputFormat.EXR,)
    return [
        *(str(kind) for kind in OutputFormat if kind not in missing),
        *(f"{kind} (not: no OpenEXR)" for kind in missing),
    ]
