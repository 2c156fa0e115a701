"""Which devices share a run, as ``--devices`` names them, and how many processes one device is worth. Loads torch only
to ask for what is here."""

from __future__ import annotations

import re

from m3d_cli.errors import DeviceError, UsageError
from m3d_cli.inference.photo import available_cores
from m3d_cli.models.onnx_file import TORCH
from m3d_cli.models.spec import ModelSpec

ALL = "all"

# Networks that a GPU computes faster than one Python process decodes and writes, and the memory in GiB that each
# process takes there (bench/depth.py).
FAST_NETWORKS = {"lite": 2, "convnext-tiny": 6, "vit-small": 6}

# Cores that keep a process busy, and from how many photos on the start of several is repaid.
CORES_A_PROCESS = 2
MOST_PROCESSES = 8
LONG_RUN = 2000

_GIBIBYTE = 2**30

_NAME = re.compile(r"\d{1,3}|cuda(:\d{1,3})?|cpu|mps")


def parse_devices(text: str) -> tuple[str, ...]:
    """``0,1`` or ``cuda:0,cuda:1`` or ``all`` (CUDA devices) to names; raises UsageError, or DeviceError where none is.

    That a named device is here is seen when its process starts: the others go on without it.
    """
    names = [name.strip().lower() for name in text.split(",") if name.strip()]
    if names == [ALL]:
        return _all()
    unknown = [name for name in names if not _NAME.fullmatch(name)]
    if unknown or not names:
        raise UsageError(
            f"--devices {text}: {', '.join(unknown) or 'nothing'} is no device", hint="for example 0,1 or all"
        )
    return tuple(f"cuda:{name}" if name.isdigit() else name for name in names)


def sharers(device: str, backend: str, spec: ModelSpec, photos: int) -> tuple[str, ...]:
    """Names of the device, one for each process that is to share it in a run of ``photos``: one process that runs a
    network in Python decodes and writes no more than about a hundred photos a second, however many cores there are.
    """
    need = FAST_NETWORKS.get(spec.name)
    if need is None or photos < LONG_RUN or device in ("cpu", "mps") or backend not in ("auto", TORCH):
        return (device,)
    import torch

    if not torch.cuda.is_available():
        return (device,)
    name = "cuda" if device == "auto" else device
    memory = torch.cuda.get_device_properties(torch.device(name)).total_memory
    count = min(MOST_PROCESSES, available_cores() // CORES_A_PROCESS, memory // (need * _GIBIBYTE))
    return (name,) * max(1, count)


def _all() -> tuple[str, ...]:
    import torch

    count = torch.cuda.device_count()
    if not count:
        raise DeviceError(f"--devices {ALL}: no CUDA device is here", hint="leave it out; see m3d doctor")
    return tuple(f"cuda:{index}" for index in range(count))
