"""Cameras of annotated frames."""

from __future__ import annotations

from pathlib import Path

import pytest

from m3d_cli.datasets.frame import Pinhole
from m3d_cli.errors import DatasetError


@pytest.mark.parametrize("focal", [1e9, 1e-9])
def test_intrinsics_that_no_camera_has_are_refused(focal):
    with pytest.raises(DatasetError, match=r"a\.png: .*degrees are possible"):
        Pinhole(focal, focal, 320, 240).camera(Path("a.png"), 640, 480)
