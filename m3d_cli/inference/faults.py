"""Which of torch's errors mean that memory ran out, and which that the device itself is lost."""

from __future__ import annotations

import torch

from m3d_cli.errors import DeviceError

# CUDA has an error class for it; the CPU's allocator and Apple's only say it in a RuntimeError.
_NO_MEMORY = ("out of memory", "not enough memory", "can't allocate memory")


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether a smaller batch may go through."""
    text = str(error).lower()
    return isinstance(error, torch.OutOfMemoryError) or any(words in text for words in _NO_MEMORY)


def device_fault(error: RuntimeError, device: torch.device) -> DeviceError | None:
    """The end of the run, where ``error`` is of the device and not of the photo it happened to work on.

    All photos reach the network in one shape, so what a GPU refuses for one it refuses for all; after most faults it
    does nothing more for this process anyway.
    """
    if device.type == "cpu":
        return None
    first_line = str(error).partition("\n")[0]
    return DeviceError(f"{device} failed: {first_line}", hint="see m3d doctor; --device cpu always works")
