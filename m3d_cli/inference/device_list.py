"""Devices by name, one or several that share a run. Loads torch only to list all of them."""

from __future__ import annotations

import re

from m3d_cli.errors import DeviceError, UsageError

ALL = "all"

_NAME = re.compile(r"auto|\d{1,3}|cuda(:\d{1,3})?|cpu|mps")


def parse_devices(text: str) -> tuple[str, ...]:
    """``cuda:0,cuda:1``, ``0,1`` or ``all`` (CUDA devices) as names; raises UsageError, or DeviceError without any.

    Whether a device of a list exists is seen when its process starts: the others go on without it.
    """
    names = [name.strip().lower() for name in text.split(",") if name.strip()]
    if names == [ALL]:
        return _all()
    unknown = [name for name in names if not _NAME.fullmatch(name)]
    if not names or unknown:
        raise UsageError(
            f"device {', '.join(unknown) or 'nothing'} is unknown", hint="auto, cpu, cuda, cuda:1, mps, or a list"
        )
    return tuple(f"cuda:{name}" if name.isdigit() else name for name in names)


def _all() -> tuple[str, ...]:
    import torch

    count = torch.cuda.device_count()
    if not count:
        raise DeviceError(f"--device {ALL}: no CUDA device is here", hint="leave it out; see m3d doctor")
    return tuple(f"cuda:{index}" for index in range(count))
