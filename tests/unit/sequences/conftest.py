"""A room with wallpaper: patterns fine enough for corners."""

from __future__ import annotations

import numpy as np
import pytest


@pytest.fixture(scope="session")
def papered(room):
    """The box room, its patterns up to ten times finer."""

    class PaperedRoom(type(room)):
        def __init__(self) -> None:
            super().__init__()
            rng = np.random.default_rng(11)
            self._waves = (rng.normal(size=(24, 3)) * rng.uniform(4, 40, (24, 1))).astype(np.float32)
            self._phases = rng.uniform(0, 6.28, (24, 3)).astype(np.float32)

    return PaperedRoom()
