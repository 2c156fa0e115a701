"""The constants of every protocol, as their sources print them."""

import numpy as np
import pytest

from m3d_cli.datasets.layouts import LAYOUTS
from m3d_cli.errors import DatasetError, UsageError
from m3d_cli.evaluation.presets import EVERYTHING, PRESETS, find_preset

# Name: truth's size, rows and columns that count, cap in metres.
GOLDEN = {
    # Eigen's crop of NYU; cap of Metric3D's test configuration.
    "nyu-eigen": ((480, 640), (45, 471), (41, 601), (0.1, 10)),
    # Shares .3324324 to .91351351 of the height, .0359477 to .96405229 of the width.
    "kitti-eigen": ((375, 1242), (124, 342), (44, 1197), (0.1, 80)),
    # Shares .40810811 to .99189189 of the height, .03594771 to .96405229 of the width.
    "kitti-garg": ((375, 1242), (153, 371), (44, 1197), (1e-3, 80)),
    "diode": ((768, 1024), (0, 768), (0, 1024), (0.1, 150)),
    "eth3d": ((403, 604), (0, 403), (0, 604), (0.1, 200)),
    "ibims": ((480, 640), (0, 480), (0, 640), (0.1, 10)),
    "nuscenes": ((900, 1600), (0, 900), (0, 1600), (0.1, 200)),
    "scannet": ((968, 1296), (0, 968), (0, 1296), (0.1, 200)),
    "7scenes": ((480, 640), (0, 480), (0, 640), (0.1, 200)),
}


def test_every_preset_is_pinned_here() -> None:
    assert GOLDEN.keys() == PRESETS.keys()


@pytest.mark.parametrize("name", GOLDEN)
def test_a_preset_counts_these_pixels(name: str) -> None:
    size, rows, columns, (nearest, farthest) = GOLDEN[name]
    mask = PRESETS[name].mask(np.full(size, (nearest + farthest) / 2, dtype=np.float32))
    found = np.argwhere(mask)
    assert (found[0].tolist(), found[-1].tolist()) == ([rows[0], columns[0]], [rows[1] - 1, columns[1] - 1])
    assert mask.sum() == (rows[1] - rows[0]) * (columns[1] - columns[0])


@pytest.mark.parametrize("name", GOLDEN)
def test_a_preset_counts_these_depths(name: str) -> None:
    size, rows, columns, (nearest, farthest) = GOLDEN[name]
    truth = np.full(size, np.nan, dtype=np.float32)
    values = [nearest * 0.99, nearest * 1.01, farthest * 0.99, farthest * 1.01, np.inf, 0.0]
    truth[rows[0], columns[0] : columns[0] + len(values)] = values
    mask = PRESETS[name].mask(truth)
    assert mask.sum() == 2
    assert mask[rows[0], columns[0] + 1 : columns[0] + 3].all()


@pytest.mark.parametrize("name", GOLDEN)
def test_a_preset_says_everything_about_itself(name: str) -> None:
    described = PRESETS[name].describe()
    assert described["input_size"] == (1064, 616)
    assert {"crop", "nearest", "farthest", "resize", "unknown", "source"} <= described.keys()
    assert described["layout"] in LAYOUTS


def test_pixels_of_one_size_are_not_those_of_another() -> None:
    with pytest.raises(DatasetError, match="640 x 480"):
        PRESETS["nyu-eigen"].mask(np.ones((240, 320), dtype=np.float32))


def test_without_a_preset_every_known_pixel_counts() -> None:
    truth = np.array([[np.nan, 0.001, 5000, np.inf]], dtype=np.float32)
    assert find_preset(None) is EVERYTHING
    assert EVERYTHING.mask(truth).tolist() == [[False, True, True, False]]
    with pytest.raises(UsageError, match="unknown"):
        find_preset("nyu")
