"""The one engine of a run, created when the first photo needs it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from m3d_cli.errors import DeviceError, M3dError
from m3d_cli.inference.photo import Engine, available_cores

logger = logging.getLogger(__name__)


class SharedEngine:
    """An engine created on first use: a run that finds everything done never loads a network.

    An engine that cannot be created is not tried again: every photo gets the same ``failure``.
    """

    def __init__(self, create: Callable[[], Engine]) -> None:
        self._create = create
        self._cores = available_cores()
        self._guard = threading.Lock()
        self._engine: Engine | None = None
        self.failure: M3dError | None = None

    def get(self) -> Engine:
        """The engine; raises the M3dError that keeps it from starting."""
        with self._guard:
            if self.failure is not None:
                raise self.failure
            if self._engine is None:
                self._engine = self._created()
                logger.info("ready: %s", self._engine.description)
            return self._engine

    def _created(self) -> Engine:
        try:
            return self._create()
        except M3dError as error:
            self.failure = error
            raise
        except Exception as error:
            self.failure = DeviceError(
                f"the network cannot be started: {type(error).__name__}: {error}",
                hint="see m3d doctor; --device cpu always works",
            )
            raise self.failure from error

    @property
    def in_flight(self) -> int:
        """How many photos to process at once, as far as is known yet."""
        return self._engine.in_flight if self._engine is not None else self._cores

    def close(self) -> None:
        """Free what the engine holds."""
        if self._engine is not None:
            self._engine.close()
