"""Which devices share a run, as ``--devices`` names them. Loads torch only to ask for all of them."""

from __future__ import annotations

import re

from m3d_cli.errors import DeviceError, UsageError

ALL = "all"

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


def _all() -> tuple[str, ...]:
    import torch

    count = torch.cuda.device_count()
    if not count:
        raise DeviceError(f"--devices {ALL}: no CUDA device is here", hint="leave it out; see m3d doctor")
    return tuple(f"cuda:{index}" for index in range(count))
