"""The processes that share a run: one alone, or several that `torchrun` started, joined by accelerate."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from m3d_cli.errors import UsageError
from m3d_cli.extras import install_hint
from m3d_cli.training.draws import Share

if TYPE_CHECKING:
    from accelerate import Accelerator


class Team:
    """This process among those that share the run.

    Every one looks at its share of each batch; gradients are averaged, so that all hold the same weights.
    """

    def __init__(self, device: torch.device) -> None:
        self._accelerator = _joined(device) if int(os.environ.get("WORLD_SIZE", "1")) > 1 else None
        self.device: torch.device = self._accelerator.device if self._accelerator else device

    @property
    def share(self) -> Share:
        """The images of a batch that are this process's."""
        if self._accelerator is None:
            return Share()
        return Share(self._accelerator.process_index, self._accelerator.num_processes)

    @property
    def leads(self) -> bool:
        """Whether this process writes the files."""
        return self.share.rank == 0

    def joined(self, model: nn.Module) -> nn.Module:
        """The model as it is called in training: its backward pass averages gradients over the processes."""
        if self._accelerator is None:
            return model
        prepared: nn.Module = self._accelerator.prepare(model)
        return prepared

    def mean(self, value: Tensor) -> Tensor:
        """The mean of ``value`` over the processes."""
        if self._accelerator is None:
            return value
        reduced: Tensor = self._accelerator.reduce(value, reduction="mean")
        return reduced

    def wait(self) -> None:
        """Return when all processes have come here."""
        if self._accelerator is not None:
            self._accelerator.wait_for_everyone()


def _joined(device: torch.device) -> Accelerator:
    try:
        from accelerate import Accelerator, DistributedDataParallelKwargs
    except ImportError as error:
        raise UsageError("training with several processes needs accelerate", hint=install_hint("train")) from error
    # A head whose loss has weight 0 gets no gradient.
    handlers = [DistributedDataParallelKwargs(find_unused_parameters=True)]
    return Accelerator(cpu=device.type == "cpu", kwargs_handlers=handlers)
