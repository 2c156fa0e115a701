"""Batches that a device works on while the program does something else."""

from __future__ import annotations

from typing import Protocol

from m3d_cli.models.prediction import Prediction


class Running(Protocol):
    """A batch that was begun."""

    def is_done(self) -> bool:
        """Whether `result` would not wait."""

    def result(self) -> Prediction:
        """The network's output, on the device, once it is computed; raises DeviceError where the device failed."""


class Ready:
    """A batch computed by who began it."""

    def __init__(self, prediction: Prediction) -> None:
        self._prediction = prediction

    def is_done(self) -> bool:
        """Yes."""
        return True

    def result(self) -> Prediction:
        """At once."""
        return self._prediction
