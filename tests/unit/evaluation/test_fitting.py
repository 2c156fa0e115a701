"""Predictions of other sizes: what may be resized, where KITTI's crop belongs, what is refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from m3d_cli.errors import DatasetError
from m3d_cli.evaluation.fitting import fitted
from m3d_cli.evaluation.presets import PRESETS
from m3d_cli.evaluation.scoring import counted_pixels


@pytest.mark.parametrize("size", [(480, 640), (240, 320), (518, 686), (476, 630), (121, 161)])
def test_whole_pictures_of_other_sizes_are_resized(size: tuple[int, int]) -> None:
    resized = fitted(np.full(size, 2, dtype=np.float32), (480, 640))
    assert (resized.shape, np.unique(resized).tolist()) == ((480, 640), [2])


@pytest.mark.parametrize("size", [(480, 480), (640, 480), (352, 1216), (0, 5)])
def test_another_shape_is_refused_with_both_sizes(size: tuple[int, int]) -> None:
    with pytest.raises(DatasetError, match=f"{size[1]} x {size[0]} predicted .* 640 x 480"):
        fitted(np.ones(size, dtype=np.float32), (480, 640))


@given(st.integers(370, 376), st.integers(1224, 1242))
def test_the_crop_of_kitti_is_pasted_at_the_bottom_centre(height: int, width: int) -> None:
    whole = np.random.default_rng(0).uniform(1, 80, (height, width)).astype(np.float32)
    top, left = height - 352, (width - 1216) // 2
    pasted = fitted(whole[top:, left : left + 1216], (height, width))
    known = np.isfinite(pasted)
    assert known.sum() == 352 * 1216
    np.testing.assert_array_equal(pasted[known], whole[known])


@pytest.mark.parametrize("preset", ["kitti-garg", "kitti-eigen"])
def test_the_presets_of_kitti_lie_inside_its_crop(preset: str) -> None:
    for size in ((370, 1226), (375, 1242), (376, 1241)):
        truth = np.full(size, 10, dtype=np.float32)
        crop = np.full((352, 1216), 10, dtype=np.float32)
        assert counted_pixels(crop, truth, PRESETS[preset])[2] == 1


def test_another_picture_of_that_size_is_not_taken_for_kittis() -> None:
    with pytest.raises(DatasetError, match="1216 x 352"):
        fitted(np.ones((352, 1216), dtype=np.float32), (402, 1280))
