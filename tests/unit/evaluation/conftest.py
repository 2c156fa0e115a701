"""Small RGB-D folders and frames for scoring."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from m3d_cli.camera import Camera
from m3d_cli.datasets.frame import Frame
from m3d_cli.datasets.layouts import find_layout
from m3d_cli.datasets.rgbd import write_rgbd
from m3d_cli.datasets.sample import Sample
from m3d_cli.datasets.selection import SourceChoice, find_frames
from m3d_cli.depthmap import DepthMap
from m3d_cli.photo import Photo

HEIGHT, WIDTH = 24, 32


def sample(depth: float | NDArray[np.float32], source: str, *, sparse: bool = False) -> Sample:
    camera = Camera.centred(WIDTH, HEIGHT, 30)
    truth = np.array(np.broadcast_to(np.float32(depth), (HEIGHT, WIDTH)))
    truth[:4] = np.nan
    image = np.full((HEIGHT, WIDTH, 3), 90, dtype=np.uint8)
    return Sample(Photo(Path("a.jpg"), image, camera), DepthMap(truth, camera), source, sparse)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two sources: two near frames, and a far one of the split val."""
    data = tmp_path / "data"
    write_rgbd([sample(1, "near"), sample(2, "near")], data / "near", source="near")
    write_rgbd([sample(10, "far")], data / "far", source="far", split="val")
    return data


@pytest.fixture
def frames(root: Path) -> tuple[Frame, ...]:
    return find_frames(find_layout("rgbd"), root)


def chosen(root: Path, text: str) -> tuple[Frame, ...]:
    return find_frames(find_layout("rgbd"), root, [SourceChoice.parse(text)])


def twenty_percent_long(frame: Frame) -> NDArray[np.float32]:
    return np.asarray(1.2 * frame.truth(), dtype=np.float32)
