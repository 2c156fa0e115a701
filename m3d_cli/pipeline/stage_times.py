"""CPU seconds of each stage of a photo."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

# In the order of the work; upsampling and network are reported by the engine.
STAGES = ("decode", "network", "upsample", "encode", "write")


class Stages:
    """Adds up what the calling thread spends; a thread a photo."""

    def __init__(self) -> None:
        self._spent = dict.fromkeys(STAGES, 0.0)

    @contextmanager
    def measured(self, stage: str) -> Iterator[None]:
        """Count the CPU time of the block."""
        begin = time.thread_time()
        try:
            yield
        finally:
            self.add(stage, time.thread_time() - begin)

    def add(self, stage: str, seconds: float) -> None:
        """Count time measured elsewhere."""
        self._spent[stage] += seconds

    @property
    def seconds(self) -> tuple[tuple[str, float], ...]:
        """Stage and CPU seconds."""
        return tuple(self._spent.items())
