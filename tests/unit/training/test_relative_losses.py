"""Losses of shape against a loop over their parts in plain numpy."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from m3d_cli.training import relative_losses

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]


def case(seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    prediction = 0.5 + 5 * torch.rand((2, 1, 40, 56), generator=generator)
    target = 0.5 + 5 * torch.rand((2, 1, 40, 56), generator=generator)
    mask = torch.rand((2, 1, 40, 56), generator=generator) > 0.3
    return prediction, target, mask


def rpnl(prediction: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(5)
    return relative_losses.random_proposal_normalisation(prediction, target, mask, generator, crops=6)


def hdn(prediction: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(5)
    return relative_losses.hierarchical_depth_normalisation(prediction, target, mask, generator, intervals=4)


def test_rpnl_normalises_each_crop_by_median_and_mean_deviation() -> None:
    prediction, target, mask = case()
    generator = torch.Generator().manual_seed(5)
    rows, columns = relative_losses._lattice(prediction.shape[-2:], 6, generator)
    values = []
    for picture in range(2):
        for crop in range(6):
            index = np.ix_(rows[crop, :, 0].numpy(), columns[crop, 0].numpy())
            m = mask[picture, 0].numpy()[index]
            if m.sum() < relative_losses.LEAST_PIXELS:
                continue
            p, t = prediction[picture, 0].numpy()[index][m], target[picture, 0].numpy()[index][m]
            values.append(np.abs(normalised(p) - normalised(t)).mean())
    assert float(rpnl(prediction, target, mask)) == pytest.approx(np.mean(values), rel=1e-3)


def normalised(x: NDArray[np.float32]) -> NDArray[np.float32]:
    median = np.sort(x)[(len(x) - 1) // 2]
    deviation = np.abs(x - median).mean() + relative_losses.FLAT * abs(median) + 1e-6
    return (x - median) / deviation


def test_rpnl_forgives_scale_and_shift() -> None:
    _, target, mask = case()
    assert float(rpnl(2 * target + 1, target, mask)) < 0.02
    assert float(rpnl(target.flip(3), target, mask)) > 0.3


def test_hdn_normalises_each_interval_of_depth_and_weighs_pixels_alike() -> None:
    prediction, target, mask = case()
    draws = torch.rand((2, 2, 4, 1), generator=torch.Generator().manual_seed(5)).numpy()
    total, count = 0.0, 0
    for picture in range(2):
        m = mask[picture, 0].numpy()
        p, t = prediction[picture, 0].numpy()[m], target[picture, 0].numpy()[m]
        for interval in range(4):
            low = 0.75 * draws[0, picture, interval, 0]
            high = low + 0.1 + (1 - low - 0.1) * draws[1, picture, interval, 0]
            near, far = t.min() + np.array([low, high]) * (t.max() - t.min())
            inside = (t >= near) & (t <= far)
            total += np.abs(normalised(p[inside]) - normalised(t[inside])).sum()
            count += inside.sum()
    assert float(hdn(prediction, target, mask)) == pytest.approx(total / count, rel=1e-3)


def test_hdn_forgives_scale_and_shift() -> None:
    _, target, mask = case()
    assert float(hdn(2 * target + 1, target, mask)) < 0.05
    assert float(hdn(target.flip(3), target, mask)) > 0.3


@pytest.mark.parametrize("loss", [rpnl, hdn])
def test_a_masked_pixel_changes_nothing(loss: Loss) -> None:
    prediction, target, mask = case()
    spoiled_target = torch.where(mask, target, torch.nan)
    spoiled = torch.where(mask, prediction, 1e6 + prediction)
    assert float(loss(spoiled, spoiled_target, mask)) == pytest.approx(float(loss(prediction, target, mask)), rel=1e-6)


@pytest.mark.parametrize("loss", [rpnl, hdn])
def test_gradients_are_finite_where_nothing_is_known(loss: Loss) -> None:
    prediction, target, mask = case()
    prediction.requires_grad_()
    value = loss(prediction, torch.full_like(target, torch.nan), torch.zeros_like(mask))
    value.backward()
    assert float(value.detach()) == 0
    assert prediction.grad is not None
    assert torch.isfinite(prediction.grad).all()
