"""Which device computes, and in which precision."""

from __future__ import annotations

import re
from dataclasses import dataclass

import torch

from m3d_cli.errors import DeviceError, UsageError

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

_DEVICE_NAME = re.compile(r"cpu|mps|cuda(:\d{1,3})?")


@dataclass(frozen=True, slots=True)
class Compute:
    """A device and the number format the network runs in there."""

    device: torch.device
    precision: str

    @property
    def dtype(self) -> torch.dtype:
        """The torch type of ``precision``."""
        return PRECISIONS[self.precision]

    def __str__(self) -> str:
        return f"{self.device} {self.precision}"


def choose_compute(device: str = "auto", precision: str = "auto") -> Compute:
    """``auto`` takes CUDA, then Apple's MPS, then the CPU; bf16 on CUDA devices that have it, else fp32."""
    chosen = _device(device)
    if precision == "auto":
        fast = chosen.type == "cuda" and torch.cuda.is_bf16_supported()
        return Compute(chosen, "bf16" if fast else "fp32")
    if precision not in PRECISIONS:
        raise UsageError(f"precision {precision} is unknown", hint=f"one of auto, {', '.join(PRECISIONS)}")
    if precision == "fp16" and chosen.type == "cpu":
        raise UsageError("fp16 is too slow and too coarse on a CPU", hint="use --precision fp32 or bf16")
    return Compute(chosen, precision)


def device_names() -> list[str]:
    """Every device that could be asked for here, best first."""
    cuda = [f"cuda:{i} ({torch.cuda.get_device_name(i)})" for i in range(torch.cuda.device_count())]
    mps = ["mps"] if torch.backends.mps.is_available() else []
    return [*cuda, *mps, f"cpu ({torch.get_num_threads()} threads)"]


def _device(name: str) -> torch.device:
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    # torch knows more names (meta, xla, ...), on which nothing here would run.
    if not _DEVICE_NAME.fullmatch(name):
        raise UsageError(f"device {name} is unknown", hint="auto, cpu, cuda, cuda:1, mps")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise DeviceError(f"device {name} is not here", hint="see m3d doctor; --device cpu always works")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise DeviceError("device mps is not here", hint="see m3d doctor; --device cpu always works")
    return device


def torch_version() -> str:
    """Version of torch, with what it was built for."""
    return str(torch.__version__)
